"""
What is aimed at, in one table, and how a figure is judged.

A goal is met by the median over the rounds. Ratios are of requests a second unless they say otherwise.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum

import msgspec

from benchmarks.figures import Figure
from benchmarks.tables import short, table

DATABASES = ("sqlite", "postgres")


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """What a part measures under this name must be at `least` so much, or at `most`; in a unit, or as a ratio."""

    part: str
    name: str
    least: float | None = None
    most: float | None = None
    unit: str = ""

    def is_met(self, value: float) -> bool:
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def reached_times(self, value: float) -> float:
        """Return how many times over a value meets the goal: 1 is just met, less falls short."""
        if self.least is not None:
            return value / self.least
        assert self.most is not None, "a goal is one or the other"
        return self.most / value if value > 0 else float("inf")


class Verdict(StrEnum):
    REACHED = "REACHED"
    FALLS_SHORT = "FALLS SHORT"
    # It was measured in another way than the goal asks, so it shows neither.
    NOT_PROVED = "not proved"
    NOT_MEASURED = "not measured"


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A goal, and what was measured of it."""

    goal: Goal
    figure: Figure | None
    verdict: Verdict


RATIOS = (
    Goal(part="ratios", name="charge postgres / pgbench, 64 clients", least=3.0),
    Goal(part="ratios", name="charge postgres / pgbench, 16 clients", least=1.8),
    Goal(part="ratios", name="charge postgres / bare, 64 clients", least=0.60),
    Goal(part="ratios", name="charge sqlite / bare, 64 clients", least=0.45),
    Goal(part="ratios", name="charge sqlite / pgbench, 64 clients", least=1.8),
    # Cold: the answer is in the database, and the process has never seen it. Hot: answered a moment ago.
    Goal(part="ratios", name="cold replay sqlite / bare, 64 clients", least=0.8),
    Goal(part="ratios", name="hot replay sqlite / bare, 64 clients", least=0.8),
    Goal(part="ratios", name="cold replay postgres / bare, 64 clients", least=0.5),
    Goal(part="ratios", name="hot replay postgres / bare, 64 clients", least=0.85),
    Goal(part="ratios", name="get sqlite / bare, 64 clients", least=0.9),
    Goal(part="ratios", name="get postgres / bare, 64 clients", least=0.55),
    *(
        Goal(part="ratios", name=f"charge {database}, p99 / p50, 16 clients", most=4.0)
        for database in DATABASES
    ),
)

ROWS = tuple(
    goal
    for database in DATABASES
    for goal in (
        Goal(part="rows", name=f"get {database}, 50,000 / 1,000 rows", least=0.9),
        Goal(part="rows", name=f"get {database}, 1,000,000 / 1,000 rows", least=0.8),
        Goal(part="rows", name=f"list {database}, page 1,000 / page 1", least=0.9),
        Goal(part="rows", name=f"list {database}, 1,000,000 / 1,000 rows", least=0.8),
        Goal(part="rows", name=f"charge {database}, 1,000,000 / 1,000 rows", least=0.8),
    )
)

# Of the server's processor time on one core, or of the worker's: what a core carries.
DELIVERIES = (
    Goal(part="deliveries", name="deliveries a core, sqlite, embedded / bare loop", least=0.6),
    Goal(part="deliveries", name="deliveries a core, postgres, embedded / bare loop", least=0.6),
    Goal(part="deliveries", name="deliveries a core, postgres, dramatiq + redis / bare loop", least=0.6),
    Goal(part="deliveries", name="commit to receipt p99, sqlite, embedded", most=250, unit="ms"),
    Goal(part="deliveries", name="commit to receipt p99, postgres, embedded", most=250, unit="ms"),
    Goal(part="deliveries", name="commit to receipt p99, postgres, dramatiq + redis", most=1000, unit="ms"),
    *(
        Goal(part="deliveries", name=f"server time of a charge {database}, endpoint / none", most=1.15)
        for database in DATABASES
    ),
    Goal(part="deliveries", name="deliveries, 1,000,000 waiting / 10,000", least=0.9),
)

PEERS = tuple(
    goal
    for database in DATABASES
    for goal in (
        Goal(part="peers", name=f"charge {database} / localstripe, empty", least=15),
        Goal(part="peers", name=f"charge {database} / localstripe, 10,000 charges", least=300),
        Goal(part="peers", name=f"charge {database} / stripe-stateful-mock, empty", least=1.0),
        Goal(part="peers", name=f"charge {database} / stripe-stateful-mock, 50,000 charges", least=1.2),
        Goal(part="peers", name=f"list {database} / stripe-stateful-mock, 50,000 charges", least=20),
    )
)

PROCESSES = (Goal(part="processes", name="charge postgres, two processes / one", least=1.5),)

MEMORY = tuple(
    Goal(part="memory", name=f"memory after 1,000,000 charges, {database}", most=150, unit="MiB")
    for database in DATABASES
)

START = tuple(
    Goal(part="start", name=f"start to first answer, {database}", most=1.5, unit="s")
    for database in DATABASES
)

NEIGHBOURS = ("sweeper", "settlement", "audit", "drain")

BESIDE = tuple(
    Goal(part="beside", name=f"charge p99 {database}, {neighbour} beside / alone", most=1.25)
    for database in DATABASES
    for neighbour in NEIGHBOURS
)

LEDGER = tuple(
    goal
    for database in DATABASES
    for goal in (
        Goal(part="ledger", name=f"server time of a charge {database}, ledger / none, 16 clients", most=1.2),
        Goal(part="ledger", name=f"server time of a charge {database}, ledger / none, 64 clients", most=1.2),
        Goal(part="ledger", name=f"settling 250,000 lines {database} / one statement", least=0.3),
        Goal(part="ledger", name=f"settling 1,000,000 lines {database} / one statement", least=0.3),
        Goal(part="ledger", name=f"memory of settling {database}, 1,000,000 / 250,000 lines", most=1.1),
        Goal(part="ledger", name=f"payout of 10,000 lines {database}, p99", most=300, unit="ms"),
        Goal(part="ledger", name=f"payout of 10,000 lines {database}, grown by", most=50, unit="MiB"),
        Goal(part="ledger", name=f"balance {database}, 1,000 open, p99", most=50, unit="ms"),
        Goal(part="ledger", name=f"balance {database}, 2,500 open, p99", most=50, unit="ms"),
    )
)

AUDIT = tuple(
    goal
    for database in DATABASES
    for goal in (
        Goal(part="audit", name=f"audit of 1,000,000 transfers {database}", most=60, unit="s"),
        Goal(part="audit", name=f"memory of an audit {database}, 1,000,000 / 250,000 transfers", most=1.1),
    )
)

GOALS = (*RATIOS, *ROWS, *PROCESSES, *START, *MEMORY, *BESIDE, *PEERS, *DELIVERIES, *LEDGER, *AUDIT)
NAMES = frozenset(goal.name for goal in GOALS)


def judge(
    figures: Mapping[str, Figure], parts: Collection[str], goals: Sequence[Goal] = GOALS
) -> list[Judged]:
    """Judge every goal of the parts that were run. A figure without a goal is a mistake of ours."""
    asked = [goal for goal in goals if goal.part in parts]
    unknown = figures.keys() - {goal.name for goal in asked}
    assert not unknown, f"no goal is called {', '.join(sorted(unknown))}"
    return [
        Judged(goal=goal, figure=figure, verdict=verdict(goal, figure))
        for goal in asked
        for figure in (figures.get(goal.name),)
    ]


def verdict(goal: Goal, figure: Figure | None) -> Verdict:
    """Judge one figure."""
    if figure is None:
        return Verdict.NOT_MEASURED
    if figure.note:
        return Verdict.NOT_PROVED
    return Verdict.REACHED if goal.is_met(figure.value) else Verdict.FALLS_SHORT


def show_goals(judged: Sequence[Judged]) -> str:
    """Set the goals with their figures, and say below how many were reached, and what makes figures prove less."""
    rows: list[list[str]] = []
    for each in judged:
        goal, figure = each.goal, each.figure
        aim = f"≥ {short(goal.least)}" if goal.least is not None else f"≤ {short(goal.most)}"
        cells = ["-", "-", "-"]
        if figure:
            spread = "-" if figure.low == figure.high else f"{short(figure.low)} to {short(figure.high)}"
            cells = [short(figure.value), spread, short(figure.by_time)]
        rows.append([goal.name, f"{aim} {goal.unit}".strip(), *cells, each.verdict])
    reached = sum(each.verdict is Verdict.REACHED for each in judged)
    notes = Counter(each.figure.note for each in judged if each.figure and each.figure.note)
    heads = ["goal", "aim", "figure", "range of rounds", "by processor time", ""]
    told = [f"{many} {'figure was' if many == 1 else 'figures were'} {note}." for note, many in notes.items()]
    return "\n".join([table(heads, rows), f"{reached} of {len(judged)} goals are reached.", *told])
