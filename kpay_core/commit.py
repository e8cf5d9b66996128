"""
Records and their one way into a store: read, decide, commit.

A record is a frozen value. A record with a `version` is guarded: version 1 must not exist yet, version n replaces
exactly version n - 1. A record without one is appended and never changed. `Store.commit(*records)` is all or nothing,
so a guard is at once the lock of an idempotency key, the compare-and-set of a state machine and the fence of a lease.
A record that a commit only rests on is held: `Store.commit(*records, held=[book])` writes it not, and lets it not move.

    CommitFailed
    ├── Conflict     a guard did not hold, nothing was written: read again, decide again
    ├── Unknown      the connection was lost around the commit: commit the same records again, or read
    ├── Rejected     a constraint refused the records: a bug of ours, nothing was written
    └── Unavailable  the store cannot be asked now (away, full, closing): nothing was written
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, TypeVar, cast

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A value that a store keeps under its `id`; ids made later sort later."""

    id: str


class Guarded(Protocol):
    """A record that is replaced version by version."""

    __struct_fields__: ClassVar[tuple[str, ...]]

    @property
    def id(self) -> str: ...

    @property
    def version(self) -> int: ...


G = TypeVar("G", bound=Guarded)


def is_guarded(kind: type[Record]) -> bool:
    """Tell whether records of this kind carry a version."""
    return "version" in kind.__struct_fields__


def bump(record: G, **changes: Any) -> G:
    """Make the next version of a guarded record: the same record with `changes`, one version up."""
    return cast(G, msgspec.structs.replace(cast(Any, record), version=record.version + 1, **changes))


def check_unit(records: Sequence[Record], held: Sequence[Record]) -> None:
    """Raise `ValueError` for a unit that no store takes."""
    names = {(type(record), record.id) for record in (*records, *held)}
    if len(names) < len(records) + len(held):
        raise ValueError("the same record twice in a unit")
    if not all(is_guarded(type(record)) for record in held):
        raise ValueError("a record without a version never moves, and is not held")
    if held and not records:
        raise ValueError("a unit that holds records and writes none")


class CommitFailed(Exception):
    """The store did not say that the records are durable."""


class Conflict(CommitFailed):
    """The record that moved since it was read; nothing was written."""

    def __init__(self, kind: type[Record], id: str) -> None:
        super().__init__(f"{kind.__name__} {id} moved")
        self.kind = kind
        self.id = id


class Unknown(CommitFailed):
    """The connection was lost around the commit: the records are durable, or none of them is."""


class Rejected(CommitFailed):
    """A constraint of the store refused the records; nothing was written."""


class Unavailable(CommitFailed):
    """The store is away, full or closing; nothing was written. Also raised by reads."""
