"""Alternating rounds: everything is measured once in each, so that what drifts hits everyone alike."""

import statistics
from collections.abc import Callable, Sequence

import msgspec

from benchmarks.figures import Figure, over_rounds, ratios
from benchmarks.load import Result
from benchmarks.tables import short, table, whole

Take = Callable[[Result], float | None]
Tell = Callable[[str], None]


class Line(msgspec.Struct, frozen=True):
    """What is measured, under its name, and how: by so many clients."""

    name: str
    take: Callable[[int], Result]


class Measured(msgspec.Struct, kw_only=True):
    """One result of one round."""

    name: str
    clients: int
    round: int
    result: Result


def alternate(lines: Sequence[Line], *, clients: Sequence[int], rounds: int, tell: Tell) -> list[Measured]:
    """Measure round by round, every other round backwards; peers stand next to each other."""
    measured: list[Measured] = []
    for many in clients:
        for number in range(1, rounds + 1):
            for line in lines if number % 2 else reversed(lines):
                result = line.take(many)
                measured.append(Measured(name=line.name, clients=many, round=number, result=result))
                tell(f"{line.name}, {many} clients, round {number}: {result.rate:,.0f}/s")
    return measured


def rate(result: Result) -> float:
    return result.rate


def server_time(result: Result) -> float | None:
    return result.server_cpu_us


def spread(result: Result) -> float:
    """Return how many times the median the slow answers take."""
    return result.p99_ms / result.p50_ms


def values(measured: Sequence[Measured], name: str, clients: int, take: Take) -> list[float | None]:
    """Return what was taken of a line, round by round."""
    found = sorted(measured, key=lambda each: each.round)
    return [take(each.result) for each in found if (each.name, each.clients) == (name, clients)]


def compare(
    measured: Sequence[Measured], ours: str, theirs: str, clients: int, take: Take = rate
) -> Figure | None:
    """Return what one line reaches of another's rate within a round; None where either was not measured."""
    both = (ours, theirs)
    first, second = (values(measured, name, clients, take) for name in both)
    if not first or not second:
        return None
    # The other way round: less time is more speed.
    times = [values(measured, name, clients, server_time) for name in reversed(both)]
    return over_rounds(ratios(first, second), by_time=ratios(*times))


def of_line(measured: Sequence[Measured], name: str, clients: int, take: Take) -> Figure | None:
    """Return what was taken of one line."""
    return over_rounds(value for value in values(measured, name, clients, take) if value is not None)


def show_measured(measured: Sequence[Measured]) -> str:
    """Set the medians over the rounds. Processor time is in microseconds per request."""
    groups: dict[tuple[str, int], list[Result]] = {}
    for each in measured:
        groups.setdefault((each.name, each.clients), []).append(each.result)
    rows = [
        [
            name,
            str(clients),
            whole(median(results, rate)),
            *(short(median(results, take)) for take in (lambda it: it.p50_ms, lambda it: it.p99_ms)),
            whole(median(results, server_time)),
            whole(median(results, lambda it: it.postgres_cpu_us)),
            whole(median(results, lambda it: it.load_cpu_us)),
        ]
        for (name, clients), results in groups.items()
    ]
    heads = ["", "clients", "a second", "p50 ms", "p99 ms", "server µs", "postgres µs", "load µs"]
    return table(heads, rows)


def median(results: Sequence[Result], take: Take) -> float | None:
    """Return the median of what was measured; None where nothing was."""
    found = [value for each in results if (value := take(each)) is not None]
    return statistics.median(found) if found else None
