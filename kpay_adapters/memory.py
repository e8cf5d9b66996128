"""A store in memory: for embedders' tests, property tests and simulation. It is as strict as the SQL stores."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from kpay_core.commit import Conflict, Record, Rejected, check_unit, is_guarded
from kpay_core.domain.text import is_plain
from kpay_core.query import Condition, Query, meets

R = TypeVar("R", bound=Record)

encode = msgspec.json.Encoder().encode


FROZEN = (
    msgspec.inspect.StrType,
    msgspec.inspect.IntType,
    msgspec.inspect.BoolType,
    msgspec.inspect.NoneType,
    msgspec.inspect.DateTimeType,
    msgspec.inspect.EnumType,
    msgspec.inspect.LiteralType,
)


class Kept(msgspec.Struct, frozen=True):
    """
    One record as the store keeps it, to read and to filter by.

    A frozen record may hold a dict that is not, and no caller's dict may reach into the store: of such a one `record`
    is a copy of our own, and every reader gets another, made of `encoded`.
    """

    record: Record
    encoded: bytes | None = None


class MemoryStore:
    """
    Records in dicts. It keeps records of any kind, for as long as it lives.

    It awaits nothing, so a coroutine of it can be driven without an event loop, and nothing ever comes between the
    steps of a commit. It knows no CHECKs and foreign keys: those are the schema's.
    """

    def __init__(self) -> None:
        self._kept: dict[type[Record], dict[str, Kept]] = {}

    def copy(self) -> "MemoryStore":
        """Return a store that keeps the same records, and goes its own way from here on."""
        other = MemoryStore()
        other._kept = {kind: dict(its) for kind, its in self._kept.items()}
        return other

    async def get(self, kind: type[R], id: str) -> R | None:
        """Return the newest version of one record, or None."""
        kept = self._kept.get(kind, {}).get(id)
        return None if kept is None else _copy(kept)

    async def find(self, query: Query[R]) -> Sequence[R]:
        """Return the records that answer `query`; it looks at every record of the kind."""
        found = list(self._kept.get(query.kind, {}).values())
        for condition in query.where:
            if not found:
                return []
            found = _meeting(found, condition)
        if len(found) > 1:
            found.sort(key=_order_of(query.order), reverse=query.descending)
        return [_copy(kept) for kept in found[: query.limit]]

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
        return _version(kept.record) if kept else 0


def _meeting(found: list[Kept], condition: Condition) -> list[Kept]:
    """Return those that meet a condition."""
    field, name, wanted = condition
    # What no database keeps as text is neither equal, before nor after anything.
    if isinstance(wanted, str) and not is_plain(wanted):
        return []
    if name == "=":
        return [kept for kept in found if getattr(kept.record, field) == wanted]
    return [kept for kept in found if meets(kept.record, condition)]


def _order_of(name: str) -> Callable[[Kept], Any]:
    if name == "id":
        return lambda kept: kept.record.id

    def order(kept: Kept) -> tuple[bool, str | int | datetime | None, str]:
        # Null sorts after everything, as in Postgres. Equal nulls are never compared: the id decides.
        value = getattr(kept.record, name)
        return value is None, 0 if value is None else value, kept.record.id

    return order


def _keep(record: Record) -> Kept:
    kind = type(record)
    if _is_frozen_through(kind):
        return Kept(record)
    encoded = encode(record)
    return Kept(_decoder(kind).decode(encoded), encoded)


def _copy(kept: Kept) -> Any:
    return kept.record if kept.encoded is None else _decoder(type(kept.record)).decode(kept.encoded)


@cache
def _is_frozen_through(kind: type[Record]) -> bool:
    """Tell whether nothing in a record of this kind can be changed, so that one may serve everybody."""
    return _is_frozen(msgspec.inspect.type_info(kind))


def _is_frozen(info: msgspec.inspect.Type) -> bool:
    match info:
        case msgspec.inspect.StructType(cls=cls, fields=fields):
            return cls.__struct_config__.frozen and all(_is_frozen(field.type) for field in fields)
        case msgspec.inspect.VarTupleType(item_type=item):
            return _is_frozen(item)
        case msgspec.inspect.UnionType(types=types):
            return all(_is_frozen(each) for each in types)
        case msgspec.inspect.Metadata(type=type_):
            return _is_frozen(type_)
        case _:
            return isinstance(info, FROZEN)


def _version(record: Record) -> int:
    return cast(Any, record).version


@cache
def _decoder(kind: type[R]) -> msgspec.json.Decoder[R]:
    return msgspec.json.Decoder(kind)
