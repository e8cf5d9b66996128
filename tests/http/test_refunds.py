"""Refunds over HTTP: the public document, and section 6 of the contract."""

import re
from typing import Any

import pytest

from kpay_adapters.memory import MemoryStore
from tests.http import curl
from tests.http.world import (
    DECLINES,
    LOST,
    REFUND_PENDING,
    Client,
    Merchant,
    World,
    error_of,
    field_errors,
)

EXAMPLE = """\
curl https://api.k-payments.com/v1/refunds \\
  -H "Authorization: Bearer sk_test_..." \\
  -H "Content-Type: application/json" \\
  -d '{ "charge": "c8b3e1a4-...", "amount": 1000, "reason": "requested_by_customer" }'
"""

EXAMPLE_LIST = """\
curl "https://api.k-payments.com/v1/refunds?limit=20" \\
  -H "Authorization: Bearer sk_test_..."
"""

EXAMPLE_GET = """\
curl https://api.k-payments.com/v1/refunds/re_9f... \\
  -H "Authorization: Bearer sk_test_..."
"""


def test_the_examples_of_the_public_document_work_as_printed(client: Client, acme: Merchant) -> None:
    paid = client.charged()["id"]
    answer = curl.send(client, EXAMPLE, key=acme.test, charge_id=paid)
    assert answer.status_code == 201
    made = answer.json()
    assert re.fullmatch("re_[0-9a-f]{32}", made["id"])
    assert made == {
        "id": made["id"],
        "object": "refund",
        "charge": paid,
        "amount": 1000,
        "currency": "USD",
        "status": "succeeded",
        "reason": "requested_by_customer",
        "notes": None,
        "failure_code": None,
        "livemode": False,
        "created_at": "2026-01-01T12:00:00.000Z",
    }
    assert curl.send(client, EXAMPLE_GET, key=acme.test, refund_id=made["id"]).json() == made
    listed = curl.send(client, EXAMPLE_LIST, key=acme.test).json()
    assert listed == {"object": "list", "url": "/v1/refunds", "data": [made], "has_more": False}


def test_the_amount_defaults_to_what_remains(client: Client) -> None:
    paid = client.charged()["id"]
    client.refunded(paid, amount=1000)
    assert client.refunded(paid)["amount"] == 3999
    charge = client.get(f"/v1/charges/{paid}").json()
    assert (charge["amount_refunded"], charge["refunded"]) == (4999, True)


def test_a_charge_refunded_in_part_is_not_refunded(client: Client) -> None:
    paid = client.charged()["id"]
    client.refunded(paid, amount=4998)
    charge = client.get(f"/v1/charges/{paid}").json()
    assert (charge["amount_refunded"], charge["refunded"]) == (4998, False)


def test_refunding_more_than_what_remains_is_a_400_that_names_it(client: Client) -> None:
    paid = client.charged()["id"]
    client.refunded(paid, amount=1000)
    assert field_errors(client.refund(paid, amount=4000)) == {"amount": ["max 3999"]}
    assert client.refunded(paid, amount=3999)["amount"] == 3999


@pytest.mark.parametrize("fields", [{}, {"amount": 1}])
def test_nothing_is_left_of_a_charge_that_is_refunded_in_full(client: Client, fields: dict[str, Any]) -> None:
    paid = client.charged()["id"]
    client.refunded(paid)
    answer = client.refund(paid, **fields)
    assert field_errors(answer) == {"amount" if fields else "charge": ["nothing left to refund"]}
    assert answer.json()["error"]["details"]["code"] == "charge_already_refunded"


@pytest.mark.parametrize("number", [DECLINES, LOST])
def test_only_a_succeeded_charge_is_refundable(client: Client, number: str) -> None:
    client.charge(number=number)
    (charge,) = client.get("/v1/charges").json()["data"]
    answer = client.refund(charge["id"])
    assert field_errors(answer) == {"charge": ["not a succeeded charge"]}
    assert answer.json()["error"]["details"]["code"] == "charge_not_refundable"


@pytest.mark.parametrize(
    "unknown",
    [
        "01941f29-7c00-7000-8000-000000000001",
        "nonsense",
        "",
        "re_01941f297c0070008000000000000001",
        "é",
        "x" * 999,
    ],
)
def test_refunding_an_unknown_charge_is_404(client: Client, unknown: str) -> None:
    error_of(client.refund(unknown), 404, "not_found")


def test_refunding_another_merchants_charge_or_the_other_modes_is_the_same_404(
    client: Client, live: Client, other: Client
) -> None:
    paid = client.charged()["id"]
    unknown = client.refund("01941f29-7c00-7000-8000-000000000001")
    assert other.refund(paid).content == live.refund(paid).content == unknown.content
    assert client.get(f"/v1/charges/{paid}").json()["amount_refunded"] == 0


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"amount": 0}, {"amount": ["min 1"]}),
        ({"amount": -1}, {"amount": ["min 1"]}),
        ({"amount": "1000"}, {"amount": ["must be an integer"]}),
        ({"amount": True}, {"amount": ["must be an integer"]}),
        ({"amount": 1.5}, {"amount": ["must be an integer"]}),
        ({"reason": "bored"}, {"reason": ["one of: duplicate, fraudulent, other, requested_by_customer"]}),
        ({"notes": "x" * 1001}, {"notes": ["at most 1000 characters"]}),
        ({"notes": 7}, {"notes": ["must be a string"]}),
        ({"charge": 7}, {"charge": ["must be a string"]}),
        ({"charge": None}, {"charge": ["required"]}),
        ({"currency": "USD"}, {"currency": ["unknown field"]}),
    ],
)
def test_what_is_wrong_is_a_400_on_its_field_and_nothing_is_refunded(
    client: Client, fields: dict[str, Any], errors: dict[str, list[str]]
) -> None:
    paid = client.charged()["id"]
    assert field_errors(client.post("/v1/refunds", {"charge": paid, **fields})) == errors
    assert client.get(f"/v1/charges/{paid}").json()["amount_refunded"] == 0


@pytest.mark.parametrize("reason", ["requested_by_customer", "duplicate", "fraudulent", "other", None])
def test_reason_and_notes_come_back(client: Client, reason: str | None) -> None:
    made = client.refunded(client.charged()["id"], reason=reason, notes="𝄞" * 1000)
    assert (made["reason"], made["notes"]) == (reason, "𝄞" * 1000)


def test_one_cent_can_be_refunded(client: Client) -> None:
    assert client.refunded(client.charged()["id"], amount=1)["amount"] == 1


def test_a_pending_refund_counts_against_the_charge_and_then_succeeds(client: Client, world: World) -> None:
    paid = client.charged(number=REFUND_PENDING)["id"]
    pending = client.refunded(paid, amount=4000)
    assert pending["status"] == "pending"
    assert client.get(f"/v1/charges/{paid}").json()["amount_refunded"] == 0
    assert field_errors(client.refund(paid, amount=1000)) == {"amount": ["max 999"]}
    world.pass_time(minutes=10)
    world.sweep()
    assert client.get(f"/v1/refunds/{pending['id']}").json() == {**pending, "status": "succeeded"}
    assert client.get(f"/v1/charges/{paid}").json()["amount_refunded"] == 4000


def test_without_a_live_processor_a_refund_is_503_after_whatever_is_wrong_with_it() -> None:
    store = MemoryStore()
    with World(store=store) as before:
        key = before.merchant().live
        paid = before.client(key).charged()["id"]
    with World(store=store, live=False) as world:
        client = world.client(key)
        assert field_errors(client.refund(paid, amount=0, key="k")) == {"amount": ["min 1"]}
        assert field_errors(client.refund(paid, amount=5000, key="k")) == {"amount": ["max 4999"]}
        error_of(client.refund("01941f29-7c00-7000-8000-000000000001", key="k"), 404, "not_found")
        error = error_of(client.refund(paid, key="k"), 503, "internal_error")
        assert error["details"] == {"code": "no_processor"}
        assert client.get("/v1/refunds").json()["data"] == []
        assert client.get(f"/v1/charges/{paid}").json()["amount_refunded"] == 0
    with World(store=store, seed=1) as after:
        assert after.client(key).refunded(paid, key="k")["amount"] == 4999


def test_a_refund_in_live_mode_says_so(live: Client) -> None:
    assert live.refunded(live.charged()["id"])["livemode"] is True
