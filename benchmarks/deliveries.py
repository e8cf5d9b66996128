"""
Deliveries: how fast a worker empties a queue beside a bare aiohttp loop, how soon an event arrives, and what an
endpoint adds to a charge.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

import asyncpg
import msgspec

from benchmarks import servers
from benchmarks.databases import folder, fresh
from benchmarks.posting import Posted
from benchmarks.processes import Failed, cpu_seconds, finish, memory_mib, running
from benchmarks.servers import KPAY, free_port, make_merchant, settings, wait_for
from benchmarks.sink import Received
from benchmarks.subjects import Subject, prepare
from benchmarks.telling import make_unit
from kpay_core import Scope
from kpay_core.domain.examples import CHARGE
from kpay_http import compose
from kpay_http.settings import read_settings

# Of one merchant. Each gets 8 at a time, so they keep a worker busy.
ENDPOINTS = 64

# What is measured of a queue that is being emptied: the middle, without the start and the last few.
FROM_SHARE, TO_SHARE = 0.1, 0.9

# The promises: deliveries of the bare loop's posts; the delay, delivered by the process itself and through a broker;
# what an endpoint makes of a charge's cost; the speed with a million waiting, of that with ten thousand.
LEAST_RATIO = 0.5
MOST_P99_MS = {"embedded": 250.0, "dramatiq + redis": 1000.0}
MOST_COST = 1.15
LEAST_OF_SMALL = 0.9

# A queue that stands still for so long will not be emptied.
STUCK_SECONDS = 30.0


class Drained(msgspec.Struct, kw_only=True):
    """How a worker emptied a queue: deliveries a second, processor time in microseconds for each, and its memory."""

    name: str
    rate: float
    cpu_us: float
    memory_mib: float
    bare: Posted | None = None


class Delay(msgspec.Struct, kw_only=True):
    """From the commit of an event to its receipt."""

    name: str
    rate: float
    events: int
    p50_ms: float
    p99_ms: float


class Place(msgspec.Struct, kw_only=True):
    """An installation with a merchant, endpoints and a sink that takes their posts."""

    name: str
    environment: dict[str, str]
    merchant: str
    sink: int
    endpoints: list[str]


def most_p99(name: str) -> float:
    """Return what was promised of a variant, by the second half of its name."""
    return MOST_P99_MS[name.partition(", ")[2]]


@contextmanager
def sink() -> Iterator[int]:
    """Run the server that takes every post, and yield its port."""
    port = free_port()
    with running([sys.executable, "-m", "benchmarks.sink", str(port)]) as process:
        wait_for(port, process)
        yield port


@contextmanager
def place(
    name: str, postgres: str | None, broker: str | None, *, endpoints: int = ENDPOINTS
) -> Iterator[Place]:
    """Set an installation up; nothing of it runs yet but the sink."""
    with ExitStack() as stack:
        url = stack.enter_context(fresh(postgres))
        port = stack.enter_context(sink())
        environment = {**settings(url), "KPAY_ALLOW_LOCAL_WEBHOOKS": "1"}
        if broker is not None:
            environment["KPAY_BROKER_URL"] = broker
        merchant, _ = make_merchant(environment)
        made = asyncio.run(make_endpoints(environment, merchant, port, endpoints))
        yield Place(name=name, environment=environment, merchant=merchant, sink=port, endpoints=made)


async def make_endpoints(environment: dict[str, str], merchant: str, port: int, many: int) -> list[str]:
    chosen = read_settings(environment)
    async with compose.open_kpay(chosen, compose.secret_of(chosen, make=False)) as (kpay, _, _):
        scope = Scope(merchant, livemode=False)
        made = [
            await kpay.create_endpoint(scope, {"url": f"http://127.0.0.1:{port}/{number}"})
            for number in range(many)
        ]
        return [each.endpoint.id for each in made]


async def fill(here: Place, many: int) -> None:
    """Put so many fresh deliveries into the queue, each of an event of its own."""
    chosen = read_settings(here.environment)
    async with compose.open_kpay(chosen, compose.secret_of(chosen, make=False)) as (kpay, store, _):
        scope = Scope(here.merchant, livemode=False)
        units = [make_unit(kpay, scope, here.endpoints, number) for number in range(many)]
        for start in range(0, many, 1000):
            await asyncio.gather(*(store.commit(*unit) for unit in units[start : start + 1000]))


def received(port: int) -> Received:
    """Ask the sink what has come."""
    with urlopen(f"http://127.0.0.1:{port}/") as answer:
        return msgspec.json.decode(answer.read(), type=Received)


def drain(here: Place, many: int, *, seconds: float | None = None) -> Drained:
    """Start a worker, and measure how it empties a queue of so many: the middle of it, or its first seconds."""
    before = received(here.sink).posts
    with running([*KPAY, "worker"], environment=here.environment) as worker:

        def reading() -> tuple[float, float, int]:
            return time.perf_counter(), cpu_seconds(worker.pid), received(here.sink).posts - before

        first = until(reading, lambda posts: posts >= min(many * FROM_SHARE, 2000))
        if seconds is None:
            last = until(reading, lambda posts: posts >= many * TO_SHARE)
        else:
            time.sleep(seconds)
            last = reading()
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
    """Run the bare loop against the same sink, with the body of an ordinary event."""
    body = where / "event.json"
    body.write_text(json.dumps({**CHARGE, "source": None, "padding": "x" * 600}))
    command = [
        sys.executable,
        "-m",
        "benchmarks.posting",
        f"http://127.0.0.1:{port}/bare",
        str(body),
        str(seconds),
    ]
    return msgspec.json.decode(finish(command), type=Posted)


def delay(here: Place, *, rate: float, seconds: float, workers: int) -> Delay:
    """Let something happen at a steady rate, and see when the sink gets to know."""
    received(here.sink)
    environment = dict(here.environment)
    with ExitStack() as stack:
        for _ in range(workers):
            stack.enter_context(running([*KPAY, "worker"], environment=environment))
        if workers:
            time.sleep(3)
        how = "kicking" if workers else "embedded"
        command = [sys.executable, "-m", "benchmarks.telling", str(rate), str(seconds), here.merchant, how]
        committed: dict[str, float] = json.loads(finish(command, environment=environment))
        time.sleep(1)
        at = received(here.sink).at
    late = sorted((at[event] - when) * 1000 for event, when in committed.items() if event in at)
    if len(late) < len(committed):
        raise Failed(f"{len(committed) - len(late)} of {len(committed)} events did not arrive")
    return Delay(
        name=here.name,
        rate=rate,
        events=len(late),
        p50_ms=late[len(late) // 2],
        p99_ms=late[len(late) * 99 // 100],
    )


class Backlog(msgspec.Struct, kw_only=True):
    """How fast a worker delivers with so many deliveries waiting."""

    waiting: int
    drained: Drained


async def fill_by_sql(url: str, many: int) -> None:
    """Put so many fresh deliveries into PostgreSQL's queue at once: copies of those that are there."""
    connection = await asyncpg.connect(url)
    try:
        held = await connection.fetchval("SELECT count(*) FROM webhook_deliveries")
        await connection.execute(
            """
            INSERT INTO webhook_deliveries
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


def backlog(
    postgres: str, sizes: Sequence[int], seconds: float, tell: Callable[[str], None]
) -> list[Backlog]:
    """Measure a worker for some seconds with ever more deliveries waiting for it."""
    found: list[Backlog] = []
    for waiting in sizes:
        with place("postgres", postgres, None) as here:
            asyncio.run(fill(here, min(waiting, 10_000)))
            if waiting > 10_000:
                asyncio.run(fill_by_sql(here.environment["KPAY_DATABASE_URL"], waiting))
            drained = drain(here, waiting, seconds=seconds)
            found.append(Backlog(waiting=waiting, drained=drained))
            tell(f"{waiting:,} waiting: {drained.rate:,.0f}/s")
    return found


class Cost(msgspec.Struct, kw_only=True):
    """Processor time of the server for a charge, in microseconds: without an endpoint, and with one."""

    name: str
    without_us: float
    with_us: float


@contextmanager
def charging(here: Place) -> Iterator[Subject]:
    """Run the API on an installation."""
    port = free_port()
    made = finish(
        [*KPAY, "keys", "rotate", "--merchant", here.merchant, "--json"], environment=here.environment
    )
    with running([*KPAY, "serve", "--port", str(port)], environment=here.environment) as process:
        wait_for(port, process)
        server = servers.Server(
            name=here.name, port=port, pid=process.pid, secret_key=json.loads(made)["key"]
        )
        yield prepare(server)


def cost(
    name: str, postgres: str | None, broker: str, *, rounds: int, seconds: float, tell: Callable[[str], None]
) -> Cost:
    """Measure what a charge costs in a process that leaves delivering to workers."""
    with ExitStack() as stack:
        subjects = [
            stack.enter_context(charging(stack.enter_context(place(name, postgres, broker, endpoints=many))))
            for many in (0, 1)
        ]
        results: tuple[list[float], list[float]] = ([], [])
        for number in range(rounds):
            for which in (0, 1) if number % 2 else (1, 0):
                result = subjects[which].measure("charge", clients=64, seconds=seconds)
                results[which].append(result.server_cpu_us or 0.0)
        without, beside = (statistics.median(each) for each in results)
        tell(f"charge on {name}: {without:,.0f} us, with an endpoint {beside:,.0f} us")
        return Cost(name=name, without_us=without, with_us=beside)


class Found(msgspec.Struct, kw_only=True):
    """All that was measured of deliveries."""

    drained: list[Drained] = []
    delays: list[Delay] = []
    costs: list[Cost] = []
    backlogs: list[Backlog] = []


def go(
    postgres: str | None, redis: str | None, *, quick: bool, rounds: int, tell: Callable[[str], None]
) -> Found:
    """Measure everything, the bare loop beside each."""
    found = Found()
    many = 4_000 if quick else 20_000
    variants: list[tuple[str, str | None, str | None]] = [("sqlite, embedded", None, None)]
    if postgres:
        variants.append(("postgres, embedded", postgres, None))
    if postgres and redis:
        variants.append(("postgres, dramatiq + redis", postgres, redis))
    with folder() as where:
        for name, database, broker in variants:
            with place(name, database, broker) as here:
                for number in range(rounds):
                    asyncio.run(fill(here, many))
                    bare = post_bare(here.sink, 1.0 if quick else 4.0, where)
                    drained = drain(here, many)
                    drained.bare = bare
                    found.drained.append(drained)
                    tell(f"{name}, round {number + 1}: {drained.rate:,.0f}/s, bare {bare.rate:,.0f}/s")
                half = statistics.median(each.rate for each in found.drained if each.name == name) / 2
                seconds = 3.0 if quick else 15.0
                late = delay(here, rate=half, seconds=seconds, workers=1 if broker else 0)
                found.delays.append(late)
                tell(f"{name}, {half:,.0f}/s: p50 {late.p50_ms:,.0f} ms, p99 {late.p99_ms:,.0f} ms")
    if redis:
        for name, database in (("sqlite", None), ("postgres", postgres)):
            if database or name == "sqlite":
                found.costs.append(
                    cost(name, database, redis, rounds=rounds, seconds=1.0 if quick else 4.0, tell=tell)
                )
    if postgres:
        sizes = (10_000, 100_000) if quick else (10_000, 1_000_000)
        found.backlogs = backlog(postgres, sizes, 3.0 if quick else 8.0, tell)
    return found
