"""
What the stores ask of a database, and what can go wrong there, in words that both databases share.

    Trouble
    ├── Away     it cannot be asked now; nothing was written
    ├── Lost     the connection went while it was asked; what was asked may have happened
    ├── Clash    it gave up on this batch for the sake of another (a deadlock); nothing was written
    └── Refused  a constraint does not allow these rows; nothing was written
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from sqlalchemy import Table

from kpay_core.commit import Record
from kpay_core.query import Query

C = TypeVar("C")

# What is done with a row. A row that is held is looked at, and kept from moving until the batch is durable.
Verb = Literal["append", "insert", "update", "hold"]

# How long a database may take to let us in, and to answer. Both are longer than a failover's hiccup, and shorter than
# the 30 s after which the caller's own caller has gone.
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0

# After a failed connect the next is tried this much later, each time twice as late: a database that is away is asked
# at least once a second, and never in a tight loop.
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0


class Trouble(Exception):
    """Something kept the database from doing as asked."""


class Away(Trouble):
    """The database cannot be asked now; nothing was written."""


class Lost(Trouble):
    """The connection went while the database was asked; what was asked may have happened."""


class Clash(Trouble):
    """The database gave up on this batch for the sake of another; nothing was written."""


class Refused(Trouble):
    """A constraint does not allow these rows; nothing was written. The text names it, and never a value."""


class Part(NamedTuple):
    """The rows of a batch with which one thing is done in one table, as the database's own encoders made them."""

    table: Table
    verb: Verb
    rows: Sequence[Any]


class Question(NamedTuple):
    """The text of a read, and its values in order."""

    sql: str
    values: Sequence[object]


# A record's id, and the record as JSON.
Answer = tuple[str, str]


class ReadSession(Protocol):
    """
    One connection that reads, used by one task at a time. It opens when it is first used, and anew after it was lost.

    Every method ends within `ANSWER_SECONDS` and a connect, but for look-ups on SQLite, which take as long as its disk.
    It raises only `Trouble`.
    """

    async def read(self, question: Question) -> Sequence[Answer]:
        """Return the records that answer a question."""
        ...

    async def close(self) -> None: ...


class Session(ReadSession, Protocol):
    """One connection that also writes."""

    async def write(self, parts: Sequence[Part]) -> bool:
        """Write all the parts, durably, and return True; or nothing when a guard missed, and return False."""
        ...

    async def versions(self, table: Table, ids: Sequence[str]) -> Mapping[str, int]:
        """Return the versions of those of the records that exist."""
        ...


class Database(Protocol):
    """Where sessions come from, and how questions are put there."""

    def session(self) -> Session: ...

    def look_ups(self) -> ReadSession:
        """Make a connection for look-ups by id, each of which is short."""
        ...

    def encoder(self, table: Table) -> Callable[[Record], object]:
        """Make what turns a record into a row of the table."""
        ...

    def held(self, id: str, version: int) -> Hashable:
        """Make the row that names a held record: equal for the same version, which is then asked for once."""
        ...

    def by_id(self, table: Table, ids: Sequence[str]) -> Question:
        """Ask for those of the records that exist."""
        ...

    def matching(self, table: Table, query: Query[Any]) -> Question:
        """Ask for the records that answer a query."""
        ...

    def count(self, table: Table) -> Question:
        """Ask how many records there are; the answer is a text of the number."""
        ...

    def columns(self, tables: Iterable[Table]) -> Question:
        """Ask for nothing, and name every column of the tables."""
        ...


class Line(Generic[C]):
    """
    A connection that is opened when needed, with a pause between attempts that fail.

    While it pauses, whoever needs it is told `Away` at once instead of waiting in a growing queue.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[C]],
        *,
        is_open: Callable[[C], bool],
        trouble: tuple[type[Exception], ...],
    ) -> None:
        self._connect = connect
        self._is_open = is_open
        self._trouble = trouble
        self._connection: C | None = None
        self._pause_seconds = 0.0
        self._not_before = 0.0
        self._closed = False

    async def get(self) -> C:
        """Return the open connection, or raise `Away`."""
        if self._closed:
            raise Away("the store is closed")
        if self._connection is not None and self._is_open(self._connection):
            return self._connection
        self._connection = None
        if time.monotonic() < self._not_before:
            raise Away("the database is away")
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                self._connection = await self._connect()
        except (*self._trouble, OSError, TimeoutError) as error:
            self._pause_seconds = min(
                max(2 * self._pause_seconds, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS
            )
            self._not_before = time.monotonic() + self._pause_seconds
            raise Away(f"no connection to the database: {type(error).__name__}") from error
        self._pause_seconds = 0.0
        return self._connection

    def drop(self) -> C | None:
        """Forget the connection and return it; the next use opens another."""
        connection, self._connection = self._connection, None
        return connection

    def close(self) -> C | None:
        """Forget the connection and return it; there will not be another."""
        self._closed = True
        return self.drop()
