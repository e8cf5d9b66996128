"""
Database URLs and the connections they lead to.

    sqlite:///kpay.db                    a file, relative to where the process was started
    sqlite:////var/lib/kpay/kpay.db      a file by its whole path
    postgresql://user@host/db            a server; anything libpq takes, as ?host=/run/postgresql for its socket
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol, cast

import aiosqlite
import asyncpg  # pyright: ignore[reportMissingTypeStubs]

# UPDATE … FROM is of 3.33; DROP COLUMN, which migrations will want, of 3.35.
OLDEST_SQLITE = (3, 35, 0)

# How long SQLite waits while another process writes. A batch takes milliseconds, so this is a process that hangs.
BUSY_SECONDS = 5.0

# The server gives up on a statement before we give up on the server (10 s), so that "nothing was written" is certain
# when a lock is what keeps us waiting.
STATEMENT_MILLISECONDS = 8_000

# Every statement goes by an index and names all that it needs in one pass, so that no plan should depend on
# statistics: a plan made while a table was empty would read all of it for ever after. Compiling costs more than they.
POSTGRES_SETTINGS = {
    "application_name": "kpay",
    "TimeZone": "UTC",
    "statement_timeout": str(STATEMENT_MILLISECONDS),
    "default_transaction_isolation": "read committed",
    "synchronous_commit": "on",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}

# A statement is prepared once per connection and (table, verb) combination; all that exist fit.
CACHED_STATEMENTS = 500


class Postgres(Protocol):
    """What we use of asyncpg's connection, which has no types of its own."""

    async def fetch(self, query: str, *values: object) -> Sequence[Sequence[Any]]: ...

    async def fetchval(self, query: str, *values: object) -> object: ...

    async def close(self, *, timeout: float) -> None: ...  # noqa: ASYNC109 asyncpg's own

    def is_closed(self) -> bool: ...

    def terminate(self) -> None: ...


def sqlite_path(url: str) -> str | None:
    """Return the file a URL names, or None when it names a PostgreSQL server. Raises `ValueError` for any other."""
    if url.startswith(("postgresql://", "postgres://")):
        return None
    path = url.removeprefix("sqlite:///")
    if path in ("", url, ":memory:") or "?" in path:
        raise ValueError("a database URL is sqlite:///file.db or postgresql://user@host/database")
    return path


async def connect_postgres(url: str, **options: object) -> Any:
    """Open a connection as the server offers it."""
    return await cast(Any, asyncpg.connect)(url, **options)  # pyright: ignore[reportUnknownMemberType]


async def open_postgres(url: str) -> Postgres:
    """Open a connection for records, whose statements are prepared once."""
    return await connect_postgres(
        url,
        server_settings=POSTGRES_SETTINGS,
        statement_cache_size=CACHED_STATEMENTS,
        max_cached_statement_lifetime=0,
        max_cacheable_statement_size=0,
    )


async def open_sqlite(path: str, *, busy_seconds: float = BUSY_SECONDS) -> aiosqlite.Connection:
    """
    Open a connection that leaves transactions to us, and whose commits are on the disk when they return.

    SQLite waits `busy_seconds` for a lock that another process holds.
    """
    connection = await aiosqlite.connect(
        path, isolation_level=None, timeout=busy_seconds, cached_statements=CACHED_STATEMENTS
    )
    try:
        await _use_wal(connection)
        await connection.execute("PRAGMA synchronous = FULL")
        await connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        await connection.close()
        raise
    return connection


def open_sqlite_to_read(path: str) -> sqlite3.Connection:
    """
    Open a connection that reads, for any thread, and does not wait for a lock that another process holds.

    What a crash has left in the log is put in order now, unless somebody is about it: that may take a while.
    """
    connection = sqlite3.connect(
        path, isolation_level=None, timeout=0, cached_statements=CACHED_STATEMENTS, check_same_thread=False
    )
    connection.execute("PRAGMA query_only = ON")
    with suppress(sqlite3.Error):
        connection.execute("SELECT name FROM sqlite_master LIMIT 1").fetchall()
    return connection


def check_sqlite() -> None:
    """Raise `RuntimeError` when this Python's SQLite is too old."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise RuntimeError(f"SQLite 3.35 or later is needed, this Python has {sqlite3.sqlite_version}")


async def _use_wal(connection: aiosqlite.Connection) -> None:
    # The first to open a file changes its mode, and those who come at the same moment are refused without a wait.
    async with asyncio.timeout(BUSY_SECONDS):
        while True:
            try:
                await connection.execute_fetchall("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
                await asyncio.sleep(0.01)
            else:
                return
