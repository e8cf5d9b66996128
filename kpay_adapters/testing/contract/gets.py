"""What `Store.get` promises, and what every read does."""

import asyncio
import math
from typing import Any, cast

import pytest

from kpay_adapters.testing.contract.questions import charges_of
from kpay_adapters.testing.records import (
    NOW,
    Note,
    a_charge,
    a_key,
    a_merchant,
    a_refund,
    an_api_key,
    new_id,
    one_of_each,
)
from kpay_core.commit import Record, bump, is_guarded
from kpay_core.domain.charges import Charge
from kpay_core.domain.ledger import Sheet
from kpay_core.domain.merchants import Merchant
from kpay_core.ports import Store
from kpay_core.query import Query

HOSTILE = [
    "",
    " ",
    "\0",
    "a\0b",
    "\ud800",
    "\udfff\ud800",
    "'; DROP TABLE charges; --",
    "%",
    "$1",
    "?",
    "😀",
    "x" * 100_000,
]


class Gets:
    """Reads by id."""

    async def test_what_was_committed_comes_back_equal(self, store: Store) -> None:
        merchant = a_merchant(name="Zoë \"the\" \\ 'Ж' 😀\x01\x7f\u2028")
        charge = a_charge(merchant, description=None)
        records: list[Record] = [
            merchant,
            an_api_key(merchant, livemode=True, expires_at=NOW),
            charge,
            a_refund(charge, notes=""),
            a_key(charge),
            Note(id=new_id("note"), text="null"),
        ]

        await store.commit(*records)

        for record in records:
            assert await store.get(type(record), record.id) == record

    async def test_each_kind_comes_back_equal_and_so_does_its_next_version(self, store: Store) -> None:
        records = one_of_each()
        await store.commit(*records)
        for record in records:
            await self._is_kept(store, record)
        # A sheet that has its totals never changes again.
        guarded = [record for record in records if is_guarded(type(record)) and type(record) is not Sheet]
        moved = [bump(cast(Any, record)) for record in guarded]
        await store.commit(*moved)
        for record in moved:
            await self._is_kept(store, record)

    async def _is_kept(self, store: Store, record: Record) -> None:
        kept = await store.get(type(record), record.id)
        assert kept == record
        # Two values that are equal need not be the same: 1, 1.0 and True.
        assert repr(kept) == repr(record)

    async def test_metadata_keeps_the_types_and_values_of_its_numbers(self, store: Store) -> None:
        metadata = {
            "float": 1e22,
            "whole float": 1.0,
            "negative zero": -0.0,
            "least": 5e-324,
            "most": 1.7976931348623157e308,
            "big": 123456789012345678901234567890,
            "flag": True,
            "one": 1,
            "text": "1",
            "": "empty",
        }
        merchant = a_merchant()
        charge = a_charge(merchant, metadata=metadata)

        await store.commit(merchant, charge)

        found = await store.get(Charge, charge.id)
        assert found is not None
        assert found.metadata == metadata
        assert [type(value) for value in found.metadata.values()] == [
            type(value) for value in metadata.values()
        ]
        assert math.copysign(1, found.metadata["negative zero"]) == -1

    async def test_what_was_never_committed_is_none(self, store: Store) -> None:
        assert await store.get(Merchant, new_id("mer")) is None

    async def test_the_newest_version_is_returned(self, store: Store) -> None:
        first = a_merchant()
        await store.commit(first)
        second = bump(first, name="Acme, Inc.")
        await store.commit(second)

        assert await store.get(Merchant, first.id) == second

    @pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
    async def test_any_text_is_a_valid_question(self, store: Store, text: str) -> None:
        await store.commit(a_merchant())

        assert await store.get(Merchant, text) is None
        assert await store.find(Query(kind=Merchant, where=(("id", "=", text),), limit=10)) == []
        assert await store.find(Query(kind=Merchant, where=(("id", "in", (text, text)),), limit=10)) == []

    async def test_what_is_no_text_is_neither_before_nor_after_anything(self, store: Store) -> None:
        merchant = a_merchant()
        await store.commit(merchant)

        for sign in ("<", "<=", ">", ">="):
            for text in ("\0", "a\0", "\ud800"):
                assert await store.find(Query(kind=Merchant, where=(("id", sign, text),), limit=10)) == []
        among = Query(kind=Merchant, where=(("id", "in", ("\0", merchant.id, "\ud800")),), limit=10)
        assert await store.find(among) == [merchant]

    async def test_kinds_do_not_share_ids(self, store: Store) -> None:
        merchant = a_merchant()
        await store.commit(merchant, a_charge(merchant, id=merchant.id))

        assert await store.get(Merchant, merchant.id) == merchant

    async def test_no_dict_of_a_caller_reaches_into_the_store(self, store: Store) -> None:
        merchant = a_merchant()
        metadata = {"order": "1"}
        charge = a_charge(merchant, metadata=metadata)
        await store.commit(merchant, charge)

        metadata["order"] = "2"
        one, other = await asyncio.gather(store.get(Charge, charge.id), store.get(Charge, charge.id))
        assert one is not None
        one.metadata["order"] = "3"
        (found,) = await charges_of(store, merchant)
        found.metadata["order"] = "4"

        assert other is not None
        assert other.metadata == {"order": "1"}
        assert await store.get(Charge, charge.id) == other
        assert await charges_of(store, merchant) == [other]

    async def test_a_read_sees_every_commit_that_had_returned(self, store: Store) -> None:
        merchant = a_merchant()

        async def write_and_read() -> None:
            charge = a_charge(merchant)
            await store.commit(charge)
            assert await store.get(Charge, charge.id) == charge
            assert charge in await charges_of(store, merchant)

        await store.commit(merchant)
        await asyncio.gather(*(write_and_read() for _ in range(20)))

    async def test_many_look_ups_at_once_get_their_own_answers(self, store: Store) -> None:
        merchant = a_merchant()
        many = [a_charge(merchant, amount=1000 + i) for i in range(300)]
        await store.commit(merchant, *many)

        found = await asyncio.gather(
            *(store.get(Charge, charge.id) for charge in many), store.get(Charge, new_id("ch"))
        )

        assert found == [*many, None]
