"""Programs that tests run beside themselves: `python -m tests.sql.processes <program> <url> …`."""

import asyncio
import json
import sys
from collections import Counter

from kpay_adapters.sql.store import SqlStore
from kpay_adapters.testing.records import Note, a_merchant
from kpay_core.commit import CommitFailed, Conflict, bump
from kpay_core.domain.charges import Charge
from kpay_core.domain.merchants import Merchant
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


async def hold(url: str, id: str, name: str) -> None:
    """Write notes under a book from several tasks until it is closed, and print how many under each version."""
    async with SqlStore(url, TABLES) as store:
        book = await store.get(Merchant, id)
        assert book is not None
        done = await asyncio.gather(*(hold_until_closed(store, book, f"{name}-{i}") for i in range(3)))
    sys.stdout.write(json.dumps(sum(done, Counter())))


async def hold_until_closed(store: SqlStore, book: Merchant, name: str) -> Counter[int]:
    """Write notes under whatever version the book has, until it is named "Closed"; count those that were told done."""
    done: Counter[int] = Counter()
    number = 0
    while True:
        found = await store.get(Merchant, book.id)
        assert found is not None
        if found.name == "Closed":
            return done
        number += 1
        note = Note(id=f"{book.id}/{name}/{number:07}", text=str(found.version))
        try:
            await store.commit(note, held=[found])
        except Conflict:
            continue
        done[found.version] += 1


PROGRAMS = {"count": count, "commit_until_killed": commit_until_killed, "hold": hold}

if __name__ == "__main__":
    program = PROGRAMS[sys.argv[1]]
    asyncio.run(program(*sys.argv[2:]))
