"""Records to fill a store with. Every id is new, so that tests may share a database."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from kpay_core.commit import Record, bump
from kpay_core.domain import charges, idempotency, merchants, refunds
from kpay_core.domain.cards import CardSummary
from kpay_core.domain.charges import Charge
from kpay_core.domain.idempotency import IdempotencyKey
from kpay_core.domain.keys import ApiKey
from kpay_core.domain.merchants import Merchant
from kpay_core.domain.places import Address
from kpay_core.domain.refunds import Refund

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
    return bump(key, state=idempotency.State.ANSWERED, outcome=outcome, answer='{"object": "charge"}')
