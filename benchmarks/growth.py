"""Growth: what a request costs after 50,000 charges, beside what it cost after 1,000."""

import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from benchmarks import servers, subjects
from benchmarks.load import Result
from benchmarks.subjects import FILLING_CLIENTS, KEPT_CHARGES, Subject

# With ten to a page the hundredth page exists also where there are only 1,000 charges.
PAGE_SIZE = 10
PAGES_BEFORE = 99

# One client: nothing is shared in batches, so a request's whole cost is its time.
CLIENTS = 1

# Few, so that the small database is still small at the end: seven rounds of 100 charges.
REQUESTS = 100

# The promise: no more than this, times the cost after the first thousand.
MOST = 1.2


class Grown(msgspec.Struct, kw_only=True):
    """One kind of request, in one round, in both sizes of one database."""

    database: str
    what: str
    round: int
    small: Result
    large: Result


class Fixture(msgspec.Struct, kw_only=True):
    """A server with so many charges, and the address of its list's hundredth page."""

    subject: Subject
    hundredth: str


@contextmanager
def filled(postgres: str | None, charges: int, tell: Callable[[str], None]) -> Iterator[Fixture]:
    """Run a server with so many charges in its database."""
    with servers.kpay(postgres) as server:
        subject = subjects.prepare(server)
        if charges > KEPT_CHARGES:
            subject.measure("charge", clients=FILLING_CLIENTS, count=charges - KEPT_CHARGES)
        tell(f"{server.name} holds {charges:,} charges")
        yield Fixture(subject=subject, hundredth=find_hundredth(subject))


def find_hundredth(subject: Subject) -> str:
    """Walk to the hundredth page, and return its address."""
    path = f"/v1/charges?limit={PAGE_SIZE}"
    for _ in range(PAGES_BEFORE):
        (page,) = subject.page(path, clients=1, count=1, collect=True).answers
        path = f"/v1/charges?limit={PAGE_SIZE}&starting_after={json.loads(page)['data'][-1]['id']}"
    return path


def measures() -> dict[str, Callable[[Fixture], Result]]:
    first = f"/v1/charges?limit={PAGE_SIZE}"
    return {
        "charge": lambda it: it.subject.measure("charge", clients=CLIENTS, count=REQUESTS),
        "get": lambda it: it.subject.measure("get", clients=CLIENTS, count=4 * REQUESTS),
        "first page": lambda it: it.subject.page(first, clients=CLIENTS, count=4 * REQUESTS),
        "hundredth page": lambda it: it.subject.page(it.hundredth, clients=CLIENTS, count=4 * REQUESTS),
    }


def go(
    database: str, postgres: str | None, *, sizes: tuple[int, int], rounds: int, tell: Callable[[str], None]
) -> list[Grown]:
    """Fill two databases, and measure them in turn."""
    grown: list[Grown] = []
    with filled(postgres, sizes[0], tell) as small, filled(postgres, sizes[1], tell) as large:
        for number in range(1, rounds + 1):
            for what, measure in measures().items():
                # Each is first in every other round.
                pair = (small, large) if number % 2 else (large, small)
                results = [measure(each) for each in pair]
                one, two = results if number % 2 else reversed(results)
                grown.append(Grown(database=database, what=what, round=number, small=one, large=two))
                tell(f"{what} on {database}, round {number}: {two.p50_ms / one.p50_ms:.2f}")
    return grown


def growth(rounds: list[Grown], cost: Callable[[Result], float]) -> float:
    """Return the median over the rounds of how many times as much it costs."""
    return statistics.median(cost(each.large) / cost(each.small) for each in rounds)
