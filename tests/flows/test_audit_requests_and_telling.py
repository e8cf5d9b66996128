"""The audit holds keys, events and deliveries against what they are of, names what is wrong, and never cries wolf."""

from collections.abc import Callable
from datetime import timedelta
from itertools import cycle
from typing import Any

import pytest

from kpay_adapters.testing import accept, break_off, miss
from kpay_core.domain import charges, deliveries, idempotency
from kpay_core.domain.charges import Charge
from kpay_core.domain.deliveries import Attempt, Delivery
from kpay_core.domain.endpoints import Endpoint
from kpay_core.domain.events import Event
from kpay_core.domain.idempotency import IdempotencyKey, State
from kpay_core.domain.lanes import Claim, Lane
from kpay_core.domain.ledger import book_id
from kpay_core.domain.posts import MAX_IN_FLIGHT, Post, Reply
from kpay_core.domain.refunds import Refund
from tests.flows.test_audit import (
    a_world,
    audited,
    event_of,
    first,
    found,
    put,
    take_away,
    turn_to,
)
from tests.flows.world import DECLINED, DOWN, REFUND_PENDING, World, run

UNKNOWN = "01941f29-7c00-7000-8000-0000000000ff"
HOOKS, NIGHTLY = "https://shop.example/hooks", "https://shop.example/nightly"

WHOLE = "what_happens_once_is_told_once"
SOUND = "events_are_of_what_happened"


async def pass_time(world: World, **time: float) -> None:
    until = world.clock.now() + timedelta(**time)
    await world.kpay.pass_time(until, turn_to=turn_to(world), couriers=world)


async def go_on() -> World:
    """
    Let happen to a world with a history whatever can happen to keys and deliveries.

    Keys lead to what succeeded, was declined, was undone and tried again, is pending, and is not known yet; one is
    used again after a day. Deliveries arrive, are missed, given up, and still to come.
    """
    world = a_world()

    nightly = cycle((break_off, miss))

    def receive(post: Post) -> Reply:
        return next(nightly)(post) if post.url == NIGHTLY else accept(post)

    world.receiver = receive
    await world.endpoint("*")
    await world.endpoint("charge.succeeded", "charge.refunded", url=NIGHTLY)
    await world.charge(key="old", amount=3_100)
    await world.charge(DECLINED, key="declined", amount=3_200)
    await world.charge(DOWN, key="undone", amount=3_300)
    pending = await world.charge(REFUND_PENDING, key="new", amount=3_400)
    await world.refund(str(pending.value["id"]), key="refund", amount=100)
    await pass_time(world, days=4)
    await world.charge(key="undone", amount=3_301)
    await world.charge(key="old", amount=3_101)
    await pass_time(world, minutes=2)
    await world.charge(DOWN, key="unknown", amount=3_500)
    return world


GONE_ON = run(go_on())


def gone_on() -> World:
    return a_world(GONE_ON)


def test_what_keys_and_deliveries_have_come_to_is_clean_and_counted() -> None:
    world = gone_on()
    report = run(world.check_audit())
    states = {key.id.rsplit("/", 1)[1]: key.state.value for key in run(world.all(IdempotencyKey))}
    assert states == {
        **dict.fromkeys(("old", "declined", "undone", "new", "refund"), "answered"),
        "unknown": "accepted",
    }
    statuses = {(delivery.status, delivery.reason) for delivery in run(world.all(Delivery))}
    assert statuses == {("succeeded", None), ("pending", None), ("abandoned", "exhausted")}
    counted = {kind.__name__: len(run(world.all(kind))) for kind in (Event, Delivery, Attempt)}
    assert report.checked | {**counted, "IdempotencyKey": 6, "Lane": 2} == report.checked
    pending = [each for each in run(world.all(Delivery)) if each.status is deliveries.Status.PENDING]
    assert report.open["Delivery"] == len(pending) > 0
    assert (report.moving, report.disagreeing) == (0, 0)


# What is wrong is done by hand; each returns what the audit must find.


def key_named(world: World, name: str) -> IdempotencyKey:
    return first(world, IdempotencyKey, id=f"{book_id(world.scope)}/{name}")


def effects(key: IdempotencyKey) -> Any:
    return "a_key_makes_one_effect", key.id, "effects under one key within 24 hours", None


def key_is_gone(world: World) -> Any:
    key = key_named(world, "new")
    take_away(world, key)
    return {("what_was_made_under_a_key_is_found_by_it", key.subject, "key", None)}


def key_of_a_refund_is_gone(world: World) -> Any:
    key = key_named(world, "refund")
    take_away(world, key)
    return {("what_was_made_under_a_key_is_found_by_it", key.subject, "key", None)}


def key_leads_to_nothing(world: World) -> Any:
    key = key_named(world, "new")
    put(world, key, subject=UNKNOWN)
    return {("a_key_leads_to_what_was_made_under_it", key.id, "subject", None), effects(key)}


def key_leads_to_no_refund(world: World) -> Any:
    key = key_named(world, "refund")
    put(world, key, subject="re_unknown")
    return {("a_key_leads_to_what_was_made_under_it", key.id, "subject", None), effects(key)}


def key_leads_to_what_was_made_without_one(world: World) -> Any:
    key, other = key_named(world, "new"), first(world, Charge, amount=5_600)
    put(world, key, subject=other.id)
    return {
        ("a_key_leads_to_what_was_made_under_it", key.id, "key of its subject", None),
        ("an_answer_says_what_became_of_its_subject", key.id, "answer", None),
        effects(key),
    }


def key_of_an_undone_charge_leads_to_nothing(world: World) -> Any:
    key = key_named(world, "undone")
    again = first(world, Charge, id=key.subject)
    undone = first(world, Charge, failure_code=charges.NOT_PROCESSED)
    assert undone.idempotency_key == key.id, "it was left for another try"
    take_away(world, again)
    report = found(audited(world))
    assert ("a_key_leads_to_what_was_made_under_it", key.id, "subject", None) in report
    assert effects(key) not in report
    return report


def answer_is_forgotten(world: World) -> Any:
    key = key_named(world, "new")
    put(world, key, state=State.WORKING, outcome=None, answer=None)
    return {("a_key_is_answered_when_its_subject_is_done", key.id, "state", None)}


def answer_is_of_another_outcome(world: World) -> Any:
    key = key_named(world, "declined")
    put(world, key, outcome=idempotency.Outcome.CREATED)
    return {("an_answer_says_what_became_of_its_subject", key.id, "outcome", None)}


def two_charges_under_one_key(world: World) -> Any:
    key, other = key_named(world, "new"), first(world, Charge, amount=5_600)
    put(world, other, idempotency_key=key.id)
    return {effects(key)}


def key_began_to_live_too_late(world: World) -> Any:
    key = key_named(world, "new")
    put(world, key, first_used_at=key.first_used_at + timedelta(hours=1))
    return {("a_key_lives_from_when_its_subject_was_made", key.id, "first used at", None)}


def key_was_used_again_too_soon(world: World) -> Any:
    key = key_named(world, "old")
    left = first(world, Charge, amount=3_100)
    put(world, left, created_at=key.first_used_at - idempotency.LIFE + timedelta(milliseconds=1))
    return {effects(key)}


def key_left_a_charge_without_its_outcome(world: World) -> Any:
    key, left = key_named(world, "old"), first(world, Charge, amount=3_100)
    put(world, left, status=charges.Status.PROCESSING, look_at=world.clock.now())
    report = found(audited(world))
    assert ("what_a_key_has_left_is_done", key.id, f"outcome of {left.id}", None) in report
    return report


def key_is_of_another_merchant(world: World) -> Any:
    key = key_named(world, "new")
    charge = first(world, Charge, id=key.subject)
    take_away(world, key)
    put(world, key, id="mer_2/test/new")
    put(world, charge, idempotency_key="mer_2/test/new")
    return {("a_key_leads_to_what_was_made_under_it", "mer_2/test/new", "book of its subject", None)}


def charge_was_not_told(world: World) -> Any:
    charge = first(world, Charge, amount=5_600)
    take_away(world, event_of(world, "charge.succeeded", charge.id))
    return {(WHOLE, book_id(world.scope), "charge.succeeded events", -1)}


def decline_was_not_told(world: World) -> Any:
    declined = first(world, Charge, status=charges.Status.FAILED, created_at=first_created(world))
    take_away(world, event_of(world, "charge.failed", declined.id))
    return {(WHOLE, book_id(world.scope), "charge.failed events", -1)}


def first_created(world: World) -> Any:
    return min(each.created_at for each in run(world.all(Charge)) if each.status is charges.Status.FAILED)


def refund_that_came_back_was_not_told_of_its_charge(world: World) -> Any:
    refund = next(
        each
        for each in run(world.all(Refund))
        if each.status == "failed" and each.failure_code == "expired_or_canceled_card"
    )
    take_away(world, event_of(world, "charge.refunded", refund.charge))
    return {(WHOLE, book_id(world.scope), "charge.refunded events", -1)}


def payout_was_told_twice(world: World) -> Any:
    event = first(world, Event, type="payout.paid")
    put(world, event, id="evt_z")
    return {(WHOLE, book_id(world.scope), "payout.paid events", 1)}


def event_of_nothing(world: World) -> Any:
    charge = first(world, Charge, amount=5_600)
    event = event_of(world, "charge.succeeded", charge.id)
    put(world, event, body=event.body.replace(charge.id, UNKNOWN))
    return {
        (SOUND, event.id, "object", None),
        (WHOLE, book_id(world.scope), "charge.succeeded events", None),
    }


def event_is_in_another_book(world: World) -> Any:
    event = event_of(world, "charge.succeeded", first(world, Charge, amount=5_600).id)
    put(world, event, livemode=True)
    return {
        (SOUND, event.id, "book of its object", None),
        (WHOLE, f"{world.scope.merchant}/live", "charge.succeeded events", 1),
        (WHOLE, f"{world.scope.merchant}/test", "charge.succeeded events", -1),
    }


def event_says_another_amount(world: World) -> Any:
    event = event_of(world, "charge.succeeded", first(world, Charge, amount=5_600).id)
    put(world, event, body=event.body.replace('"amount":5600', '"amount":5601'))
    return {(SOUND, event.id, "amount told", 1)}


def event_says_nothing(world: World) -> Any:
    event = event_of(world, "charge.succeeded", first(world, Charge, amount=5_600).id)
    put(world, event, body='{"data": {"object": {}}}')
    return {
        (SOUND, event.id, "body", None),
        (WHOLE, book_id(world.scope), "charge.succeeded events", -1),
    }


def success_was_told_as_a_failure(world: World) -> Any:
    event = event_of(world, "charge.succeeded", first(world, Charge, amount=5_600).id)
    put(world, event, type="charge.failed")
    return {
        (SOUND, event.id, "status of its object", None),
        (WHOLE, book_id(world.scope), "charge.succeeded events", -1),
        (WHOLE, book_id(world.scope), "charge.failed events", 1),
    }


def arrived(world: World) -> Delivery:
    return first(world, Delivery, status=deliveries.Status.SUCCEEDED)


def attempt_is_missing(world: World) -> Any:
    delivery = arrived(world)
    take_away(world, first(world, Attempt, delivery=delivery.id))
    return {
        ("attempts_are_numbered_and_apart", delivery.id, "attempts", -1),
        ("deliveries_arrive_or_are_given_up_for_a_reason", delivery.id, "succeeded", None),
    }


def attempt_is_not_counted(world: World) -> Any:
    delivery = arrived(world)
    attempt = first(world, Attempt, delivery=delivery.id)
    later = attempt.started_at + timedelta(days=1)
    put(world, attempt, id=f"{delivery.id}/2", number=2, started_at=later)
    return {("attempts_are_numbered_and_apart", delivery.id, "attempts", 1)}


def delivery_arrived_and_nobody_said_so(world: World) -> Any:
    missed = first(world, Delivery, status=deliveries.Status.ABANDONED)
    put(world, missed, status=deliveries.Status.SUCCEEDED, reason=None)
    return {("deliveries_arrive_or_are_given_up_for_a_reason", missed.id, "succeeded", None)}


def pending_delivery_is_forgotten(world: World) -> Any:
    missed = first(world, Delivery, status=deliveries.Status.PENDING, fresh_at=None)
    lane = first(world, Lane, id=missed.endpoint)
    put(world, lane, due_at=None)
    waiting = [
        each
        for each in run(world.all(Delivery))
        if each.endpoint == missed.endpoint and each.next_attempt_at is not None and each.fresh_at is None
    ]
    return {("pending_deliveries_are_found", each.id, "lane is due", None) for each in waiting}


def delivery_goes_to_another_merchant(world: World) -> Any:
    delivery = arrived(world)
    endpoint = first(world, Endpoint, id=delivery.endpoint)
    put(world, endpoint, id="we_other", merchant="mer_2")
    put(world, first(world, Lane, id=endpoint.id), id="we_other")
    put(world, delivery, endpoint="we_other")
    return {("deliveries_stay_in_their_scope", delivery.id, "book of its endpoint", None)}


def delivery_of_no_event(world: World) -> Any:
    delivery = arrived(world)
    put(world, delivery, event="evt_unknown")
    return {("deliveries_stay_in_their_scope", delivery.id, "book of its event", None)}


def lane_sends_nine_at_a_time(world: World) -> Any:
    lane = run(world.all(Lane))[0]
    now = world.clock.now()
    claims = tuple(Claim(delivery=f"dlv_{number}", since=now) for number in range(MAX_IN_FLIGHT + 1))
    put(world, lane, holder="somebody", due_at=now, sending=claims)
    return {("lanes_are_held_by_one", lane.id, "in flight at most", 1)}


DAMAGES: tuple[Callable[[World], Any], ...] = (
    key_is_gone,
    key_of_a_refund_is_gone,
    key_leads_to_nothing,
    key_leads_to_no_refund,
    key_leads_to_what_was_made_without_one,
    key_of_an_undone_charge_leads_to_nothing,
    answer_is_forgotten,
    answer_is_of_another_outcome,
    two_charges_under_one_key,
    key_began_to_live_too_late,
    key_was_used_again_too_soon,
    key_left_a_charge_without_its_outcome,
    key_is_of_another_merchant,
    charge_was_not_told,
    decline_was_not_told,
    refund_that_came_back_was_not_told_of_its_charge,
    payout_was_told_twice,
    event_of_nothing,
    event_is_in_another_book,
    event_says_another_amount,
    event_says_nothing,
    success_was_told_as_a_failure,
    attempt_is_missing,
    attempt_is_not_counted,
    delivery_arrived_and_nobody_said_so,
    pending_delivery_is_forgotten,
    delivery_goes_to_another_merchant,
    delivery_of_no_event,
    lane_sends_nine_at_a_time,
)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_found_and_named(damage: Callable[[World], Any]) -> None:
    world = gone_on()
    expected = damage(world)
    report = audited(world)
    assert found(report) == expected != set()
    assert not report.is_clean


PAGED = ("streaming", "audit_pages", "audit_requests", "audit_deliveries")


@pytest.mark.parametrize("damage", [None, *DAMAGES[:4], *DAMAGES[13:16], *DAMAGES[-7:]])
def test_page_by_page_the_same_is_found(
    damage: Callable[[World], Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = gone_on()
    expected = damage(world) if damage else set()
    whole = audited(world)
    for module in PAGED:
        monkeypatch.setattr(f"kpay_core.flows.{module}.PAGE", 3)
    report = audited(world)
    assert found(report) == expected
    assert report.checked == whole.checked
