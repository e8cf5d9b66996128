"""Charges over HTTP: the public document, and section 5 of the contract."""

import re
from typing import Any

import pytest

from tests.http import curl
from tests.http.world import DECLINES, DOWN, LOST, Client, Merchant, World, charge, error_of, field_errors

EXAMPLE = """\
curl https://api.k-payments.com/v1/charges \\
  -H "Authorization: Bearer sk_test_..." \\
  -H "Content-Type: application/json" \\
  -H "Idempotency-Key: 8f4c2e1a-..." \\
  -d '{
    "amount": 4999,
    "currency": "USD",
    "source": {
      "number": "4242424242424242",
      "exp_month": 12,
      "exp_year": 2030,
      "cvc": "123"
    },
    "billing_address": {
      "line1": "1 Market St",
      "city": "San Francisco",
      "state": "CA",
      "postal_code": "94105",
      "country": "US"
    },
    "description": "Order #1024",
    "metadata": { "order_id": "1024" }
  }'
"""

EXAMPLE_GET = """\
curl https://api.k-payments.com/v1/charges/c8b3e1a4-... \\
  -H "Authorization: Bearer sk_test_..."
"""

UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def test_the_example_of_the_public_document_works_as_printed(client: Client, acme: Merchant) -> None:
    answer = curl.send(client, EXAMPLE, key=acme.test)
    assert answer.status_code == 201
    made = answer.json()
    assert UUID.fullmatch(made.pop("id"))
    assert re.fullmatch("[0-9a-f]{64}", made["source"].pop("fingerprint"))
    assert made == {
        "object": "charge",
        "amount": 4999,
        "amount_refunded": 0,
        "currency": "USD",
        "status": "succeeded",
        "refunded": False,
        "disputed": False,
        "livemode": False,
        "description": "Order #1024",
        "metadata": {"order_id": "1024"},
        "source": {"object": "card", "brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2030},
        "billing_address": {
            "line1": "1 Market St",
            "line2": None,
            "city": "San Francisco",
            "state": "CA",
            "postal_code": "94105",
            "country": "US",
        },
        "failure_code": None,
        "failure_message": None,
        "created_at": "2026-01-01T12:00:00.000Z",
    }


def test_a_charge_is_fetched_by_its_id_with_the_refunds_applied_to_it(client: Client, acme: Merchant) -> None:
    made = client.charged()
    first, second = client.refunded(made["id"], amount=1000), client.refunded(made["id"], amount=500)
    answer = curl.send(client, EXAMPLE_GET, key=acme.test, charge_id=made["id"])
    assert answer.status_code == 200
    assert answer.json() == {**made, "amount_refunded": 1500, "refunds": [second, first]}


def test_a_charge_without_refunds_has_an_empty_array_of_them(client: Client) -> None:
    made = client.charged()
    assert client.get(f"/v1/charges/{made['id']}").json() == {**made, "refunds": []}


def test_a_charge_in_live_mode_says_so(live: Client) -> None:
    assert live.charged()["livemode"] is True


def test_only_amount_source_and_billing_address_are_required(client: Client) -> None:
    made = client.charged(currency=..., description=..., metadata=...)
    assert (made["currency"], made["description"], made["metadata"]) == ("USD", None, {})
    assert field_errors(client.post("/v1/charges", {})) == {
        "amount": ["required"],
        "source": ["required"],
        "billing_address": ["required"],
    }


def test_null_means_the_same_as_leaving_a_field_out(client: Client) -> None:
    nulls = client.charged(
        currency=None, description=None, metadata=None, billing_address={"line2": None}, key="k"
    )
    left_out = client.charged(currency=..., description=..., metadata=..., billing_address={"line2": ...})
    assert {**nulls, "id": ""} == {**left_out, "id": ""}
    assert field_errors(client.charge(amount=None)) == {"amount": ["required"]}


@pytest.mark.parametrize("amount", [50, 4999, 50.0, 10_000_000])
def test_amounts_from_50_to_10_000_000_are_taken(client: Client, amount: float) -> None:
    made = client.charged(amount=amount)
    assert (made["amount"], type(made["amount"])) == (amount, int)


@pytest.mark.parametrize(
    ("amount", "message"),
    [
        (49, "min 50"),
        (0, "min 50"),
        (-4999, "min 50"),
        (10_000_001, "max 10000000"),
        (10**300, "max 10000000"),
        ("4999", "must be an integer"),
        (50.5, "must be an integer"),
        (True, "must be an integer"),
        ([4999], "must be an integer"),
        ({}, "must be an integer"),
    ],
)
def test_any_other_amount_is_refused(client: Client, amount: Any, message: str) -> None:
    assert field_errors(client.charge(amount=amount)) == {"amount": [message]}
    assert client.get("/v1/charges").json()["data"] == []


NUMBER = ["12 to 19 digits"]


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"currency": "EUR"}, {"currency": ["one of: USD"]}),
        ({"currency": "usd"}, {"currency": ["one of: USD"]}),
        ({"source": {"number": "4242424242424241"}}, {"source.number": ["not a card number"]}),
        ({"source": {"number": "42424242424"}}, {"source.number": NUMBER}),
        ({"source": {"number": "42424242424242424242"}}, {"source.number": NUMBER}),
        ({"source": {"number": "4242 4242 4242 4242"}}, {"source.number": NUMBER}),
        ({"source": {"number": "٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢"}}, {"source.number": NUMBER}),
        ({"source": {"number": 4242424242424242}}, {"source.number": ["must be a string"]}),
        ({"source": {"exp_month": 0}}, {"source.exp_month": ["min 1"]}),
        ({"source": {"exp_month": 13}}, {"source.exp_month": ["max 12"]}),
        ({"source": {"exp_month": "12"}}, {"source.exp_month": ["must be an integer"]}),
        ({"source": {"exp_year": 30}}, {"source.exp_year": ["four digits"]}),
        ({"source": {"exp_year": 20300}}, {"source.exp_year": ["four digits"]}),
        ({"source": {"exp_year": 2025}}, {"source.exp_year": ["expired"]}),
        ({"source": {"cvc": "12"}}, {"source.cvc": ["3 digits, 4 for amex"]}),
        ({"source": {"cvc": "1234"}}, {"source.cvc": ["3 digits"]}),
        ({"source": {"cvc": 123}}, {"source.cvc": ["must be a string"]}),
        ({"source": {"number": "378282246310005"}}, {"source.cvc": ["4 digits"]}),
        ({"source": {"name": "Jane"}}, {"source.name": ["unknown field"]}),
        ({"source": "4242424242424242"}, {"source": ["must be an object"]}),
        ({"source": {"cvc": ...}}, {"source.cvc": ["required"]}),
        ({"billing_address": {"state": "ZZ"}}, {"billing_address.state": ["unknown US state"]}),
        ({"billing_address": {"state": "ca"}}, {"billing_address.state": ["unknown US state"]}),
        ({"billing_address": {"postal_code": "9410"}}, {"billing_address.postal_code": ["ZIP or ZIP+4"]}),
        ({"billing_address": {"postal_code": "94105\n"}}, {"billing_address.postal_code": ["ZIP or ZIP+4"]}),
        ({"billing_address": {"country": "CA"}}, {"billing_address.country": ["one of: US"]}),
        ({"billing_address": {"line1": ""}}, {"billing_address.line1": ["at least 1 characters"]}),
        ({"billing_address": {"city": "x" * 201}}, {"billing_address.city": ["at most 200 characters"]}),
        ({"description": "x" * 501}, {"description": ["at most 500 characters"]}),
        ({"metadata": {f"k{n}": n for n in range(51)}}, {"metadata": ["at most 50 keys"]}),
        ({"metadata": {"": 1}}, {"metadata.": ["keys have 1 to 40 characters"]}),
        ({"metadata": {"k" * 41: 1}}, {f"metadata.{'k' * 41}": ["keys have 1 to 40 characters"]}),
        ({"metadata": {"k": "x" * 501}}, {"metadata.k": ["strings have at most 500 characters"]}),
        ({"metadata": {"k": None}}, {"metadata.k": ["values are strings, numbers or booleans"]}),
        ({"metadata": {"k": {"deep": 1}}}, {"metadata.k": ["values are strings, numbers or booleans"]}),
        ({"metadata": "order"}, {"metadata": ["must be an object"]}),
        ({"ammount": 4999}, {"ammount": ["unknown field"]}),
    ],
)
def test_what_is_wrong_is_a_400_on_its_field_and_no_charge_exists(
    client: Client, changes: dict[str, Any], errors: dict[str, list[str]]
) -> None:
    assert field_errors(client.charge(**changes)) == errors
    assert client.get("/v1/charges").json()["data"] == []


def test_all_offending_fields_are_named_at_once_with_dotted_paths(client: Client) -> None:
    answer = client.charge(
        amount=49,
        currency="EUR",
        source={"exp_month": 13},
        billing_address={"state": "XX"},
        foo=1,
    )
    assert field_errors(answer) == {
        "amount": ["min 50"],
        "currency": ["one of: USD"],
        "source.exp_month": ["max 12"],
        "billing_address.state": ["unknown US state"],
        "foo": ["unknown field"],
    }
    assert answer.json()["error"]["message"] == "Validation failed."


def test_a_card_is_good_to_the_end_of_its_month(client: Client, world: World) -> None:
    world.pass_time(days=30, hours=11, minutes=59, seconds=59)
    january = {"exp_month": 1, "exp_year": 2026}
    assert client.charge(source=january).status_code == 201
    world.pass_time(seconds=1)
    assert field_errors(client.charge(source=january)) == {"source.exp_month": ["expired"]}


@pytest.mark.parametrize("state", ["CA", "DC", "PR", "GU", "AE", "AP"])
@pytest.mark.parametrize("zip_code", ["94105", "94105-1234"])
def test_states_districts_territories_and_the_military_have_addresses(
    client: Client, state: str, zip_code: str
) -> None:
    address = client.charged(billing_address={"state": state, "postal_code": zip_code})["billing_address"]
    assert (address["state"], address["postal_code"]) == (state, zip_code)


@pytest.mark.parametrize(
    ("number", "brand"),
    [
        ("4242424242424242", "visa"),
        ("5555555555554444", "mastercard"),
        ("2223003122003222", "mastercard"),
        ("378282246310005", "amex"),
        ("6011111111111117", "discover"),
        ("3056930009020004", "diners"),
        ("3566002020360505", "jcb"),
        ("6200000000000005", "unionpay"),
        ("9999999999999995", "unknown"),
    ],
)
def test_the_source_of_a_charge_tells_brand_and_last4(client: Client, number: str, brand: str) -> None:
    source = client.charged(number=number, source={"cvc": "1234" if brand == "amex" else "123"})["source"]
    assert (source["object"], source["brand"], source["last4"]) == ("card", brand, number[-4:])


def test_a_fingerprint_is_the_same_for_the_same_card_within_one_merchant(
    client: Client, other: Client
) -> None:
    def fingerprint(of: Client, **changes: Any) -> str:
        return of.charged(**changes)["source"]["fingerprint"]

    assert fingerprint(client) == fingerprint(client, source={"exp_year": 2031, "cvc": "999"})
    assert fingerprint(client) != fingerprint(client, number="5555555555554444")
    assert fingerprint(client) != fingerprint(other)


@pytest.mark.parametrize(
    "metadata",
    [
        {"s": "", "t": "x" * 500, "k" * 40: "é☃𝄞"},
        {"zero": 0, "one": 1, "minus": -1, "huge": 10**300, "long": 9007199254740993},
        {"one": 1.0, "tenth": 0.1, "big": 1e22, "small": 5e-324, "negative zero": -0.0},
        {"yes": True, "no": False, "text": "true"},
        {f"key{n}": n for n in range(50)},
        {},
    ],
)
def test_metadata_comes_back_with_the_same_values_and_types(client: Client, metadata: dict[str, Any]) -> None:
    made = client.charged(metadata=metadata)
    for seen in (made, client.get(f"/v1/charges/{made['id']}").json()):
        assert repr(seen["metadata"]) == repr(metadata)


def test_a_description_of_500_characters_comes_back(client: Client) -> None:
    assert client.charged(description="𝄞" * 500)["description"] == "𝄞" * 500


@pytest.mark.parametrize(
    ("number", "decline_code", "message"),
    [
        ("4000000000000002", "generic_decline", "The card was declined."),
        ("4000000000009995", "insufficient_funds", "The card has insufficient funds."),
        ("4000000000009987", "lost_card", "The card was declined."),
        ("4000000000009979", "stolen_card", "The card was declined."),
        ("4000000000000069", "expired_card", "The card has expired."),
        ("4000000000000127", "incorrect_cvc", "The card's security code is incorrect."),
        ("4000000000000119", "processing_error", "An error occurred while processing the card."),
    ],
)
def test_a_decline_is_a_failed_charge_and_a_402(
    client: Client, number: str, decline_code: str, message: str
) -> None:
    error = error_of(client.charge(number=number), 402, "card_error")
    (failed,) = client.get("/v1/charges").json()["data"]
    assert error["message"] == message
    assert error["details"] == {
        "code": "card_declined",
        "decline_code": decline_code,
        "charge": failed["id"],
    }
    assert failed["status"] == "failed"
    assert (failed["failure_code"], failed["failure_message"]) == (decline_code, message)
    assert client.get(f"/v1/charges/{failed['id']}").json() == {**failed, "refunds": []}


def test_a_charge_whose_answer_is_lost_is_202_processing_and_then_what_the_network_says(
    client: Client, world: World
) -> None:
    answer = client.charge(number=LOST)
    assert (answer.status_code, answer.json()["status"]) == (202, "processing")
    path = f"/v1/charges/{answer.json()['id']}"
    assert client.get(path).json()["status"] == "processing"
    world.pass_time(seconds=20)
    world.sweep()
    assert client.get(path).json()["status"] == "succeeded"


def test_a_charge_that_never_reached_the_network_is_undone_but_never_failed_on_a_guess(
    client: Client, world: World
) -> None:
    path = f"/v1/charges/{client.charge(number=DOWN).json()['id']}"
    for _ in range(119):
        world.pass_time(seconds=1)
        world.sweep()
        assert client.get(path).json()["status"] == "processing"
    world.pass_time(minutes=10)
    world.sweep()
    undone = client.get(path).json()
    assert (undone["status"], undone["failure_code"]) == ("failed", "not_processed")


def test_without_a_key_every_request_is_a_charge_of_its_own(client: Client) -> None:
    assert client.charged()["id"] != client.charged()["id"]


def test_without_a_live_processor_a_live_charge_is_503_and_says_so() -> None:
    with World(live=False) as world:
        merchant = world.merchant()
        answer = world.client(merchant.live).charge(key="k")
        error = error_of(answer, 503, "internal_error")
        assert error["message"] == "No processor is configured for live mode."
        assert error["details"] == {"code": "no_processor"}
        # What is wrong is said first, as it is where there is one.
        assert field_errors(world.client(merchant.live).charge(amount=1)) == {"amount": ["min 50"]}
        assert world.client(merchant.live).get("/v1/charges").json()["data"] == []
        assert world.client(merchant.test).charge(key="k").status_code == 201


def test_a_decline_leaves_the_sender_free_to_charge_another_card(client: Client) -> None:
    assert client.post("/v1/charges", charge(number=DECLINES)).status_code == 402
    assert client.post("/v1/charges", charge()).status_code == 201
