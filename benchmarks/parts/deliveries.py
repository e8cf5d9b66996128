"""
Deliveries: how fast a worker empties a queue beside a bare aiohttp loop, how soon an event arrives, and what an
endpoint adds to a charge.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack

import msgspec

from benchmarks import queues, servers
from benchmarks.databases import folder
from benchmarks.figures import over_rounds, percentile, ratios
from benchmarks.parts import Findings, Setting
from benchmarks.processes import Failed, finish, running
from benchmarks.queues import Drained, Place, drain, place, received
from benchmarks.servers import KPAY
from benchmarks.subjects import prepare
from benchmarks.tables import short, table, whole

QUEUE, QUICK_QUEUE = 20_000, 2_000
BACKLOGS, QUICK_BACKLOGS = (10_000, 1_000_000), (5_000, 50_000)

# A worker looks for what is due once a second, and has imported everything after two.
START_SECONDS = 3.0

COST_CLIENTS = 64


class Delay(msgspec.Struct, kw_only=True):
    """From the commit of an event to its receipt."""

    name: str
    rate: float
    events: int
    p50_ms: float
    p99_ms: float


class Cost(msgspec.Struct, kw_only=True):
    """Processor time of the server for a charge, in microseconds, round by round: without an endpoint, with one."""

    name: str
    without_us: list[float]
    with_us: list[float]


class Backlog(msgspec.Struct, kw_only=True):
    """How fast a worker delivers with so many deliveries waiting."""

    waiting: int
    drained: Drained


class Found(msgspec.Struct, kw_only=True):
    """All that was measured of deliveries."""

    drained: list[Drained] = []
    delays: list[Delay] = []
    costs: list[Cost] = []
    backlogs: list[Backlog] = []


def delay(here: Place, *, rate: float, seconds: float, workers: int) -> Delay:
    """Let something happen at a steady rate, and see when the sink gets to know."""
    received(here.sink)
    environment = here.installation.environment
    with ExitStack() as stack:
        for _ in range(workers):
            stack.enter_context(running([*KPAY, "worker"], environment=environment))
        if workers:
            time.sleep(START_SECONDS)
        how = "kicking" if workers else "embedded"
        program = [sys.executable, "-m", "benchmarks.programs.telling"]
        told = finish(
            [*program, str(rate), str(seconds), here.installation.merchant, how], environment=environment
        )
        committed: dict[str, float] = json.loads(told)
        time.sleep(1)
        at = received(here.sink).at
    late = sorted((at[event] - when) * 1000 for event, when in committed.items() if event in at)
    if len(late) < len(committed):
        raise Failed(f"{len(committed) - len(late)} of {len(committed)} events did not arrive")
    return Delay(
        name=here.name,
        rate=rate,
        events=len(late),
        p50_ms=percentile(late, 0.5),
        p99_ms=percentile(late, 0.99),
    )


def backlog(setting: Setting, sizes: Sequence[int], seconds: float) -> list[Backlog]:
    """Measure a worker for some seconds with ever more deliveries waiting for it."""
    found: list[Backlog] = []
    for waiting in sizes:
        with place("postgres", setting.postgres, None) as here:
            asyncio.run(queues.fill(here, min(waiting, sizes[0])))
            if waiting > sizes[0]:
                asyncio.run(queues.fill_by_sql(here.installation.database_url, waiting))
            drained = drain(here, waiting, seconds=seconds)
            found.append(Backlog(waiting=waiting, drained=drained))
            setting.tell(f"{waiting:,} waiting: {drained.rate:,.0f}/s")
    return found


def cost(name: str, postgres: str | None, setting: Setting) -> Cost:
    """Measure what a charge costs in a process that leaves delivering to workers."""
    found = Cost(name=name, without_us=[], with_us=[])
    with ExitStack() as stack:
        subjects = [
            prepare(stack.enter_context(servers.serving(here.installation)))
            for many in (0, 1)
            for here in (stack.enter_context(place(name, postgres, setting.redis, endpoints=many)),)
        ]
        for number in range(setting.rounds):
            for which in (0, 1) if number % 2 else (1, 0):
                result = subjects[which].charge(clients=COST_CLIENTS, seconds=setting.seconds)
                (found.without_us, found.with_us)[which].append(result.server_cpu_us or 0.0)
            setting.tell(f"charge on {name}, endpoint / none: {found.with_us[-1] / found.without_us[-1]:.2f}")
    return found


def variants(setting: Setting) -> list[tuple[str, str | None, str | None]]:
    """Return who can deliver here: a name, the database and the broker."""
    found: list[tuple[str, str | None, str | None]] = [
        (f"{name}, embedded", url, None) for name, url in setting.places()
    ]
    if setting.postgres and setting.redis:
        found.append(("postgres, dramatiq + redis", setting.postgres, setting.redis))
    return found


def measure(setting: Setting) -> Found:
    """Measure everything, the bare loop beside each round of a worker."""
    found = Found()
    many = QUICK_QUEUE if setting.quick else QUEUE
    for name, url, broker in variants(setting):
        with folder() as where, place(name, url, broker) as here:
            for number in range(1, setting.rounds + 1):
                asyncio.run(queues.fill(here, many))
                bare = queues.post_bare(here.sink, setting.seconds, where)
                drained = drain(here, many)
                drained.bare = bare
                found.drained.append(drained)
                setting.tell(f"{name}, round {number}: {drained.rate:,.0f}/s, bare {bare.rate:,.0f}/s")
            half = statistics.median(each.rate for each in found.drained if each.name == name) / 2
            seconds = 2.0 if setting.quick else 15.0
            late = delay(here, rate=half, seconds=seconds, workers=1 if broker else 0)
            found.delays.append(late)
            setting.tell(f"{name}, {half:,.0f}/s: p50 {late.p50_ms:,.0f} ms, p99 {late.p99_ms:,.0f} ms")
    if setting.redis:
        found.costs = [cost(name, url, setting) for name, url in setting.places()]
    if setting.postgres:
        sizes = QUICK_BACKLOGS if setting.quick else BACKLOGS
        found.backlogs = backlog(setting, sizes, 2.0 if setting.quick else 8.0)
    return found


def go(setting: Setting) -> Findings:
    """Measure, and compare what a second of the worker's processor delivers with what one of the bare loop's posts."""
    found = measure(setting)
    findings = Findings(results=found, tables=show(found))
    for name, _, _ in variants(setting):
        rounds = [each for each in found.drained if each.name == name]
        values = ratios([each.bare.cpu_us for each in rounds if each.bare], [each.cpu_us for each in rounds])
        findings.note(f"deliveries a core, {name} / bare loop", over_rounds(values))
    for late in found.delays:
        findings.note(f"commit to receipt p99, {late.name}", over_rounds([late.p99_ms]))
    for each in found.costs:
        figure = over_rounds(ratios(each.with_us, each.without_us))
        findings.note(f"server time of a charge {each.name}, endpoint / none", figure)
    if found.backlogs:
        small, large = found.backlogs
        note = "" if large.waiting >= BACKLOGS[-1] else f"measured with {large.waiting:,} waiting"
        figure = over_rounds([large.drained.rate / small.drained.rate])
        findings.note("deliveries, 1,000,000 waiting / 10,000", figure, note=note)
    return findings


def show(found: Found) -> list[str]:
    """Set what was measured: by wall clock, and by processor time, which is what a core carries."""
    heads = ["deliveries", "a second", "bare", "worker µs", "bare µs", "MiB"]
    drained = [
        [
            each.name,
            *(whole(value) for value in (each.rate, each.bare and each.bare.rate)),
            *(whole(value) for value in (each.cpu_us, each.bare and each.bare.cpu_us, each.memory_mib)),
        ]
        for each in found.drained
    ]
    delays = [
        [each.name, whole(each.rate), whole(each.events), short(each.p50_ms), short(each.p99_ms)]
        for each in found.delays
    ]
    costs = [
        [each.name, *(whole(statistics.median(values)) for values in (each.without_us, each.with_us))]
        for each in found.costs
    ]
    backlogs = [[f"{each.waiting:,} waiting", whole(each.drained.rate)] for each in found.backlogs]
    return [
        table(titles, rows)
        for titles, rows in (
            (heads, drained),
            (["commit to receipt", "a second", "events", "p50 ms", "p99 ms"], delays),
            (["server µs of a charge", "no endpoint", "an endpoint"], costs),
            (["backlog", "a second"], backlogs),
        )
        if rows
    ]
