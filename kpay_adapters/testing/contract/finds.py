"""What `Store.find` promises."""

import asyncio
from datetime import timedelta, timezone
from typing import Any

import pytest

from kpay_adapters.testing.contract.questions import charges_of
from kpay_adapters.testing.records import NOW, SECOND, a_charge, a_merchant, new_id, succeeded
from kpay_core.commit import bump
from kpay_core.domain import charges
from kpay_core.ports import Store
from kpay_core.query import Condition


class Finds:
    """Answers to queries."""

    @pytest.mark.parametrize(
        ("condition", "expected"),
        [
            (("amount", "=", 200), [200]),
            (("amount", "<", 200), [100]),
            (("amount", "<=", 200), [100, 200]),
            (("amount", ">", 200), [300]),
            (("amount", ">=", 200), [200, 300]),
            (("livemode", "=", True), [300]),
            (("livemode", "=", False), [100, 200]),
            (("description", "=", "b"), [200]),
            (("description", ">", "a"), [200]),
            (("status", "=", charges.Status.PROCESSING), [100, 300]),
            (("status", "in", ("succeeded", "failed")), [200]),
            (("status", "in", ()), []),
            (("created_at", "=", NOW + SECOND), [200]),
            (("created_at", "<", NOW + SECOND), [100]),
            (("created_at", ">=", NOW + SECOND), [200, 300]),
            (("created_at", "<=", (NOW + SECOND).astimezone(timezone(timedelta(hours=-7)))), [100, 200]),
        ],
        ids=str,
    )
    async def test_a_record_is_found_when_it_meets_the_condition(
        self, store: Store, condition: Condition, expected: list[int]
    ) -> None:
        merchant = a_merchant()
        done = {"status": charges.Status.SUCCEEDED, "look_at": None}
        await store.commit(
            merchant,
            a_charge(merchant, amount=100, description="a"),
            a_charge(merchant, amount=200, description="b", created_at=NOW + SECOND, **done),
            a_charge(merchant, amount=300, description=None, created_at=NOW + 2 * SECOND, livemode=True),
        )

        assert [charge.amount for charge in await charges_of(store, merchant, condition)] == expected

    async def test_a_record_is_found_when_it_meets_all_conditions(self, store: Store) -> None:
        merchant = a_merchant()
        await store.commit(merchant, *(a_charge(merchant, amount=amount) for amount in (100, 200, 300)))

        found = await charges_of(store, merchant, ("amount", ">", 100), ("amount", "<", 300))

        assert [charge.amount for charge in found] == [200]

    @pytest.mark.parametrize("sign", ["=", "<", "<=", ">", ">="])
    async def test_null_meets_no_condition(self, store: Store, sign: Any) -> None:
        merchant = a_merchant()
        await store.commit(merchant, succeeded(a_charge(merchant, version=0)))

        assert await charges_of(store, merchant, ("look_at", sign, NOW)) == []
        assert await charges_of(store, merchant, ("failure_code", sign, "")) == []

    @pytest.mark.parametrize("descending", [False, True])
    async def test_records_are_sorted_by_the_order_and_then_by_id(
        self, store: Store, descending: bool
    ) -> None:
        merchant = a_merchant()
        many = [a_charge(merchant, amount=amount) for amount in (300, 100, 200, 100, 300)]
        await store.commit(merchant, *reversed(many))

        found = await charges_of(store, merchant, order="amount", descending=descending)

        assert found == sorted(many, key=lambda charge: (charge.amount, charge.id), reverse=descending)

    @pytest.mark.parametrize("descending", [False, True])
    async def test_null_sorts_after_everything(self, store: Store, descending: bool) -> None:
        merchant = a_merchant()
        early, late = a_charge(merchant, look_at=NOW), a_charge(merchant, look_at=NOW + SECOND)
        done = [succeeded(a_charge(merchant, version=0)) for _ in range(2)]
        await store.commit(merchant, *done, late, early)

        found = await charges_of(store, merchant, order="look_at", descending=descending)

        expected = [early, late, *done]
        assert found == (expected[::-1] if descending else expected)

    async def test_text_compares_by_code_point(self, store: Store) -> None:
        merchant = a_merchant()
        stem = new_id("ch")
        texts = [
            stem + end
            for end in ("", " ", "-", "-a", "0", "A", "Z", "_", "a", "ab", "z", "é", "\uffff", "😀")
        ]
        assert texts == sorted(texts)
        await store.commit(merchant, *(a_charge(merchant, id=text) for text in reversed(texts)))

        assert [charge.id for charge in await charges_of(store, merchant)] == texts
        for i, text in enumerate(texts):
            assert [charge.id for charge in await charges_of(store, merchant, ("id", "<", text))] == texts[:i]

    async def test_no_more_are_found_than_asked_for(self, store: Store) -> None:
        merchant = a_merchant()
        many = [a_charge(merchant) for _ in range(5)]
        await store.commit(merchant, *many)

        assert await charges_of(store, merchant, limit=2) == many[:2]
        assert await charges_of(store, merchant, limit=2, descending=True) == many[:2:-1]

    async def test_what_is_found_is_all_from_one_moment(self, store: Store) -> None:
        merchant = a_merchant()
        pair = [a_charge(merchant, amount=amount) for amount in (1000, 2000)]
        await store.commit(merchant, *pair)

        async def move_money() -> None:
            nonlocal pair
            for _ in range(30):
                pair = [
                    bump(pair[0], amount=pair[0].amount + 10, looks=pair[0].looks + 1),
                    bump(pair[1], amount=pair[1].amount - 10, looks=pair[1].looks + 1),
                ]
                await store.commit(*pair)
                # Also a store that waits for nothing lets others look in between.
                await asyncio.sleep(0)

        moving = asyncio.create_task(move_money())
        while not moving.done():
            found = await charges_of(store, merchant)
            assert sum(charge.amount for charge in found) == 3000
            await asyncio.sleep(0)
        await moving
