"""Units that rest on a record while others, on connections and in processes of their own, write it."""

import asyncio
import sqlite3
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import msgspec
import pytest

from kpay_adapters.sql import statements
from kpay_adapters.sql.engines import POSTGRES_SETTINGS
from kpay_adapters.sql.store import SqlStore
from kpay_adapters.sql.tables import MERCHANTS
from kpay_adapters.testing.records import Note, a_charge, a_merchant, succeeded
from kpay_core.commit import Conflict, bump
from kpay_core.domain.charges import Charge
from kpay_core.domain.merchants import Merchant
from kpay_core.query import Query
from tests.contract.stores import NOTES, TABLES, prepare
from tests.sql.processes import hold_until_closed

pytestmark = pytest.mark.anyio

ROUNDS = 100


async def notes_under(store: SqlStore, book: Merchant) -> Counter[int]:
    """Count the notes that were committed holding each version of a book: their ids tell."""
    first, last = f"{book.id}/", f"{book.id}0"
    found = await store.find(Query(kind=Note, where=(("id", ">", first), ("id", "<", last)), limit=1_000_000))
    return Counter(int(note.text) for note in found)


async def move(store: SqlStore, book: Merchant, rounds: int) -> Counter[int]:
    """Write the book over and over, and count what was under each older version once that had returned."""
    counted: Counter[int] = Counter()
    for i in range(rounds):
        older = book.version
        book = bump(book, name="Closed" if i == rounds - 1 else f"Sheet {i}")
        await store.commit(book)
        counted[older] = (await notes_under(store, book))[older]
    return +counted


async def test_once_a_record_has_moved_nothing_that_held_its_older_version_appears(database: str) -> None:
    async with AsyncExitStack() as opened:
        stores = [await opened.enter_async_context(SqlStore(database, TABLES)) for _ in range(4)]
        book = a_merchant()
        await stores[0].commit(book)

        counted, *done = await asyncio.gather(
            move(stores[0], book, ROUNDS),
            *(hold_until_closed(store, book, f"{i}-{j}") for i, store in enumerate(stores) for j in range(2)),
        )

        assert sum(done, Counter()) == counted == await notes_under(stores[0], book)
        assert counted.total() > ROUNDS / 3


async def test_processes_hold_what_another_moves(database: str, store: SqlStore) -> None:
    book = a_merchant()
    await store.commit(book)
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.sql.processes", "hold", database, book.id, f"p{i}", stdout=PIPE
        )
        for i in range(2)
    ]
    async with asyncio.timeout(30):
        while not await notes_under(store, book):  # noqa: ASYNC110 another process writes them
            await asyncio.sleep(0.01)

    counted = await move(store, book, ROUNDS // 3)

    done: Counter[int] = Counter()
    for process in processes:
        told, _ = await process.communicate()
        assert process.returncode == 0
        done.update({int(version): count for version, count in msgspec.json.decode(told).items()})
    assert done == counted == await notes_under(store, book)


# PostgreSQL, step by step, with a connection by hand as the other process.


@pytest.fixture
async def other(postgres_database: str) -> AsyncIterator[Any]:
    connection: Any = await asyncpg.connect(postgres_database, server_settings=POSTGRES_SETTINGS)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def postgres(postgres_database: str) -> AsyncIterator[SqlStore]:
    async with SqlStore(postgres_database, TABLES) as store:
        yield store


def array(*rows: object) -> str:
    return msgspec.json.encode(rows).decode()


async def write_holding(connection: Any, note: Note, book: Merchant) -> None:
    """Write a note as a store does, in a transaction that stays open."""
    sql = statements.postgres_batch(((NOTES, "append"), (MERCHANTS, "hold")))
    await connection.fetchval(sql, array(note), 1, array({"id": book.id, "version": book.version}), 1)


async def write_next(connection: Any, book: Merchant) -> None:
    """Write a book as a store does, in a transaction that stays open."""
    sql = statements.postgres_batch(((MERCHANTS, "update"),))
    await connection.fetchval(sql, array(bump(book)), 1)


async def waits(connection: Any, ask: Awaitable[None]) -> "asyncio.Future[None]":
    """Begin something, and return when it waits for a lock of this connection's transaction."""
    asked = asyncio.ensure_future(ask)
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))"
    async with asyncio.timeout(5):
        while not await connection.fetchval(blocked):
            assert not asked.done(), "it did not wait"
            await asyncio.sleep(0.01)
            await connection.execute("SELECT pg_stat_clear_snapshot()")
    return asked


async def test_who_writes_a_record_waits_for_those_who_hold_it(postgres: SqlStore, other: Any) -> None:
    book = a_merchant()
    note = Note(id=f"{book.id}/1", text="1")
    await postgres.commit(book)
    async with other.transaction():
        await write_holding(other, note, book)
        moving = await waits(other, postgres.commit(bump(book)))

    await moving
    assert await postgres.get(Note, note.id) == note
    assert await postgres.get(Merchant, book.id) == bump(book)


async def test_who_holds_a_record_waits_for_who_writes_it_and_then_misses_it(
    postgres: SqlStore, other: Any
) -> None:
    book = a_merchant()
    note = Note(id=f"{book.id}/1", text="1")
    await postgres.commit(book)
    async with other.transaction():
        await write_next(other, book)
        holding = await waits(other, postgres.commit(note, held=[book]))

    with pytest.raises(Conflict) as conflict:
        await holding
    assert (conflict.value.kind, conflict.value.id) == (Merchant, book.id)
    assert await postgres.get(Note, note.id) is None


async def test_who_holds_a_record_goes_on_when_its_writer_gave_up(postgres: SqlStore, other: Any) -> None:
    book = a_merchant()
    note = Note(id=f"{book.id}/1", text="1")
    await postgres.commit(book)
    transaction = other.transaction()
    await transaction.start()
    await write_next(other, book)
    holding = await waits(other, postgres.commit(note, held=[book]))
    await transaction.rollback()

    await holding
    assert await postgres.get(Note, note.id) == note


async def test_those_who_hold_a_record_do_not_wait_for_each_other(postgres: SqlStore, other: Any) -> None:
    book = a_merchant()
    await postgres.commit(book)
    async with other.transaction():
        await write_holding(other, Note(id=f"{book.id}/1", text="1"), book)
        async with asyncio.timeout(2):
            await postgres.commit(Note(id=f"{book.id}/2", text="1"), held=[book])


async def test_who_holds_one_record_and_writes_another_waits_in_line(postgres: SqlStore, other: Any) -> None:
    merchant = a_merchant()
    charge = a_charge(merchant)
    await postgres.commit(merchant, charge)
    async with other.transaction():
        await write_next(other, merchant)
        holding = await waits(other, postgres.commit(succeeded(charge), held=[merchant]))
        # Well before the server would look for a deadlock: the charge is not locked by who waits for its merchant.
        async with asyncio.timeout(0.5):
            await other.execute("SELECT 1 FROM charges WHERE id = $1 FOR NO KEY UPDATE", charge.id)

    with pytest.raises(Conflict):
        await holding
    assert await postgres.get(Charge, charge.id) == charge


@pytest.mark.parametrize("rows", [0, 5_000])
async def test_what_is_held_is_found_by_its_key(rows: int, empty_database: Callable[[], str]) -> None:
    url = prepare(empty_database())
    async with SqlStore(url, TABLES) as store:
        many = [a_merchant() for _ in range(rows)]
        await store.commit(*many)
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        sql = statements.sqlite_step(MERCHANTS, "hold", 2)
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", ["a", 1, "b", 1])]
        connection.close()
        assert any("SEARCH" in step and "id=?" in step for step in plan), plan
        return
    connection = await asyncpg.connect(url, server_settings=POSTGRES_SETTINGS)
    sql = statements.postgres_batch(((NOTES, "append"), (MERCHANTS, "hold")))
    await connection.execute(f"PREPARE batch AS {sql}")
    plan = [row[0] for row in await connection.fetch("EXPLAIN EXECUTE batch('[]', 0, '[]', 0)")]
    await connection.close()
    assert any("LockRows" in step for step in plan), plan
    assert any("Index Scan using merchants_pkey" in step for step in plan), plan
    assert any("Index Cond: ((id)::text" in step or "Index Cond: (id = " in step for step in plan), plan
