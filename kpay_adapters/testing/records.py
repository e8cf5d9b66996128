"""Records to fill a store with. Every id is new, so that tests may share a database."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from kpay_core.commit import Record, bump
from kpay_core.domain import charges, idempotency, ledger, merchants, payouts, refunds
from kpay_core.domain.cards import CardSummary
from kpay_core.domain.charges import Charge
from kpay_core.domain.deliveries import Attempt, Delivery
from kpay_core.domain.disputes import Dispute, Evidence
from kpay_core.domain.endpoints import Endpoint, Subscription, Subscriptions
from kpay_core.domain.events import Event
from kpay_core.domain.idempotency import IdempotencyKey
from kpay_core.domain.keys import ApiKey
from kpay_core.domain.lanes import Claim, Lane
from kpay_core.domain.ledger import POSTINGS, Account, Book, Kind, Sheet, Transfer
from kpay_core.domain.merchants import Merchant
from kpay_core.domain.news import NewsKind
from kpay_core.domain.notices import Notice
from kpay_core.domain.payouts import Payout, Settlement
from kpay_core.domain.postal import Address
from kpay_core.domain.posts import Failure
from kpay_core.domain.refunds import Refund
from kpay_core.domain.scope import Scope

NOW = datetime(2026, 3, 1, 12, 30, 15, 123000, tzinfo=UTC)
SECOND = timedelta(seconds=1)

_run = uuid4().hex[:12]
_numbers = count()


class Note(Record, frozen=True, kw_only=True):
    """A record without a version: it is appended."""

    text: str


def new_id(prefix: str) -> str:
    """Make an id that no test has used, later than all before it."""
    return f"{prefix}_{_run}_{next(_numbers):08}"


def a_merchant(**changes: Any) -> Merchant:
    fields: dict[str, Any] = {
        "id": new_id("mer"),
        "name": "Acme",
        "status": merchants.Status.APPLIED,
        "bank_account": "000123456789",
        "created_at": NOW,
    }
    return Merchant(**fields | changes)


def an_api_key(merchant: Merchant, **changes: Any) -> ApiKey:
    fields: dict[str, Any] = {
        "id": new_id("hash"),
        "merchant": merchant.id,
        "livemode": False,
        "kind": "secret",
        "hint": "sk_test_…abcd",
        "created_at": NOW,
    }
    return ApiKey(**fields | changes)


def a_charge(merchant: Merchant, **changes: Any) -> Charge:
    fields: dict[str, Any] = {
        "id": new_id("ch"),
        "merchant": merchant.id,
        "livemode": False,
        "amount": 4999,
        "currency": "USD",
        "status": charges.Status.PROCESSING,
        "source": CardSummary(brand="visa", last4="4242", exp_month=12, exp_year=2030, fingerprint="f" * 32),
        "billing_address": Address(
            line1="1 Market St", city="San Francisco", state="CA", postal_code="94105", country="US"
        ),
        "description": "Order #1024",
        "metadata": {"order_id": "1024"},
        # Of the least charge, so that it is never more than the amount.
        "fee": 31,
        "idempotency_key": None,
        "created_at": NOW,
        "look_at": NOW + 5 * SECOND,
    }
    return Charge(**fields | changes)


def succeeded(charge: Charge, **changes: Any) -> Charge:
    return bump(charge, status=charges.Status.SUCCEEDED, look_at=None, **changes)


def a_refund(charge: Charge, **changes: Any) -> Refund:
    fields: dict[str, Any] = {
        "id": new_id("re"),
        "merchant": charge.merchant,
        "livemode": charge.livemode,
        "charge": charge.id,
        "amount": 1000,
        "currency": "USD",
        "status": refunds.Status.SENDING,
        "reason": "duplicate",
        "notes": None,
        "idempotency_key": None,
        "created_at": NOW,
        "look_at": NOW,
    }
    return Refund(**fields | changes)


def a_book(merchant: Merchant, *, livemode: bool = False, **changes: Any) -> Book:
    scope = Scope(merchant.id, livemode)
    fields: dict[str, Any] = {
        "id": ledger.book_id(scope),
        "merchant": scope.merchant,
        "livemode": scope.livemode,
        "fee_basis_points": 290,
        "fee_cents": 30,
    }
    return Book(**fields | changes)


def a_transfer(book: Book, kind: Kind = Kind.CHARGE, **changes: Any) -> Transfer:
    debit, credit = POSTINGS[kind]
    fields: dict[str, Any] = {
        "id": new_id("txn"),
        "merchant": book.merchant,
        "livemode": book.livemode,
        "sheet": book.sheet,
        "kind": kind,
        "source": new_id("ch"),
        "debit": debit,
        "credit": credit,
        "amount": 4999,
        "created_at": NOW,
    }
    return Transfer(**fields | changes)


def a_sheet(book: Book, number: int = 1, **changes: Any) -> Sheet:
    fields: dict[str, Any] = {
        "id": ledger.sheet_id(book.id, number),
        "merchant": book.merchant,
        "livemode": book.livemode,
        "number": number,
        "totals": {Account.PROCESSOR_RECEIVABLE: -4999, Account.PENDING: 4999},
        "transfers": 1,
        "lines": 0,
        "net": 0,
    }
    return Sheet(**fields | changes)


def a_settlement(book: Book, **changes: Any) -> Settlement:
    fields: dict[str, Any] = {
        "id": book.id,
        "merchant": book.merchant,
        "livemode": book.livemode,
        "due_at": payouts.next_midnight(NOW),
    }
    return Settlement(**fields | changes)


def a_payout(book: Book, *, after: str = payouts.FIRST_PLACE, **changes: Any) -> Payout:
    fields: dict[str, Any] = {
        "id": new_id("po"),
        "merchant": book.merchant,
        "livemode": book.livemode,
        "amount": 4824,
        "currency": "USD",
        "account": "000123456789",
        "after": after,
        "upto": payouts.place_of(a_transfer(book)),
        "lines": 2,
        "carried": 0,
        "arrives_at": NOW + timedelta(days=1),
        "created_at": NOW,
        "look_at": NOW,
    }
    return Payout(**fields | changes)


def a_dispute(charge: Charge, **changes: Any) -> Dispute:
    fields: dict[str, Any] = {
        "id": new_id("dp"),
        "merchant": charge.merchant,
        "livemode": charge.livemode,
        "charge": charge.id,
        "case": new_id("case"),
        "amount": charge.amount,
        "fee": 1500,
        "currency": "USD",
        "reason": "fraudulent",
        "evidence": Evidence(uncategorized_text="They signed for it."),
        "evidence_due_by": NOW + timedelta(days=7),
        "created_at": NOW,
    }
    return Dispute(**fields | changes)


def a_notice(**changes: Any) -> Notice:
    fields: dict[str, Any] = {
        "id": new_id("test/news"),
        "livemode": False,
        "kind": NewsKind.DISPUTE_OPENED,
        "reference": new_id("ch"),
        "dispute": new_id("case"),
        "amount": 4999,
        "code": "fraudulent",
        "evidence_due_by": NOW + timedelta(days=7),
        "happened_at": NOW,
        "created_at": NOW,
        "look_at": NOW,
    }
    return Notice(**fields | changes)


def a_key(charge: Charge, **changes: Any) -> IdempotencyKey:
    fields: dict[str, Any] = {
        "id": new_id(f"{charge.merchant}/test/key"),
        "endpoint": "POST /v1/charges",
        "fingerprint": "a" * 64,
        "state": idempotency.State.WORKING,
        "subject": charge.id,
        "first_used_at": NOW,
    }
    return IdempotencyKey(**fields | changes)


def answered(key: IdempotencyKey) -> IdempotencyKey:
    outcome = idempotency.Outcome.CREATED
    return bump(
        key,
        state=idempotency.State.ANSWERED,
        outcome=outcome,
        answer='{"object": "charge"}',
        answered_late_at=NOW + idempotency.LATE,
    )


def an_event(merchant: Merchant, **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "id": new_id("evt"),
        "merchant": merchant.id,
        "livemode": False,
        "type": "charge.succeeded",
        "body": '{"object":"event"}',
        "created_at": NOW,
    }
    return Event(**fields | changes)


def an_endpoint(merchant: Merchant, **changes: Any) -> Endpoint:
    fields: dict[str, Any] = {
        "id": new_id("we"),
        "merchant": merchant.id,
        "livemode": False,
        "url": "https://shop.example/hooks",
        "enabled_events": ("charge.succeeded", "*"),
        "description": None,
        "secret": "01234567.c2VhbGVk",
        "created_at": NOW,
    }
    return Endpoint(**fields | changes)


def some_subscriptions(endpoint: Endpoint, **changes: Any) -> Subscriptions:
    entries = (
        Subscription(endpoint=endpoint.id, events=endpoint.enabled_events),
        Subscription(endpoint="we_off", events=None),
    )
    fields: dict[str, Any] = {"id": f"{endpoint.merchant}/test", "entries": entries}
    return Subscriptions(**fields | changes)


def a_lane(endpoint: Endpoint, **changes: Any) -> Lane:
    fields: dict[str, Any] = {"id": endpoint.id}
    return Lane(**fields | changes)


def a_held_lane(endpoint: Endpoint, **changes: Any) -> Lane:
    claims = (Claim(delivery="dlv_1", since=NOW), Claim(delivery="dlv_2", since=NOW, lost=3))
    return a_lane(endpoint, **{"holder": "a", "due_at": NOW + SECOND, "sending": claims, **changes})


def a_delivery(event: Event, endpoint: Endpoint, **changes: Any) -> Delivery:
    fields: dict[str, Any] = {
        "id": new_id("dlv"),
        "merchant": event.merchant,
        "livemode": event.livemode,
        "event": event.id,
        "event_type": event.type,
        "endpoint": endpoint.id,
        "next_attempt_at": NOW,
        "expires_at": NOW + timedelta(hours=72),
        "fresh_at": NOW,
        "created_at": NOW,
    }
    return Delivery(**fields | changes)


def an_attempt(delivery: Delivery, **changes: Any) -> Attempt:
    fields: dict[str, Any] = {
        "id": f"{delivery.id}/1",
        "delivery": delivery.id,
        "number": 1,
        "started_at": NOW,
        "milliseconds": 12,
        "status": 500,
        "failure": Failure.REFUSED,
        "answer": "down",
    }
    return Attempt(**fields | changes)


def one_of_each() -> list[Record]:
    """Make one record of each kind, with something in every field that may have it, parents before children."""
    merchant = a_merchant()
    book, charge = a_book(merchant), a_charge(merchant)
    endpoint, event = an_endpoint(merchant), an_event(merchant)
    delivery = a_delivery(event, endpoint)
    return [
        merchant,
        an_api_key(merchant, expires_at=NOW, revoked_at=NOW),
        book,
        a_settlement(book),
        a_transfer(book),
        a_sheet(book),
        a_payout(book),
        charge,
        a_refund(charge),
        a_dispute(charge),
        a_key(charge),
        a_notice(),
        endpoint,
        some_subscriptions(endpoint),
        a_held_lane(endpoint),
        event,
        delivery,
        an_attempt(delivery),
    ]
