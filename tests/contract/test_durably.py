"""Commits that are seen through on every store, although its first answer is lost."""

from collections.abc import Sequence
from typing import Any

import pytest

from kpay_adapters.testing import make_kpay
from kpay_adapters.testing.records import Note, a_charge, a_merchant, new_id, succeeded
from kpay_core.commit import Conflict, Record, Rejected, Unknown, bump
from kpay_core.flows.durably import commit
from kpay_core.ports import Ports, Store

pytestmark = pytest.mark.anyio


class Cut:
    """A store whose first commit is cut off, written or not, while somebody moves another record."""

    def __init__(self, store: Store, *, written: bool, moved: Sequence[Record] = ()) -> None:
        self.get, self.find = store.get, store.find
        self._store = store
        self._written = written
        self._moved = moved
        self._commits = 0

    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        self._commits += 1
        if self._commits > 1:
            await self._store.commit(*records, held=held)
            return
        if self._written:
            await self._store.commit(*records, held=held)
        await self._store.commit(*self._moved)
        raise Unknown


def over(store: Any) -> Ports:
    return make_kpay(store=store)


async def test_what_is_held_is_passed_on(store: Store) -> None:
    merchant = a_merchant()
    await store.commit(merchant)
    await store.commit(bump(merchant))
    charge = a_charge(merchant)

    with pytest.raises(Conflict):
        await commit(over(store), charge, held=[merchant])

    await commit(over(store), charge, held=[bump(merchant)])
    assert await store.get(type(charge), charge.id) == charge


async def test_a_unit_that_had_taken_effect_is_done_although_what_it_held_has_moved(store: Store) -> None:
    merchant = a_merchant()
    charge = a_charge(merchant)
    await store.commit(merchant, charge)
    cut = Cut(store, written=True, moved=[bump(merchant)])

    await commit(over(cut), Note(id=new_id("note"), text=""), succeeded(charge), held=[merchant])


async def test_a_unit_that_had_not_taken_effect_conflicts_when_what_it_holds_has_moved(store: Store) -> None:
    merchant = a_merchant()
    charge = a_charge(merchant)
    note = Note(id=new_id("note"), text="")
    await store.commit(merchant, charge)

    with pytest.raises(Conflict):
        await commit(
            over(Cut(store, written=False, moved=[bump(merchant)])), succeeded(charge), held=[merchant]
        )
    with pytest.raises(Conflict):
        await commit(
            over(Cut(store, written=False, moved=[bump(bump(merchant))])), note, held=[bump(merchant)]
        )

    assert await store.get(type(charge), charge.id) == charge
    assert await store.get(Note, note.id) is None


async def test_appended_records_that_were_written_are_known_by_their_ids_when_what_they_held_has_moved(
    store: Store,
) -> None:
    merchant = a_merchant()
    note = Note(id=new_id("note"), text="")
    await store.commit(merchant)

    await commit(over(Cut(store, written=True, moved=[bump(merchant)])), note, held=[merchant])

    assert await store.get(Note, note.id) == note


async def test_appended_records_that_were_written_are_rejected_when_what_they_held_has_not_moved(
    store: Store,
) -> None:
    merchant = a_merchant()
    await store.commit(merchant)

    with pytest.raises(Rejected):
        await commit(over(Cut(store, written=True)), Note(id=new_id("note"), text=""), held=[merchant])
