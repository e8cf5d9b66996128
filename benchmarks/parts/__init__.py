"""The parts of the benchmarks: each measures some of the goals, and can be run alone."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from benchmarks.figures import Figure
from benchmarks.load import Result


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure with, and how thoroughly. `tell` says how far it is."""

    databases: tuple[str, ...]
    postgres: str | None
    redis: str | None
    clients: tuple[int, ...]
    seconds: float
    rounds: int
    charges: int
    quick: bool
    tell: Callable[[str], None]

    def places(self) -> list[tuple[str, str | None]]:
        """Return the databases, each with the URL of its server."""
        return [(name, self.postgres if name == "postgres" else None) for name in self.databases]


class Findings(msgspec.Struct, kw_only=True):
    """
    What a part found: a figure for each goal that it could measure, tables for people, all results for machines.

    `others` are the shares of the machine that somebody else used meanwhile.
    """

    figures: dict[str, Figure] = {}
    tables: list[str] = []
    results: Any = None
    others: list[float] = []

    def note(self, name: str, figure: Figure | None, *, note: str = "") -> None:
        """Keep a figure, where there is one, with what has to be said of it."""
        if figure is not None:
            self.figures[name] = msgspec.structs.replace(figure, note=note) if note else figure


def others_of(results: Sequence[Result]) -> list[float]:
    return [result.others for result in results]
