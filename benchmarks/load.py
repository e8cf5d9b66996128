"""
The load generator: a closed loop, each client sends its next request when its last one is answered.

    python -m benchmarks.load < job.json > result.json

A process of its own, and a lean one, because it shares two cores with what it measures: requests are prebuilt,
answers are cut by their Content-Length. Every answer is checked all the same; the first wrong one ends the run.
"""

import asyncio
import gc
import os
import sys
import time
from collections.abc import Sequence
from typing import cast

import msgspec
import uvloop

from benchmarks.figures import percentile
from benchmarks.processes import cpu_seconds, family_cpu_seconds, finish, machine_cpu_seconds
from benchmarks.samples import KEY, key_number

# A request that takes longer has hung. Ours take a tenth of a second at 64 clients; the slowest peer, which writes all
# that it knows for every request, takes half a second for each that waits before it.
HANG_SECONDS = 60


class Job(msgspec.Struct, kw_only=True):
    """
    What to send, and for how long: either `seconds` after a warm-up, or so many requests in all.

    With `key_prefix` the one request is a template, and each sending of it has a key of its own, numbered from
    `first_key` on. Else the requests are sent in turn. `bodies`, where given, are what each must be answered with, to
    the byte. The clients are shared out evenly over the `ports`.
    """

    ports: list[int]
    clients: int
    status: int
    requests: list[str]
    bodies: list[str] = []
    key_prefix: str = ""
    first_key: int = 0
    warm_up_seconds: float = 0.0
    seconds: float = 0.0
    count: int = 0
    # Whether the answers are wanted, in the order of their keys.
    collect: bool = False
    # The processes that serve, whose processor time is added up.
    server_pids: list[int]
    postgres_pid: int | None = None


class Result(msgspec.Struct, kw_only=True):
    """What came of a job. Processor time is per request, in microseconds."""

    requests: int
    # All that were sent, also those of the warm-up.
    sent: int = 0
    rate: float
    p50_ms: float
    p99_ms: float
    mean_ms: float
    server_cpu_us: float | None = None
    postgres_cpu_us: float | None = None
    load_cpu_us: float = 0.0
    # The share of the machine that others used meanwhile: what makes a figure worth less.
    others: float = 0.0
    answers: list[str] = []


def run(job: Job) -> Result:
    """Have a job done by a process of its own; raises `Failed`."""
    result = finish([sys.executable, "-m", "benchmarks.load"], given=msgspec.json.encode(job))
    return msgspec.json.decode(result, type=Result)


class Wrong(Exception):
    """An answer is not what it should be."""


class Supply:
    """The requests in the order in which they go out, each with what must stand at the end of its answer."""

    def __init__(self, job: Job) -> None:
        self.sent = 0
        self.most = job.count or sys.maxsize
        self._prefix, self._first = job.key_prefix, job.first_key
        self._requests = [request.encode() for request in job.requests]
        self._bodies = [body.encode() for body in job.bodies] or [b""] * len(self._requests)
        if self._prefix:
            self._before, self._after = self._requests[0].split(KEY.encode())

    def next(self) -> tuple[int, bytes, bytes] | None:
        """Return the number of the next request, itself and the expected body; None when there are no more."""
        number = self.sent
        if number >= self.most:
            return None
        self.sent += 1
        if self._prefix:
            key = key_number(self._prefix, self._first + number)
            return number, self._before + key.encode() + self._after, self._bodies[0]
        place = number % len(self._requests)
        return number, self._requests[place], self._bodies[place]


class Client(asyncio.Protocol):
    """One connection, kept alive: sends, waits, checks, sends again."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._received = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no asyncio class.
        self._transport = cast("asyncio.Transport", transport)

    def send(self) -> None:
        request = None if self._run.stopped else self._run.supply.next()
        if request is None:
            self.done.set_result(None)
            return
        self._number, content, self._body = request
        self._sent_at = time.perf_counter()
        self._transport.write(content)

    def data_received(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        end = data.find(b"\r\n\r\n")
        if end < 0 or len(data) < (size := end + 4 + content_length(data[:end])):
            self._received = data
            return
        self._received = b""
        took = time.perf_counter() - self._sent_at
        if data[9:12] != self._run.status or len(data) != size or not data.endswith(self._body):
            self.fail(Wrong(data.decode(errors="replace")))
            return
        self._run.note(self._number, took, data[end + 4 :])
        self.send()

    def connection_lost(self, error: Exception | None) -> None:
        self.fail(Wrong(f"the server closed the connection: {error}"))

    def fail(self, error: Wrong) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def close(self) -> None:
        self._transport.close()


def content_length(head: bytes) -> int:
    """Return the length that an answer's head declares."""
    _, found, rest = head.lower().partition(b"\r\ncontent-length: ")
    if not found:
        raise Wrong("an answer without Content-Length")
    return int(rest.partition(b"\r\n")[0])


class Run:
    """One run of a job: the clients, and the window in which they are measured."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.supply = Supply(job)
        self.status = str(job.status).encode()
        self.stopped = False
        self.took: list[float] = []
        self.answers: dict[int, str] = {}

    def note(self, number: int, took: float, body: bytes) -> None:
        self.took.append(took)
        if self.job.collect:
            self.answers[number] = body.decode()

    def read_meters(self) -> tuple[float, float, float, float, float]:
        """Read the clock, and the processor time of the server, of PostgreSQL, of ourselves and of the machine."""
        postgres = self.job.postgres_pid
        return (
            time.perf_counter(),
            sum(map(cpu_seconds, self.job.server_pids)),
            family_cpu_seconds(postgres) if postgres else 0.0,
            time.process_time(),
            machine_cpu_seconds(),
        )

    async def go(self) -> Result:
        loop = asyncio.get_running_loop()
        clients: list[Client] = []
        for number in range(self.job.clients):
            port = self.job.ports[number % len(self.job.ports)]
            _, client = await loop.create_connection(lambda: Client(self), "127.0.0.1", port)
            clients.append(client)
        for client in clients:
            client.send()
        all_done = asyncio.gather(*(client.done for client in clients))
        if self.job.seconds:
            await first_of(all_done, self.job.warm_up_seconds)
            self.took = []
        before = self.read_meters()
        if self.job.seconds:
            await first_of(all_done, self.job.seconds)
            took, after = self.took, self.read_meters()
            self.stopped = True
            await asyncio.wait_for(all_done, HANG_SECONDS)
        else:
            await all_done
            took, after = self.took, self.read_meters()
        for client in clients:
            client.close()
        return self.sum_up(list(took), before, after)

    def sum_up(self, took: list[float], before: Sequence[float], after: Sequence[float]) -> Result:
        took.sort()
        requests = len(took)
        if not requests:
            raise Wrong(f"no answer within {self.job.seconds} seconds")
        seconds, server, postgres, load, machine = (b - a for a, b in zip(before, after, strict=True))
        each = 1e6 / requests
        return Result(
            requests=requests,
            sent=self.supply.sent,
            rate=requests / seconds,
            p50_ms=1000 * percentile(took, 0.5),
            p99_ms=1000 * percentile(took, 0.99),
            mean_ms=1000 * sum(took) / requests,
            server_cpu_us=server * each,
            postgres_cpu_us=postgres * each if self.job.postgres_pid else None,
            load_cpu_us=load * each,
            others=max(0.0, machine - server - postgres - load) / seconds / (os.cpu_count() or 1),
            answers=[self.answers[number] for number in sorted(self.answers)],
        )


async def first_of(ended: "asyncio.Future[list[None]]", seconds: float) -> None:
    """Let time pass; a client that fails meanwhile fails the run."""
    await asyncio.wait([ended], timeout=seconds)
    if ended.done():
        ended.result()


def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    # Nothing here makes cycles, and a collection would show as a slow answer.
    gc.disable()
    try:
        result = uvloop.run(Run(job).go())
    except Wrong as wrong:
        sys.exit(f"wrong answer: {wrong}")
    # Buffered by us: an unbuffered standard output may take only the first 64 KiB.
    with open(sys.stdout.fileno(), "wb", closefd=False) as output:
        output.write(msgspec.json.encode(result))


if __name__ == "__main__":
    main()
