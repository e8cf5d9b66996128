"""Settling beside others: whoever comes between delays no payout, and nobody's trouble is another's."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from random import Random
from typing import Any, cast

import pytest

from kpay_core import Scope
from kpay_core.commit import Record, Rejected, Unavailable
from kpay_core.domain.charges import Charge
from kpay_core.domain.ledger import Book, Transfer, book_id
from kpay_core.domain.payouts import Payout, last_midnight
from kpay_core.flows.payouts import MATURING_ROUND, MATURING_UNIT
from kpay_core.ports import Store
from tests.flows.money import AT_ONCE, check_at_rest, check_money, come_to_rest
from tests.flows.test_store_outcomes import Moody
from tests.flows.world import Interleaved, SharedClock, World, drive, run

pytestmark = pytest.mark.anyio

Moment = Callable[[Sequence[Record]], bool]


class Beside:
    """A store before one of whose commits somebody else does something, once."""

    def __init__(self, store: Store, moment: Moment, what: Callable[[], Awaitable[object]]) -> None:
        self._store = store
        self._moment = moment
        self._what: Callable[[], Awaitable[object]] | None = what
        self.get, self.find = store.get, store.find

    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        if self._what is not None and self._moment(records):
            what, self._what = self._what, None
            await what()
        await self._store.commit(*records, held=held)


async def settle_beside(world: World, moment: Moment, what: Callable[[], Awaitable[object]]) -> None:
    """Do what is due with a process of its own, while somebody does something at a moment of it."""
    ports: Any = world.kpay
    ports.store = Beside(world.store, moment, lambda: _by_others(world, what))
    await world.kpay.run_due()
    ports.store = world.store


async def _by_others(world: World, what: Callable[[], Awaitable[object]]) -> None:
    ports: Any = world.kpay
    between, ports.store = ports.store, world.store
    await what()
    ports.store = between


async def test_new_terms_while_a_sheet_is_turned_delay_no_payout() -> None:
    world = await World().open()
    await world.charge(AT_ONCE, amount=1000)
    world.advance(days=1)
    await settle_beside(
        world,
        lambda records: type(records[0]) is Book,
        lambda: world.kpay.update_merchant(world.scope.merchant, {"fee_cents": 0}),
    )
    assert [payout.amount for payout in await world.all(Payout)] == [941]


@pytest.mark.parametrize("many", [1, 3])
async def test_a_refund_while_funds_mature_delays_no_payout(many: int) -> None:
    world = await World().open()
    for _ in range(many):
        await world.charge(amount=1000)
    charge, *_ = await world.all(Charge)
    world.advance(hours=60)
    await settle_beside(
        world, lambda records: type(records[0]) is Charge, lambda: world.refund(charge.id, amount=100)
    )
    assert [payout.amount for payout in await world.all(Payout)] == [many * 941 - 100]


async def test_funds_that_somebody_else_lets_mature_do_not_hide_those_that_are_left() -> None:
    world = await World().open()
    for _ in range(MATURING_ROUND + 1):
        await world.charge(amount=1000)
    world.advance(days=3)
    await settle_beside(world, lambda records: type(records[0]) is Charge, world.kpay.mature)
    assert [payout.amount for payout in await world.all(Payout)] == [941 * (MATURING_ROUND + 1)]


async def test_a_round_that_let_some_mature_before_it_failed_may_find_more() -> None:
    world = await World().open()
    for _ in range(MATURING_UNIT + 1):
        await world.charge(amount=1000)
    world.advance(hours=60)
    ports: Any = world.kpay
    ports.store = Moody(world.store, 2, Unavailable)
    matured = await world.kpay.mature()
    assert (matured.charges, matured.more, matured.failed) == (MATURING_UNIT, True, [book_id(world.scope)])
    matured = await world.kpay.mature()
    assert (matured.charges, matured.more, matured.failed) == (1, True, [])
    assert not (await world.kpay.mature()).more


async def test_a_payout_waits_for_funds_that_should_have_matured_by_its_time() -> None:
    world = await World().open()
    await world.charge(AT_ONCE, amount=1000)
    await world.charge(amount=2000)
    world.advance(hours=60)
    settled = await world.kpay.settle()
    assert (settled.payouts, settled.waiting) == (0, [book_id(world.scope)])
    await world.kpay.mature()
    settled = await world.kpay.settle()
    assert (settled.payouts, settled.waiting) == (1, [])
    assert [payout.amount for payout in await world.all(Payout)] == [941 + 1912]


async def test_a_payout_does_not_wait_for_funds_that_mature_after_its_time() -> None:
    world = await World().open()
    await world.charge(AT_ONCE, amount=1000)
    world.advance(hours=13)
    # It is due since midnight, and this is so since an hour later.
    await world.charge(amount=2000)
    world.advance(hours=48)
    (charge,) = [each for each in await world.all(Charge) if each.matures_at is not None]
    assert last_midnight(world.clock.now()) < cast(datetime, charge.matures_at) <= world.clock.now()
    settled = await world.kpay.settle()
    assert (settled.payouts, settled.waiting) == (1, [])


class Refusing:
    """A store that refuses one merchant's transfers."""

    def __init__(self, store: Store, scope: Scope) -> None:
        self._store = store
        self._scope = scope
        self.get, self.find = store.get, store.find

    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        if any(isinstance(record, Transfer) and record.scope == self._scope for record in records):
            raise Rejected("a transfer with this kind and source exists")
        await self._store.commit(*records, held=held)


async def test_one_merchants_books_that_refuse_their_transfers_hold_nobody_else_up() -> None:
    world = await World().open()
    await world.charge(amount=1000)
    first = world.scope
    await world.open()
    await world.charge(amount=2000)
    ports: Any = world.kpay
    ports.store = Refusing(world.store, first)
    world.advance(hours=60)
    await world.kpay.run_due()
    assert [(payout.scope, payout.amount) for payout in await world.all(Payout)] == [(world.scope, 1912)]
    ports.store = world.store
    await come_to_rest(world)
    await check_money(world)
    await check_at_rest(world)


@pytest.mark.parametrize("seed", range(3))
def test_of_many_who_look_at_a_payout_one_asks_the_bank(seed: int) -> None:
    world = run(World(clock=SharedClock()).open())
    run(world.charge(AT_ONCE, amount=1000))
    world.advance(days=1)
    run(world.kpay.settle())
    asked: list[str] = []
    bank: Any = world.kpay.rails["test"]

    class Counting(Interleaved):
        async def send(self, **payout: Any) -> Any:
            asked.append(payout["reference"])
            return await bank.send(**payout)

    ports: Any = world.kpay
    ports.store, ports.rails = Interleaved(world.store), {"test": Counting(bank)}
    drive(world.clock, Random(seed), *(world.kpay.sweep() for _ in range(5)))
    (payout,) = run(world.all(Payout))
    assert asked == [payout.id]
