"""What `Store.commit` promises of what it writes."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from kpay_adapters.testing.records import NOW, Note, a_charge, a_key, a_merchant, answered, new_id, succeeded
from kpay_core.commit import Conflict, Rejected, bump
from kpay_core.domain import merchants
from kpay_core.domain.charges import Charge
from kpay_core.domain.merchants import Merchant
from kpay_core.ports import Store
from kpay_core.query import Query

# Makes what opens a store.
Reopen = Callable[[], AbstractAsyncContextManager[Store]]


class Commits:
    """Units that are written, whole or not at all."""

    @pytest.fixture
    def reopen(self) -> Reopen | None:
        """Give it to a store that lasts: what opens once more, as another process would, what `store` has written."""
        return None

    async def test_what_was_committed_is_there_for_whoever_opens_the_store_again(
        self, store: Store, reopen: Reopen | None
    ) -> None:
        if reopen is None:
            pytest.skip("no fixture `reopen`: the store lasts as long as its process")
        merchant = a_merchant()
        charge, note = a_charge(merchant), Note(id=new_id("note"), text="x")
        await store.commit(merchant, charge, note)
        await store.commit(succeeded(charge), held=[merchant])

        async with reopen() as again:
            for record in (merchant, succeeded(charge), note):
                assert await again.get(type(record), record.id) == record
            with pytest.raises(Conflict):
                await again.commit(succeeded(charge))
            await again.commit(bump(merchant))

    async def test_version_1_must_not_exist_yet(self, store: Store) -> None:
        merchant = a_merchant()
        await store.commit(merchant)

        with pytest.raises(Conflict) as conflict:
            await store.commit(a_merchant(id=merchant.id, name="Other"))

        assert (conflict.value.kind, conflict.value.id) == (Merchant, merchant.id)
        assert await store.get(Merchant, merchant.id) == merchant

    async def test_version_n_replaces_exactly_version_n_minus_1(self, store: Store) -> None:
        first = a_merchant()
        second = bump(first, name="Second")
        third = bump(second, name="Third")

        with pytest.raises(Conflict):
            await store.commit(second)
        await store.commit(first)
        with pytest.raises(Conflict):
            await store.commit(third)
        await store.commit(second)
        with pytest.raises(Conflict):
            await store.commit(bump(first, name="Late"))
        await store.commit(third)

        assert await store.get(Merchant, first.id) == third

    async def test_a_conflict_leaves_nothing_of_the_unit(self, store: Store) -> None:
        merchant, stale = a_merchant(), a_merchant()
        await store.commit(stale)

        with pytest.raises(Conflict):
            await store.commit(merchant, Note(id=merchant.id, text="x"), stale)

        assert await store.get(Merchant, merchant.id) is None
        assert await store.get(Note, merchant.id) is None

    async def test_of_many_who_bump_one_record_one_wins(self, store: Store) -> None:
        merchant = a_merchant()
        await store.commit(merchant)

        results = await asyncio.gather(
            *(store.commit(bump(merchant, name=f"Winner {i}")) for i in range(50)), return_exceptions=True
        )

        assert [result for result in results if not isinstance(result, Conflict)] == [None]
        assert await store.get(Merchant, merchant.id) == bump(merchant, name=f"Winner {results.index(None)}")

    async def test_a_record_without_a_version_is_appended(self, store: Store) -> None:
        notes = [Note(id=new_id("note"), text=str(i)) for i in range(3)]
        await store.commit(*notes)

        found = await store.find(Query(kind=Note, where=(("id", ">=", notes[0].id),), limit=3))
        assert found == notes

    async def test_an_appended_id_that_exists_is_rejected(self, store: Store) -> None:
        note = Note(id=new_id("note"), text="a secret")
        merchant = a_merchant()
        await store.commit(note)

        with pytest.raises(Rejected) as rejection:
            await store.commit(merchant, Note(id=note.id, text="another secret"))

        assert "secret" not in str(rejection.value)
        assert note.id not in str(rejection.value)
        assert await store.get(Merchant, merchant.id) is None
        assert await store.get(Note, note.id) == note

    async def test_the_same_record_twice_in_a_unit_is_a_bug_of_the_caller(self, store: Store) -> None:
        merchant = a_merchant()
        note = Note(id=new_id("note"), text="")

        with pytest.raises(ValueError, match="twice"):
            await store.commit(merchant, bump(merchant))
        with pytest.raises(ValueError, match="twice"):
            await store.commit(note, note)

        assert await store.get(Merchant, merchant.id) is None
        assert await store.get(Note, note.id) is None

    async def test_a_unit_that_had_taken_effect_conflicts_when_it_is_sent_again(self, store: Store) -> None:
        merchant = a_merchant()
        charge = a_charge(merchant)
        key = a_key(charge)
        opened = (merchant, charge, key, Note(id=new_id("note"), text="opened"))
        await store.commit(*opened)
        settled = (succeeded(charge), answered(key), Note(id=new_id("note"), text="settled"))
        await store.commit(*settled)

        for unit in (opened, settled):
            with pytest.raises(Conflict):
                await store.commit(*unit)

    async def test_a_caller_who_is_cancelled_has_committed_all_or_nothing(self, store: Store) -> None:
        for steps in range(6):
            merchant = a_merchant()
            charge = a_charge(merchant)
            task = asyncio.create_task(store.commit(merchant, charge))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            # Whatever was on its way is done when a later commit is.
            await store.commit(a_merchant())

            found = [await store.get(Merchant, merchant.id), await store.get(Charge, charge.id)]
            assert found in ([merchant, charge], [None, None])

    async def test_a_unit_of_nothing_is_done_at_once(self, store: Store) -> None:
        await store.commit()

    async def test_a_state_moves_to_and_fro_as_its_versions_say(self, store: Store) -> None:
        merchant = a_merchant()
        await store.commit(merchant)
        approved = merchants.approve(merchant, now=NOW)
        await store.commit(approved)
        back = bump(approved, status=merchants.Status.APPLIED, approved_at=None)
        await store.commit(back)

        assert await store.get(Merchant, merchant.id) == back
