"""
Disputes: a cardholder wants the money of a charge back, and the network decides.

                    submit                 taken                    won
    needs_response ────────▶ submitting ────────▶ under_review ───────────▶ won
          │                    │   too late          │
          │ won, lost          │ won, lost           │ lost
          └────────────────────┴─────────────────────┴────────────────────▶ lost

`submitting` is the evidence on its way to the network; to a merchant it is `under_review` already. Whatever the
network decides, it is told as news; the amount and a fee are kept back until then.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal, Protocol, get_args

import msgspec
from msgspec import Meta

from kpay_core.commit import Record, bump
from kpay_core.domain import charges
from kpay_core.domain.charges import Charge
from kpay_core.domain.errors import Invalid
from kpay_core.domain.looks import OVERDUE, next_look
from kpay_core.domain.machine import step
from kpay_core.domain.news import NewsKind
from kpay_core.domain.pages import PageParams
from kpay_core.domain.scope import Scope
from kpay_core.domain.validation import read

# What a dispute costs, unless it is won.
FEE_CENTS = 1_500

# How long a merchant has where the network does not say; the networks that do give a week or more.
ANSWER_WITHIN = timedelta(days=7)


class Status(StrEnum):
    NEEDS_RESPONSE = "needs_response"
    SUBMITTING = "submitting"
    UNDER_REVIEW = "under_review"
    WON = "won"
    LOST = "lost"


class Step(StrEnum):
    SUBMIT = "submit"
    TAKEN = "taken"
    # The network takes no evidence any more; its verdict is on its way.
    TOO_LATE = "too_late"


TRANSITIONS: dict[tuple[Status, Step | NewsKind], Status] = {
    (Status.NEEDS_RESPONSE, Step.SUBMIT): Status.SUBMITTING,
    (Status.NEEDS_RESPONSE, NewsKind.DISPUTE_WON): Status.WON,
    (Status.NEEDS_RESPONSE, NewsKind.DISPUTE_LOST): Status.LOST,
    (Status.SUBMITTING, Step.TAKEN): Status.UNDER_REVIEW,
    (Status.SUBMITTING, Step.TOO_LATE): Status.UNDER_REVIEW,
    (Status.SUBMITTING, NewsKind.DISPUTE_WON): Status.WON,
    (Status.SUBMITTING, NewsKind.DISPUTE_LOST): Status.LOST,
    (Status.UNDER_REVIEW, NewsKind.DISPUTE_WON): Status.WON,
    (Status.UNDER_REVIEW, NewsKind.DISPUTE_LOST): Status.LOST,
}

# What a merchant sees of a status.
ShownStatus = Literal["needs_response", "under_review", "won", "lost"]

# What the network says and a merchant is told, by its code; any other code reads as general.
Reason = Literal["fraudulent", "product_not_received", "general"]
REASONS: dict[str, Reason] = {reason: reason for reason in get_args(Reason)}


class Opening(Protocol):
    """What the network tells of a dispute when it opens: news, or the notice that keeps them."""

    @property
    def dispute(self) -> str | None: ...

    @property
    def amount(self) -> int: ...

    @property
    def code(self) -> str | None: ...

    @property
    def evidence_due_by(self) -> datetime | None: ...


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What a merchant has to say to a dispute."""

    uncategorized_text: Annotated[str, Meta(max_length=20_000)] | None = None


class DisputeChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What a merchant sends to answer a dispute. Without `submit` the evidence is a draft."""

    evidence: Evidence | None = None
    submit: bool | None = None


class DisputeListParams(PageParams, frozen=True, kw_only=True):
    """What the list of disputes takes."""


class Dispute(Record, frozen=True, kw_only=True):
    """
    A charge that its cardholder disputes. `case` is the network's name for it.

    `fee` is kept back beside `amount`. `look_at` is when somebody must hand the evidence in again; it is None
    exactly where no evidence is on its way.
    """

    version: int = 1
    merchant: str
    livemode: bool
    charge: str
    case: str
    amount: int
    fee: int
    currency: str
    reason: Reason
    status: Status = Status.NEEDS_RESPONSE
    evidence: Evidence = Evidence()
    evidence_due_by: datetime
    submitted_at: datetime | None = None
    created_at: datetime
    look_at: datetime | None = None
    looks: int = 0

    @property
    def scope(self) -> Scope:
        return Scope(self.merchant, self.livemode)


def open_dispute(opening: Opening, charge: Charge, *, id: str, now: datetime) -> tuple[Dispute, Charge]:
    """Keep back what a cardholder disputes of a charge, and a fee. The network says how much, and until when."""
    assert opening.dispute is not None, "a dispute has a name"
    dispute = Dispute(
        id=id,
        merchant=charge.merchant,
        livemode=charge.livemode,
        charge=charge.id,
        case=opening.dispute,
        amount=opening.amount,
        fee=FEE_CENTS,
        currency=charge.currency,
        reason=REASONS.get(opening.code or "", "general"),
        evidence_due_by=opening.evidence_due_by or now + ANSWER_WITHIN,
        created_at=now,
    )
    return dispute, charges.open_dispute(charge, opening.amount)


def read_dispute_changes(body: object) -> DisputeChanges:
    """Read a request, or raise `Invalid` with every error of it."""
    return read(DisputeChanges, body).finish(DisputeChanges)


def change(dispute: Dispute, changes: DisputeChanges, *, now: datetime) -> Dispute:
    """
    Save a draft of the evidence, or submit it; return the dispute itself where nothing is to change.

    Raises `Invalid` where there is nothing to submit, and where a dispute takes no evidence (any more).
    """
    text = changes.evidence.uncategorized_text if changes.evidence else None
    if text is None and not changes.submit:
        return dispute
    _check_answerable(dispute, changes, now=now)
    evidence = dispute.evidence if text is None else Evidence(uncategorized_text=text or None)
    if changes.submit:
        return _submit(dispute, evidence, now=now)
    return dispute if evidence == dispute.evidence else bump(dispute, evidence=evidence)


def _check_answerable(dispute: Dispute, changes: DisputeChanges, *, now: datetime) -> None:
    given = ["evidence"] * (changes.evidence is not None) + ["submit"] * bool(changes.submit)
    if dispute.status is not Status.NEEDS_RESPONSE:
        raise Invalid(
            {name: ["the dispute needs no response"] for name in given},
            code="dispute_not_answerable",
            message="Only a dispute that needs a response can be answered.",
        )
    if now >= dispute.evidence_due_by:
        raise Invalid(
            {name: ["too late"] for name in given},
            code="evidence_too_late",
            message="The time to answer the dispute is over.",
        )


def _submit(dispute: Dispute, evidence: Evidence, *, now: datetime) -> Dispute:
    """Send the evidence on its way. It is final from here on: the network takes evidence once."""
    if not (evidence.uncategorized_text or "").strip():
        raise Invalid({"evidence.uncategorized_text": ["required"]})
    return bump(
        dispute,
        status=step(TRANSITIONS, dispute.status, Step.SUBMIT),
        evidence=evidence,
        submitted_at=now,
        look_at=next_look(created_at=now, looks=0, now=now),
    )


def hand_in(dispute: Dispute, *, taken: bool) -> Dispute:
    """Note that the network has the evidence, or takes none any more: either way, its verdict will be in the news."""
    given = Step.TAKEN if taken else Step.TOO_LATE
    return bump(dispute, status=step(TRANSITIONS, dispute.status, given), look_at=None)


def close(dispute: Dispute, charge: Charge, verdict: NewsKind) -> tuple[Dispute, Charge | None]:
    """
    End a dispute as the network has decided, whatever had become of the evidence.

    The charge is None where it stays as it is: what was lost stays away from it.
    """
    closed = bump(dispute, status=step(TRANSITIONS, dispute.status, verdict), look_at=None)
    won = closed.status is Status.WON
    return closed, charges.win_dispute(charge, dispute.amount) if won else None


def is_closed(dispute: Dispute) -> bool:
    """Tell whether the network has decided."""
    return dispute.status in (Status.WON, Status.LOST)


def shown_status(dispute: Dispute) -> ShownStatus:
    """Call a dispute whose evidence is on its way `under_review`."""
    submitting = dispute.status is Status.SUBMITTING
    return "under_review" if submitting else dispute.status.value  # pyright: ignore[reportReturnType]


def lease(dispute: Dispute, *, now: datetime) -> Dispute:
    """Take the next look at evidence on its way for oneself. What counts is when it was submitted, not the opening."""
    assert dispute.submitted_at is not None, "only submitted evidence is on its way"
    looks = dispute.looks + 1
    look_at = next_look(created_at=dispute.submitted_at, looks=looks, now=now)
    return bump(dispute, look_at=look_at, looks=looks)


def is_overdue(dispute: Dispute, *, now: datetime) -> bool:
    """Tell whether evidence that does not reach the network deserves a person's attention."""
    on_its_way = dispute.submitted_at if dispute.look_at is not None else None
    return on_its_way is not None and now - on_its_way >= OVERDUE
