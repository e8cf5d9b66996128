"""The wire shapes of payouts, their lines and the balance."""

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kpay_core.domain import ledger, payouts
from kpay_core.domain.ledger import Balance, Kind, LineType, Transfer
from kpay_core.domain.pages import Page
from kpay_core.domain.payouts import Payout
from kpay_core.domain.scope import Scope
from kpay_core.domain.times import rfc3339 as time
from kpay_core.domain.views import Cents, ListView, Time

SignedCents = Annotated[int, Meta(description="Cents; less than nothing is taken from the payout.")]

# What each line is, in words.
DESCRIPTIONS = {
    Kind.CHARGE_MATURED: "Charge",
    Kind.FEE_MATURED: "Fee of a charge",
    Kind.REFUND: "Refund",
    Kind.REFUND_RETURNED: "Refund that failed",
    Kind.REFUND_BOUNCED: "Refund that came back",
    Kind.DISPUTE: "Dispute",
    Kind.DISPUTE_FEE: "Fee of a dispute",
    Kind.DISPUTE_WON: "Dispute that was won",
    Kind.DISPUTE_FEE_RETURNED: "Fee of a dispute that was won",
    Kind.PAYOUT_FAILED: "Payout that failed",
}

assert DESCRIPTIONS.keys() == ledger.LINES.keys(), "every line has its words"


class LineView(msgspec.Struct, kw_only=True):
    """A line of a payout: what it is, what it adds, and the object that it comes from."""

    id: Annotated[str, Meta(examples=["txn_01941f297c0070008000000000000001"])]
    type: LineType
    amount: SignedCents
    source: str
    description: str
    created_at: Time


class PayoutView(msgspec.Struct, kw_only=True):
    """A payout."""

    id: Annotated[str, Meta(examples=["po_01941f297c0070008000000000000001"])]
    object: Literal["payout"] = "payout"
    amount: Annotated[int, Meta(ge=1)]
    currency: Literal["USD"]
    status: Literal["pending", "in_transit", "paid", "failed"]
    arrival_date: Annotated[str, Meta(extra_json_schema={"format": "date"}, examples=["2026-01-05"])]
    failure_code: str | None
    failure_message: str | None
    livemode: bool
    created_at: Time


class PayoutWithLines(PayoutView, kw_only=True):
    """A payout and its lines, in the order of the book. Their sum is its amount."""

    line_items: list[LineView]


class BalanceView(msgspec.Struct, kw_only=True):
    """What a merchant has. Less than nothing is available where refunds and disputes exceed what has matured."""

    object: Literal["balance"] = "balance"
    currency: Literal["USD"] = "USD"
    pending: Annotated[int, Meta(description="Cents of charges that have not matured, less their fees.")]
    available: Annotated[int, Meta(description="Cents that the next payout is made of.")]
    reserved: Annotated[
        Cents, Meta(description="Cents kept back for refunds on their way and open disputes.")
    ]
    in_transit: Annotated[Cents, Meta(description="Cents of payouts that have not arrived.")]
    livemode: bool


def _payout_fields(payout: Payout) -> dict[str, object]:
    return {
        "id": payout.id,
        "amount": payout.amount,
        "currency": payout.currency,
        "status": payout.status.value,
        "arrival_date": payout.arrives_at.date().isoformat(),
        "failure_code": payout.failure_code,
        "failure_message": payout.failure_message,
        "livemode": payout.livemode,
        "created_at": time(payout.created_at),
    }


def view_payout(payout: Payout) -> PayoutView:
    """Show a payout as lists and events do."""
    return PayoutView(**_payout_fields(payout))  # pyright: ignore[reportArgumentType]


def view_payout_with_lines(payout: Payout, lines: Iterable[Transfer]) -> PayoutWithLines:
    """Show a payout as GET by id does."""
    items = [view_line(line) for line in lines]
    if payout.carried:
        items.insert(0, _view_carried(payout))
    return PayoutWithLines(**_payout_fields(payout), line_items=items)  # pyright: ignore[reportArgumentType]


def view_line(line: Transfer) -> LineView:
    """Show a transfer as a line."""
    return LineView(
        id=line.id,
        type=ledger.LINES[line.kind],
        amount=ledger.line_amount(line),
        source=line.source,
        description=DESCRIPTIONS[line.kind],
        created_at=time(line.created_at),
    )


def _view_carried(payout: Payout) -> LineView:
    return LineView(
        id=payouts.carried_id(payout),
        type="adjustment",
        amount=payout.carried,
        source=payout.id,
        description="Carried forward from lines that came to less than nothing",
        created_at=time(payout.created_at),
    )


def view_payouts(page: Page[Payout]) -> ListView[PayoutView]:
    """Show a page of payouts."""
    return ListView(url="/v1/payouts", data=[view_payout(p) for p in page.data], has_more=page.has_more)


def view_balance(balance: Balance, scope: Scope) -> BalanceView:
    """Show a balance."""
    return BalanceView(
        pending=balance.pending,
        available=balance.available,
        reserved=balance.reserved,
        in_transit=balance.in_transit,
        livemode=scope.livemode,
    )
