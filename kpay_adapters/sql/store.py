"""
A store on SQLite or PostgreSQL.

    async with SqlStore("sqlite:///kpay.db") as store:
        await store.commit(charge, key)

It needs a schema: `migrate.migrate` makes ours, `migrate.create_all` another adapter's.
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import Table

from kpay_adapters.sql.database import Database
from kpay_adapters.sql.engines import sqlite_path
from kpay_adapters.sql.postgres import PostgresDatabase
from kpay_adapters.sql.reader import Reader
from kpay_adapters.sql.sqlite import SqliteDatabase
from kpay_adapters.sql.tables import RECORDS
from kpay_adapters.sql.writer import Writer
from kpay_core.commit import Record
from kpay_core.query import Query

R = TypeVar("R", bound=Record)


class SqlStore:
    """
    Records in a database. One task writes and a few connections read, for as long as the store is open.

    `tables` says which kinds of record there are and where each goes, parents before children. Opening reaches for
    nothing: a store whose database is away raises `Unavailable` until the database is back.
    """

    def __init__(self, url: str, tables: Mapping[type[Record], Table] = RECORDS) -> None:
        path = sqlite_path(url)
        database: Database = PostgresDatabase(url) if path is None else SqliteDatabase(path)
        self._tables = tables
        self._database = database
        self._reader = Reader(database, tables)
        self._writer = Writer(database, tables)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Begin to work, in the running event loop."""
        self._reader.start()
        self._writer.start()

    async def close(self) -> None:
        """Write what is queued, and end. Whoever comes later is told `Unavailable`."""
        try:
            await self._writer.close()
        finally:
            await self._reader.close()

    async def get(self, kind: type[R], id: str) -> R | None:
        """Return the newest version of one record, or None."""
        return await self._reader.get(kind, id)

    async def find(self, query: Query[R]) -> Sequence[R]:
        """Return the records that answer `query`."""
        return await self._reader.find(query)

    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        """Make all the records durable, or none, and let no held record move meanwhile."""
        await self._writer.commit(records, held)

    async def count(self, kind: type[Record]) -> int:
        """Count the records of a kind; it takes as long as the database does. Raises `Unavailable`."""
        ((_, counted),) = await self._reader.ask(self._database.count(self._tables[kind]))
        return int(counted)

    async def ready(self) -> None:
        """
        Return when the database is there and has every column that we use; else raise `Unavailable`.

        A schema that is ahead of us is fine: while servers are replaced one by one, the old ones go on.
        """
        await self._reader.ask(self._database.columns(self._tables.values()))
