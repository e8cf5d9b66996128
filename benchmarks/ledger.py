"""
The ledger: what it adds to a charge, how fast merchants are settled with, and what a long payout and the balance of a
large book cost to read.
"""

import asyncio
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import msgspec

from benchmarks import books, servers
from benchmarks.books import LINES_A_CHARGE, NET, TRANSFERS_A_CHARGE
from benchmarks.load import Job, Result, run
from benchmarks.processes import Failed, finish, memory_mib
from benchmarks.samples import get_request
from benchmarks.servers import KPAY, Installation, Server
from benchmarks.settling import Settled
from benchmarks.subjects import Subject, prepare
from kpay_core.domain.ledger import LINES
from kpay_core.domain.payouts import MAX_LINES
from kpay_core.flows.booking import MANY_TRANSFERS
from kpay_http import compose
from kpay_http.settings import read_settings

BOOKLESS = (sys.executable, "-m", "benchmarks.bookless")

# The promises: what the ledger makes of a charge's cost; lines a second of what one statement writes; a payout of
# 10,000 lines, and what the server grows by; a balance.
MOST_COST = 1.2
LEAST_OF_STATEMENT = 0.3
MOST_PAYOUT_MS = 300.0
MOST_PAYOUT_MIB = 50.0
MOST_BALANCE_MS = 50.0

# Memory must not grow with the lines: four times as many may take so many times as much.
MOST_GROWTH = 1.1

COST_CLIENTS = (16, 64)
MERCHANTS = 1_000
LINES_TO_SETTLE = (250_000, 1_000_000)
BOOK_TRANSFERS = 1_000_000
PAYOUT_REQUESTS = 50
BALANCE_REQUESTS = 200

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

Tell = Callable[[str], None]


class Cost(msgspec.Struct, kw_only=True):
    """A charge with the ledger and without it, in one round."""

    database: str
    clients: int
    round: int
    ledger: Result
    bookless: Result


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

    costs: list[Cost] = []
    settlings: list[Settling] = []
    payouts: list[Reading] = []
    balances: list[Reading] = []


def compare_costs(
    database: str, postgres: str | None, *, rounds: int, seconds: float, tell: Tell
) -> list[Cost]:
    """Measure charges on two servers in turn, of which one keeps no books."""
    found: list[Cost] = []
    with ExitStack() as stack:
        pair = [prepare(stack.enter_context(servers.kpay(postgres, program))) for program in (KPAY, BOOKLESS)]

        def measure(subject: Subject, clients: int) -> Result:
            return subject.measure("charge", clients=clients, seconds=seconds)

        for clients in COST_CLIENTS:
            for number in range(1, rounds + 1):
                # Each is first in every other round.
                results = [measure(each, clients) for each in (pair if number % 2 else pair[::-1])]
                ledger, bookless = results if number % 2 else results[::-1]
                each = Cost(
                    database=database, clients=clients, round=number, ledger=ledger, bookless=bookless
                )
                found.append(each)
                tell(f"charge on {database}, {clients} clients, round {number}: {ratio_of(each):.2f}")
    return found


def ratio_of(cost: Cost) -> float:
    """Return how many times as much of the server's processor a charge takes with the ledger."""
    with_ledger, without = cost.ledger.server_cpu_us, cost.bookless.server_cpu_us
    assert with_ledger, "a server's time is always measured"
    assert without, "a server's time is always measured"
    return with_ledger / without


def ratio(costs: Sequence[Cost]) -> float:
    """Return the median over the rounds of the ratio within a round."""
    return statistics.median(map(ratio_of, costs))


def settle(database: str, postgres: str | None, *, merchants: int, lines: int, tell: Tell) -> Settling:
    """Settle with merchants who share so many lines, and write the same lines by one statement."""
    with servers.installed(postgres) as here:
        asyncio.run(take_in(here, merchants - 1))
        books.fill(here.database_url, lines // LINES_A_CHARGE // merchants)
        books.make_due(here.database_url)
        settled = settle_all(here)
        books.execute(here.database_url, LINES_TABLE)
        written = books.execute(here.database_url, WRITE_LINES)
        if written.rows != lines:
            raise Failed(f"payouts list {written.rows} lines instead of {lines}")
    found = Settling(database=database, lines=lines, settled=settled, statement_seconds=written.seconds)
    tell(f"{lines:,} lines on {database}: {settled.seconds:.1f} s, one statement {written.seconds:.1f} s")
    return found


async def take_in(here: Installation, many: int) -> None:
    """Let so many more merchants apply."""
    settings = read_settings(here.environment)
    async with compose.open_kpay(settings, compose.secret_of(settings, make=False)) as (kpay, _, _):
        await asyncio.gather(*(kpay.apply(name=f"Bench {number}") for number in range(many)))


def settle_all(here: Installation) -> Settled:
    """Make all payouts that are due, in a process of its own."""
    told = finish([sys.executable, "-m", "benchmarks.settling"], environment=here.environment)
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
    (answer,) = run(asking(server, path, 1, collect=True)).answers
    return json.loads(answer)


def read(server: Server, path: str, requests: int) -> Reading:
    """Read one thing again and again."""
    before = memory_mib(server.pid)
    return Reading(
        database=server.name,
        what=path,
        result=run(asking(server, path, requests)),
        before_mib=before,
        after_mib=memory_mib(server.pid),
        most_mib=memory_mib(server.pid, "VmHWM"),
    )


def asking(server: Server, path: str, requests: int, *, collect: bool = False) -> Job:
    return Job(
        port=server.port,
        clients=1,
        status=200,
        requests=[get_request(server.secret_key, path)],
        count=requests,
        collect=collect,
        server_pid=server.pid,
        postgres_pid=server.postgres_pid,
    )


def go(
    databases: Sequence[tuple[str, str | None]], *, quick: bool, rounds: int, seconds: float, tell: Tell
) -> Found:
    """Measure everything on each database."""
    found = Found()
    small = 20 if quick else 1
    for name, url in databases:
        found.costs += compare_costs(name, url, rounds=rounds, seconds=seconds, tell=tell)
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
