"""What becomes a figure: percentiles of one run, ratios of two runs in one round, and the median over the rounds."""

import math
import statistics
from collections.abc import Iterable, Sequence

import msgspec


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was measured of a goal: the median over the rounds, and the least and the most of them.

    `by_time` is the same ratio from processor time, which moves less than rates when others use the machine.
    `note` says how it was measured, where that is not as its goal asks; such a figure is not judged.
    """

    value: float
    low: float
    high: float
    by_time: float | None = None
    note: str = ""


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that so great a share of all is not above (nearest rank); `ordered` has some."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def over_rounds(values: Iterable[float], *, by_time: Iterable[float] = (), note: str = "") -> Figure | None:
    """Sum up one value of each round; None where there is none."""
    found, times = list(values), list(by_time)
    if not found:
        return None
    return Figure(
        value=statistics.median(found),
        low=min(found),
        high=max(found),
        by_time=statistics.median(times) if times else None,
        note=note,
    )


def ratios(ours: Sequence[float | None], theirs: Sequence[float | None]) -> list[float]:
    """Divide what was measured in each round by what was measured of the other in the same round."""
    pairs = zip(ours, theirs, strict=True)
    return [a / b for a, b in pairs if a is not None and b]
