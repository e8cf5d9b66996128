"""
The texts of all statements, made from the tables.

Records come back as one JSON text each, which the database makes and one decoder reads. They go in as one JSON array
per table and verb on PostgreSQL, whatever their number, so that a batch is one prepared statement; SQLite takes four
times longer to take JSON apart than to take plain values, so there they are plain values.
"""

# The names in these texts are the tables' own; values are always parameters.
# ruff: noqa: S608

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

import msgspec
from sqlalchemy import (
    ARRAY,
    JSON,
    Boolean,
    Column,
    ColumnElement,
    Table,
    Text,
    any_,
    bindparam,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import asyncpg as postgres_dialect
from sqlalchemy.dialects.sqlite import aiosqlite as sqlite_dialect
from sqlalchemy.engine.interfaces import Dialect

from kpay_adapters.sql.database import Question, Verb
from kpay_core.domain.text import is_plain
from kpay_core.domain.times import rfc3339
from kpay_core.query import Query, Value

POSTGRES: Dialect = postgres_dialect.dialect()
SQLITE: Dialect = sqlite_dialect.dialect()

_encode = msgspec.json.Encoder().encode

# How a moment is written is remembered: a charge has a dozen times in its rows, and three moments.
MANY_MOMENTS = 1_000


def quoted(*names: str) -> str:
    """Write a list of identifiers."""
    return ", ".join(f'"{name}"' for name in names)


# PostgreSQL


@cache
def postgres_batch(steps: tuple[tuple[Table, Verb], ...]) -> str:
    """
    Write a whole batch as one statement: one transaction, one round trip. A missed guard raises division by zero.

    Step i takes two parameters: its rows as a JSON array, and their number.
    """
    parts = [_postgres_part(table, verb, 2 * i + 1) for i, (table, verb) in enumerate(steps)]
    named = ", ".join(f"p{i} AS ({part})" for i, part in enumerate(parts))
    complete = " AND ".join(f"(SELECT count(*) FROM p{i}) = ${2 * i + 2}" for i in range(len(steps)))
    return f"WITH {named} SELECT 1 / ({complete})::int"


def _postgres_part(table: Table, verb: Verb, number: int) -> str:
    columns = [table.c.id, table.c.version] if verb == "hold" else list(table.columns)
    names = [column.name for column in columns]
    types = ", ".join(f'"{column.name}" {column.type.compile(POSTGRES)}' for column in columns)
    rows = f"json_to_recordset(${number}::json) AS u({types})"
    if verb == "hold":
        # The lock waits for whoever is writing the row and then looks at the version again, and whoever comes to write
        # it waits until we are durable. Those who share it do not wait for each other.
        same = "t.id = u.id AND t.version = u.version"
        return f'SELECT 1 FROM "{table.name}" t JOIN {rows} ON {same} FOR SHARE OF t'
    if verb == "update":
        changes = ", ".join(f'"{name}" = u."{name}"' for name in names if name != "id")
        guards = "t.id = u.id AND t.version = u.version - 1"
        return f'UPDATE "{table.name}" t SET {changes} FROM {rows} WHERE {guards} RETURNING 1'
    # Only the key is named: a clash on another unique index is a refusal, not a lost race.
    clash = "ON CONFLICT (id) DO NOTHING " if verb == "insert" else ""
    return f'INSERT INTO "{table.name}" ({quoted(*names)}) SELECT {quoted(*names)} FROM {rows} {clash}RETURNING 1'


def postgres_versions(table: Table) -> str:
    """Write the look-up of versions by ids ($1)."""
    return f'SELECT id, version FROM "{table.name}" WHERE id = ANY($1::text[])'


def postgres_by_id(table: Table) -> str:
    """Write the look-up of records by ids ($1)."""
    return f'SELECT id, {_postgres_record(table)} FROM "{table.name}" WHERE id = ANY($1::text[])'


def _postgres_record(table: Table) -> str:
    return f'row_to_json("{table.name}")::text'


# SQLite (3.35 and later: no -> and ->>, which are of 3.38)


@lru_cache(MANY_MOMENTS)
def sqlite_time(moment: datetime | None) -> str | None:
    """Write a time, so that all have one width and sort as text."""
    return None if moment is None else rfc3339(moment)


def sqlite_document(value: object) -> str:
    """Write what is kept as JSON."""
    return _encode(value).decode()


@cache
def sqlite_step(table: Table, verb: Verb, rows: int) -> str:
    """
    Write one step of a batch; its parameters are the columns of that many rows, row after row.

    To hold is to count the rows that are as they must be: nobody else writes while we do.
    """
    if verb == "hold":
        values = f"VALUES {', '.join(['(?, ?)'] * rows)}"
        guards = "t.id = u.column1 AND t.version = u.column2"
        return f'SELECT count(*) FROM ({values}) AS u CROSS JOIN "{table.name}" AS t WHERE {guards}'
    names = table.columns.keys()
    row = f"({', '.join('?' * len(names))})"
    values = f"VALUES {', '.join([row] * rows)}"
    if verb == "update":
        # SQLite's own names for the columns of VALUES.
        places = {name: f"u.column{i}" for i, name in enumerate(names, start=1)}
        changes = ", ".join(f'"{name}" = {place}' for name, place in places.items() if name != "id")
        guards = f"t.id = {places['id']} AND t.version = {places['version']} - 1"
        return f'UPDATE "{table.name}" AS t SET {changes} FROM ({values}) AS u WHERE {guards}'
    insert = f'INSERT INTO "{table.name}" ({quoted(*names)}) {values}'
    return f"{insert} ON CONFLICT (id) DO NOTHING" if verb == "insert" else insert


@cache
def sqlite_versions(table: Table) -> str:
    """Write the look-up of versions by ids, a JSON array."""
    return f'SELECT id, version FROM "{table.name}" WHERE id IN (SELECT value FROM json_each(?))'


@cache
def sqlite_by_id(table: Table) -> str:
    """Write the look-up of records by ids, a JSON array."""
    return (
        f'SELECT id, {_sqlite_record(table)} FROM "{table.name}" WHERE id IN (SELECT value FROM json_each(?))'
    )


def _sqlite_record(table: Table) -> str:
    fields = ", ".join(f"'{column.name}', {_sqlite_output(table, column)}" for column in table.columns)
    return f"json_object({fields})"


def _sqlite_output(table: Table, column: Column[Any]) -> str:
    # With its table, because SQLite takes a quoted name that it does not know for a text.
    name = f'"{table.name}"."{column.name}"'
    match column.type:
        case JSON():
            return f"json({name})"
        case Boolean():
            return f"json(CASE {name} WHEN 0 THEN 'false' WHEN 1 THEN 'true' END)"
        case _:
            return name


# Both


def count(table: Table) -> str:
    """Write the question how many rows there are."""
    return f"SELECT '', CAST(count(*) AS text) FROM \"{table.name}\""


def columns(tables: Iterable[Table]) -> str:
    """Write a question that no row answers, and that fails unless every column is there."""
    questions: list[str] = []
    for table in tables:
        names = ", ".join(f'"{table.name}"."{column.name}"' for column in table.columns)
        questions.append(f'EXISTS (SELECT {names} FROM "{table.name}" WHERE false)')
    return f"SELECT '', '' WHERE {' OR '.join(questions)}"


# Queries


def matching(dialect: Dialect, table: Table, query: Query[Any]) -> Question:
    """Put a query as the dialect's driver takes it."""
    shape = tuple((name, sign) for name, sign, _ in query.where)
    sql, order, defaults = _find(dialect, table, shape, query.order, query.descending)
    encode = _sqlite_value if dialect is SQLITE else _postgres_value
    given = {f"v{i}": encode(value) for i, (_, _, value) in enumerate(query.where)}
    values = {**defaults, **given, "most": query.limit}
    return Question(sql, [values[name] for name in order])


def _postgres_value(value: Value | tuple[str, ...]) -> object:
    return list(filter(is_plain, value)) if isinstance(value, tuple) else value


def _sqlite_value(value: Value | tuple[str, ...]) -> object:
    match value:
        case datetime():
            return sqlite_time(value)
        case tuple():
            return sqlite_document(list(filter(is_plain, value)))
        case _:
            return value


@cache
def _find(
    dialect: Dialect, table: Table, shape: tuple[tuple[str, str], ...], order: str, descending: bool
) -> tuple[str, Sequence[str], Mapping[str, object]]:
    record = _postgres_record(table) if dialect is POSTGRES else _sqlite_record(table)
    conditions = [_condition(dialect, table.c[name], sign, f"v{i}") for i, (name, sign) in enumerate(shape)]
    by, key = table.c[order], table.c.id
    first, then = (by.desc(), key.desc()) if descending else (by.asc(), key.asc())
    if by.nullable and order not in {name for name, _ in shape}:
        # Null sorts after everything. Said of other columns, this would cost the index.
        first = first.nulls_first() if descending else first.nulls_last()
    statement = (
        select(table.c.id, literal_column(record, Text))
        .select_from(table)
        .where(*conditions)
        .order_by(*([first] if by is key else [first, then]))
    )
    compiled = statement.limit(bindparam("most")).compile(dialect=dialect)
    return compiled.string, compiled.positiontup or (), compiled.params


def _condition(dialect: Dialect, column: Column[Any], sign: str, value: str) -> ColumnElement[bool]:
    if sign != "in":
        return column.bool_op(sign)(bindparam(value, type_=column.type))
    if dialect is POSTGRES:
        return column == any_(bindparam(value, type_=ARRAY(Text)))
    members = func.json_each(bindparam(value)).table_valued("value")
    return column.in_(select(members.c.value))
