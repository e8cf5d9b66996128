"""
Which migrations a database has yet to see.

Every start asks, so this does without Alembic and SQLAlchemy's engines: they take as long to import as all the rest of
this package.
"""

from pathlib import Path

from kpay_adapters.sql.engines import connect_postgres, open_sqlite, sqlite_path

MIGRATIONS = Path(__file__).parent / "migrations"

# Revisions are numbers, in the order of which they follow each other; each opens the name of its file.
REVISIONS = sorted(file.name.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))


class Ahead(Exception):
    """The database was migrated by a version of us that came later: what it holds by now we do not know."""

    def __init__(self, revision: str) -> None:
        super().__init__(f"migration {revision} is not known here")
        self.revision = revision


async def pending(url: str) -> list[str]:
    """Return the migrations that `migrate` would apply, oldest first; raises `Ahead`."""
    path = sqlite_path(url)
    applied = await (_applied_on_postgres(url) if path is None else _applied_on_sqlite(path))
    if applied and applied not in REVISIONS:
        raise Ahead(applied)
    return [revision for revision in REVISIONS if revision > applied]


async def _applied_on_postgres(url: str) -> str:
    connection = await connect_postgres(url)
    try:
        if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
            return ""
        return await connection.fetchval("SELECT version_num FROM alembic_version") or ""
    finally:
        await connection.close()


async def _applied_on_sqlite(path: str) -> str:
    connection = await open_sqlite(path)
    try:
        question = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'"
        if not await connection.execute_fetchall(question):
            return ""
        applied = await connection.execute_fetchall("SELECT version_num FROM alembic_version")
        return next((version for (version,) in applied), "")
    finally:
        await connection.close()
