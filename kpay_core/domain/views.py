"""The one place that makes wire shapes. A view holds what a merchant may see of a record, in the order of the docs."""

from collections.abc import Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from kpay_core.domain import refunds
from kpay_core.domain.cards import Brand
from kpay_core.domain.charges import Charge, ShownStatus, shown_status
from kpay_core.domain.metadata import Metadata
from kpay_core.domain.pages import Page
from kpay_core.domain.postal import Address
from kpay_core.domain.refunds import Reason, Refund
from kpay_core.domain.times import rfc3339 as time

V = TypeVar("V")

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"}, examples=["2026-01-02T03:04:05.678Z"])]
Uuid = Annotated[
    str, Meta(extra_json_schema={"format": "uuid"}, examples=["01941f29-7c00-7000-8000-000000000001"])
]
Cents = Annotated[int, Meta(ge=0)]
ErrorType = Literal[
    "invalid_request_error",
    "authentication_error",
    "card_error",
    "not_found",
    "rate_limit_error",
    "internal_error",
]


class CardSummaryView(msgspec.Struct, kw_only=True):
    """What is kept of a card."""

    object: Literal["card"] = "card"
    brand: Brand
    last4: Annotated[str, Meta(pattern="^[0-9]{4}$", examples=["4242"])]
    exp_month: Annotated[int, Meta(ge=1, le=12)]
    exp_year: int
    fingerprint: Annotated[str, Meta(description="The same for one card within one merchant.")]


class RefundView(msgspec.Struct, kw_only=True):
    """A refund."""

    id: Annotated[str, Meta(examples=["re_01941f297c0070008000000000000001"])]
    object: Literal["refund"] = "refund"
    charge: Uuid
    amount: Annotated[int, Meta(ge=1)]
    currency: Literal["USD"]
    status: Literal["pending", "succeeded", "failed"]
    reason: Reason | None
    notes: str | None
    failure_code: str | None
    livemode: bool
    created_at: Time


class ChargeView(msgspec.Struct, kw_only=True):
    """A charge."""

    id: Uuid
    object: Literal["charge"] = "charge"
    amount: Cents
    amount_refunded: Annotated[int, Meta(ge=0, description="Cents of refunds that succeeded.")]
    currency: Literal["USD"]
    status: ShownStatus
    refunded: Annotated[bool, Meta(description="Whether the charge is refunded in full.")]
    disputed: bool
    livemode: bool
    description: str | None
    metadata: Metadata
    source: CardSummaryView
    billing_address: Address
    failure_code: str | None
    failure_message: str | None
    created_at: Time


class ChargeWithRefunds(ChargeView, kw_only=True):
    """A charge and the refunds applied to it, newest first."""

    refunds: list[RefundView]


class ListView(msgspec.Struct, Generic[V], kw_only=True):
    """Some of a list, newest first."""

    object: Literal["list"] = "list"
    url: str
    data: list[V]
    has_more: bool


class ErrorFacts(msgspec.Struct, kw_only=True):
    """What an error says."""

    type: ErrorType
    message: str
    details: dict[str, Any]


class ErrorView(msgspec.Struct, kw_only=True):
    """The one envelope of every error."""

    error: ErrorFacts


encode = msgspec.json.Encoder().encode


def _charge_fields(charge: Charge) -> dict[str, Any]:
    source = charge.source
    return {
        "id": charge.id,
        "amount": charge.amount,
        "amount_refunded": charge.amount_refunded,
        "currency": charge.currency,
        "status": shown_status(charge),
        "refunded": charge.amount_refunded == charge.amount,
        "disputed": charge.disputes > 0,
        "livemode": charge.livemode,
        "description": charge.description,
        "metadata": charge.metadata,
        "source": CardSummaryView(
            brand=source.brand,
            last4=source.last4,
            exp_month=source.exp_month,
            exp_year=source.exp_year,
            fingerprint=source.fingerprint,
        ),
        "billing_address": charge.billing_address,
        "failure_code": charge.failure_code,
        "failure_message": charge.failure_message,
        "created_at": time(charge.created_at),
    }


def view_charge(charge: Charge) -> ChargeView:
    """Show a charge as lists and answers do."""
    return ChargeView(**_charge_fields(charge))


def view_charge_with_refunds(charge: Charge, its_refunds: Sequence[Refund]) -> ChargeWithRefunds:
    """Show a charge as GET by id does."""
    return ChargeWithRefunds(
        **_charge_fields(charge), refunds=[view_refund(refund) for refund in its_refunds]
    )


def view_refund(refund: Refund) -> RefundView:
    """Show a refund; one that is still on its way to the network is pending."""
    final = refund.status in (refunds.Status.SUCCEEDED, refunds.Status.FAILED)
    return RefundView(
        id=refund.id,
        charge=refund.charge,
        amount=refund.amount,
        currency="USD",
        status=refund.status.value if final else "pending",  # pyright: ignore[reportArgumentType]
        reason=refund.reason,  # pyright: ignore[reportArgumentType]
        notes=refund.notes,
        failure_code=refund.failure_code,
        livemode=refund.livemode,
        created_at=time(refund.created_at),
    )


def view_charges(page: Page[Charge]) -> ListView[ChargeView]:
    """Show a page of charges."""
    return ListView(url="/v1/charges", data=[view_charge(c) for c in page.data], has_more=page.has_more)


def view_refunds(page: Page[Refund]) -> ListView[RefundView]:
    """Show a page of refunds."""
    return ListView(url="/v1/refunds", data=[view_refund(r) for r in page.data], has_more=page.has_more)


def view_decline(charge: Charge) -> ErrorView:
    """Show a declined charge as the error it is to its sender (contract, section 2)."""
    details = {"code": "card_declined", "decline_code": charge.failure_code, "charge": charge.id}
    return ErrorView(
        error=ErrorFacts(type="card_error", message=charge.failure_message or "", details=details)
    )
