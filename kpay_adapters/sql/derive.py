"""Tables for the records of other adapters, which know no SQL."""

import types
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, get_args, get_origin

import msgspec
from sqlalchemy import Boolean, Column, Index, MetaData, Table, column
from sqlalchemy.types import TypeEngine

from kpay_adapters.sql.columns import INTEGER, TEXT, TIME
from kpay_core.commit import Record


def table_for(kind: type[Record], name: str, metadata: MetaData) -> Table:
    """
    Make the table of a record of texts, whole numbers, flags, enums and times; what may be None may be null.

    A field with `Meta(extra={"index": True})` gets an index of the rows in which it is set.
    """
    fields = msgspec.structs.fields(kind)
    indexes = [_index(name, field.encode_name) for field in fields if _is_indexed(field.type)]
    return Table(name, metadata, *(_column(field.encode_name, field.type) for field in fields), *indexes)


def _is_indexed(kind: Any) -> bool:
    notes = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    return any(isinstance(note, msgspec.Meta) and (note.extra or {}).get("index") for note in notes)


def _index(table: str, name: str) -> Index:
    is_set = column(name).is_not(None)
    return Index(f"{table}_by_{name}", name, "id", postgresql_where=is_set, sqlite_where=is_set)


def _column(name: str, kind: Any) -> Column[Any]:
    kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    nullable = isinstance(kind, types.UnionType)
    plain = next(each for each in get_args(kind) if each is not types.NoneType) if nullable else kind
    return Column(name, _type(plain), primary_key=name == "id", nullable=nullable)


def _type(kind: type) -> TypeEngine[Any]:
    if issubclass(kind, bool):
        return Boolean()
    if issubclass(kind, (str, Enum)):
        return TEXT
    return {int: INTEGER, datetime: TIME}[kind]
