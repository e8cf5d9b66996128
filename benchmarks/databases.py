"""Fresh databases, gone when their block is left: a file on a real disk, a database on a PostgreSQL server."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from benchmarks.processes import name_of, parent_of
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


async def _ask(url: str, question: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


def version_of(url: str) -> str:
    """Return the version of a PostgreSQL server."""
    return str(asyncio.run(_ask(url, "SHOW server_version")))


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
