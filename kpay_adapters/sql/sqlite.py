"""
SQLite behind the sessions: each has a connection, and with it a thread, of its own.

Look-ups by id have none. They take microseconds, and a visit to a thread takes longer than they.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Any, TypeVar

import aiosqlite
from sqlalchemy import JSON, Column, Table

from kpay_adapters.sql import engines, statements
from kpay_adapters.sql.columns import Time
from kpay_adapters.sql.database import ANSWER_SECONDS, Answer, Away, Line, Lost, Part, Question, Refused
from kpay_adapters.sql.engines import check_sqlite, open_sqlite, open_sqlite_to_read
from kpay_core.commit import Record
from kpay_core.query import Query

T = TypeVar("T")

# The rows themselves are at fault: a constraint, or a value that SQLite does not take (half of a surrogate pair, an
# integer over 64 bits).
REFUSED = (sqlite3.IntegrityError, sqlite3.DataError, UnicodeError, OverflowError)

# SQLite takes 32,766 values per statement; the widest table has 25 columns.
MAX_CHUNK_ROWS = 64

# How often a lock that another process holds is tried for. SQLite by itself would soon look only every tenth of a
# second, and one who writes all the while lets go of the lock for a millisecond at a time.
LOCK_PAUSE_SECONDS = 0.0005

# An error's code says in its last byte what it is, and before that, why.
PRIMARY_CODE = 0xFF


class SqliteDatabase:
    """A file, which several processes may share."""

    def __init__(self, path: str) -> None:
        check_sqlite()
        self._path = path

    def session(self) -> "SqliteSession":
        return SqliteSession(self._path)

    def look_ups(self) -> "SqliteLookUps":
        return SqliteLookUps(self._path)

    def encoder(self, table: Table) -> Callable[[Record], Sequence[object]]:
        return encoder(table)

    def held(self, id: str, version: int) -> tuple[str, int]:
        return id, version

    def by_id(self, table: Table, ids: Sequence[str]) -> Question:
        return Question(statements.sqlite_by_id(table), [statements.sqlite_document(ids)])

    def matching(self, table: Table, query: Query[Any]) -> Question:
        return statements.matching(statements.SQLITE, table, query)

    def count(self, table: Table) -> Question:
        return Question(statements.count(table), [])

    def columns(self, tables: Iterable[Table]) -> Question:
        return Question(statements.columns(tables), [])


class SqliteSession:
    """One connection. A batch is one transaction, run in one visit to the connection's thread."""

    def __init__(self, path: str) -> None:
        self._line = Line(
            lambda: open_sqlite(path, busy_seconds=0), is_open=lambda _: True, trouble=(sqlite3.Error,)
        )

    async def write(self, parts: Sequence[Part]) -> bool:
        return await self._visit(lambda connection: write(connection, parts))

    async def versions(self, table: Table, ids: Sequence[str]) -> Mapping[str, int]:
        sql = statements.sqlite_versions(table)
        return dict(
            await self._visit(lambda connection: read(connection, sql, [statements.sqlite_document(ids)]))
        )

    async def read(self, question: Question) -> Sequence[Answer]:
        return await self._visit(lambda connection: read(connection, *question))

    async def close(self) -> None:
        if connection := self._line.close():
            await connection.close()

    async def _visit(self, function: Callable[[sqlite3.Connection], T]) -> T:
        connection = await self._line.get()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await on_thread(connection, function)
        except (TimeoutError, asyncio.CancelledError) as error:
            # The disk hangs, a question takes too long, or the one who asked is gone. What the thread still waits for,
            # it waits for without us; what it computes, nobody wants, and threads like it would gather.
            self._line.drop()
            with suppress(ValueError, sqlite3.Error):
                # Unless it is closed by now.
                await connection.interrupt()
            connection.stop()  # pyright: ignore[reportUnknownMemberType]
            if isinstance(error, TimeoutError):
                raise Lost("the database did not answer") from error
            raise


class SqliteLookUps:
    """
    One connection, which reads in the thread of the event loop, and is opened and closed in another.

    A disk that hangs keeps the loop waiting. Locks do not: in WAL mode a reader meets one only while the log is
    recovered or taken away, and then waits for it without keeping others. What SQLite does by itself is to wait up to
    ten seconds where a writer is frozen within the microseconds in which it changes the log's index.
    """

    def __init__(self, path: str) -> None:
        self._line = Line(
            lambda: asyncio.to_thread(open_sqlite_to_read, path),
            is_open=lambda _: True,
            trouble=(sqlite3.Error,),
        )

    async def read(self, question: Question) -> Sequence[Answer]:
        connection = await self._line.get()
        until = time.monotonic() + engines.BUSY_SECONDS
        while True:
            try:
                return connection.execute(*question).fetchall()
            except sqlite3.Error as error:
                if not is_busy(error) or time.monotonic() >= until:
                    raise unreadable(error) from error
            await asyncio.sleep(LOCK_PAUSE_SECONDS)

    async def close(self) -> None:
        if connection := self._line.close():
            # The last to close a file puts its log away, and waits for the disk.
            await asyncio.to_thread(connection.close)


async def on_thread(connection: aiosqlite.Connection, function: Callable[[sqlite3.Connection], T]) -> T:
    """
    Run a function on the connection's own thread.

    aiosqlite has no public way to do so. Its methods visit the thread once per statement, and the write lock would be
    held while this thread and that one take turns.
    """
    execute = connection._execute  # noqa: SLF001 # pyright: ignore[reportPrivateUsage, reportUnknownMemberType, reportUnknownVariableType]
    inner = connection._conn  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    return await execute(function, inner)  # pyright: ignore[reportUnknownVariableType]


def write(connection: sqlite3.Connection, parts: Sequence[Part]) -> bool:
    """Write all the parts and return True, or none of them and return False. Raises `Away`, `Lost` or `Refused`."""
    try:
        # Takes the write lock now, so that nothing moves between our steps.
        patiently(connection, "BEGIN IMMEDIATE")
        if not all(complete(connection, part) for part in parts):
            return False
        commit(connection)
    except REFUSED as error:
        # SQLite names the constraint or the column, and no value.
        raise Refused(str(error)) from None
    except sqlite3.Error as error:
        raise Away(f"the database cannot be written: {error}") from error
    else:
        return True
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def commit(connection: sqlite3.Connection) -> None:
    """Make a transaction durable, or raise `Lost`: what is on a disk that failed shows when it is read again."""
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise Lost(f"the database failed to commit: {error}") from error


def complete(connection: sqlite3.Connection, part: Part) -> bool:
    """
    Write one part, and tell whether no guard missed.

    Rows go in chunks of 64, 32, 16, …, 1, so that a handful of statements, each prepared once, serves any number.
    One execution per row would be as fast by itself; but each has this thread wait for the interpreter, which on a
    busy server is the event loop's.
    """
    start = 0
    while start < len(part.rows):
        count = min(1 << (len(part.rows) - start).bit_length() - 1, MAX_CHUNK_ROWS)
        values = [value for row in part.rows[start : start + count] for value in row]
        cursor = connection.execute(statements.sqlite_step(part.table, part.verb, count), values)
        if (cursor.fetchone()[0] if part.verb == "hold" else cursor.rowcount) != count:
            return False
        start += count
    return True


def read(connection: sqlite3.Connection, sql: str, values: Sequence[Any]) -> list[Any]:
    """Run one SELECT, which sees one moment, and leave nothing open behind it."""
    try:
        return patiently(connection, sql, values).fetchall()
    except sqlite3.Error as error:
        raise unreadable(error) from error


def patiently(connection: sqlite3.Connection, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
    """Run a statement that may have to wait until another process lets go of a lock."""
    until = time.monotonic() + engines.BUSY_SECONDS
    while True:
        try:
            return connection.execute(sql, values)
        except sqlite3.Error as error:
            if not is_busy(error) or time.monotonic() >= until:
                raise
        time.sleep(LOCK_PAUSE_SECONDS)


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether somebody else has a lock that would be needed. Misuse, which Python finds, has no code."""
    return getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE == sqlite3.SQLITE_BUSY


def unreadable(error: sqlite3.Error) -> Away:
    return Away(f"the database cannot be read: {error}")


def encoder(table: Table) -> Callable[[Record], Sequence[object]]:
    """Make what turns a record into the values of the table's columns."""
    fields = attrgetter(*map(str, table.columns.keys()))
    conversions = [(i, convert) for i, column in enumerate(table.columns) if (convert := conversion(column))]

    def encode(record: Record) -> Sequence[object]:
        values = list(fields(record))
        for i, convert in conversions:
            values[i] = convert(values[i])
        return values

    return encode


def conversion(column: Column[Any]) -> Callable[[Any], object] | None:
    """Return what makes a value of a field fit for its column, where it is not by itself."""
    match column.type:
        case Time():
            return statements.sqlite_time
        case JSON():
            return statements.sqlite_document
        case _:
            return None
