"""The schema: made and brought up to date on both databases by the same Alembic migrations."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text

from kpay_adapters.sql.engines import transaction

MIGRATIONS = Path(__file__).parent / "migrations"

# The advisory lock that changes of the schema share on PostgreSQL: the letters "kpay".
LOCK = int.from_bytes(b"kpay")


async def migrate(url: str) -> None:
    """Bring a database up to date, in one transaction. Processes that start together wait for each other."""
    async with transaction(url) as connection:
        await connection.run_sync(_lock)
        await connection.run_sync(_upgrade)


async def pending(url: str) -> list[str]:
    """Return the migrations that `migrate` would apply, oldest first."""
    async with transaction(url) as connection:
        return await connection.run_sync(_pending)


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


def _pending(connection: Connection) -> list[str]:
    script = ScriptDirectory.from_config(config_for(connection))
    current = MigrationContext.configure(connection).get_current_heads()
    return [
        revision.revision for revision in reversed(list(script.iterate_revisions("heads", current or "base")))
    ]
