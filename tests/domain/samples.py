"""Records and requests to decide about."""

from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from kpay_adapters.testing import CHARGE
from kpay_core import Scope
from kpay_core.domain import charges, refunds
from kpay_core.domain.charges import Charge
from kpay_core.domain.refunds import NewRefund, Refund

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
SCOPE = Scope("mer_1", livemode=False)


def an_open_charge() -> Charge:
    """Make a charge of 49.99 that the network has not been asked about."""
    new = charges.read_new_charge(CHARGE, now=NOW)
    return charges.open_charge(
        new, id="ch_1", scope=SCOPE, fingerprint="f", fee=175, idempotency_key=None, now=NOW
    )


def a_charge(status: charges.Status = charges.Status.SUCCEEDED, **changes: Any) -> Charge:
    """Make a charge of 49.99, with what else is true of one in that status."""
    settled = status in (charges.Status.SUCCEEDED, charges.Status.FAILED)
    failed = status is charges.Status.FAILED
    facts: dict[str, Any] = {
        "status": status,
        "look_at": None if settled else NOW,
        "failure_code": "generic_decline" if failed else None,
        "failure_message": "The card was declined." if failed else None,
    }
    return replace(an_open_charge(), **{**facts, **changes})


def a_refund(
    status: refunds.Status = refunds.Status.SENDING, *, amount: int = 1000, **changes: Any
) -> tuple[Refund, Charge]:
    """Make a refund, and the charge that holds its amount, or has counted it."""
    new = NewRefund(charge="ch_1", amount=amount)
    refund, charge = refunds.open_refund(new, a_charge(), id="re_1", idempotency_key=None, now=NOW)
    if status is refunds.Status.SUCCEEDED:
        charge = charges.finish_refund(charge, amount, succeeded=True)
    return replace(refund, status=status, **changes), charge
