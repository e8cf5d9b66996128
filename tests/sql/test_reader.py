"""Look-ups go together, and what is wrong with one is nobody else's trouble."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import text

from kpay_adapters.sql import reader as module
from kpay_adapters.sql.database import Answer, Lost, Question
from kpay_adapters.sql.migrate import transaction
from kpay_adapters.sql.reader import MAX_GROUPED_IDS
from kpay_adapters.sql.sqlite import SqliteLookUps, SqliteSession
from kpay_adapters.sql.store import SqlStore
from kpay_adapters.testing.records import a_charge, a_merchant, an_api_key
from kpay_core.commit import Unavailable, bump
from kpay_core.domain.merchants import Merchant
from kpay_core.query import Query
from tests.contract.stores import TABLES

pytestmark = pytest.mark.anyio


@pytest.fixture
async def logged(sqlite_database: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A store whose questions are written down; the first `troubles` are raised instead of answered."""
    asked: list[Question] = []
    troubles: list[Exception] = []

    def listen_in(session: type[SqliteLookUps] | type[SqliteSession]) -> None:
        read = session.read

        async def log(session: Any, question: Question) -> Sequence[Answer]:
            asked.append(question)
            if troubles:
                raise troubles.pop(0)
            return await read(session, question)

        monkeypatch.setattr(session, "read", log)

    listen_in(SqliteLookUps)
    listen_in(SqliteSession)
    async with SqlStore(sqlite_database, TABLES) as store:
        yield store, asked, troubles


async def test_look_ups_that_wait_together_are_asked_together(logged: Any) -> None:
    store, asked, _ = logged
    merchants = [a_merchant() for _ in range(50)]
    key = an_api_key(merchants[0])
    await store.commit(*merchants, key)

    look_ups = [store.get(Merchant, merchant.id) for merchant in merchants]
    found = await asyncio.gather(
        *look_ups, store.get(type(key), key.id), store.get(Merchant, merchants[0].id)
    )

    assert found == [*merchants, key, merchants[0]]
    assert len(asked) == 2


async def test_records_are_counted(store: SqlStore) -> None:
    before = await store.count(Merchant)
    await store.commit(a_merchant(), a_merchant())
    assert await store.count(Merchant) == before + 2


async def test_a_question_has_a_limit(logged: Any) -> None:
    store, asked, _ = logged
    merchants = [a_merchant() for _ in range(500)]
    await store.commit(*merchants)

    assert await asyncio.gather(*(store.get(Merchant, merchant.id) for merchant in merchants)) == merchants
    assert len(asked) == 3


async def test_others_have_a_turn_between_the_questions(sqlite_database: str) -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with SqlStore(sqlite_database, TABLES) as store:
        assert await store.get(Merchant, "mer_1") is None
        other = asyncio.create_task(take_turns())
        look_ups = [asyncio.create_task(store.get(Merchant, f"mer_{n}")) for n in range(5 * MAX_GROUPED_IDS)]
        await look_ups[0]
        before = turns
        await look_ups[-1]
        other.cancel()
    assert turns - before >= 4


async def test_a_store_may_be_closed_in_another_thread(sqlite_database: str) -> None:
    def open_and_read(loop: asyncio.AbstractEventLoop) -> SqlStore:
        store = SqlStore(sqlite_database, TABLES)
        loop.run_until_complete(store.open())
        assert loop.run_until_complete(store.get(Merchant, "mer_1")) is None
        return store

    loop = asyncio.new_event_loop()
    store = await asyncio.to_thread(open_and_read, loop)
    await asyncio.to_thread(loop.run_until_complete, store.close())
    loop.close()


async def test_a_read_is_asked_again_when_the_connection_was_lost(logged: Any) -> None:
    store, _, troubles = logged
    merchant = a_merchant()
    await store.commit(merchant)

    query = Query(kind=Merchant, where=(("id", "=", merchant.id),), limit=1)

    troubles[:] = [Lost("gone")]
    assert await store.get(Merchant, merchant.id) == merchant
    troubles[:] = [Lost("gone")]
    assert await store.find(query) == [merchant]
    troubles[:] = [Lost("gone"), Lost("gone again")]
    with pytest.raises(Unavailable):
        await store.get(Merchant, merchant.id)
    troubles[:] = [Lost("gone"), Lost("gone again")]
    with pytest.raises(Unavailable):
        await store.find(query)


async def test_a_flood_of_reads_is_refused(logged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store, _, _ = logged
    monkeypatch.setattr(module, "MAX_WAITING_READS", 5)

    results = await asyncio.gather(*(store.get(Merchant, "mer") for _ in range(8)), return_exceptions=True)

    assert [type(result) for result in results] == [type(None)] * 5 + [Unavailable] * 3


async def test_a_row_that_is_no_record_hurts_only_those_who_ask_for_it(
    database: str, store: SqlStore
) -> None:
    merchant = a_merchant()
    good, bad = a_charge(merchant), a_charge(merchant)
    await store.commit(merchant, good, bad)
    async with transaction(database) as connection:
        await connection.execute(text("UPDATE charges SET source = '{}' WHERE id = :id"), {"id": bad.id})

    one, other, nothing = await asyncio.gather(
        store.get(type(good), good.id),
        store.get(type(bad), bad.id),
        store.get(type(bad), "ch"),
        return_exceptions=True,
    )

    assert one == good
    assert isinstance(other, ValueError)
    assert nothing is None


async def test_a_reader_who_is_cancelled_leaves_the_connections_usable(store: SqlStore) -> None:
    merchant = a_merchant()
    await store.commit(merchant, *(a_charge(merchant) for _ in range(50)))
    for steps in range(8):
        query = Query(kind=Merchant, limit=1000)
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(store.find(query)) for _ in range(6)]
        tasks += [asyncio.create_task(store.get(Merchant, merchant.id)) for _ in range(3)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        assert await store.get(Merchant, merchant.id) == merchant
        assert await store.find(Query(kind=Merchant, where=(("id", "=", merchant.id),), limit=1)) == [
            merchant
        ]


async def test_reads_go_on_while_the_writer_waits(sqlite_database: str, store: SqlStore) -> None:
    merchant = a_merchant()
    await store.commit(merchant)
    async with SqlStore(sqlite_database, TABLES) as one, transaction(sqlite_database):
        known = a_merchant()
        commit = asyncio.create_task(one.commit(known))
        await asyncio.sleep(0.05)
        assert await one.get(Merchant, known.id) is None
        assert not commit.done()
    await commit
    await store.commit(bump(merchant))
