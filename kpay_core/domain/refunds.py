"""
Refunds: set aside on the charge before the network is asked, so that their sum never exceeds it.

                    refunded
    sending ──────────────────────────▶ succeeded
      │ │ │                               ▲   ▲
      │ │ │ pending            refunded   │   │
      │ │ └───────▶ pending ──────────────┘   │ refunded
      │ │ give up      │                      │
      │ └─────────▶ reversing ────────────────┘
      │                │   │ reversed
      │                ▼   ▼
      └──────────────────────────────▶ failed
         refused, reversed                ▲
                                          │ refused, long after
                              succeeded ──┘

A card that was closed meanwhile sends a refund back that had succeeded: then it has failed after all. A merchant sees
`sending` and `reversing` as `pending`.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kpay_core.commit import Record, bump
from kpay_core.domain import charges
from kpay_core.domain.charges import Charge
from kpay_core.domain.errors import Invalid
from kpay_core.domain.looks import OVERDUE, next_look
from kpay_core.domain.machine import step
from kpay_core.domain.money import RefundAmount
from kpay_core.domain.pages import PageParams
from kpay_core.domain.processing import LEASE, Outcome, Verdict
from kpay_core.domain.scope import Scope
from kpay_core.domain.validation import read
from kpay_core.query import Condition


class Status(StrEnum):
    SENDING = "sending"
    REVERSING = "reversing"
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


GIVE_UP: Literal["give_up"] = "give_up"

TRANSITIONS: dict[tuple[Status, Outcome | Literal["give_up"]], Status] = {
    (Status.SENDING, Outcome.REFUNDED): Status.SUCCEEDED,
    (Status.SENDING, Outcome.PENDING): Status.PENDING,
    (Status.SENDING, Outcome.REFUSED): Status.FAILED,
    (Status.SENDING, Outcome.REVERSED): Status.FAILED,
    (Status.SENDING, GIVE_UP): Status.REVERSING,
    (Status.PENDING, Outcome.REFUNDED): Status.SUCCEEDED,
    (Status.PENDING, Outcome.REFUSED): Status.FAILED,
    (Status.PENDING, Outcome.REVERSED): Status.FAILED,
    (Status.REVERSING, Outcome.REVERSED): Status.FAILED,
    (Status.REVERSING, Outcome.REFUNDED): Status.SUCCEEDED,
    (Status.SUCCEEDED, Outcome.REFUSED): Status.FAILED,
}

Reason = Literal["requested_by_customer", "duplicate", "fraudulent", "other"]

# The failure code of a refund that was called back because its request was cut off before anybody heard of it.
NOT_PROCESSED = "not_processed"


class NewRefund(msgspec.Struct, frozen=True, kw_only=True):
    """What a merchant sends to refund a charge, fully or in part."""

    charge: Annotated[
        str,
        Meta(description="Charge id (uuid) to refund.", examples=["01941f29-7c00-7000-8000-000000000001"]),
    ]
    amount: RefundAmount | None = None
    reason: Reason | None = None
    notes: Annotated[str, Meta(max_length=1000, description="Internal only.")] | None = None


class RefundListParams(PageParams, frozen=True, kw_only=True):
    """What the list of refunds takes."""

    charge: Annotated[str, Meta(description="Only return refunds for this charge id.")] | None = None

    @property
    def filters(self) -> tuple[Condition, ...]:
        return () if self.charge is None else (("charge", "=", self.charge),)


class Refund(Record, frozen=True, kw_only=True):
    """
    Money on its way back to a card. Its id is also the reference under which the network knows it.

    `look_at` is when somebody must look at a refund without an outcome; it is None exactly when there is one.
    """

    version: int = 1
    merchant: str
    livemode: bool
    charge: str
    amount: int
    currency: str
    status: Status
    reason: str | None
    notes: str | None
    failure_code: str | None = None
    idempotency_key: str | None
    created_at: datetime
    look_at: datetime | None
    looks: int = 0

    @property
    def scope(self) -> Scope:
        return Scope(self.merchant, self.livemode)


def read_new_refund(body: object) -> NewRefund:
    """Read a request, or raise `Invalid` with every error of it."""
    return read(NewRefund, body).finish(NewRefund)


def open_refund(
    new: NewRefund, charge: Charge, *, id: str, idempotency_key: str | None, now: datetime
) -> tuple[Refund, Charge]:
    """Write down the intent and set its amount aside on the charge, or raise `Invalid` when too little is left."""
    if charge.status is not charges.Status.SUCCEEDED:
        raise Invalid(
            {"charge": ["not a succeeded charge"]},
            code="charge_not_refundable",
            message="Only a succeeded charge can be refunded.",
        )
    if charge.refundable == 0 and charge.amount_disputed:
        raise Invalid(
            {"charge" if new.amount is None else "amount": ["disputed"]},
            code="charge_disputed",
            message="Nothing is left to refund: the rest of the charge is disputed.",
        )
    if charge.refundable == 0:
        raise Invalid(
            {"charge" if new.amount is None else "amount": ["nothing left to refund"]},
            code="charge_already_refunded",
            message="Nothing is left to refund: the rest of the charge is on its way back."
            if charge.amount_refunding
            else "The charge has been refunded in full.",
        )
    amount = charge.refundable if new.amount is None else new.amount
    if amount > charge.refundable:
        raise Invalid(
            {"amount": [f"max {charge.refundable}"]},
            code="amount_too_large",
            message="The refund is more than what is left of the charge.",
        )
    refund = Refund(
        id=id,
        merchant=charge.merchant,
        livemode=charge.livemode,
        charge=charge.id,
        amount=amount,
        currency=charge.currency,
        status=Status.SENDING,
        reason=new.reason,
        notes=new.notes,
        idempotency_key=idempotency_key,
        created_at=now,
        look_at=next_look(created_at=now, looks=0, now=now),
    )
    return refund, charges.add_refund(charge, amount)


def settle(refund: Refund, charge: Charge, verdict: Verdict) -> tuple[Refund, Charge | None]:
    """
    Move a refund as the network says, and its amount on the charge with it.

    The charge is None where it stays as it is: a pending refund keeps its amount set aside.
    """
    status = step(TRANSITIONS, refund.status, verdict.outcome)
    match status:
        case Status.PENDING:
            return bump(refund, status=status), None
        case Status.SUCCEEDED:
            settled = bump(refund, status=status, look_at=None)
            return settled, charges.finish_refund(charge, refund.amount, succeeded=True)
        case _:
            code = NOT_PROCESSED if verdict.outcome is Outcome.REVERSED else (verdict.code or "declined")
            settled = bump(refund, status=status, failure_code=code, look_at=None)
            if refund.status is Status.SUCCEEDED:
                return settled, charges.return_refund(charge, refund.amount)
            return settled, charges.finish_refund(charge, refund.amount, succeeded=False)


def moves(refund: Refund, verdict: Verdict) -> bool:
    """Tell whether a verdict changes anything: it says nothing of the outcome while the network is undecided."""
    return (refund.status, verdict.outcome) in TRANSITIONS


def was_undone(refund: Refund) -> bool:
    """Tell whether a failed refund was called back, rather than refused."""
    return refund.failure_code == NOT_PROCESSED


def is_overdue(refund: Refund, *, now: datetime) -> bool:
    """Tell whether an unfinished refund deserves a person's attention; one that the network calls pending does not."""
    unfinished = refund.status in (Status.SENDING, Status.REVERSING)
    return unfinished and now - refund.created_at >= OVERDUE


class Remedy(StrEnum):
    """What to ask the network of an unfinished refund."""

    SEND = "send"
    LOOK_UP = "look_up"
    REVERSE = "reverse"


def remedy(refund: Refund) -> Remedy:
    """
    Decide what to ask. Sending again is safe: the network does a thing once for a reference.

    A refund that nobody was told of and that no key leads to belongs to a request that was cut off. It is not sent
    on its sender's behalf: a sender who heard nothing will ask again.
    """
    if refund.status is Status.REVERSING:
        return Remedy.REVERSE
    cut_off = refund.status is Status.SENDING and refund.idempotency_key is None
    return Remedy.LOOK_UP if cut_off else Remedy.SEND


def should_give_up(refund: Refund, finding: Verdict, *, now: datetime) -> bool:
    """Tell whether a refund that was cut off is to be called back: unknown to the network, its attempt over."""
    return finding.outcome is Outcome.NOT_FOUND and now - refund.created_at >= LEASE


def give_up(refund: Refund) -> Refund:
    """Raise the fence: the refund is to be called back."""
    return bump(refund, status=step(TRANSITIONS, refund.status, GIVE_UP))
