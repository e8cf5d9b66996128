"""
What a change means to the merchant: which events it is told as, and what they say.

    charge     processing ──▶ succeeded                    charge.succeeded
               processing, reversing ──▶ failed            charge.failed
    refund     sending, reversing ──▶ any other            refund.created
               pending ──▶ succeeded, failed               refund.updated
               succeeded ──▶ failed                        refund.updated
               any ──▶ succeeded                           and then charge.refunded
    payout     made, paid, failed                          payout.created, payout.paid, payout.failed
    dispute    opened                                      dispute.created
               evidence saved or submitted                 dispute.updated
               any ──▶ won, lost                           dispute.closed

A refund is told of when the network has first said something of it, so that `refund.created` says what became of it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from kpay_core.domain import charges, dispute_views, disputes, looks, payout_views, payouts, refunds, views
from kpay_core.domain.charges import Charge
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.events import Event, EventType, Origin
from kpay_core.domain.payouts import Payout
from kpay_core.domain.refunds import Refund
from kpay_core.domain.scope import Scope
from kpay_core.domain.times import rfc3339
from kpay_core.domain.webhook_views import EventData, EventView, RequestView

PAYOUT_EVENTS: Mapping[payouts.Status, EventType] = {
    payouts.Status.PENDING: "payout.created",
    payouts.Status.PAID: "payout.paid",
    payouts.Status.FAILED: "payout.failed",
}


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One event to be told: its type, the object as it is now, and what it was before where that is of interest."""

    type: EventType
    object: Any
    before: dict[str, Any] | None = None


def of_charge(charge: Charge) -> tuple[Happening, ...]:
    """Tell of a charge that has just moved; one that has no outcome yet is nothing to tell of."""
    if not looks.is_settled(charge):
        return ()
    succeeded = charge.status is charges.Status.SUCCEEDED
    type: EventType = "charge.succeeded" if succeeded else "charge.failed"
    return (Happening(type=type, object=views.view_charge(charge)),)


def of_refund(before: Refund, refund: Refund, charge: Charge | None) -> tuple[Happening, ...]:
    """Tell of a refund that has just moved, and of its charge where it moved too."""
    told = [_of_refund(before, refund)]
    if refund.status is refunds.Status.SUCCEEDED:
        assert charge is not None, "a refund that succeeds moves its charge"
        shown = views.view_charge(charge)
        was: dict[str, Any] = {"amount_refunded": charge.amount_refunded - refund.amount}
        if shown.refunded:
            was["refunded"] = False
        told.append(Happening(type="charge.refunded", object=shown, before=was))
    return tuple(told)


def _of_refund(before: Refund, refund: Refund) -> Happening:
    shown = views.view_refund(refund)
    if before.status not in (refunds.Status.PENDING, refunds.Status.SUCCEEDED):
        return Happening(type="refund.created", object=shown)
    was: dict[str, Any] = {"status": before.status.value}
    if refund.failure_code is not None:
        was["failure_code"] = None
    return Happening(type="refund.updated", object=shown, before=was)


def of_new_dispute(dispute: Dispute) -> tuple[Happening, ...]:
    """Tell of a dispute that was just opened."""
    return (Happening(type="dispute.created", object=dispute_views.view_dispute(dispute)),)


def of_dispute(before: Dispute, dispute: Dispute) -> tuple[Happening, ...]:
    """Tell of a dispute that has just moved; nothing, where a merchant sees no difference."""
    was, shown = dispute_views.view_dispute(before), dispute_views.view_dispute(dispute)
    changed = {
        name: getattr(was, name)
        for name in was.__struct_fields__
        if getattr(was, name) != getattr(shown, name)
    }
    if not changed:
        return ()
    told: EventType = "dispute.closed" if disputes.is_closed(dispute) else "dispute.updated"
    return (Happening(type=told, object=shown, before=changed),)


def of_payout(payout: Payout) -> tuple[Happening, ...]:
    """Tell of a payout that was just made or has just moved; on its way to the bank is nothing to tell of."""
    told = PAYOUT_EVENTS.get(payout.status)
    return () if told is None else (Happening(type=told, object=payout_views.view_payout(payout)),)


def write_down(happening: Happening, *, id: str, scope: Scope, origin: Origin, now: datetime) -> Event:
    """Make the event, and with it the bytes that are shown and delivered from now on."""
    view = EventView(
        id=id,
        type=happening.type,
        livemode=scope.livemode,
        created_at=rfc3339(now),
        data=EventData(
            object=happening.object,
            previous_attributes=msgspec.UNSET if happening.before is None else happening.before,
        ),
        request=RequestView(id=origin.request_id, idempotency_key=origin.idempotency_key),
    )
    return Event(
        id=id,
        merchant=scope.merchant,
        livemode=scope.livemode,
        type=happening.type,
        body=views.encode(view).decode(),
        created_at=now,
    )
