"""
Units of the group commit: what one caller commits, as rows in the order in which everybody writes.

All processes write inserts before updates, then by table, then by key, so that they wait for each other in line and
not in a circle.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, cast

from sqlalchemy import Table

from kpay_adapters.sql.database import Database, Part, Verb
from kpay_core.commit import Record, is_guarded

# How many versions are remembered at least (at most twice as many), at about 200 bytes each.
REMEMBERED_VERSIONS = 10_000

Key = tuple[type[Record], str]


class Row(NamedTuple):
    """One record on its way into a table. By place and id is the order in which everybody writes."""

    place: int
    id: str
    encoded: object


class Unit:
    """The records of one commit, and who waits for it."""

    __slots__ = ("done", "guards", "rows")

    def __init__(self, rows: Sequence[Row], guards: Mapping[Key, int]) -> None:
        self.rows = rows
        # The versions that must be found, 0 for a record that must not exist.
        self.guards = guards
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def succeed(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Layout:
    """Where the records of each kind go, and in what order."""

    def __init__(self, database: Database, tables: Mapping[type[Record], Table]) -> None:
        self.tables = tables
        self._encoders = {kind: database.encoder(table) for kind, table in tables.items()}
        self._steps: list[tuple[Table, Verb]] = []
        # The place of a kind's inserts (or appends) and of its updates in the order of writing.
        self._insert_at: dict[type[Record], int] = {}
        self._update_at: dict[type[Record], int] = {}
        for kind, table in tables.items():
            self._insert_at[kind] = len(self._steps)
            self._steps.append((table, "insert" if is_guarded(kind) else "append"))
        for kind, table in tables.items():
            if is_guarded(kind):
                self._update_at[kind] = len(self._steps)
                self._steps.append((table, "update"))

    def unit(self, records: Iterable[Record]) -> Unit:
        """Make a unit, or raise `ValueError` when it holds a record twice."""
        rows: list[Row] = []
        guards: dict[Key, int] = {}
        seen: set[Key] = set()
        for record in records:
            kind = type(record)
            place = self._insert_at.get(kind)
            assert place is not None, f"no table keeps a {kind.__name__}"
            key = kind, record.id
            seen.add(key)
            if kind in self._update_at:
                version = cast(Any, record).version
                guards[key] = version - 1
                place = self._update_at[kind] if version > 1 else place
            # Encoded now, so that a record that cannot be is its own caller's trouble, and later changes of its
            # dicts are nobody's.
            rows.append(Row(place, record.id, self._encoders[kind](record)))
        if len(seen) < len(rows):
            raise ValueError("the same record twice in a unit")
        return Unit(rows, guards)

    def parts(self, units: Iterable[Unit]) -> list[Part]:
        """Group the rows of a batch by table and verb."""
        rows = sorted((row for unit in units for row in unit.rows), key=itemgetter(0, 1))
        parts: list[Part] = []
        for place, group in groupby(rows, lambda row: row.place):
            table, verb = self._steps[place]
            parts.append(Part(table, verb, [row.encoded for row in group]))
        return parts


class Versions:
    """The versions we saw last, as many as there is room for: what is older than they has lost already."""

    def __init__(self) -> None:
        self._young: dict[Key, int] = {}
        self._old: dict[Key, int] = {}

    def note(self, key: Key, version: int) -> None:
        self._young[key] = version
        if len(self._young) >= REMEMBERED_VERSIONS:
            self._old, self._young = self._young, {}

    def stale(self, unit: Unit) -> Key | None:
        """Return a record of the unit that is known to have moved on."""
        for key, version in unit.guards.items():
            if self._young.get(key, 0) > version or self._old.get(key, 0) > version:
                return key
        return None
