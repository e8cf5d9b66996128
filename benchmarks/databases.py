"""
Fresh databases, gone when their block is left: a file on a real disk, a database on a PostgreSQL server. And SQL that
both understand.
"""

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import msgspec

from benchmarks.processes import name_of, parent_of
from kpay_adapters.sql.engines import sqlite_path
from tests.backends import create_database, drop_database

# Kept over restarts, so never in memory, as /tmp is on many machines: there a commit would cost nothing.
DISK = Path("/var/tmp")


@contextmanager
def folder() -> Iterator[Path]:
    """Make a folder on a disk."""
    where = DISK if DISK.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="kpay-bench-", dir=where, ignore_cleanup_errors=True) as made:
        yield Path(made)


@contextmanager
def fresh(server: str | None) -> Iterator[str]:
    """Make an empty database and yield its URL: on a PostgreSQL server, or else on SQLite."""
    if server is None:
        with folder() as where:
            yield f"sqlite:///{where}/kpay.db"
        return
    url = create_database(server)
    try:
        yield url
    finally:
        drop_database(server, url)


def ask(url: str, question: str, *values: str) -> Sequence[Any]:
    """Return the first column of all rows that answer a question; its parameters are $1, $2."""
    path = sqlite_path(url)
    if path is None:
        return asyncio.run(_ask_postgres(url, question, values))
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute(question.replace("$", "?"), values)]


async def _ask_postgres(url: str, question: str, values: Sequence[str]) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        return [row[0] for row in await connection.fetch(question, *values)]
    finally:
        await connection.close()


def one(url: str, question: str, *values: str) -> Any:
    """Return the first column of the first row, or None."""
    return next(iter(ask(url, question, *values)), None)


def columns_of(url: str, table: str) -> Sequence[str]:
    """Return the names of a table's columns."""
    if sqlite_path(url) is not None:
        return ask(url, "SELECT name FROM pragma_table_info($1)", table)
    return ask(
        url,
        "SELECT column_name::text FROM information_schema.columns"
        " WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position",
        table,
    )


def journal_of(url: str) -> str:
    """Return the database that holds the sandbox's journal."""
    path = sqlite_path(url)
    return url if path is None else f"sqlite:///{path.removesuffix('.db')}-sandbox.db"


def digits(number: str) -> str:
    """Write a number with twelve digits, as both databases can."""
    return f"substr(CAST(1000000000000 + {number} AS text), 2)"


class Executed(msgspec.Struct):
    """How long statements took, with their commit, and how many rows the last one wrote."""

    seconds: float
    rows: int


def execute(url: str, *statements: str) -> Executed:
    """Run statements in one transaction, durably, and leave the database as tidy as it becomes by itself."""
    path = sqlite_path(url)
    if path is None:
        return asyncio.run(_execute_postgres(url, statements))
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        began = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        rows = [connection.execute(statement).rowcount for statement in statements]
        connection.execute("COMMIT")
        took = time.perf_counter() - began
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return Executed(took, rows[-1])
    finally:
        connection.close()


async def _execute_postgres(url: str, statements: Sequence[str]) -> Executed:
    connection = await asyncpg.connect(url)
    try:
        began = time.perf_counter()
        async with connection.transaction():
            # Each says what it did: INSERT 0 1000, UPDATE 1000.
            told = [await connection.execute(statement) for statement in statements]
        took = time.perf_counter() - began
        await connection.execute("VACUUM ANALYZE")
        count = told[-1].split()[-1]
        return Executed(took, int(count) if count.isdigit() else 0)
    finally:
        await connection.close()


def version_of(url: str) -> str:
    """Return the version of a PostgreSQL server."""
    return str(one(url, "SHOW server_version"))


def postmaster_of(url: str) -> int | None:
    """Return the process that is the parent of all a PostgreSQL server's processes; None when it is not to be seen."""

    async def find() -> int | None:
        connection = await asyncpg.connect(url)
        try:
            pid = await connection.fetchval("SELECT pg_backend_pid()")
            return parent_of(pid) if name_of(pid) == "postgres" else None
        except (OSError, ValueError):
            return None
        finally:
            await connection.close()

    # The same number may be another process here when the server runs elsewhere, or in a container.
    local = urlsplit(url).hostname in (None, "127.0.0.1", "localhost", "::1")
    return asyncio.run(find()) if local else None
