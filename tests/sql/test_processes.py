"""Several stores and several processes on one database: nothing is lost, whoever is killed."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable

import pytest

from kpay_adapters.sql.store import SqlStore
from kpay_adapters.testing.records import Note, a_charge, a_merchant
from kpay_core.commit import Conflict, bump
from kpay_core.domain.charges import Charge
from kpay_core.domain.merchants import Merchant
from kpay_core.query import Query
from tests.contract.stores import TABLES, prepare

pytestmark = pytest.mark.anyio


async def start(program: str, *arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.sql.processes", program, *arguments, stdout=PIPE
    )


async def test_no_update_is_lost_between_processes(database: str, store: SqlStore) -> None:
    merchant = a_merchant()
    charge = a_charge(merchant)
    await store.commit(merchant, charge)

    processes = [await start("count", database, charge.id, "20") for _ in range(2)]
    assert [await process.wait() for process in processes] == [0, 0]

    found = await store.get(Charge, charge.id)
    assert found is not None
    assert (found.looks, found.version) == (120, 121)


async def test_no_update_is_lost_between_stores(database: str) -> None:
    async with SqlStore(database) as one, SqlStore(database) as other:
        merchant = a_merchant()
        many = [a_charge(merchant) for _ in range(3)]
        await one.commit(merchant, *many)

        async def raise_all(store: SqlStore) -> None:
            done = 0
            while done < 10:
                found = [await store.get(Charge, charge.id) for charge in many]
                try:
                    # Every worker names them in another order, as callers do.
                    await store.commit(
                        *(
                            bump(charge, looks=charge.looks + 1)
                            for charge in found[:: 1 - done % 2 * 2]
                            if charge
                        )
                    )
                except Conflict:
                    continue
                done += 1

        await asyncio.gather(*(raise_all(store) for store in (one, other) for _ in range(3)))

        assert [
            charge.looks
            for charge in await one.find(Query(kind=Charge, where=(("merchant", "=", merchant.id),), limit=3))
        ] == [60] * 3


async def test_what_one_store_committed_another_reads(database: str) -> None:
    async with SqlStore(database) as one, SqlStore(database) as other:
        for _ in range(20):
            merchant = a_merchant()
            await one.commit(merchant)
            assert await other.get(Merchant, merchant.id) == merchant


async def test_a_killed_process_leaves_whole_units_and_all_it_acknowledged(
    empty_database: Callable[[], str],
) -> None:
    url = prepare(empty_database())
    for milliseconds in (20, 45, 80):
        process = await start("commit_until_killed", url)
        assert process.stdout is not None
        told = [await process.stdout.readline()]
        await asyncio.sleep(milliseconds / 1000)
        process.send_signal(signal.SIGKILL)
        told += (await process.stdout.read()).splitlines(keepends=True)
        await process.wait()

        acknowledged = {line.decode().strip() for line in told if line.endswith(b"\n")}
        async with SqlStore(url, TABLES) as store:
            merchants = {
                merchant.id: merchant for merchant in await store.find(Query(kind=Merchant, limit=100_000))
            }
            notes = {note.id for note in await store.find(Query(kind=Note, limit=200_000))}
        assert acknowledged
        assert acknowledged <= merchants.keys()
        second = {f"{merchant.id}/2" for merchant in merchants.values() if merchant.version == 2}
        assert notes == merchants.keys() | second
