"""Refunds at the network: what becomes of one that it hears of for the first time."""

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from kpay_adapters.sandbox import disputes
from kpay_adapters.sandbox.cards import (
    REFUND_FAILS_AFTER,
    REFUND_FAILS_WITH,
    REFUND_PENDING_FOR,
    Behaviour,
)
from kpay_adapters.sandbox.disputes import Dispute
from kpay_adapters.sandbox.journal import Announcement, Entry
from kpay_core.commit import Record
from kpay_core.domain.news import NewsKind
from kpay_core.domain.processing import Outcome


def take_refund(
    refund: Entry, charge: Entry | None, dispute: Dispute | None, *, now: datetime
) -> tuple[Entry, Sequence[Record]]:
    """
    Decide on a refund that would go out at once; return it as it is noted, and what is to be written with it.

    Where the network counts refunds, because the charge is disputed, it takes none past what was captured.
    """
    if charge is None or charge.outcome is not Outcome.CAPTURED:
        return replace(refund, outcome=Outcome.REFUSED, code="charge_not_captured"), ()
    if dispute is not None:
        if dispute.case.refunded + refund.amount > charge.amount:
            return replace(refund, outcome=Outcome.REFUSED, code="amount_too_large"), ()
        return refund, disputes.after_refund(dispute, refund.amount, now=now)
    if charge.behaviour in (Behaviour.REFUND_PENDING, Behaviour.REFUND_PENDING_FAILS):
        due_at = now + REFUND_PENDING_FOR
        pending = replace(refund, outcome=Outcome.PENDING, behaviour=charge.behaviour, due_at=due_at)
        return pending, [outcome_of(pending, due_at)]
    if charge.behaviour is Behaviour.REFUND_FAILING:
        fails_at = now + REFUND_FAILS_AFTER
        return replace(refund, due_at=fails_at), [failure_of(refund, fails_at)]
    return refund, ()


def outcome_id(refund: str) -> str:
    """Name the news of what became of a pending refund."""
    return f"news_outcome_{refund}"


def outcome_of(pending: Entry, due_at: datetime) -> Announcement:
    """Plan the news of what will have become of a pending refund."""
    fails = pending.behaviour is Behaviour.REFUND_PENDING_FAILS
    return Announcement(
        id=outcome_id(pending.id),
        kind=NewsKind.REFUND_FAILED if fails else NewsKind.REFUNDED,
        reference=pending.id,
        amount=pending.amount,
        code=REFUND_FAILS_WITH if fails else None,
        happened_at=due_at,
        due_at=due_at,
    )


def failure_of(refund: Entry, fails_at: datetime) -> Announcement:
    """Plan the news that a refund has failed after it had succeeded."""
    return Announcement(
        id=f"news_failed_{refund.id}",
        kind=NewsKind.REFUND_FAILED,
        reference=refund.id,
        amount=refund.amount,
        code=REFUND_FAILS_WITH,
        happened_at=fails_at,
        due_at=fails_at,
    )
