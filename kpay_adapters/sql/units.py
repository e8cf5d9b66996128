"""
Units of the group commit: what one caller commits, as rows in the order in which everybody writes.

All processes write inserts before updates, then by table, then by key, so that they wait for each other in line and
not in a circle. What is held takes its table's turn in that line, after the updates there.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from operator import itemgetter
from typing import Any, NamedTuple, cast

from sqlalchemy import Table

from kpay_adapters.sql.database import Database, Part, Verb
from kpay_core.commit import Record, check_unit, is_guarded

# How many versions are remembered at least (at most twice as many), at about 200 bytes each.
REMEMBERED_VERSIONS = 10_000

Key = tuple[type[Record], str]


# One record on its way into a table, or held there: its place among the steps, its id, and itself as it is written.
# By place and id is the order in which everybody writes.
Row = tuple[int, str, object]


class Way(NamedTuple):
    """How a kind of record is written: in what form, and at which steps. What is appended knows only the first."""

    encode: Callable[[Record], object]
    insert_at: int
    update_at: int | None
    hold_at: int | None


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
        self._steps: list[tuple[Table, Verb]] = []
        insert_at = {
            kind: self._step(table, "insert" if is_guarded(kind) else "append")
            for kind, table in tables.items()
        }
        self._ways: dict[type[Record], Way] = {}
        for kind, table in tables.items():
            update_at = hold_at = None
            if is_guarded(kind):
                update_at, hold_at = self._step(table, "update"), self._step(table, "hold")
            self._ways[kind] = Way(database.encoder(table), insert_at[kind], update_at, hold_at)

    def _step(self, table: Table, verb: Verb) -> int:
        """Make the next step in the order of writing, and return its place."""
        self._steps.append((table, verb))
        return len(self._steps) - 1

    def unit(self, records: Sequence[Record], held: Sequence[Record] = ()) -> Unit:
        """Make a unit, or raise `ValueError` when no store takes it."""
        check_unit(records, held)
        rows: list[Row] = []
        guards: dict[Key, int] = {}
        for record in records:
            kind = type(record)
            assert kind in self._ways, f"no table keeps a {kind.__name__}"
            encode, place, update_at, _ = self._ways[kind]
            if update_at is not None:
                version = cast(Any, record).version
                guards[kind, record.id] = version - 1
                if version > 1:
                    place = update_at
            # Encoded now, so that a record that cannot be is its own caller's trouble, and later changes of its
            # dicts are nobody's.
            rows.append((place, record.id, encode(record)))
        for record in held:
            kind, version = type(record), cast(Any, record).version
            guards[kind, record.id] = version
            rows.append((cast(int, self._ways[kind].hold_at), record.id, self._held(record.id, version)))
        return Unit(rows, guards, {(type(record), record.id) for record in held})

    def parts(self, units: Iterable[Unit]) -> list[Part]:
        """Group the rows of a batch by table and verb."""
        found: dict[int, list[tuple[str, object]]] = {}
        for unit in units:
            for place, id, encoded in unit.rows:
                found.setdefault(place, []).append((id, encoded))
        parts: list[Part] = []
        for place, rows in sorted(found.items()):
            table, verb = self._steps[place]
            encoded = [row[1] for row in sorted(rows, key=itemgetter(0))]
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
