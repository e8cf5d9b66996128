"""
Units of the group commit: what one caller commits, as rows in the order in which everybody writes.

All processes write inserts before updates, then by table, then by key, so that they wait for each other in line and
not in a circle. What is held takes its table's turn in that line, after the updates there.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, cast

from sqlalchemy import Table

from kpay_adapters.sql.database import Database, Part, Verb
from kpay_core.commit import Record, check_unit, is_guarded

# How many versions are remembered at least (at most twice as many), at about 200 bytes each.
REMEMBERED_VERSIONS = 10_000

Key = tuple[type[Record], str]


class Row(NamedTuple):
    """One record on its way into a table, or held there. By place and id is the order in which everybody writes."""

    place: int
    id: str
    encoded: object


class Unit:
    """The records of one commit, and who waits for it."""

    __slots__ = ("done", "guards", "held", "rows")

    def __init__(self, rows: Sequence[Row], guards: Mapping[Key, int], held: Set[Key]) -> None:
        self.rows = rows
        # The versions that must be found, 0 for a record that must not exist.
        self.guards = guards
        # Those of them that stay as they are.
        self.held = held
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
        self._held = database.held
        self._encoders = {kind: database.encoder(table) for kind, table in tables.items()}
        self._steps: list[tuple[Table, Verb]] = []
        # The place of a kind's inserts (or appends), of its updates and of its holds in the order of writing.
        self._insert_at: dict[type[Record], int] = {}
        self._update_at: dict[type[Record], int] = {}
        self._hold_at: dict[type[Record], int] = {}
        for kind, table in tables.items():
            self._insert_at[kind] = len(self._steps)
            self._steps.append((table, "insert" if is_guarded(kind) else "append"))
        for kind, table in tables.items():
            if is_guarded(kind):
                self._update_at[kind] = len(self._steps)
                self._steps.append((table, "update"))
                self._hold_at[kind] = len(self._steps)
                self._steps.append((table, "hold"))

    def unit(self, records: Sequence[Record], held: Sequence[Record] = ()) -> Unit:
        """Make a unit, or raise `ValueError` when no store takes it."""
        check_unit(records, held)
        rows: list[Row] = []
        guards: dict[Key, int] = {}
        for record in records:
            kind = type(record)
            place = self._insert_at.get(kind)
            assert place is not None, f"no table keeps a {kind.__name__}"
            if kind in self._update_at:
                version = cast(Any, record).version
                guards[kind, record.id] = version - 1
                place = self._update_at[kind] if version > 1 else place
            # Encoded now, so that a record that cannot be is its own caller's trouble, and later changes of its
            # dicts are nobody's.
            rows.append(Row(place, record.id, self._encoders[kind](record)))
        for record in held:
            version = cast(Any, record).version
            guards[type(record), record.id] = version
            rows.append(Row(self._hold_at[type(record)], record.id, self._held(record.id, version)))
        return Unit(rows, guards, {(type(record), record.id) for record in held})

    def parts(self, units: Iterable[Unit]) -> list[Part]:
        """Group the rows of a batch by table and verb."""
        rows = sorted((row for unit in units for row in unit.rows), key=itemgetter(0, 1))
        parts: list[Part] = []
        for place, group in groupby(rows, lambda row: row.place):
            table, verb = self._steps[place]
            encoded = [row.encoded for row in group]
            # Many units of a batch hold the same record.
            parts.append(Part(table, verb, list(dict.fromkeys(encoded)) if verb == "hold" else encoded))
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
