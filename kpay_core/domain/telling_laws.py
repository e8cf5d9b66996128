"""
The laws of telling: each change is told of once, and whatever is told arrives or is given up for a stated reason.

An event says what its object looked like, and what of that had been otherwise. So the events of an object lead from
its first look to how it looks now, and one that is missing, or one too many, leaves a gap.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec

from kpay_core.domain import (
    charges,
    deliveries,
    dispute_views,
    disputes,
    payout_views,
    payouts,
    refunds,
    views,
)
from kpay_core.domain.charges import Charge
from kpay_core.domain.deliveries import Attempt, Delivery
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.endpoints import Endpoint
from kpay_core.domain.endpoints import Status as EndpointStatus
from kpay_core.domain.events import Event, EventType
from kpay_core.domain.lanes import Lane
from kpay_core.domain.laws import Broken, Difference, Differences, Source, compare
from kpay_core.domain.payouts import Payout
from kpay_core.domain.posts import MAX_IN_FLIGHT, Failure
from kpay_core.domain.refunds import Refund

# The first attempt, one after each of the delays, and the last delay again while the 72 hours last.
_REST = deliveries.LIFE - sum(deliveries.DELAYS, timedelta())
MAX_ATTEMPTS = 1 + len(deliveries.DELAYS) + _REST // deliveries.DELAYS[-1]

# The first digit of every status that is a success.
SUCCESSES = 2

# What a whole answer fails for. Whatever else an attempt failed for, no status makes up for.
FAILED_BY_STATUS = (Failure.REDIRECTED, Failure.REFUSED)


class Told(msgspec.Struct, frozen=True):
    """What an event says: its type, the object as it was then, and what of it had been otherwise."""

    type: str
    object: dict[str, Any]
    before: dict[str, Any] | None


class _Data(msgspec.Struct):
    object: dict[str, Any]
    previous_attributes: dict[str, Any] | None = None


class _Body(msgspec.Struct):
    data: _Data


_decode = msgspec.json.Decoder(_Body).decode


def read_told(event: Event) -> Told:
    """Read what an event says."""
    data = _decode(event.body).data
    return Told(event.type, data.object, data.previous_attributes)


class TellingCase(msgspec.Struct):
    """
    An object, and all that was told of it, oldest first.

    Of a charge, `refunds_told` are the events of its refunds, and `refunds_paid` how many of them ever went out; of a
    refund, `was_paid` says whether it did.
    """

    source: Source
    told: Sequence[Told] = ()
    refunds_told: Sequence[Told] = ()
    refunds_paid: int = 0
    was_paid: bool = False


TellingLaw = Callable[[TellingCase], Differences]

# What a charge with an outcome was told as.
CHARGE_EVENTS: Mapping[charges.Status, tuple[EventType, ...]] = {
    charges.Status.SUCCEEDED: ("charge.succeeded",),
    charges.Status.FAILED: ("charge.failed",),
}
PAYOUT_EVENTS: Mapping[payouts.Status, tuple[EventType, ...]] = {
    payouts.Status.PAID: ("payout.paid",),
    payouts.Status.FAILED: ("payout.failed",),
}

# A refund is not told of before the network has said something of it.
SILENT = (refunds.Status.SENDING, refunds.Status.REVERSING)


def changes_are_told_once(case: TellingCase) -> Differences:
    """Each change that a merchant can see is told in one event, of the type that the change has."""
    expected, found = " ".join(expected_types(case)), " ".join(each.type for each in case.told)
    return compare("events", expected, found)


def expected_types(case: TellingCase) -> Sequence[EventType]:
    """Return the types of the events that there must be of an object, oldest first."""
    source, once = case.source, types_once(case.source)
    updates = len(case.told) - len(once)
    if isinstance(source, Refund) and once:
        return (*once, *["refund.updated" for _ in range(updates)])
    if isinstance(source, Dispute):
        return (once[0], *["dispute.updated" for _ in range(updates)], *once[1:])
    return once


def types_once(source: Source) -> Sequence[EventType]:
    """Return the types of the events of an object of which there is one each, by how far it has come, oldest first."""
    match source:
        case Charge():
            return CHARGE_EVENTS.get(source.status, ())
        case Refund():
            return () if source.status in SILENT else ("refund.created",)
        case Dispute():
            return (
                ("dispute.created", "dispute.closed") if disputes.is_closed(source) else ("dispute.created",)
            )
        case Payout():
            return ("payout.created", *PAYOUT_EVENTS.get(source.status, ()))


def events_leave_no_gap(case: TellingCase) -> Differences:
    """The events of a refund or a dispute lead to how it looks now, each from where the one before ended."""
    source = case.source
    if isinstance(source, Charge | Payout) or not case.told:
        return ()
    view = views.view_refund(source) if isinstance(source, Refund) else dispute_views.view_dispute(source)
    was: dict[str, Any] | None = None
    for number, each in enumerate(case.told):
        if was is not None and was != {**each.object, **(each.before or {})}:
            return (Difference(f"event {number}", "what the one before says", "something else"),)
        if was == each.object:
            return (Difference(f"event {number}", "a change", "none"),)
        was = each.object
    return () if was == msgspec.to_builtins(view) else (Difference("last event", "how it looks", "another"),)


def outcomes_are_told_as_they_are(case: TellingCase) -> Differences:
    """The last event of a payout shows it as it is; that of a charge, its outcome and its amount."""
    source = case.source
    if not case.told:
        return ()
    last = case.told[-1].object
    if isinstance(source, Payout) and source.status in PAYOUT_EVENTS:
        shown = msgspec.to_builtins(payout_views.view_payout(source))
        return () if last == shown else (Difference("last event", "how it looks", "another"),)
    if isinstance(source, Charge):
        return compare("amount told", source.amount, last["amount"]) + compare(
            "status told", source.status, last["status"]
        )
    return ()


def refunds_are_told_with_their_charge(case: TellingCase) -> Differences:
    """`charge.refunded` is told of each refund that went out, and raises what is refunded."""
    if isinstance(case.source, Refund):
        succeeded = any(each.object["status"] == "succeeded" for each in case.told)
        return compare("told as succeeded", str(case.was_paid), str(succeeded))
    found = compare("charge.refunded events", case.refunds_paid, len(case.refunds_told))
    for number, each in enumerate(case.refunds_told):
        before = (each.before or {}).get("amount_refunded", 0)
        if each.object["amount_refunded"] <= before:
            found += (Difference(f"refunded by event {number}", "more than 0", "nothing"),)
    return found


TELLING_LAWS: tuple[TellingLaw, ...] = (
    changes_are_told_once,
    events_leave_no_gap,
    outcomes_are_told_as_they_are,
    refunds_are_told_with_their_charge,
)


def judge_telling(case: TellingCase) -> Sequence[Broken]:
    """Hold what was told of an object against every law of telling."""
    return [Broken(law.__name__, each) for law in TELLING_LAWS for each in law(case)]


class DeliveryCase(msgspec.Struct):
    """A delivery with its attempts, oldest first, and what it stands between, at a time."""

    now: datetime
    delivery: Delivery
    attempts: Sequence[Attempt]
    event: Event | None
    endpoint: Endpoint | None
    lane: Lane | None


DeliveryLaw = Callable[[DeliveryCase], Differences]


def deliveries_stay_in_their_scope(case: DeliveryCase) -> Differences:
    """A delivery, its event and its endpoint are of one merchant and mode: nobody hears of another's."""
    its = case.delivery.scope
    found: Differences = ()
    for what, other in (("event", case.event), ("endpoint", case.endpoint)):
        there = None if other is None else f"{other.scope.merchant}/{other.scope.mode}"
        found += compare(f"book of its {what}", f"{its.merchant}/{its.mode}", there)
    return found


def deliveries_arrive_or_are_given_up_for_a_reason(case: DeliveryCase) -> Differences:
    """Succeeded was answered with a whole 2xx at last; abandoned has its reason; pending is due at some time."""
    delivery, its = case.delivery, case.attempts
    arrived = bool(its) and is_success(its[-1])
    status = delivery.status
    found = compare("succeeded", str(arrived), str(status is deliveries.Status.SUCCEEDED))
    due, has_a_reason = delivery.next_attempt_at is not None, delivery.reason is not None
    found += compare("is due", str(status is deliveries.Status.PENDING), str(due))
    found += compare("has a reason", str(status is deliveries.Status.ABANDONED), str(has_a_reason))
    for attempt in its:
        shown = attempt.failure is None
        found += compare(f"attempt {attempt.number} succeeded", str(is_success(attempt)), str(shown))
    return found


def is_success(attempt: Attempt) -> bool:
    """Tell whether an attempt was answered with a 2xx (contract, section 8), and its answer did not break off."""
    was_whole = attempt.failure is None or attempt.failure in FAILED_BY_STATUS
    return was_whole and attempt.status is not None and attempt.status // 100 == SUCCESSES


def attempts_are_numbered_and_apart(case: DeliveryCase) -> Differences:
    """A delivery has nine attempts at most, each kept, and none comes sooner than the delay after the one before."""
    its = case.attempts
    found = compare("attempts", case.delivery.attempts, len(its))
    found += compare("attempts at most", MAX_ATTEMPTS, max(len(its), MAX_ATTEMPTS))
    for number, (one, next) in enumerate(pairwise(its), start=1):
        pause = next.started_at - one.started_at
        if pause < deliveries.delay_after(number):
            found += (Difference(f"pause after {number}", str(deliveries.delay_after(number)), str(pause)),)
    return found


def pending_deliveries_are_found(case: DeliveryCase) -> Differences:
    """Somebody will look for a delivery that is pending: it is fresh, or the lane of its endpoint is due."""
    delivery, lane = case.delivery, case.lane
    if delivery.status is not deliveries.Status.PENDING or delivery.fresh_at is not None:
        return ()
    if lane is None or lane.due_at is None:
        return (Difference("lane is due", "at some time", "never"),)
    if lane.holder is not None or delivery.next_attempt_at is None:
        return ()
    disabled = case.endpoint is not None and case.endpoint.status is EndpointStatus.DISABLED
    wanted = delivery.expires_at if disabled else delivery.next_attempt_at
    return (
        ()
        if lane.due_at <= max(wanted, case.now)
        else (Difference("lane is due", str(wanted), str(lane.due_at)),)
    )


# What holds only by clocks that are never turned back: an attempt may seem to have come before the one before it.
BY_THE_CLOCK = frozenset({attempts_are_numbered_and_apart.__name__})

DELIVERY_LAWS: tuple[DeliveryLaw, ...] = (
    deliveries_stay_in_their_scope,
    deliveries_arrive_or_are_given_up_for_a_reason,
    attempts_are_numbered_and_apart,
    pending_deliveries_are_found,
)


def judge_delivery(case: DeliveryCase) -> Sequence[Broken]:
    """Hold a delivery against every law of deliveries."""
    return [Broken(law.__name__, each) for law in DELIVERY_LAWS for each in law(case)]


def lanes_are_held_by_one(lane: Lane) -> Differences:
    """A lane sends each delivery once at a time, eight in all; whoever holds it has a lease that ends."""
    sending = [claim.delivery for claim in lane.sending]
    found = compare("sent at a time", len(set(sending)), len(sending))
    found += compare("in flight at most", MAX_IN_FLIGHT, max(len(sending), MAX_IN_FLIGHT))
    if lane.holder is not None and lane.due_at is None:
        found += (Difference("lease", "one that ends", "for ever"),)
    if sending and lane.holder is None:
        found += (Difference("holder", "somebody", None),)
    return found
