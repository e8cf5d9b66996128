"""
Beside: how late charges are answered while a sweeper, a settlement, an audit or a drain works on the same database.

Each neighbour is a process of its own and works without a pause, which none does for long in production. On a machine
with few cores a part of what it costs is its core, so a process that only counts is measured in the same way.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count

import msgspec

from benchmarks import books, copies, databases, history, queues, servers
from benchmarks.figures import over_rounds, ratios
from benchmarks.goals import NEIGHBOURS
from benchmarks.load import Result
from benchmarks.parts import Findings, Setting, others_of
from benchmarks.processes import Failed, running
from benchmarks.queues import Place, place
from benchmarks.rounds import Line, alternate, show_measured, values
from benchmarks.servers import KPAY
from benchmarks.subjects import Subject, prepare

CLIENTS = 16

# A neighbour has imported everything, and is at work.
START_SECONDS = 1.5

COUNTING = "a process that counts"

# Enough to keep each neighbour busy until the charges are measured, on a machine a few times as fast as those known.
UNFINISHED = 6_000
# Ids are made of numbers, and those of the history are below.
FIRST_UNFINISHED = 1_000_000
MERCHANTS = 1_500
CHARGES_A_MERCHANT = 10
AUDITED_CHARGES = 60_000
DELIVERIES = 30_000
QUICK_SHARE = 3


class Neighbour(msgspec.Struct, frozen=True):
    """Who works beside the server: its command, and what it is given to do before each round."""

    name: str
    command: tuple[str, ...]
    give: Callable[[Place, str, int, int], None]


def nothing(*_: object) -> None:
    """Give nothing to do."""


def take_in(here: Place, share: int) -> None:
    asyncio.run(books.take_in(here.installation, MERCHANTS // share))


def make_due(here: Place, _: str, __: int, round: int) -> None:
    """Write matured charges of every merchant, and let it be time for their payouts."""
    url = here.installation.database_url
    books.fill(url, CHARGES_A_MERCHANT, first=1 + round * CHARGES_A_MERCHANT)
    books.make_due(url)


def open_charges(here: Place, model: str, share: int, round: int) -> None:
    """Leave charges unfinished: copies of one as it is before its outcome, of which the network knows nothing."""
    url = here.installation.database_url
    many = UNFINISHED // share
    long_ago = copies.ago(url, "3600")
    changes = {
        "id": copies.CHARGE_ID,
        "version": "1",
        "status": "'processing'",
        "matures_at": "NULL",
        "idempotency_key": "NULL",
        "created_at": long_ago,
        "look_at": long_ago,
    }
    first = FIRST_UNFINISHED + round * many
    databases.execute(url, copies.copy(url, "charges", model, changes, first=first, last=first + many - 1))


def write_history(here: Place, share: int) -> None:
    installation = here.installation
    history.fill(installation.database_url, installation.merchant, charges=AUDITED_CHARGES // share)


def queue(here: Place, _: str, share: int, __: int) -> None:
    asyncio.run(queues.fill(here, DELIVERIES // share))


PROGRAM = (sys.executable, "-m")
SETTLEMENT = Neighbour("settlement", (*PROGRAM, "benchmarks.programs.settling"), make_due)
OTHERS = (
    Neighbour(COUNTING, (sys.executable, "-c", "while True: pass"), nothing),
    Neighbour("sweeper", (*PROGRAM, "benchmarks.programs.sweeping"), open_charges),
    Neighbour("audit", (*KPAY, "audit"), nothing),
    Neighbour("drain", (*KPAY, "worker"), queue),
)


@contextmanager
def line_up(
    setting: Setting,
    name: str,
    url: str | None,
    furnish: Callable[[Place, int], None],
    neighbours: Sequence[Neighbour],
) -> Iterator[list[Line]]:
    """Start a server that leaves all work but requests to others, and yield it alone and beside each neighbour."""
    share = QUICK_SHARE if setting.quick else 1
    with ExitStack() as stack:
        # The drain has a queue of its own; an endpoint for every charge would be another thing to measure.
        here = stack.enter_context(place(name, url, setting.redis, wanted="payout.paid"))
        furnish(here, share)
        subject = prepare(stack.enter_context(servers.serving(here.installation)), kept=CLIENTS)
        model = json.loads(subject.charges[0])["id"]

        def alone(clients: int) -> Result:
            return subject.charge(clients=clients, seconds=setting.seconds)

        def beside(neighbour: Neighbour, rounds: Iterator[int], clients: int) -> Result:
            neighbour.give(here, model, share, next(rounds))
            return measure(subject, neighbour, here, clients, setting.seconds)

        yield [
            Line(alone_with(name, neighbours), alone),
            *(
                Line(f"charge {name}, {neighbour.name} beside", partial(beside, neighbour, count()))
                for neighbour in neighbours
            ),
        ]


def alone_with(name: str, neighbours: Sequence[Neighbour]) -> str:
    """Name the line of a server that is alone, on the database that these work on at other times."""
    return f"charge {name}, alone" if SETTLEMENT not in neighbours else f"charge {name}, alone, many books"


def measure(subject: Subject, neighbour: Neighbour, here: Place, clients: int, seconds: float) -> Result:
    """Measure charges while the neighbour is at work; raises `Failed` when it ran out of it."""
    with running(neighbour.command, environment=here.installation.environment) as process:
        time.sleep(START_SECONDS)
        result = subject.charge(clients=clients, seconds=seconds)
        if process.poll() is not None:
            raise Failed(f"the {neighbour.name} was done before the charges were measured")
    return result


def go(setting: Setting) -> Findings:
    """Measure each neighbour on each database, in turn with the server alone."""
    if setting.redis is None:
        setting.tell("beside: left out, for without a broker the server does its neighbours' work itself")
        return Findings()
    findings = Findings(results=[])
    for name, url in setting.places():
        # Settling has books of its own: they are written by SQL, without charges, and no audit would find them right.
        for furnish, neighbours in ((write_history, OTHERS), (take_in, (SETTLEMENT,))):
            with line_up(setting, name, url, furnish, neighbours) as lines:
                measured = alternate(lines, clients=(CLIENTS,), rounds=setting.rounds, tell=setting.tell)
            findings.results += measured
            quiet, *loud = (values(measured, line.name, CLIENTS, lambda it: it.p99_ms) for line in lines)
            for neighbour, beside in zip(neighbours, loud, strict=True):
                if neighbour.name in NEIGHBOURS:
                    goal = f"charge p99 {name}, {neighbour.name} beside / alone"
                    findings.note(goal, over_rounds(ratios(beside, quiet)))
    findings.tables.append(show_measured(findings.results))
    # Beside a neighbour, the neighbour would be counted among those who disturb.
    findings.others = others_of([it.result for it in findings.results if ", alone" in it.name])
    return findings
