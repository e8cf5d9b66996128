"""A store in memory: for embedders' tests, property tests and simulation. It is as strict as the SQL stores."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from kpay_core.commit import Conflict, Record, Rejected, check_unit, is_guarded
from kpay_core.domain.text import is_plain
from kpay_core.query import Condition, Query, meets

R = TypeVar("R", bound=Record)

encode = msgspec.json.Encoder().encode


class Kept(msgspec.Struct, frozen=True):
    """
    One record as the store keeps it: the bytes that every reader gets a copy of, and our own copy to filter by.

    A frozen record may hold a dict that is not, and no caller's dict may reach into the store.
    """

    copy: Record
    encoded: bytes


class MemoryStore:
    """
    Records in dicts. It keeps records of any kind, for as long as it lives.

    It awaits nothing, so a coroutine of it can be driven without an event loop, and nothing ever comes between the
    steps of a commit. It knows no CHECKs and foreign keys: those are the schema's.
    """

    def __init__(self) -> None:
        self._kept: dict[type[Record], dict[str, Kept]] = {}

    async def get(self, kind: type[R], id: str) -> R | None:
        """Return the newest version of one record, or None."""
        kept = self._kept.get(kind, {}).get(id)
        return None if kept is None else _decoder(kind).decode(kept.encoded)

    async def find(self, query: Query[R]) -> Sequence[R]:
        """Return the records that answer `query`; it looks at every record of the kind."""
        select = heapq.nlargest if query.descending else heapq.nsmallest
        decode = _decoder(query.kind).decode
        answer = select(query.limit, self._matching(query), key=_order_of(query.order))
        return [decode(kept.encoded) for kept in answer]

    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        """Make all the records visible, or none. Raises `Conflict` before `Rejected`, as SQL stores do."""
        check_unit(records, held)
        for record in records:
            if is_guarded(type(record)) and _version(record) - 1 != self._version_of(record):
                raise Conflict(type(record), record.id)
        for record in held:
            if _version(record) != self._version_of(record):
                raise Conflict(type(record), record.id)
        for record in records:
            if not is_guarded(type(record)) and self._kept_of(record):
                raise Rejected(f"a {type(record).__name__} with this id exists")
        ours = [(type(record), record.id, _keep(record)) for record in records]
        for kind, name, kept in ours:
            self._kept.setdefault(kind, {})[name] = kept

    def _kept_of(self, record: Record) -> Kept | None:
        return self._kept.get(type(record), {}).get(record.id)

    def _version_of(self, record: Record) -> int:
        kept = self._kept_of(record)
        return _version(kept.copy) if kept else 0

    def _matching(self, query: Query[R]) -> Iterator[Kept]:
        if not all(_is_possible(condition) for condition in query.where):
            return
        for kept in self._kept.get(query.kind, {}).values():
            if all(meets(kept.copy, condition) for condition in query.where):
                yield kept


def _is_possible(condition: Condition) -> bool:
    value = condition[2]
    # What no database keeps as text is neither equal, before nor after anything.
    return not isinstance(value, str) or is_plain(value)


def _order_of(name: str) -> Callable[[Kept], tuple[bool, str | int | datetime | None, str]]:
    def order(kept: Kept) -> tuple[bool, str | int | datetime | None, str]:
        # Null sorts after everything, as in Postgres. Equal nulls are never compared: the id decides.
        value = getattr(kept.copy, name)
        return value is None, 0 if value is None else value, kept.copy.id

    return order


def _keep(record: Record) -> Kept:
    encoded = encode(record)
    return Kept(_decoder(type(record)).decode(encoded), encoded)


def _version(record: Record) -> int:
    return cast(Any, record).version


@cache
def _decoder(kind: type[R]) -> msgspec.json.Decoder[R]:
    return msgspec.json.Decoder(kind)
