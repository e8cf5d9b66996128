"""Tables for the records of other adapters, which know no SQL."""

import types
from datetime import datetime
from enum import Enum
from typing import Any, get_args

import msgspec
from sqlalchemy import Boolean, Column, MetaData, Table
from sqlalchemy.types import TypeEngine

from kpay_adapters.sql.columns import INTEGER, TEXT, TIME
from kpay_core.commit import Record


def table_for(kind: type[Record], name: str, metadata: MetaData) -> Table:
    """Make the table of a record of texts, whole numbers, flags, enums and times; what may be None may be null."""
    fields = msgspec.structs.fields(kind)
    return Table(name, metadata, *(_column(field.encode_name, field.type) for field in fields))


def _column(name: str, kind: Any) -> Column[Any]:
    nullable = isinstance(kind, types.UnionType)
    plain = next(each for each in get_args(kind) if each is not types.NoneType) if nullable else kind
    return Column(name, _type(plain), primary_key=name == "id", nullable=nullable)


def _type(kind: type) -> TypeEngine[Any]:
    if issubclass(kind, bool):
        return Boolean()
    if issubclass(kind, (str, Enum)):
        return TEXT
    return {int: INTEGER, datetime: TIME}[kind]
