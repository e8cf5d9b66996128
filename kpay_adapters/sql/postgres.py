"""PostgreSQL behind the sessions."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import msgspec
from sqlalchemy import Table

from kpay_adapters.sql import statements
from kpay_adapters.sql.database import (
    ANSWER_SECONDS,
    Answer,
    Away,
    Clash,
    Line,
    Lost,
    Part,
    Question,
    Refused,
)
from kpay_adapters.sql.engines import Postgres, open_postgres
from kpay_core.commit import Record
from kpay_core.query import Query

T = TypeVar("T")

# A server that is there says good-bye within milliseconds.
CLOSE_SECONDS = 1.0

encode = msgspec.json.Encoder().encode

# The rows themselves are at fault: a constraint, a value that does not fit its column, a key too long for an index.
REFUSED = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError, asyncpg.ProgramLimitExceededError)

# Nobody knows what the server did: the connection broke, or the server is going down (57P01 to 57P03).
LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


class PostgresDatabase:
    """A server, which several processes and machines may share."""

    def __init__(self, url: str) -> None:
        self._url = url

    def session(self) -> "PostgresSession":
        return PostgresSession(self._url)

    def look_ups(self) -> "PostgresSession":
        return self.session()

    def encoder(self, table: Table) -> Callable[[Record], bytes]:  # noqa: ARG002 JSON names its columns
        return encode

    def held(self, id: str, version: int) -> bytes:
        return encode({"id": id, "version": version})

    def by_id(self, table: Table, ids: Sequence[str]) -> Question:
        return Question(statements.postgres_by_id(table), [ids])

    def matching(self, table: Table, query: Query[Any]) -> Question:
        return statements.matching(statements.POSTGRES, table, query)

    def count(self, table: Table) -> Question:
        return Question(statements.count(table), [])

    def columns(self, tables: Iterable[Table]) -> Question:
        return Question(statements.columns(tables), [])


class PostgresSession:
    """One connection. A batch is one statement, which is its own transaction (READ COMMITTED)."""

    def __init__(self, url: str) -> None:
        trouble = (asyncpg.PostgresError, asyncpg.InterfaceError)
        self._line = Line(lambda: open_postgres(url), is_open=lambda c: not c.is_closed(), trouble=trouble)

    async def write(self, parts: Sequence[Part]) -> bool:
        sql = statements.postgres_batch(tuple((part.table, part.verb) for part in parts))
        values = [value for part in parts for value in (json_array(part.rows), len(part.rows))]
        try:
            await self._ask(lambda connection: connection.fetchval(sql, *values))
        except asyncpg.DivisionByZeroError:
            return False
        return True

    async def versions(self, table: Table, ids: Sequence[str]) -> Mapping[str, int]:
        sql = statements.postgres_versions(table)
        rows = await self._ask(lambda connection: connection.fetch(sql, ids))
        return {row[0]: row[1] for row in rows}

    async def read(self, question: Question) -> Sequence[Answer]:
        rows = await self._ask(lambda connection: connection.fetch(question.sql, *question.values))
        return [(row[0], row[1]) for row in rows]

    async def close(self) -> None:
        if connection := self._line.close():
            try:
                await connection.close(timeout=CLOSE_SECONDS)
            except (asyncpg.PostgresError, *LOST):
                connection.terminate()

    async def _ask(self, ask: Callable[[Postgres], Awaitable[T]]) -> T:
        connection = await self._line.get()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await ask(connection)
        except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError) as error:
            raise Clash(name_of(error)) from error
        except asyncio.CancelledError:
            # What it was asked is still under way there, and nobody else can ask it anything.
            self._abandon(connection)
            raise
        except asyncpg.DivisionByZeroError:
            raise
        except REFUSED as error:
            # Not chained: the server's message shows the row.
            raise Refused(name_of(error)) from None
        except asyncpg.QueryCanceledError as error:
            raise Away("the database took too long") from error
        except LOST as error:
            self._abandon(connection)
            raise Lost(f"the connection was lost: {type(error).__name__}") from error
        except asyncpg.PostgresError as error:
            # A full disk, a server that became a replica, a table that is not there. A new connection may do better.
            self._abandon(connection)
            raise Away(f"the database cannot do this: {name_of(error)}") from error

    def _abandon(self, connection: Postgres) -> None:
        self._line.drop()
        connection.terminate()


def json_array(rows: Sequence[bytes]) -> str:
    return (b"[" + b",".join(rows) + b"]").decode()


def name_of(error: asyncpg.PostgresError) -> str:
    """Name what went wrong, and the constraint, without the row: the server's own message may show its values."""
    constraint = getattr(error, "constraint_name", None) or getattr(error, "column_name", None)
    return f"{type(error).__name__} {constraint}" if constraint else type(error).__name__
