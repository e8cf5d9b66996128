"""Programs that tests run beside themselves: `python -m tests.sql.processes <program> <url> …`."""

import asyncio
import sys

from kpay_adapters.sql.store import SqlStore
from kpay_core.commit import CommitFailed, Conflict, bump
from kpay_core.domain.charges import Charge
from tests.contract.records import Note, a_merchant
from tests.contract.stores import TABLES


async def count(url: str, id: str, times: str) -> None:
    """Raise a charge's counter `times` times, with two others in this process and more in others doing the same."""

    async def raise_it(store: SqlStore) -> None:
        done = 0
        while done < int(times):
            charge = await store.get(Charge, id)
            assert charge is not None
            try:
                await store.commit(bump(charge, looks=charge.looks + 1))
            except Conflict:
                continue
            done += 1

    async with SqlStore(url, TABLES) as store:
        await asyncio.gather(*(raise_it(store) for _ in range(3)))


async def commit_until_killed(url: str) -> None:
    """Commit pairs of a merchant and a note for ever, and print the id of each when its commit has returned."""

    async def commit(store: SqlStore) -> None:
        while True:
            merchant = a_merchant()
            await store.commit(merchant, Note(id=merchant.id, text="pair"))
            sys.stdout.write(f"{merchant.id}\n")
            sys.stdout.flush()
            try:
                await store.commit(bump(merchant, name="Second"), Note(id=f"{merchant.id}/2", text="pair"))
            except CommitFailed:
                return

    async with SqlStore(url, TABLES) as store:
        await asyncio.gather(*(commit(store) for _ in range(16)))


if __name__ == "__main__":
    program = {"count": count, "commit_until_killed": commit_until_killed}[sys.argv[1]]
    asyncio.run(program(*sys.argv[2:]))
