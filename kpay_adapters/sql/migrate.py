"""The schema: made and brought up to date on both databases by the same Alembic migrations."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiosqlite
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, MetaData, event, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from kpay_adapters.sql.engines import connect_postgres, open_sqlite, sqlite_path
from kpay_adapters.sql.pending import MIGRATIONS, pending

__all__ = ["config_for", "create_all", "migrate", "pending", "transaction"]

# The advisory lock that changes of the schema share on PostgreSQL: the letters "kpay".
LOCK = int.from_bytes(b"kpay")


async def migrate(url: str) -> None:
    """Bring a database up to date, in one transaction. Processes that start together wait for each other."""
    async with transaction(url) as connection:
        await connection.run_sync(_lock)
        await connection.run_sync(_upgrade)


async def create_all(url: str, metadata: MetaData) -> None:
    """Make the tables of a schema that has no migrations, as far as they are missing."""
    async with transaction(url) as connection:
        await connection.run_sync(_lock)
        await connection.run_sync(metadata.create_all)


def config_for(connection: Connection) -> Config:
    """Configure Alembic to work on an open connection."""
    config = Config()
    # In Alembic's options % begins a reference.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _lock(connection: Connection) -> None:
    # SQLite's transaction began with the write lock.
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})


def _upgrade(connection: Connection) -> None:
    command.upgrade(config_for(connection), "head")
    if connection.dialect.name == "sqlite" and (
        broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    ):
        raise RuntimeError(f"the migration left rows of {broken[0]} whose {broken[2]} is missing")


@asynccontextmanager
async def transaction(url: str) -> AsyncGenerator[AsyncConnection]:
    """
    Open one SQLAlchemy transaction, for changes of the schema.

    On SQLite it holds the write lock from the start, and foreign keys are not looked at while it lasts, because there
    many a change rebuilds its table.
    """
    path = sqlite_path(url)
    if path is None:
        engine = create_async_engine(
            "postgresql+asyncpg://", async_creator=lambda: connect_postgres(url), poolclass=NullPool
        )
    else:
        engine = create_async_engine(
            "sqlite+aiosqlite://", async_creator=lambda: _open_for_changes(path), poolclass=NullPool
        )
        event.listen(engine.sync_engine, "begin", _begin_immediate)
    try:
        async with engine.begin() as connection:
            yield connection
    finally:
        await engine.dispose()


async def _open_for_changes(path: str) -> aiosqlite.Connection:
    connection = await open_sqlite(path)
    await connection.execute("PRAGMA foreign_keys = OFF")
    return connection


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
