"""The audit beside a running system: what moves while it is read is no disagreement, and damage is found."""

from collections.abc import Callable
from copy import copy
from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from kpay_adapters.testing import FrozenClock, SeededIds
from kpay_core.commit import bump
from kpay_core.domain import charges, deliveries
from kpay_core.domain.charges import Charge
from kpay_core.domain.deliveries import Delivery
from kpay_core.domain.endpoints import Endpoint
from kpay_core.domain.lanes import Lane
from kpay_core.domain.ledger import book_id
from kpay_core.flows import audit_telling
from kpay_core.flows.audit_pages import LOOKS
from tests.flows.test_audit import AT_ONCE, Busy, audited, event_of, first, found, put, take_away
from tests.flows.test_audit_requests_and_telling import (
    WHOLE,
    answer_is_forgotten,
    arrived,
    attempt_is_missing,
    charge_was_not_told,
    decline_was_not_told,
    gone_on,
    key_named,
    pending_delivery_is_forgotten,
)
from tests.flows.world import DOWN, World, run


def busy(world: World, *acts: Callable[[], Any], begin: int = 0) -> Any:
    """Return a system on the same store, before each of whose reads the next of these is done."""
    return replace(world.kpay, store=Busy(world, list(acts), begin=begin))


async def nothing() -> None:
    """Let the other read in peace."""


def test_keys_and_deliveries_that_move_while_they_are_read_are_no_disagreement() -> None:
    for begin in range(0, 11, 2):
        world = gone_on()
        numbers = iter(range(10_000))

        async def charge(world: World = world, numbers: Any = numbers) -> None:
            await world.charge(AT_ONCE, key=f"order-{next(numbers)}", amount=2_500)

        async def unheard(world: World = world, numbers: Any = numbers) -> None:
            await world.charge(DOWN, key=f"order-{next(numbers)}", amount=2_600)

        async def again(world: World = world) -> None:
            await world.charge(key="old", amount=3_101)

        async def refund(world: World = world, numbers: Any = numbers) -> None:
            charge = next(
                each
                for each in await world.all(Charge)
                if each.status is charges.Status.SUCCEEDED and each.refundable >= 100
            )
            await world.refund(charge.id, key=f"refund-{next(numbers)}", amount=100)

        async def day(world: World = world) -> None:
            world.advance(days=1)
            await world.kpay.run_due(world)

        async def work(world: World = world) -> None:
            await world.work()

        async def disable(world: World = world) -> None:
            await world.patch(run(world.all(Endpoint))[-1].id, status="disabled")

        async def enable(world: World = world) -> None:
            await world.patch(run(world.all(Endpoint))[-1].id, status="enabled")

        acts = [charge, work, refund, disable, day, again, unheard, enable, charge, work, nothing]
        report = run(busy(world, *acts, begin=begin).audit())
        assert report.disagreements == []
        run(world.check_audit())


def reads_of_an_audit() -> int:
    """Return how often an audit of this world reads."""
    world = gone_on()
    counting = Busy(world, [nothing], begin=0)
    run(replace(world.kpay, store=counting).audit())
    return counting.reads


def test_a_charge_between_any_two_reads_of_an_audit_is_no_disagreement() -> None:
    for at in range(reads_of_an_audit()):
        world = gone_on()

        async def charge(world: World = world) -> None:
            await world.charge(AT_ONCE, key="between", amount=2_500)

        report = run(busy(world, *[nothing] * at, charge, *[nothing] * 1_000).audit())
        assert (report.disagreements, report.moving) == ([], 0)


def test_what_another_process_tells_late_under_an_older_name_is_seen_to_move_a_book() -> None:
    older = 0
    # The first charge is told while objects are read, so that the book is looked at by itself after all events.
    for at in range(reads_of_an_audit()):
        world = gone_on()
        other = replace(
            world.kpay, clock=FrozenClock(world.clock.now() - timedelta(seconds=2)), ids=SeededIds(1)
        )

        async def charge(world: World = world) -> None:
            await world.charge(amount=2_400)

        async def charge_late(world: World = world, other: Any = other) -> None:
            await replace_kpay(world, other).charge(amount=2_500)

        report = run(
            busy(world, *[nothing] * 5, charge, *[nothing] * at, charge_late, *[nothing] * 1_000).audit()
        )
        assert (report.disagreements, report.moving) == ([], 0)
        told = {
            each.amount: event_of(world, "charge.succeeded", each.id).id
            for each in run(world.all(Charge))
            if each.amount in (2_400, 2_500)
        }
        older += 2_500 in told and told[2_500] < told[2_400]
    assert older > 30, "its name sorts before what had been told"


def replace_kpay(world: World, kpay: Any) -> World:
    """Return the same world, as another process serves it."""
    other = copy(world)
    other.kpay = kpay
    return other


def test_damage_is_found_in_a_book_that_has_moved_and_holds_still() -> None:
    world = gone_on()
    expected = decline_was_not_told(world)

    async def charge() -> None:
        await world.charge(AT_ONCE, amount=2_500)

    report = run(busy(world, *[charge] * 30, *[nothing] * 10_000).audit())
    assert (found(report), report.moving) == (expected, 0)


def test_in_a_book_that_never_holds_still_what_transfers_date_is_compared_up_to_long_ago() -> None:
    world = gone_on()
    expected = charge_was_not_told(world)
    decline_was_not_told(world)
    recent = run(world.charge(amount=2_600))
    untold = event_of(world, "charge.succeeded", str(recent.value["id"]))
    for record in (untold, *(each for each in run(world.all(Delivery)) if each.event == untold.id)):
        take_away(world, record)

    async def charge() -> None:
        await world.charge(AT_ONCE, amount=2_500)

    world.advance(seconds=audit_telling.LONG_AGO.total_seconds() / 2)
    report = run(busy(world, charge).audit())
    assert (found(report), report.moving) == (expected, 1)
    ((_, _, what, missing),) = expected
    quiet = found(audited(world))
    assert (WHOLE, book_id(world.scope), what, missing - 1) in quiet
    assert (WHOLE, book_id(world.scope), "charge.failed events", -1) in quiet


def test_a_book_that_moves_is_given_up_before_it_is_read_to_its_end() -> None:
    world = gone_on()

    async def charge() -> None:
        await world.charge(amount=2_500)

    beside = Busy(world, [charge], begin=0)
    report = run(replace(world.kpay, store=beside).audit())
    assert (report.disagreements, report.moving) == ([], 1)
    # A look reads the newest events, a page of charges and their transfers, and the newest events again. To the end of
    # the book it would be twenty reads.
    assert beside.reads <= reads_of_an_audit() + LOOKS * 8


def test_a_key_and_a_delivery_that_never_hold_still_are_not_judged() -> None:
    world = gone_on()
    answer_is_forgotten(world)
    delivery = arrived(world)
    attempt_is_missing(world)

    async def move() -> None:
        await world.store.commit(bump(key_named(world, "new")), bump(first(world, Delivery, id=delivery.id)))

    report = run(busy(world, move).audit())
    assert (found(report), report.moving) == (set(), 2)


def test_a_delivery_whose_lane_never_holds_still_is_not_judged() -> None:
    world = gone_on()
    expected = pending_delivery_is_forgotten(world)
    missed = first(world, Delivery, status=deliveries.Status.PENDING, fresh_at=None)

    async def move() -> None:
        await world.store.commit(bump(first(world, Lane, id=missed.endpoint)))

    report = run(busy(world, move).audit())
    assert (found(report), report.moving) == (set(), len(expected))


def test_what_is_due_by_the_clock_of_another_machine_is_due() -> None:
    world = gone_on()
    missed = first(world, Delivery, status=deliveries.Status.PENDING, fresh_at=None)
    lane = first(world, Lane, id=missed.endpoint)
    put(world, missed, next_attempt_at=world.clock.now() - timedelta(hours=1))
    put(world, lane, due_at=world.clock.now() + timedelta(seconds=5))
    run(world.check_audit())
    put(world, lane, due_at=world.clock.now() + timedelta(minutes=5))
    assert ("pending_deliveries_are_found", missed.id, "lane is due", None) in found(audited(world))
