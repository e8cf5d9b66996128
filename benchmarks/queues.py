"""Queues of deliveries: an installation with endpoints, a sink that takes their posts, a worker that empties them."""

import asyncio
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

import asyncpg
import msgspec

from benchmarks import servers
from benchmarks.processes import Failed, cpu_seconds, finish, memory_mib, running
from benchmarks.programs.posting import Posted
from benchmarks.programs.sink import Received
from benchmarks.programs.telling import make_event, make_unit
from benchmarks.servers import KPAY, Installation, free_port, wait_for
from kpay_adapters.testing import START
from kpay_core import Scope

# Of one merchant. Each gets 8 at a time, so they keep a worker busy.
ENDPOINTS = 64

# What is measured of a queue that is being emptied: the middle, without the start and the last few.
FROM_SHARE, TO_SHARE = 0.1, 0.9

# A queue that stands still for so long will not be emptied.
STUCK_SECONDS = 30.0


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """An installation with endpoints, and the port of the sink that takes their posts."""

    name: str
    installation: Installation
    sink: int
    endpoints: list[str]


class Drained(msgspec.Struct, kw_only=True):
    """How a worker emptied a queue: deliveries a second, processor time in microseconds for each, and its memory."""

    name: str
    rate: float
    cpu_us: float
    memory_mib: float
    bare: Posted | None = None


@contextmanager
def sink() -> Iterator[int]:
    """Run the server that takes every post, and yield its port."""
    port = free_port()
    with running([sys.executable, "-m", "benchmarks.programs.sink", str(port)]) as process:
        wait_for(port, process)
        yield port


@contextmanager
def place(
    name: str,
    postgres: str | None,
    broker: str | None,
    *,
    endpoints: int = ENDPOINTS,
    wanted: str = "*",
) -> Iterator[Place]:
    """
    Set an installation up; nothing of it runs yet but the sink.

    Each endpoint gets the events that are `wanted`, and what `fill` puts into its queue.
    """
    more = {"KPAY_ALLOW_LOCAL_WEBHOOKS": "1"}
    if broker is not None:
        more["KPAY_BROKER_URL"] = broker
    with ExitStack() as stack:
        here = stack.enter_context(servers.installed(postgres, more))
        port = stack.enter_context(sink())
        made = asyncio.run(make_endpoints(here, port, endpoints, wanted))
        yield Place(name=name, installation=here, sink=port, endpoints=made)


async def make_endpoints(here: Installation, port: int, many: int, wanted: str) -> list[str]:
    async with servers.opened(here.environment) as (kpay, _, _):
        scope = Scope(here.merchant, livemode=False)
        made = [
            await kpay.create_endpoint(
                scope, {"url": f"http://127.0.0.1:{port}/{number}", "enabled_events": [wanted]}
            )
            for number in range(many)
        ]
        return [each.endpoint.id for each in made]


async def fill(here: Place, many: int) -> None:
    """Put so many fresh deliveries into the queue, each of an event of its own."""
    async with servers.opened(here.installation.environment) as (kpay, store, _):
        scope = Scope(here.installation.merchant, livemode=False)
        units = [make_unit(kpay, scope, here.endpoints, number) for number in range(many)]
        for start in range(0, many, 1000):
            await asyncio.gather(*(store.commit(*unit) for unit in units[start : start + 1000]))


async def fill_by_sql(url: str, many: int) -> None:
    """Put so many fresh deliveries into PostgreSQL's queue at once: copies of those that are there."""
    connection = await asyncpg.connect(url)
    try:
        held = await connection.fetchval("SELECT count(*) FROM webhook_deliveries")
        await connection.execute(
            """
            INSERT INTO webhook_deliveries (
                id, version, merchant, livemode, event, event_type, endpoint, status,
                reason, attempts, next_attempt_at, expires_at, fresh_at, created_at
            )
            SELECT d.id || '-' || n, d.version, d.merchant, d.livemode, d.event, d.event_type, d.endpoint, d.status,
                   d.reason, d.attempts, d.next_attempt_at, d.expires_at, d.fresh_at, d.created_at
            FROM webhook_deliveries d, generate_series(1, $1) n
            """,
            many // held - 1,
            timeout=600,
        )
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


def received(port: int) -> Received:
    """Ask the sink what has come."""
    with urlopen(f"http://127.0.0.1:{port}/") as answer:
        return msgspec.json.decode(answer.read(), type=Received)


def drain(here: Place, many: int, *, seconds: float | None = None) -> Drained:
    """Start a worker, and measure how it empties a queue of so many: the middle of it, and no longer than `seconds`."""
    before = received(here.sink).posts
    with running([*KPAY, "worker"], environment=here.installation.environment) as worker:

        def reading() -> tuple[float, float, int]:
            return time.perf_counter(), cpu_seconds(worker.pid), received(here.sink).posts - before

        first = until(reading, lambda posts: posts >= min(many * FROM_SHARE, 2000))
        ends_at = first[0] + (math.inf if seconds is None else seconds)
        last = until(reading, lambda posts: posts >= many * TO_SHARE or time.perf_counter() >= ends_at)
        posts = last[2] - first[2]
        return Drained(
            name=here.name,
            rate=posts / (last[0] - first[0]),
            cpu_us=(last[1] - first[1]) * 1e6 / posts,
            memory_mib=memory_mib(worker.pid),
        )


def until(
    reading: Callable[[], tuple[float, float, int]], enough: Callable[[int], bool]
) -> tuple[float, float, int]:
    """Read again and again until enough has come."""
    moved_at, posts = time.perf_counter(), -1
    while not enough((now := reading())[2]):
        if now[2] != posts:
            moved_at, posts = time.perf_counter(), now[2]
        if time.perf_counter() - moved_at > STUCK_SECONDS:
            raise Failed(f"{posts} deliveries have come, and no more")
        time.sleep(0.05)
    return now


def post_bare(port: int, seconds: float, where: Path) -> Posted:
    """Run the bare loop against the same sink, with the body that the worker posts."""
    body = where / "event.json"
    body.write_text(make_event("evt_" + 32 * "0", Scope("mer_" + 32 * "0", livemode=False), START).body)
    program = [sys.executable, "-m", "benchmarks.programs.posting"]
    told = finish([*program, f"http://127.0.0.1:{port}/bare", str(body), str(seconds)])
    return msgspec.json.decode(told, type=Posted)
