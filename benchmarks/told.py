"""What goes with the charges and payouts that an audit reads: keys and their answers, events and their deliveries."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from benchmarks.databases import digits
from benchmarks.rows import CHARGE_ID, THEN, insert, numbers, values
from kpay_core import Scope
from kpay_core.domain import charges, happenings
from kpay_core.domain.answers import answer_charge
from kpay_core.domain.charges import Charge
from kpay_core.domain.events import Origin
from kpay_core.domain.examples import CHARGE
from kpay_core.domain.happenings import Happening
from kpay_core.domain.payouts import Payout, Status
from kpay_core.domain.processing import Outcome, Verdict

NOW = datetime.fromisoformat(THEN)

# Stand for the names of an event and of its object in a text that is made once for all.
EVENT, OBJECT = "@event@", "@object@"

PAYOUT_ID = f"'po_' || {digits('i')}"
ENDPOINT = "'we_1'"


def key_id(merchant: str) -> str:
    """Write SQL for the name of a charge's key."""
    return f"'{merchant}/test/order-' || {digits('i')}"


def write(
    merchant: str, *, charges: int, of_charge: int, payouts: int, of_payout: int, fee: int
) -> Iterator[str]:
    """
    Write the keys of so many charges, an endpoint, and the events of charges and payouts, which arrived there.

    Each charge and each payout is of so many cents.
    """
    scope = Scope(merchant, livemode=False)
    charge = a_charge(scope, amount=of_charge, fee=fee)
    key = {
        "id": key_id(merchant),
        "version": 2,
        "endpoint": "'POST /v1/charges'",
        "fingerprint": f"'{'f' * 64}'",
        "state": "'answered'",
        "subject": CHARGE_ID,
        "outcome": "'created'",
        "answer": filled_in(answer_charge(charge).body, {OBJECT: CHARGE_ID}),
        "first_used_at": f"'{THEN}'",
    }
    yield insert("idempotency_keys", key, numbers(charges))
    yield from endpoint(scope)
    yield from told(scope, happenings.of_charge(charge), prefix="c", object=CHARGE_ID, count=charges)
    for status in (Status.PENDING, Status.PAID) if payouts else ():
        payout = a_payout(scope, amount=of_payout, status=status)
        yield from told(scope, happenings.of_payout(payout), prefix=status, object=PAYOUT_ID, count=payouts)


def a_charge(scope: Scope, *, amount: int, fee: int) -> Charge:
    """Make a charge that succeeded."""
    new = charges.read_new_charge({**CHARGE, "amount": amount}, now=NOW)
    opened = charges.open_charge(
        new, id=OBJECT, scope=scope, fingerprint="f" * 32, fee=fee, idempotency_key=None, now=NOW
    )
    return charges.settle(opened, Verdict(Outcome.CAPTURED))


def a_payout(scope: Scope, *, amount: int, status: Status) -> Payout:
    """Make a payout."""
    return Payout(
        id=OBJECT,
        merchant=scope.merchant,
        livemode=scope.livemode,
        amount=amount,
        currency="USD",
        status=status,
        account="000123456789",
        after="",
        upto="1",
        lines=1,
        carried=0,
        arrives_at=NOW,
        created_at=NOW,
        look_at=None,
    )


def filled_in(text: str, names: Mapping[str, str]) -> str:
    """Write SQL for a text in which the placeholders of names are replaced by SQL."""
    sql = "'" + text.replace("'", "''") + "'"
    for placeholder, name in names.items():
        sql = sql.replace(placeholder, f"' || {name} || '")
    return sql


def endpoint(scope: Scope) -> Iterator[str]:
    """Write an endpoint and its lane, on which nothing waits."""
    columns = {
        "id": ENDPOINT,
        "version": 1,
        "merchant": f"'{scope.merchant}'",
        "livemode": "false",
        "url": "'https://shop.example/hooks'",
        "enabled_events": "'[\"*\"]'",
        "status": "'enabled'",
        "secret": "'sealed'",
        "retired": "'[]'",
        "created_at": f"'{THEN}'",
    }
    yield values("webhook_endpoints", columns)
    yield values("webhook_lanes", {"id": ENDPOINT, "version": 1, "sending": "'[]'"})


def told(
    scope: Scope, happening: tuple[Happening, ...], *, prefix: str, object: str, count: int
) -> Iterator[str]:
    """Write what happened to so many objects as events, each with a delivery that arrived at once."""
    (each,) = happening
    written = happenings.write_down(each, id=EVENT, scope=scope, origin=Origin(request_id="req_1"), now=NOW)
    name = f"'_{prefix}' || {digits('i')}"
    event, delivery = f"'evt' || {name}", f"'dlv' || {name}"
    common: dict[str, Any] = {"merchant": f"'{scope.merchant}'", "livemode": "false"}
    body = filled_in(written.body, {EVENT: event, OBJECT: object})
    at = f"'{THEN}'"
    columns = {"id": event, **common, "type": f"'{each.type}'", "body": body, "created_at": at}
    yield insert("events", columns, numbers(count))
    columns = {
        "id": delivery,
        "version": 2,
        **common,
        "event": event,
        "event_type": f"'{each.type}'",
        "endpoint": ENDPOINT,
        "status": "'succeeded'",
        "attempts": 1,
        "expires_at": at,
        "created_at": at,
    }
    yield insert("webhook_deliveries", columns, numbers(count))
    columns = {
        "id": f"{delivery} || '/1'",
        "delivery": delivery,
        "number": 1,
        "started_at": at,
        "milliseconds": 30,
        "status": 200,
        "answer": "'ok'",
    }
    yield insert("webhook_attempts", columns, numbers(count))
