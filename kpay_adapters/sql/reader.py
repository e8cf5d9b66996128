"""
Reads: look-ups by id go together as commits do, queries have a few connections of their own.

All waiting look-ups of one kind become one statement, because under load a round trip costs more than the read.
A statement is sent after the look-ups in it were asked, so each sees every commit that had returned by then.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Table

from kpay_adapters.sql.database import ANSWER_SECONDS, Answer, Database, Lost, Question, ReadSession, Trouble
from kpay_core.commit import Record, Unavailable
from kpay_core.domain.text import is_plain
from kpay_core.query import Query

R = TypeVar("R", bound=Record)

# Ids in one statement: as many as keep it at a millisecond or so.
MAX_GROUPED_IDS = 200

# Whoever comes later would wait for seconds, and is better told so at once.
MAX_WAITING_READS = 10_000

# How long a question that is being answered may keep a store from closing.
CLOSE_SECONDS = 1.0

# Connections for queries. Each is a thread on SQLite and a server process on PostgreSQL.
QUERY_SESSIONS = 3


Asked = dict[str, list[asyncio.Future[Any]]]


class Reader:
    """The reads of a store. It lives from `start` to `close`."""

    def __init__(self, database: Database, tables: Mapping[type[Record], Table]) -> None:
        self._database = database
        self._tables = tables
        # Who waits for which record. A dict keeps its order, so the kind that waits longest is asked first.
        self._asked: dict[type[Record], Asked] = {}
        self._wake = asyncio.Event()
        self._look_ups = database.look_ups()
        self._queries = [database.session() for _ in range(QUERY_SESSIONS)]
        self._idle = list(self._queries)
        self._free = asyncio.Semaphore(QUERY_SESSIONS)
        self._asking: set[asyncio.Task[Sequence[Answer]]] = set()
        self._waiting = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="store reader")

    async def close(self) -> None:
        """Tell all who wait that the store is closed, and let go of the connections."""
        task, self._task = self._task, None
        if task:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        for asked in self._asked.values():
            _fail(asked, Unavailable("the store is closed"))
        if self._asking:
            await asyncio.wait(self._asking, timeout=CLOSE_SECONDS)
        for session in (self._look_ups, *self._queries):
            await session.close()

    async def get(self, kind: type[R], id: str) -> R | None:
        """Return one record, or None."""
        assert kind in self._tables, f"no table keeps a {kind.__name__}"
        if not is_plain(id):
            return None
        self._check_place()
        future: asyncio.Future[R | None] = asyncio.get_running_loop().create_future()
        self._asked.setdefault(kind, {}).setdefault(id, []).append(future)
        self._wake.set()
        self._waiting += 1
        try:
            return await future
        finally:
            self._waiting -= 1

    async def find(self, query: Query[R]) -> list[R]:
        """Return the records that answer a query."""
        assert query.kind in self._tables, f"no table keeps a {query.kind.__name__}"
        if not possible(query):
            return []
        question = self._database.matching(self._tables[query.kind], query)
        decode = decoder(query.kind).decode
        return [decode(text) for _, text in await self.ask(question)]

    async def ask(self, question: Question) -> Sequence[Answer]:
        """
        Put one question on a connection of the queries. Raises `Unavailable`.

        A caller who leaves does not stop it: a connection that is interrupted costs more than the answer.
        """
        self._check_place()
        asking = asyncio.create_task(self._ask(question))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        self._waiting += 1
        try:
            return await asyncio.shield(asking)
        finally:
            self._waiting -= 1

    async def _ask(self, question: Question) -> Sequence[Answer]:
        async with self._free:
            session = self._idle.pop()
            try:
                return await _read(session, question)
            finally:
                self._idle.append(session)

    def _check_place(self) -> None:
        """Raise `Unavailable` where there is no place for another who waits."""
        if self._task is None:
            raise Unavailable("the store is closed")
        if self._waiting >= MAX_WAITING_READS:
            raise Unavailable("the store is full")

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._asked:
                kind = next(iter(self._asked))
                await self._look_up(kind, self._take(kind))
                if self._asked:
                    # Where nothing in this has waited (SQLite), others have their turn.
                    await asyncio.sleep(0)

    def _take(self, kind: type[Record]) -> Asked:
        asked = self._asked.pop(kind)
        if len(asked) <= MAX_GROUPED_IDS:
            return asked
        names = list(asked)
        self._asked[kind] = {name: asked[name] for name in names[MAX_GROUPED_IDS:]}
        return {name: asked[name] for name in names[:MAX_GROUPED_IDS]}

    async def _look_up(self, kind: type[Record], asked: Asked) -> None:
        """Ask for all these records at once, and give each caller a copy of his own."""
        try:
            question = self._database.by_id(self._tables[kind], list(asked))
            decode = decoder(kind).decode
            for name, text in await _read(self._look_ups, question):
                futures = asked.pop(name)
                try:
                    for future in futures:
                        _give(future, decode(text))
                except msgspec.ValidationError as error:
                    # A row that is no record is the trouble of those who asked for it.
                    _fail({name: futures}, error)
            for futures in asked.values():
                for future in futures:
                    _give(future, None)
        except Exception as error:  # noqa: BLE001 whatever it is, those who wait must hear of it
            _fail(asked, error)
        finally:
            _fail(asked, Unavailable("the store is closed"))


async def _read(session: ReadSession, question: Question) -> Sequence[Answer]:
    """Ask, and once more when the connection was lost: reading twice harms nobody."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            try:
                return await session.read(question)
            except Lost:
                return await session.read(question)
    except (Trouble, TimeoutError) as error:
        raise Unavailable(str(error) or "the database did not answer") from error


def possible(query: Query[R]) -> bool:
    """Tell whether any record can answer: what is no text is neither equal, before nor after anything."""
    return all(not isinstance(value, str) or is_plain(value) for _, _, value in query.where)


@cache
def decoder(kind: type[R]) -> msgspec.json.Decoder[R]:
    return msgspec.json.Decoder(kind)


def _give(future: asyncio.Future[Any], record: Record | None) -> None:
    if not future.done():
        future.set_result(record)


def _fail(asked: Asked, error: Exception) -> None:
    for futures in asked.values():
        for future in futures:
            if not future.done():
                future.set_exception(error)
