"""
The laws of a change: what must hold between a record and the one that takes its place, and of one that is new.

Each is a function of the two, and returns what is other than it says.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from operator import attrgetter
from typing import Any, cast

from kpay_core.commit import Record
from kpay_core.domain import charges, deliveries, disputes, endpoints, notices, payouts, refunds
from kpay_core.domain.charges import Charge
from kpay_core.domain.deliveries import Delivery
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.endpoints import Endpoint
from kpay_core.domain.idempotency import LIFE, IdempotencyKey, State
from kpay_core.domain.lanes import Lane
from kpay_core.domain.laws import Difference, Differences, compare
from kpay_core.domain.ledger import Book, Sheet
from kpay_core.domain.notices import Notice
from kpay_core.domain.payouts import Payout, Settlement
from kpay_core.domain.refunds import Refund

Change = Callable[[Any, Any], Differences]

# What charges cost: basis points of their amount, and cents.
Terms = tuple[int, int]

OF_A_MERCHANT = ("merchant", "livemode")

# What is said once, when a record is made.
FACTS: Mapping[type[Record], tuple[str, ...]] = {
    Charge: (
        *OF_A_MERCHANT,
        "amount",
        "currency",
        "source",
        "billing_address",
        "description",
        "metadata",
        "fee",
        "idempotency_key",
        "created_at",
    ),
    Refund: (
        *OF_A_MERCHANT,
        "charge",
        "amount",
        "currency",
        "reason",
        "notes",
        "idempotency_key",
        "created_at",
    ),
    Dispute: (*OF_A_MERCHANT, "charge", "case", "amount", "fee", "reason", "created_at"),
    Payout: (*OF_A_MERCHANT, "amount", "currency", "lines", "carried", "after", "upto", "created_at"),
    Delivery: (*OF_A_MERCHANT, "event", "event_type", "endpoint", "created_at"),
    Notice: ("livemode", "kind", "reference", "dispute", "amount", "happened_at", "created_at"),
    Endpoint: (*OF_A_MERCHANT, "created_at"),
    Book: OF_A_MERCHANT,
    Settlement: OF_A_MERCHANT,
    Sheet: (*OF_A_MERCHANT, "number", "totals", "transfers", "lines", "net"),
}

# All of them at once, as nearly every change leaves them as they are.
ALL_FACTS = {kind: attrgetter(*names) for kind, names in FACTS.items()}

# The states that are left for no other, or for the few that stand beside them.
OUTCOMES: Mapping[type[Record], Mapping[Any, tuple[Any, ...]]] = {
    Charge: {charges.Status.SUCCEEDED: (), charges.Status.FAILED: ()},
    # A card that was closed meanwhile sends money back.
    Refund: {refunds.Status.SUCCEEDED: (refunds.Status.FAILED,), refunds.Status.FAILED: ()},
    Dispute: {disputes.Status.WON: (), disputes.Status.LOST: ()},
    Payout: {payouts.Status.PAID: (), payouts.Status.FAILED: ()},
    Delivery: {deliveries.Status.SUCCEEDED: (), deliveries.Status.ABANDONED: ()},
    Endpoint: {endpoints.Status.DELETED: ()},
    Notice: {
        notices.Status.APPLIED: (),
        notices.Status.KNOWN: (),
        notices.Status.CONTRADICTING: (),
        notices.Status.STRAY: (notices.Status.RETURNED,),
        notices.Status.RETURNED: (),
    },
}


def versions_follow_each_other(before: Any, after: Any) -> Differences:
    """A record is replaced by its next version, and the first version by nothing that was there."""
    return compare("version", before.version + 1 if before is not None else 1, after.version)


def facts_stay(before: Any, after: Any) -> Differences:
    """What a record said of whose it is, how much it is of and when it was made is said for ever."""
    kind = cast(type[Record], type(after))
    facts = ALL_FACTS.get(kind)
    if facts is None or facts(before) == facts(after):
        return ()
    return tuple(
        Difference(name, str(getattr(before, name)), str(getattr(after, name)))
        for name in FACTS[kind]
        if getattr(before, name) != getattr(after, name)
    )


def outcomes_stay(before: Any, after: Any) -> Differences:
    """A charge, refund, dispute, payout, delivery or notice that has its outcome keeps it."""
    outcomes = OUTCOMES.get(cast(type[Record], type(after)))
    if outcomes is None or before.status == after.status or before.status not in outcomes:
        return ()
    may_follow = outcomes[before.status]
    return () if after.status in may_follow else compare("status", before.status, after.status)


def answers_stay(before: Any, after: Any) -> Differences:
    """A key gives the one answer that it was given, for 24 hours from its first use, or from a late answer."""
    if not isinstance(before, IdempotencyKey) or before.state is not State.ANSWERED:
        return ()
    if (after.answer, after.outcome, after.subject) == (before.answer, before.outcome, before.subject):
        return ()
    age = after.first_used_at - (before.open_at - LIFE)
    return () if age >= LIFE else compare("forgotten after", "24 hours", str(age))


def fees_are_by_the_terms(charge: Charge, terms: Sequence[Terms]) -> Differences:
    """A charge costs its share, rounded half up, and the fixed part, by terms that held when it was opened."""
    fees = [_fee_by(charge.amount, *each) for each in terms]
    return () if charge.fee in fees else (Difference("fee", fees[-1] if fees else None, charge.fee),)


def _fee_by(amount: int, basis_points: int, cents: int) -> int:
    share = (Decimal(amount) * basis_points / 10_000).quantize(Decimal(1), ROUND_HALF_UP)
    return min(int(share) + cents, amount)


def lanes_are_not_taken_from_the_living(
    before: Lane, after: Lane, *, now: datetime, tolerance: timedelta
) -> Differences:
    """
    A lane gets another holder once the lease of the one before is over.

    `now` is by the clock of who writes, which may be apart from that of who held it by so much.
    """
    if before.holder is None or after.holder in (None, before.holder) or before.due_at is None:
        return ()
    left = before.due_at - now
    return () if left <= tolerance else (Difference("lease", "over", f"{left} left"),)


CHANGES: tuple[Change, ...] = (facts_stay, outcomes_stay, answers_stay)
