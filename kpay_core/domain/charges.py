"""
Charges: opened before the network is asked, settled by what it says, undone when nobody can know.

                        captured
    processing ─────────────────────────▶ succeeded
        │ │        declined, reversed
        │ └─────────────────────────────▶ failed
        │ give up                            ▲
        └───────────▶ reversing ─────────────┘
                                 reversed

`reversing` is the fence: it is committed before the network is told to undo, so that a late attempt that still
believes in the charge conflicts. To a merchant it is `processing`, like every charge without an outcome.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from kpay_core.commit import Record, bump
from kpay_core.domain.cards import Card, CardSummary, check_card, is_for_tests, summarise
from kpay_core.domain.looks import OVERDUE, next_look
from kpay_core.domain.machine import step
from kpay_core.domain.metadata import Metadata
from kpay_core.domain.money import DEFAULT_CURRENCY, ChargeAmount, Currency
from kpay_core.domain.pages import Conditions, PageParams
from kpay_core.domain.postal import Address
from kpay_core.domain.processing import LEASE, SETTLE_WINDOW, Outcome, Verdict
from kpay_core.domain.scope import Scope
from kpay_core.domain.times import cut_to_milliseconds, up_to_milliseconds
from kpay_core.domain.validation import AwareTime, read


class Status(StrEnum):
    PROCESSING = "processing"
    REVERSING = "reversing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


GIVE_UP: Literal["give_up"] = "give_up"

TRANSITIONS: dict[tuple[Status, Outcome | Literal["give_up"]], Status] = {
    (Status.PROCESSING, Outcome.CAPTURED): Status.SUCCEEDED,
    (Status.PROCESSING, Outcome.DECLINED): Status.FAILED,
    (Status.PROCESSING, Outcome.REVERSED): Status.FAILED,
    (Status.PROCESSING, GIVE_UP): Status.REVERSING,
    (Status.REVERSING, Outcome.REVERSED): Status.FAILED,
}

# What a merchant sees of a status, and the other way round.
ShownStatus = Literal["succeeded", "failed", "processing"]
SHOWN_AS: dict[ShownStatus, tuple[Status, ...]] = {
    "succeeded": (Status.SUCCEEDED,),
    "failed": (Status.FAILED,),
    "processing": (Status.PROCESSING, Status.REVERSING),
}
SHOWN: dict[Status, ShownStatus] = {
    status: shown for shown, statuses in SHOWN_AS.items() for status in statuses
}

TEST_CARD = "test_card"

# What the network says and a merchant may be told, by its code; any other code reads as a generic decline.
DECLINES = {
    "generic_decline": "The card was declined.",
    "insufficient_funds": "The card has insufficient funds.",
    "lost_card": "The card was declined.",
    "stolen_card": "The card was declined.",
    "expired_card": "The card has expired.",
    "incorrect_cvc": "The card's security code is incorrect.",
    "processing_error": "An error occurred while processing the card.",
    TEST_CARD: "A test card was used in live mode.",
}

# The failure code of a charge that was undone because its outcome could not be known, or not be told in time.
NOT_PROCESSED = "not_processed"
NOT_PROCESSED_MESSAGE = "The charge could not be processed and was undone. Nothing was captured."


# Contract, section 7.
MATURES_AFTER = timedelta(days=2)


class NewCharge(msgspec.Struct, frozen=True, kw_only=True):
    """What a merchant sends to make a charge."""

    amount: ChargeAmount
    currency: Currency | None = DEFAULT_CURRENCY
    source: Card
    billing_address: Address
    description: (
        Annotated[
            str, Meta(max_length=500, description="Surfaced in the dashboard.", examples=["Order #1024"])
        ]
        | None
    ) = None
    metadata: Metadata | None = None


class ChargeListParams(PageParams, frozen=True, kw_only=True):
    """What the list of charges takes. A time bound is an RFC 3339 time with an offset."""

    status: ShownStatus | None = None
    created_at_gt: AwareTime | None = msgspec.field(default=None, name="created_at[gt]")
    created_at_gte: AwareTime | None = msgspec.field(default=None, name="created_at[gte]")
    created_at_lt: AwareTime | None = msgspec.field(default=None, name="created_at[lt]")
    created_at_lte: AwareTime | None = msgspec.field(default=None, name="created_at[lte]")

    @property
    def alternatives(self) -> tuple[Conditions, ...]:
        if self.status is None:
            return (self.filters,)
        return tuple((("status", "=", status), *self.filters) for status in SHOWN_AS[self.status])

    @property
    def lasting(self) -> Conditions:
        # A charge that was processing may have its outcome by the time that the next page is asked for.
        return self.filters if self.status == "processing" else self.alternatives[0]

    @property
    def order(self) -> Literal["id", "created_at"]:
        return "id" if self.status is None and not self.filters else "created_at"

    @property
    def filters(self) -> Conditions:
        # Charges are made at whole milliseconds: the next one up or down says of them what a finer bound does.
        bounds: tuple[
            tuple[Literal[">", ">=", "<", "<="], datetime | None, Callable[[datetime], datetime]], ...
        ]
        bounds = (
            (">", self.created_at_gt, cut_to_milliseconds),
            (">=", self.created_at_gte, up_to_milliseconds),
            ("<", self.created_at_lt, up_to_milliseconds),
            ("<=", self.created_at_lte, cut_to_milliseconds),
        )
        return tuple(("created_at", sign, whole(at)) for sign, at, whole in bounds if at is not None)


class Charge(Record, frozen=True, kw_only=True):
    """
    A one-time charge against a card. Its id is also the reference under which the network knows it.

    `amount_refunded` counts refunds that succeeded, `amount_refunding` those still on their way, `amount_disputed`
    what is kept back for disputes or lost to them. `fee` is what the charge costs its merchant once it succeeds.
    `matures_at` is when its funds can be paid out; it is None before the charge succeeds, and once they have matured.
    `told` says that the caller was promised an outcome (202). `look_at` is when somebody must look at a charge
    without an outcome; it is None exactly when there is one.
    """

    version: int = 1
    merchant: str
    livemode: bool
    amount: int
    currency: str
    status: Status
    source: CardSummary
    billing_address: Address
    description: str | None
    metadata: dict[str, Any]
    failure_code: str | None = None
    failure_message: str | None = None
    amount_refunded: int = 0
    amount_refunding: int = 0
    amount_disputed: int = 0
    refunds: int = 0
    disputes: int = 0
    fee: int
    matures_at: datetime | None = None
    idempotency_key: str | None
    told: bool = False
    created_at: datetime
    look_at: datetime | None
    looks: int = 0

    @property
    def scope(self) -> Scope:
        return Scope(self.merchant, self.livemode)

    @property
    def refundable(self) -> int:
        """What may still be refunded, in cents: neither refunded, nor on its way back, nor disputed."""
        # The network may uphold a dispute of what was being refunded at that moment.
        return max(self.amount - self.amount_refunded - self.amount_refunding - self.amount_disputed, 0)


def read_new_charge(body: object, *, now: datetime) -> NewCharge:
    """Read a request, or raise `Invalid` with every error of it."""
    reading = read(NewCharge, body)
    for name, message in check_card(reading.values.get("source", {}), now).items():
        reading.blame(f"source.{name}", message)
    return reading.finish(NewCharge)


def open_charge(
    new: NewCharge,
    *,
    id: str,
    scope: Scope,
    fingerprint: str,
    fee: int,
    idempotency_key: str | None,
    now: datetime,
) -> Charge:
    """Write down the intent, before the network hears of it."""
    return Charge(
        id=id,
        merchant=scope.merchant,
        livemode=scope.livemode,
        amount=new.amount,
        currency=new.currency or DEFAULT_CURRENCY,
        status=Status.PROCESSING,
        source=summarise(new.source, fingerprint=fingerprint),
        billing_address=new.billing_address,
        description=new.description,
        metadata=new.metadata or {},
        fee=fee,
        idempotency_key=idempotency_key,
        created_at=now,
        look_at=next_look(created_at=now, looks=0, now=now),
    )


def decline_test_card(charge: Charge, card: Card) -> Verdict | None:
    """Decline a test card in live mode, of which no network need hear (contract, section 9); else None."""
    return Verdict(Outcome.DECLINED, TEST_CARD) if charge.livemode and is_for_tests(card.number) else None


def settle(charge: Charge, verdict: Verdict) -> Charge:
    """Give a charge its outcome. A decline is an outcome, not an error: it is saved and announced."""
    status = step(TRANSITIONS, charge.status, verdict.outcome)
    code = message = matures_at = None
    if verdict.outcome is Outcome.CAPTURED and not verdict.at_once:
        matures_at = charge.created_at + MATURES_AFTER
    elif verdict.outcome is Outcome.DECLINED:
        code = verdict.code if verdict.code in DECLINES else "generic_decline"
        message = DECLINES[code]
    elif verdict.outcome is Outcome.REVERSED:
        code, message = NOT_PROCESSED, NOT_PROCESSED_MESSAGE
    return bump(
        charge,
        status=status,
        failure_code=code,
        failure_message=message,
        matures_at=matures_at,
        look_at=None,
    )


def promise(charge: Charge) -> Charge:
    """Note that the caller was told to expect an outcome: from here on a capture is kept."""
    return charge if charge.told else bump(charge, told=True)


def shown_status(charge: Charge) -> ShownStatus:
    """Call a charge without an outcome `processing`, however it is being worked on."""
    return SHOWN[charge.status]


def was_undone(charge: Charge) -> bool:
    """Tell whether a failed charge was undone, rather than declined."""
    return charge.failure_code == NOT_PROCESSED


def is_overdue(charge: Charge, *, now: datetime) -> bool:
    """Tell whether an unfinished charge deserves a person's attention."""
    return charge.look_at is not None and now - charge.created_at >= OVERDUE


def conclude(charge: Charge, finding: Verdict, *, now: datetime) -> Charge | None:
    """
    Decide what a look-up means for a processing charge; None is to look again later.

    A capture stands where somebody can learn of it: by its key, or by the promise of a 202. A capture without
    either belongs to a request that was cut off, and is undone once its attempt must be over; a sender who heard
    nothing will send it again. What the network has never seen is undone when nothing can be on its way any more.
    """
    age = now - charge.created_at
    match finding.outcome:
        case Outcome.DECLINED | Outcome.REVERSED:
            return settle(charge, finding)
        case Outcome.CAPTURED if charge.idempotency_key or charge.told:
            return settle(charge, finding)
        case Outcome.CAPTURED:
            return give_up(charge) if age >= LEASE else None
        case Outcome.NOT_FOUND:
            return give_up(charge) if age >= SETTLE_WINDOW else None
        case _:
            return None


def give_up(charge: Charge) -> Charge:
    """Raise the fence: whatever the network captured under this charge is to be undone."""
    return bump(charge, status=step(TRANSITIONS, charge.status, GIVE_UP))


def add_refund(charge: Charge, amount: int) -> Charge:
    """Set `amount` aside for a refund that is on its way."""
    assert 0 < amount <= charge.refundable, "refunds never exceed the charge"
    return bump(charge, amount_refunding=charge.amount_refunding + amount, refunds=charge.refunds + 1)


def mature(charge: Charge) -> Charge:
    """Let the funds of a charge be paid out."""
    assert charge.matures_at is not None, "funds mature once"
    return bump(charge, matures_at=None)


def return_refund(charge: Charge, amount: int) -> Charge:
    """Count a refund that had succeeded as refunded no more: its amount came back."""
    assert 0 < amount <= charge.amount_refunded, "a refund comes back once"
    return bump(charge, amount_refunded=charge.amount_refunded - amount)


def open_dispute(charge: Charge, amount: int) -> Charge:
    """Keep `amount` back for a dispute."""
    return bump(charge, amount_disputed=charge.amount_disputed + amount, disputes=charge.disputes + 1)


def win_dispute(charge: Charge, amount: int) -> Charge:
    """Give back what was kept for a dispute; that of a lost one stays away."""
    assert 0 < amount <= charge.amount_disputed, "a dispute ends once"
    return bump(charge, amount_disputed=charge.amount_disputed - amount)


def finish_refund(charge: Charge, amount: int, *, succeeded: bool) -> Charge:
    """Count a refund that was on its way as refunded, or give its amount back."""
    assert 0 < amount <= charge.amount_refunding, "a refund ends once"
    return bump(
        charge,
        amount_refunding=charge.amount_refunding - amount,
        amount_refunded=charge.amount_refunded + (amount if succeeded else 0),
    )
