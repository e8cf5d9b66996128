"""Migrations and models say the same, on both databases."""

import asyncio
import re
from collections.abc import Callable

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from kpay_adapters.sql.migrate import create_all, migrate, pending, transaction
from kpay_adapters.sql.store import SqlStore
from kpay_adapters.sql.tables import METADATA
from kpay_core.commit import Unavailable
from tests.contract.records import a_merchant

pytestmark = pytest.mark.anyio

# Everything that a database knows of its schema, in its own words.
POSTGRES_SCHEMA = """
    SELECT concat_ws(' ', 'column', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull,
                     (SELECT collname FROM pg_collation WHERE oid = attcollation))
    FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
"""
SQLITE_SCHEMA = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"


def schema(connection: Connection) -> set[str]:
    """Return the statements and definitions; of a CREATE TABLE, each line by itself, as their order means nothing."""
    query = SQLITE_SCHEMA if connection.dialect.name == "sqlite" else POSTGRES_SCHEMA
    lines: set[str] = set()
    for (definition,) in connection.execute(text(query)):
        if "alembic_version" not in definition:
            table = re.match(r"CREATE TABLE (\w+)", definition)
            parts = definition.splitlines() if table else [definition]
            lines.update(f"{table[1] if table else ''} {part.strip().rstrip(',')}" for part in parts)
    return lines


async def test_migrations_make_what_the_models_say(empty_database: Callable[[], str]) -> None:
    migrated, created = empty_database(), empty_database()
    await migrate(migrated)
    await create_all(created, METADATA)

    async with transaction(migrated) as one, transaction(created) as other:
        assert await one.run_sync(schema) == await other.run_sync(schema)


async def test_alembic_sees_no_difference(empty_database: Callable[[], str]) -> None:
    url = empty_database()
    await migrate(url)

    def compare(connection: Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection), METADATA)

    async with transaction(url) as connection:
        assert await connection.run_sync(compare) == []


async def test_what_is_pending_is_told(empty_database: Callable[[], str]) -> None:
    url = empty_database()

    assert await pending(url) == ["0001", "0002"]
    await migrate(url)
    assert await pending(url) == []


async def test_processes_that_start_together_migrate_once(empty_database: Callable[[], str]) -> None:
    url = empty_database()

    await asyncio.gather(*(migrate(url) for _ in range(4)))

    assert await pending(url) == []


async def test_migrating_again_changes_nothing(empty_database: Callable[[], str]) -> None:
    url = empty_database()
    await migrate(url)
    merchant = a_merchant()
    async with SqlStore(url) as store:
        await store.commit(merchant)

    await migrate(url)

    async with SqlStore(url) as store:
        assert await store.get(type(merchant), merchant.id) == merchant


async def test_a_store_is_ready_once_its_database_is_migrated(empty_database: Callable[[], str]) -> None:
    url = empty_database()
    async with SqlStore(url) as store:
        with pytest.raises(Unavailable):
            await store.ready()
        await migrate(url)
        await store.ready()


async def test_a_column_that_is_missing_is_noticed(empty_database: Callable[[], str]) -> None:
    url = empty_database()
    await migrate(url)
    async with transaction(url) as connection:
        await connection.execute(text("ALTER TABLE refunds DROP COLUMN notes"))

    async with SqlStore(url) as store:
        with pytest.raises(Unavailable):
            await store.ready()
