"""The wire shapes of disputes, beside those of `views`."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kpay_core.domain.disputes import Dispute, Reason, ShownStatus, shown_status
from kpay_core.domain.pages import Page
from kpay_core.domain.times import rfc3339 as time
from kpay_core.domain.views import Cents, ListView, Time, Uuid


class EvidenceView(msgspec.Struct, kw_only=True):
    """What the merchant has to say, drafted or submitted."""

    uncategorized_text: str | None


class DisputeView(msgspec.Struct, kw_only=True):
    """A dispute of a charge by its cardholder."""

    id: Annotated[str, Meta(examples=["dp_01941f297c0070008000000000000001"])]
    object: Literal["dispute"] = "dispute"
    charge: Uuid
    amount: Annotated[int, Meta(ge=1)]
    fee: Annotated[
        Cents, Meta(description="Kept back beside the amount; given back when the dispute is won.")
    ]
    currency: Literal["USD"]
    reason: Reason
    status: ShownStatus
    evidence: EvidenceView
    evidence_due_by: Time
    submitted_at: Time | None
    livemode: bool
    created_at: Time


def view_dispute(dispute: Dispute) -> DisputeView:
    """Show a dispute; one whose evidence is on its way to the network is under review."""
    return DisputeView(
        id=dispute.id,
        charge=dispute.charge,
        amount=dispute.amount,
        fee=dispute.fee,
        currency="USD",
        reason=dispute.reason,
        status=shown_status(dispute),
        evidence=EvidenceView(uncategorized_text=dispute.evidence.uncategorized_text),
        evidence_due_by=time(dispute.evidence_due_by),
        submitted_at=time(dispute.submitted_at) if dispute.submitted_at else None,
        livemode=dispute.livemode,
        created_at=time(dispute.created_at),
    )


def view_disputes(page: Page[Dispute]) -> ListView[DisputeView]:
    """Show a page of disputes."""
    data = [view_dispute(dispute) for dispute in page.data]
    return ListView(url="/v1/disputes", data=data, has_more=page.has_more)
