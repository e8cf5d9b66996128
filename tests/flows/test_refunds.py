"""Refunds: never more than the charge, never twice, never lost."""

import pytest

from kpay_core import Scope
from kpay_core.domain.errors import Invalid, NotFound
from kpay_core.domain.idempotency import Outcome as Told
from kpay_core.domain.processing import Outcome, Verdict
from kpay_core.domain.refunds import Refund
from kpay_core.flows import refunds as flow
from tests.flows.world import (
    DECLINED,
    DOWN,
    REFUND_PENDING,
    ExactClock,
    Stepped,
    World,
    check_books,
    drive_anyhow,
    every_choice,
    run,
)

pytestmark = pytest.mark.anyio


async def test_what_is_on_its_way_back_is_not_told_as_refunded() -> None:
    world = await World().open()
    id = str((await world.charge(REFUND_PENDING)).value["id"])
    await world.refund(id)
    with pytest.raises(Invalid, match="on its way back"):
        await world.refund(id)
    await world.settle()
    with pytest.raises(Invalid, match="refunded in full"):
        await world.refund(id)


async def test_a_charge_is_refunded_in_parts_until_nothing_is_left() -> None:
    world = await World().open()
    charge = await world.charge()
    id = str(charge.value["id"])
    first = await world.refund(id, amount=1000, reason="duplicate", notes="sorry")
    assert (first.outcome, first.value["status"], first.value["reason"]) == (
        Told.CREATED,
        "succeeded",
        "duplicate",
    )
    with pytest.raises(Invalid) as caught:
        await world.refund(id, amount=4000)
    assert caught.value.details == {"code": "amount_too_large", "fieldErrors": {"amount": ["max 3999"]}}
    rest = await world.refund(id)
    assert rest.value["amount"] == 3999
    for amount, name in ((None, "charge"), (1, "amount")):
        with pytest.raises(Invalid) as caught:
            await world.refund(id, amount=amount)
        assert caught.value.fields == {name: ["nothing left to refund"]}
    found, its_refunds = await world.kpay.get_charge(world.scope, id)
    assert (found.amount_refunded, found.refundable) == (4999, 0)
    assert [refund.id for refund in its_refunds] == [rest.value["id"], first.value["id"]]
    await check_books(world)


async def test_a_pending_refund_counts_against_the_charge_and_succeeds_later() -> None:
    world = await World().open()
    id = str((await world.charge(REFUND_PENDING)).value["id"])
    pending = await world.refund(id, amount=3000, key="k")
    assert (pending.outcome, pending.value["status"]) == (Told.CREATED, "pending")
    with pytest.raises(Invalid) as caught:
        await world.refund(id, amount=2000)
    assert caught.value.fields == {"amount": ["max 1999"]}
    await check_books(world, quiet=False)
    await world.settle()
    refund = await world.kpay.get_refund(world.scope, str(pending.value["id"]))
    assert refund.status == "succeeded"
    assert (await world.refund(id, amount=3000, key="k")).body == pending.body
    await check_books(world)


async def test_a_refund_that_the_network_refuses_gives_its_amount_back() -> None:
    world = await World().open()
    id = str((await world.charge()).value["id"])
    await world.network.reverse(reference=id)
    failed = await world.refund(id, key="k")
    assert (failed.value["status"], failed.value["failure_code"]) == ("failed", "charge_not_captured")
    charge, _ = await world.kpay.get_charge(world.scope, id)
    assert charge.refundable == 4999
    assert (await world.refund(id, key="k")).body == failed.body


@pytest.mark.parametrize("number", [DECLINED, DOWN])
async def test_only_a_charge_that_succeeded_is_refunded(number: str) -> None:
    world = await World().open()
    await world.charge(number)
    page = await world.kpay.list_charges(world.scope, {})
    with pytest.raises(Invalid) as caught:
        await world.refund(page.data[0].id)
    assert caught.value.fields == {"charge": ["not a succeeded charge"]}


async def test_a_charge_or_refund_of_another_scope_is_unknown() -> None:
    world = await World().open()
    id = str((await world.charge()).value["id"])
    refund = str((await world.refund(id, amount=1)).value["id"])
    world.kpay.processors = {**world.kpay.processors, "live": world.network}
    other = await world.kpay.apply(name="Other")
    for scope in (Scope(world.scope.merchant, livemode=True), Scope(other.id, livemode=False)):
        with pytest.raises(NotFound):
            await world.kpay.create_refund(scope, {"charge": id})
        with pytest.raises(NotFound):
            await world.kpay.get_refund(scope, refund)
    for unknown in ("", "no such charge", refund, "x" * 5000):
        with pytest.raises(NotFound):
            await world.refund(unknown)
    assert len(await world.all(Refund)) == 1


async def test_a_refund_does_not_change_what_the_list_of_charges_tells_of_its_parts() -> None:
    world = await World().open()
    id = str((await world.charge()).value["id"])
    refunds = [str((await world.refund(id, amount=1)).value["id"]) for _ in range(3)]
    await world.refund(str((await world.charge()).value["id"]), amount=1)
    page = await world.kpay.list_refunds(world.scope, {"charge": id})
    assert [refund.id for refund in page.data] == refunds[::-1]


def test_two_who_settle_a_refund_in_every_order_count_it_once() -> None:
    for choose in every_choice(9):
        world = run(World(clock=ExactClock()).open())
        charge = run(world.charge(REFUND_PENDING))
        run(world.refund(str(charge.value["id"]), amount=1000))
        (refund,) = run(world.all(Refund))
        world.advance(minutes=2)
        takers = [World(store=world.store, journal=world.journal, clock=world.clock) for _ in range(2)]
        for taker in takers:
            taker.kpay.store = Stepped(world.store)  # pyright: ignore[reportAttributeAccessIssue]
        # As two whose looks were leased one after the other, and whose answers come at the same moment.
        settled = Verdict(Outcome.REFUNDED)
        results = drive_anyhow(
            world.clock,
            choose,
            *(
                flow._settle(taker.kpay, refund, settled)  # pyright: ignore[reportPrivateUsage]
                for taker in takers
            ),
        )
        assert [result.status for result in results] == ["succeeded"] * 2
        assert run(world.the_charge(charge)).amount_refunded == 1000
        world.kpay.store = world.store
        run(check_books(world, quiet=False))
