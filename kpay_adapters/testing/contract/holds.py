"""What `Store.commit` promises of what it holds."""

import asyncio

import pytest

from kpay_adapters.testing.contract.questions import charges_of
from kpay_adapters.testing.records import Note, a_charge, a_merchant, new_id, succeeded
from kpay_core.commit import Conflict, Rejected, bump
from kpay_core.domain.charges import Charge
from kpay_core.domain.merchants import Merchant
from kpay_core.ports import Store


class Holds:
    """Units that rest on records which they do not write."""

    async def test_a_held_record_is_not_written(self, store: Store) -> None:
        merchant = a_merchant()
        await store.commit(merchant)
        charge = a_charge(merchant)

        await store.commit(charge, held=[a_merchant(id=merchant.id, name="Never written")])
        await store.commit(succeeded(charge), held=[merchant])

        assert await store.get(Merchant, merchant.id) == merchant
        assert await store.get(Charge, charge.id) == succeeded(charge)

    @pytest.mark.parametrize("lag", [-1, 1], ids=["moved on", "not there yet"])
    async def test_a_held_record_must_be_exactly_at_its_version(self, store: Store, lag: int) -> None:
        first = a_merchant()
        second = bump(first)
        await store.commit(first)
        await store.commit(second)
        other = a_merchant()
        await store.commit(other)
        wrong = a_merchant(id=first.id, version=second.version + lag)
        note = Note(id=new_id("note"), text="x")
        charge = a_charge(first)

        with pytest.raises(Conflict) as conflict:
            await store.commit(note, charge, held=[other, wrong])

        assert (conflict.value.kind, conflict.value.id) == (Merchant, first.id)
        assert await store.get(Note, note.id) is None
        assert await store.get(Charge, charge.id) is None

    async def test_a_held_record_must_exist(self, store: Store) -> None:
        merchant = a_merchant()
        note = Note(id=new_id("note"), text="x")

        with pytest.raises(Conflict) as conflict:
            await store.commit(note, held=[merchant])

        assert (conflict.value.kind, conflict.value.id) == (Merchant, merchant.id)
        assert await store.get(Note, note.id) is None

    async def test_a_held_record_that_moved_conflicts_before_an_appended_one_is_rejected(
        self, store: Store
    ) -> None:
        merchant = a_merchant()
        note = Note(id=new_id("note"), text="x")
        await store.commit(merchant)
        await store.commit(note, held=[merchant])

        with pytest.raises(Rejected):
            await store.commit(note, held=[merchant])
        await store.commit(bump(merchant))
        with pytest.raises(Conflict):
            await store.commit(note, held=[merchant])

    async def test_any_number_of_units_hold_one_record_at_the_same_time(self, store: Store) -> None:
        merchant, other = a_merchant(), a_merchant()
        await store.commit(merchant, other)
        many = [a_charge(merchant) for _ in range(200)]

        await asyncio.gather(*(store.commit(charge, held=[merchant, other]) for charge in many))

        assert await charges_of(store, merchant, limit=300) == many

    async def test_a_unit_that_writes_a_record_is_before_or_after_all_that_hold_it(
        self, store: Store
    ) -> None:
        book = a_merchant()
        await store.commit(book)
        held_by: dict[int, list[str]] = {}
        left = 40

        async def hold() -> None:
            while left:
                await asyncio.sleep(0)
                found = await store.get(Merchant, book.id)
                assert found is not None
                charge = a_charge(book, amount=100 + found.version)
                try:
                    await store.commit(charge, held=[found])
                except Conflict:
                    continue
                held_by.setdefault(found.version, []).append(charge.id)

        async def move() -> None:
            nonlocal left, book
            for _ in range(40):
                await asyncio.sleep(0.001)
                older = book.version
                book = bump(book)
                await store.commit(book)
                # Those who held the older version may not know it yet, but nothing of theirs comes after this.
                counted[older] = len(
                    await charges_of(store, book, ("amount", "=", 100 + older), limit=10_000)
                )
                left -= 1

        counted: dict[int, int] = {}
        # Where one of them fails, none of the others goes on for ever.
        async with asyncio.TaskGroup() as group:
            for work in (move(), *(hold() for _ in range(8))):
                group.create_task(work)

        for version, count in counted.items():
            found = await charges_of(store, book, ("amount", "=", 100 + version), limit=10_000)
            assert len(found) == count
            assert {charge.id for charge in found} == set(held_by.get(version, []))
        assert sum(counted.values()) > 0

    async def test_a_held_record_without_a_version_is_a_bug_of_the_caller(self, store: Store) -> None:
        merchant = a_merchant()
        note = Note(id=new_id("note"), text="")
        await store.commit(note)

        with pytest.raises(ValueError, match="without a version"):
            await store.commit(merchant, held=[note])

        assert await store.get(Merchant, merchant.id) is None

    async def test_a_record_that_is_written_and_held_is_a_bug_of_the_caller(self, store: Store) -> None:
        merchant = a_merchant()
        await store.commit(merchant)

        with pytest.raises(ValueError, match="twice"):
            await store.commit(bump(merchant), held=[merchant])
        with pytest.raises(ValueError, match="twice"):
            await store.commit(a_merchant(), held=[merchant, merchant])

        assert await store.get(Merchant, merchant.id) == merchant

    async def test_a_unit_that_holds_and_writes_nothing_is_a_bug_of_the_caller(self, store: Store) -> None:
        merchant = a_merchant()
        await store.commit(merchant)

        with pytest.raises(ValueError, match="writes none"):
            await store.commit(held=[merchant])
