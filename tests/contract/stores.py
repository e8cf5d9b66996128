"""The stores under test: their tables, and a schema for each database."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import Column, MetaData, Table

from kpay_adapters.sql.columns import TEXT
from kpay_adapters.sql.tables import RECORDS
from kpay_adapters.testing.records import Note

# A record of which nothing else is known, as another adapter would bring its own.
OTHERS = MetaData()
NOTES = Table("notes", OTHERS, Column("id", TEXT, primary_key=True), Column("text", TEXT, nullable=False))

TABLES = {**RECORDS, Note: NOTES}


def prepare(url: str) -> str:
    """Bring a database up to date, and return its URL."""
    # Here, so that the programs of the tests start without it.
    from kpay_adapters.sql.migrate import create_all, migrate

    async def run() -> None:
        await migrate(url)
        await create_all(url, OTHERS)

    # In a thread, because async fixtures call this too.
    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(asyncio.run, run()).result()
    return url


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'kpay.db'}"
