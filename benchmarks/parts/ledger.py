"""
The ledger: what it adds to a charge, how fast merchants are settled with, and what a long payout and the balance of a
large book cost to read.
"""

import asyncio
import json
import sys
from contextlib import ExitStack
from functools import partial
from typing import Any

import msgspec

from benchmarks import books, databases, servers
from benchmarks.books import LINES_A_CHARGE, NET, TRANSFERS_A_CHARGE
from benchmarks.figures import over_rounds, ratios
from benchmarks.load import Result
from benchmarks.parts import Findings, Setting, others_of
from benchmarks.processes import Failed, finish, memory_mib
from benchmarks.programs.settling import Settled
from benchmarks.rounds import Line, Measured, Tell, alternate, server_time, show_measured, values
from benchmarks.servers import KPAY, Installation, Server
from benchmarks.subjects import Subject, prepare
from benchmarks.tables import short, table, whole
from kpay_core.domain.ledger import LINES
from kpay_core.domain.payouts import MAX_LINES
from kpay_core.flows.booking import MANY_TRANSFERS

BOOKLESS = (sys.executable, "-m", "benchmarks.programs.bookless")

COST_CLIENTS = (16, 64)
MERCHANTS = 1_000
LINES_TO_SETTLE = (250_000, 1_000_000)
BOOK_TRANSFERS = 1_000_000
PAYOUT_REQUESTS = 50
BALANCE_REQUESTS = 200

# A quick look is content with a twentieth of everything.
QUICK_SHARE = 20

# What is usually on an open sheet.
FEW_OPEN = 1_000

# What a ledger that kept the lines of payouts would write: every line with its payout, and no two payouts with one.
LINES_TABLE = """
CREATE TABLE bench_lines (id text PRIMARY KEY, payout text NOT NULL, amount bigint NOT NULL)
"""
WRITE_LINES = f"""
INSERT INTO bench_lines
SELECT t.id, p.id, CASE t.credit WHEN 'available' THEN t.amount ELSE -t.amount END
FROM payouts p JOIN transfers t ON t.merchant = p.merchant AND t.livemode = p.livemode
WHERE t.kind IN ({", ".join(f"'{kind}'" for kind in LINES)})
    AND substr(CAST(10000000000 + t.sheet AS text), 2) || '/' || t.id > p."after"
    AND substr(CAST(10000000000 + t.sheet AS text), 2) || '/' || t.id <= p.upto
"""


class Settling(msgspec.Struct, kw_only=True):
    """How so many lines were settled, and how long one statement took to write as many rows."""

    database: str
    lines: int
    settled: Settled
    statement_seconds: float


class Reading(msgspec.Struct, kw_only=True):
    """Requests for one object, one client at a time, and the server's memory: before, after, and the most it held."""

    database: str
    what: str
    result: Result
    before_mib: float
    after_mib: float
    most_mib: float


class Found(msgspec.Struct, kw_only=True):
    """All that was measured of the ledger."""

    costs: list[Measured] = []
    settlings: list[Settling] = []
    payouts: list[Reading] = []
    balances: list[Reading] = []


def compare_costs(database: str, postgres: str | None, setting: Setting) -> list[Measured]:
    """Measure charges on two servers in turn, of which one keeps no books."""

    def charge(subject: Subject, clients: int) -> Result:
        return subject.charge(clients=clients, seconds=setting.seconds)

    with ExitStack() as stack:
        found: list[Line] = []
        for what, program in (("ledger", KPAY), ("no ledger", BOOKLESS)):
            subject = prepare(stack.enter_context(servers.kpay(postgres, program)))
            found.append(Line(f"charge {database}, {what}", partial(charge, subject)))
        return alternate(found, clients=COST_CLIENTS, rounds=setting.rounds, tell=setting.tell)


def settle(database: str, postgres: str | None, *, merchants: int, lines: int, tell: Tell) -> Settling:
    """Settle with merchants who share so many lines, and write the same lines by one statement."""
    with servers.installed(postgres) as here:
        asyncio.run(books.take_in(here, merchants - 1))
        books.fill(here.database_url, lines // LINES_A_CHARGE // merchants)
        books.make_due(here.database_url)
        settled = settle_all(here)
        databases.execute(here.database_url, LINES_TABLE)
        written = databases.execute(here.database_url, WRITE_LINES)
        if written.rows != lines:
            raise Failed(f"payouts list {written.rows} lines instead of {lines}")
    found = Settling(database=database, lines=lines, settled=settled, statement_seconds=written.seconds)
    tell(f"{lines:,} lines on {database}: {settled.seconds:.1f} s, one statement {written.seconds:.1f} s")
    return found


def settle_all(here: Installation) -> Settled:
    """Make all payouts that are due, in a process of its own."""
    told = finish([sys.executable, "-m", "benchmarks.programs.settling"], environment=here.environment)
    return msgspec.json.decode(told, type=Settled)


def read_payout(database: str, postgres: str | None, *, lines: int, requests: int, tell: Tell) -> Reading:
    """Read a payout with so many lines."""
    with servers.installed(postgres) as here:
        books.fill(here.database_url, lines // LINES_A_CHARGE)
        books.make_due(here.database_url)
        settle_all(here)
        with servers.serving(here) as server:
            (payout,) = get(server, "/v1/payouts")["data"]
            path = f"/v1/payouts/{payout['id']}"
            found = read(server, path, requests)
            listed = len(get(server, path)["line_items"])
    if listed != lines:
        raise Failed(f"the payout lists {listed} lines instead of {lines}")
    found.what = f"payout of {lines:,} lines"
    tell(f"{found.what} on {database}: p99 {found.result.p99_ms:.0f} ms")
    return found


def read_balances(
    database: str, postgres: str | None, *, transfers: int, requests: int, tell: Tell
) -> list[Reading]:
    """Read a balance for the first time, with a usual open sheet, and with as many transfers on it as may be."""
    found: list[Reading] = []
    with servers.installed(postgres) as here:
        charges = transfers // TRANSFERS_A_CHARGE
        books.fill(here.database_url, charges)
        with servers.serving(here) as server:

            def measure(what: str, many: int) -> None:
                reading = read(server, "/v1/balance", many)
                reading.what = what
                available = get(server, "/v1/balance")["available"]
                if available != (expected := (charges + opened) * NET):
                    raise Failed(f"{available} is available instead of {expected}")
                found.append(reading)
                tell(f"balance on {database}, {what}: p99 {reading.result.p99_ms:.1f} ms")

            opened = 0
            measure("nothing carried forward", 1)
            for open_transfers in (FEW_OPEN, MANY_TRANSFERS):
                more = open_transfers // TRANSFERS_A_CHARGE - opened
                books.fill(here.database_url, more, first=charges + opened + 1, turned=False)
                opened += more
                measure(f"{open_transfers:,} open", requests)
    return found


def get(server: Server, path: str) -> dict[str, Any]:
    """Read one thing once, and return it."""
    (answer,) = Subject(server=server, charges=[]).page(path, clients=1, count=1, collect=True).answers
    return json.loads(answer)


def read(server: Server, path: str, requests: int) -> Reading:
    """Read one thing again and again."""
    before = memory_mib(server.pid)
    return Reading(
        database=server.name,
        what=path,
        result=Subject(server=server, charges=[]).page(path, clients=1, count=requests),
        before_mib=before,
        after_mib=memory_mib(server.pid),
        most_mib=memory_mib(server.pid, "VmHWM"),
    )


def measure(setting: Setting) -> Found:
    """Measure everything on each database."""
    found = Found()
    small = QUICK_SHARE if setting.quick else 1
    tell = setting.tell
    for name, url in setting.places():
        found.costs += compare_costs(name, url, setting)
        found.settlings += [
            settle(name, url, merchants=MERCHANTS // small, lines=lines // small, tell=tell)
            for lines in LINES_TO_SETTLE
        ]
        found.payouts.append(
            read_payout(name, url, lines=MAX_LINES // small, requests=PAYOUT_REQUESTS, tell=tell)
        )
        found.balances += read_balances(
            name, url, transfers=BOOK_TRANSFERS // small, requests=BALANCE_REQUESTS, tell=tell
        )
    return found


def go(setting: Setting) -> Findings:
    """Measure, and hold each figure beside what was promised of it."""
    found = measure(setting)
    findings = Findings(
        results=found, tables=show(found), others=others_of([it.result for it in found.costs])
    )
    note = f"measured with a {QUICK_SHARE}th of the rows" if setting.quick else ""
    for name in setting.databases:
        for clients in COST_CLIENTS:
            both = (
                values(found.costs, f"charge {name}, {what}", clients, server_time)
                for what in ("ledger", "no ledger")
            )
            goal = f"server time of a charge {name}, ledger / none, {clients} clients"
            findings.note(goal, over_rounds(ratios(*both)))
        settled = [each for each in found.settlings if each.database == name]
        for lines, each in zip(LINES_TO_SETTLE, settled, strict=True):
            figure = over_rounds([each.statement_seconds / each.settled.seconds])
            findings.note(f"settling {lines:,} lines {name} / one statement", figure, note=note)
        growth = over_rounds([settled[1].settled.most_mib / settled[0].settled.most_mib])
        findings.note(f"memory of settling {name}, 1,000,000 / 250,000 lines", growth, note=note)
    for each in found.payouts:
        goal = f"payout of {MAX_LINES:,} lines {each.database}"
        findings.note(f"{goal}, p99", over_rounds([each.result.p99_ms]), note=note)
        findings.note(f"{goal}, grown by", over_rounds([each.after_mib - each.before_mib]), note=note)
    for each in found.balances:
        # The first read, which carries everything forward, is promised nothing.
        if each.result.requests > 1:
            goal = f"balance {each.database}, {each.what}, p99"
            findings.note(goal, over_rounds([each.result.p99_ms]), note=note)
    return findings


def show(found: Found) -> list[str]:
    """Set what was measured of the ledger."""
    settlings = [
        [
            f"{each.database}, {each.lines:,} lines",
            whole(each.settled.payouts),
            *(f"{value:.1f}" for value in (each.settled.seconds, each.settled.cpu_seconds)),
            *(whole(each.lines / value) for value in (each.settled.seconds, each.statement_seconds)),
            *(whole(value) for value in (each.settled.before_mib, each.settled.most_mib)),
        ]
        for each in found.settlings
    ]
    readings = [
        [
            f"{each.database}, {each.what}",
            whole(each.result.requests),
            *(short(value) for value in (each.result.p50_ms, each.result.p99_ms)),
            short((each.result.server_cpu_us or 0.0) / 1000),
            whole(each.before_mib),
            f"{each.after_mib - each.before_mib:+.0f}",
            whole(each.most_mib),
        ]
        for each in (*found.payouts, *found.balances)
    ]
    done = ["payouts", "s", "of processor", "lines/s", "statement's rows/s", "MiB at start", "most"]
    read = ["requests", "p50 ms", "p99 ms", "server ms", "MiB before", "grown by", "peak"]
    return [
        show_measured(found.costs),
        table(["settling", *done], settlings),
        table(["one read", *read], readings),
    ]
