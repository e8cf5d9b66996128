"""Databases that go away, hang, or break in the middle of a commit."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from kpay_adapters.sql import database as limits
from kpay_adapters.sql import engines, sqlite
from kpay_adapters.sql import postgres as postgres_module
from kpay_adapters.sql import reader as reader_module
from kpay_adapters.sql.engines import sqlite_path
from kpay_adapters.sql.store import SqlStore
from kpay_adapters.testing.records import a_merchant
from kpay_core.commit import Conflict, Unavailable, Unknown, bump
from kpay_core.domain.merchants import Merchant
from kpay_core.query import Query
from tests.contract.stores import TABLES, prepare, sqlite_url

pytestmark = pytest.mark.anyio


async def eventually(ask: Callable[[], Any]) -> Any:
    """Return the first answer; a store that lost its database finds it again within seconds."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await ask()
            except (Unavailable, Unknown):
                await asyncio.sleep(0.02)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    connection: Any = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


class Wire:
    """The wire to a PostgreSQL server, which a test can cut before or behind the server."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._parts = parts
        self._socket = parse_qs(parts.query).get("host", [None])[0]
        # Once set, what the server says is swallowed, and then the wire is cut.
        self.mute = False
        self.cut = False
        # Once set, what the server says is swallowed, and the wire stays.
        self.silent = False
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Wire":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        user = f"{self._parts.username}@" if self._parts.username else ""
        self.url = f"postgresql://{user}127.0.0.1:{port}{self._parts.path}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.hang_up()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.cut:
            writer.transport.abort()
            return
        if self._socket:
            there = await asyncio.open_unix_connection(f"{self._socket}/.s.PGSQL.5432")
        else:
            there = await asyncio.open_connection(self._parts.hostname, self._parts.port or 5432)
        self._writers += [writer, there[1]]
        self._tasks.add(asyncio.create_task(self._carry(reader, there[1], answers=False)))
        self._tasks.add(asyncio.create_task(self._carry(there[0], writer, answers=True)))

    async def _carry(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        try:
            while data := await source.read(65536):
                if answers and self.mute:
                    self.hang_up()
                    return
                if not (answers and self.silent):
                    target.write(data)
        except OSError:
            pass
        finally:
            target.transport.abort()


@pytest.fixture
async def wire(postgres_database: str) -> AsyncIterator[Wire]:
    async with Wire(postgres_database) as wire:
        yield wire


async def test_a_connection_killed_in_the_middle_of_a_commit_leaves_it_unknown(
    postgres_database: str,
) -> None:
    async with SqlStore(postgres_database, TABLES) as store, connected(postgres_database) as other:
        merchant = a_merchant()
        await store.commit(merchant)
        second = bump(merchant, name="Second")
        async with other.transaction():
            await other.execute("SELECT * FROM merchants WHERE id = $1 FOR UPDATE", merchant.id)
            commit = asyncio.create_task(store.commit(second))
            waiting = (
                "SELECT pid FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            while not (pid := await other.fetchval(waiting)):
                await asyncio.sleep(0.01)
                await other.execute("SELECT pg_stat_clear_snapshot()")
            await other.execute("SELECT pg_terminate_backend($1)", pid)
            with pytest.raises(Unknown):
                await commit

        await eventually(lambda: store.commit(second))
        assert await store.get(Merchant, merchant.id) == second


async def test_a_commit_whose_answer_was_lost_conflicts_when_it_is_sent_again(wire: Wire) -> None:
    async with SqlStore(wire.url, TABLES) as store:
        await store.commit(a_merchant())
        merchant = a_merchant()
        wire.mute = True
        with pytest.raises(Unknown):
            await store.commit(merchant)
        wire.mute = False

        async def again() -> None:
            with pytest.raises(Conflict):
                await store.commit(merchant)

        await eventually(again)
        assert await eventually(lambda: store.get(Merchant, merchant.id)) == merchant


async def test_a_server_that_is_away_is_unavailable_and_found_again(wire: Wire) -> None:
    async with SqlStore(wire.url, TABLES) as store:
        wire.cut = True
        for _ in range(3):
            with pytest.raises(Unavailable):
                await store.commit(a_merchant())
            with pytest.raises(Unavailable):
                await store.get(Merchant, "mer")
            with pytest.raises(Unavailable):
                await store.find(Query(kind=Merchant, limit=1))
            with pytest.raises(Unavailable):
                await store.ready()
        wire.cut = False

        await eventually(store.ready)
        merchant = a_merchant()
        await eventually(lambda: store.commit(merchant))
        assert await eventually(lambda: store.get(Merchant, merchant.id)) == merchant


async def test_connections_that_broke_while_idle_are_replaced(wire: Wire) -> None:
    async with SqlStore(wire.url, TABLES) as store:
        merchant = a_merchant()
        await store.commit(merchant)
        assert await store.get(Merchant, merchant.id) == merchant
        await store.ready()
        wire.hang_up()
        await asyncio.sleep(0.05)

        assert await store.get(Merchant, merchant.id) == merchant
        await store.commit(bump(merchant))
        await store.ready()


async def test_a_server_that_hangs_is_given_up(
    postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_module, "ANSWER_SECONDS", 0.3)
    async with SqlStore(postgres_database, TABLES) as store, connected(postgres_database) as other:
        merchant = a_merchant()
        await store.commit(merchant)
        async with other.transaction():
            await other.execute("SELECT * FROM merchants WHERE id = $1 FOR UPDATE", merchant.id)
            with pytest.raises(Unknown):
                await store.commit(bump(merchant))

        # Reads have connections of their own.
        assert await store.get(Merchant, merchant.id) is not None
        await eventually(lambda: store.commit(a_merchant()))


async def test_after_a_silence_reads_have_new_connections(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that fell silent acknowledges no cancellation either, and whoever waits for that waits for ever."""
    for module in (postgres_module, reader_module):
        monkeypatch.setattr(module, "ANSWER_SECONDS", 0.3)
    async with SqlStore(wire.url, TABLES) as store:
        merchant = a_merchant()
        await store.commit(merchant)
        query = Query(kind=Merchant, where=(("id", "=", merchant.id),), limit=2)
        assert await store.get(Merchant, merchant.id) == merchant
        assert await store.find(query) == [merchant]
        wire.silent = True
        for ask in (lambda: store.get(Merchant, merchant.id), lambda: store.find(query)):
            with pytest.raises(Unavailable):
                await ask()
        wire.silent = False
        # The old connections are still up, and still say nothing of what was asked: their answers were swallowed.
        assert await eventually(lambda: store.get(Merchant, merchant.id)) == merchant
        assert await eventually(lambda: store.find(query)) == [merchant]


async def test_a_store_closes_also_where_its_database_has_fallen_silent(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_module, "CLOSE_SECONDS", 0.1)
    store = await SqlStore(wire.url, TABLES).__aenter__()
    await store.commit(a_merchant())
    assert await store.find(Query(kind=Merchant, limit=2))
    wire.silent = True
    asking = asyncio.create_task(store.get(Merchant, "mer_unknown"))
    await asyncio.sleep(0.05)
    await store.close()
    with pytest.raises(Unavailable):
        await asking


async def test_a_lock_that_is_held_too_long_leaves_nothing_written(
    postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engines.POSTGRES_SETTINGS, "statement_timeout", "1000")
    async with SqlStore(postgres_database, TABLES) as store, connected(postgres_database) as other:
        merchant = a_merchant()
        await store.commit(merchant)
        async with other.transaction():
            await other.execute("SELECT * FROM merchants WHERE id = $1 FOR UPDATE", merchant.id)
            with pytest.raises(Unavailable):
                await store.commit(bump(merchant))

        await store.commit(bump(merchant))


async def test_deadlocked_batches_are_tried_again(postgres_database: str) -> None:
    async with SqlStore(postgres_database, TABLES) as store, connected(postgres_database) as other:
        merchants = [a_merchant(), a_merchant()]
        await store.commit(*merchants)
        # Somebody by hand, in the order that no store takes, and with more patience than the store.
        async with other.transaction():
            await other.execute("SET LOCAL deadlock_timeout = '10s'")
            await other.execute("SELECT * FROM merchants WHERE id = $1 FOR UPDATE", merchants[1].id)
            commit = asyncio.create_task(store.commit(*(bump(merchant) for merchant in merchants)))
            await asyncio.sleep(0.1)
            await other.execute("SELECT * FROM merchants WHERE id = $1 FOR UPDATE", merchants[0].id)

        await commit


@pytest.fixture
def sqlite_alone(tmp_path: Path) -> str:
    return prepare(sqlite_url(tmp_path))


async def test_a_busy_file_is_waited_for(sqlite_alone: str) -> None:
    path = sqlite_path(sqlite_alone)
    assert path
    async with SqlStore(sqlite_alone, TABLES) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        merchant = a_merchant()
        commit = asyncio.create_task(store.commit(merchant))
        await asyncio.sleep(0.2)
        assert not commit.done()
        assert await store.get(Merchant, merchant.id) is None
        other.execute("COMMIT")
        other.close()

        await commit


async def test_a_file_that_stays_busy_is_unavailable(
    sqlite_alone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "BUSY_SECONDS", 0.2)
    path = sqlite_path(sqlite_alone)
    assert path
    async with SqlStore(sqlite_alone, TABLES) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        merchant = a_merchant()
        with pytest.raises(Unavailable):
            await store.commit(merchant)
        other.execute("COMMIT")
        other.close()

        await store.commit(merchant)


def keep_everybody_out(url: str) -> sqlite3.Connection:
    """Lock a file that nobody has open as SQLite itself does while it recovers a log; closing lets others in."""
    path = sqlite_path(url)
    assert path
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    return other


async def test_a_look_up_waits_for_a_lock_and_keeps_nobody_else_waiting(sqlite_alone: str) -> None:
    merchant = a_merchant()
    async with SqlStore(sqlite_alone, TABLES) as store:
        await store.commit(merchant)
    async with SqlStore(sqlite_alone, TABLES) as store:
        other = keep_everybody_out(sqlite_alone)
        look_up = asyncio.create_task(store.get(Merchant, merchant.id))
        started = time.monotonic()
        await asyncio.sleep(0.1)
        assert time.monotonic() - started < engines.BUSY_SECONDS / 2
        assert not look_up.done()
        other.close()

        assert await look_up == merchant


async def test_a_look_up_in_a_file_that_stays_locked_is_unavailable(
    sqlite_alone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "BUSY_SECONDS", 0.2)
    other = keep_everybody_out(sqlite_alone)
    async with SqlStore(sqlite_alone, TABLES) as store:
        with pytest.raises(Unavailable, match="locked"):
            await store.get(Merchant, "mer_1")
    other.close()


async def test_a_process_that_writes_all_the_while_leaves_others_their_turn(sqlite_alone: str) -> None:
    path = sqlite_path(sqlite_alone)
    assert path
    ended = threading.Event()
    turns = 0

    def write_all_the_while() -> None:
        nonlocal turns
        other = sqlite3.connect(path, isolation_level=None)
        while not ended.is_set():
            other.execute("BEGIN IMMEDIATE")
            time.sleep(0.02)
            other.execute("COMMIT")
            turns += 1
            # As long as a busy process takes to make its next batch.
            time.sleep(0.001)
        other.close()

    async with SqlStore(sqlite_alone, TABLES) as store:
        writer = threading.Thread(target=write_all_the_while)
        writer.start()
        try:
            waited = 0
            for _ in range(20):
                before = turns
                while turns == before:  # noqa: ASYNC110 - it is a thread that moves on
                    await asyncio.sleep(0.001)
                before = turns
                await store.commit(a_merchant())
                waited += turns - before
        finally:
            ended.set()
            writer.join()
    # It is seldom that it gets a second turn first. To look every tenth of a second cost up to twenty for each.
    assert waited < 20 * 4


# Some ten seconds of counting, so that this ends also where nobody stops it.
COUNTING = (
    "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 100000000)"
    " SELECT '', max(n) FROM numbers"
)


async def test_a_question_that_takes_too_long_is_not_computed_any_longer(
    sqlite_alone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "ANSWER_SECONDS", 0.1)
    path = sqlite_path(sqlite_alone)
    assert path
    session = sqlite.SqliteDatabase(path).session()
    before = threading.active_count()
    with pytest.raises(limits.Lost):
        await session.read(limits.Question(COUNTING, []))

    await asyncio.sleep(0.5)
    assert threading.active_count() == before
    assert await session.read(limits.Question("SELECT '', '1'", [])) == [("", "1")]
    await session.close()


async def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    async with SqlStore(f"sqlite:///{tmp_path / 'missing' / 'kpay.db'}") as store:
        with pytest.raises(Unavailable):
            await store.commit(a_merchant())
        with pytest.raises(Unavailable):
            await store.get(Merchant, "mer")
    # The thread of a connection that could not be opened reports to the loop once more.
    await asyncio.sleep(0.05)


async def test_a_database_without_our_tables_is_unavailable(empty_database: Callable[[], str]) -> None:
    async with SqlStore(empty_database()) as store:
        with pytest.raises(Unavailable):
            await store.commit(a_merchant())
        with pytest.raises(Unavailable):
            await store.get(Merchant, "mer")
        with pytest.raises(Unavailable):
            await store.find(Query(kind=Merchant, limit=1))


async def test_after_close_everything_is_unavailable(database: str) -> None:
    async with SqlStore(database) as store:
        merchant = a_merchant()
        waiting = [asyncio.create_task(store.commit(merchant))]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)

    for ask in (
        lambda: store.commit(a_merchant()),
        lambda: store.get(Merchant, merchant.id),
        lambda: store.find(Query(kind=Merchant, limit=1)),
        store.ready,
    ):
        with pytest.raises(Unavailable):
            await ask()


async def test_a_bug_leaves_no_transaction_open(sqlite_alone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with SqlStore(sqlite_alone, TABLES) as store:
        with monkeypatch.context() as patch:
            patch.setattr(sqlite, "complete", lambda connection, part: 1 / 0)
            with pytest.raises(Unknown):
                await store.commit(a_merchant())

        await store.commit(a_merchant())


async def test_an_old_sqlite_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))

    with pytest.raises(RuntimeError, match=r"3\.35"):
        SqlStore("sqlite:///kpay.db")


@pytest.mark.parametrize(
    "url", ["", "kpay.db", "mysql://root@localhost/kpay", "sqlite://", "sqlite:///", "sqlite:///:memory:"]
)
def test_a_wrong_url_says_what_it_takes(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///"):
        SqlStore(url)


def test_no_limit_outlasts_the_callers_patience() -> None:
    assert engines.BUSY_SECONDS < limits.ANSWER_SECONDS
    assert engines.STATEMENT_MILLISECONDS / 1000 < limits.ANSWER_SECONDS
    assert limits.CONNECT_SECONDS + limits.ANSWER_SECONDS < 30
