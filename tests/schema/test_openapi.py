"""The OpenAPI document is valid, complete, and true of the answers of a tour through the API."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31

from kpay_adapters import testing
from kpay_adapters.testing import CHARGE
from tests.http.world import DECLINES, LOST, REFUND_PENDING, Client

ERRORS = {"400", "401", "429", "503"}


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def schemas(part: Any) -> Iterator[dict[str, Any]]:
    """Every schema inside a schema, itself first."""
    if isinstance(part, dict):
        if "$ref" in part or "type" in part or "anyOf" in part:
            yield part
        for inner in part.values():
            yield from schemas(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from schemas(inner)


def validator(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """A validator of one schema of the document, with its references and formats."""
    rooted = {**schema, "components": document["components"]}
    return jsonschema_rs.Draft202012Validator(rooted, validate_formats=True)


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    jsonschema_rs.Draft202012Validator(OPENAPI_31).validate(document)


def test_every_schema_is_a_valid_json_schema_and_every_reference_leads_somewhere(
    document: dict[str, Any],
) -> None:
    for name, schema in document["components"]["schemas"].items():
        jsonschema_rs.meta.validate(schema)
        validator(document, {"$ref": f"#/components/schemas/{name}"})
    for part in schemas(document):
        if "$ref" in part:
            name = part["$ref"].removeprefix("#/components/schemas/")
            assert name in document["components"]["schemas"], part["$ref"]


def test_every_operation_has_a_name_security_and_all_its_errors_in_the_envelope(
    document: dict[str, Any],
) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names) >= 16
    (scheme,) = document["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for path, _, operation in operations(document):
        assert operation["summary"]
        assert operation.get("security", document["security"]) == [{"secretKey": []}]
        wanted = ERRORS | ({"408", "413"} if "requestBody" in operation else set())
        wanted |= {"404"} if "{id}" in path else set()
        assert wanted <= operation["responses"].keys()
        for status, response in operation["responses"].items():
            assert response["description"]
            assert "Request-Id" in response["headers"]
            if status >= "400":
                schema = response["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Error"}
    assert "402" in document["paths"]["/v1/charges"]["post"]["responses"]
    for path in ("/v1/charges", "/v1/refunds"):
        posting = document["paths"][path]["post"]
        assert "409" in posting["responses"]
        (header,) = (each for each in posting["parameters"] if each["in"] == "header")
        assert (header["name"], header["schema"]["maxLength"]) == ("Idempotency-Key", 255)


def test_what_is_sent_has_limits_and_closed_objects(document: dict[str, Any]) -> None:
    parts = document["components"]["schemas"]
    for name in (
        "NewCharge",
        "NewRefund",
        "Card",
        "Address",
        "NewEndpoint",
        "EndpointChanges",
        "Resend",
        "DisputeChanges",
        "Evidence",
        "Advance",
    ):
        assert parts[name]["additionalProperties"] is False
    charge = parts["NewCharge"]["properties"]
    assert (charge["amount"]["minimum"], charge["amount"]["maximum"]) == (50, 10_000_000)
    assert set(parts["NewCharge"]["required"]) == {"amount", "source", "billing_address"}
    assert set(parts["NewRefund"]["required"]) == {"charge"}
    assert parts["NewEndpoint"]["required"] == ["url"]
    assert parts["NewEndpoint"]["properties"]["url"]["maxLength"] == 2048
    for path, method, operation in operations(document):
        for parameter in operation["parameters"]:
            if parameter["name"] == "limit":
                schema = parameter["schema"]
                least, most, default = schema["minimum"], schema["maximum"], schema["default"]
                assert (least, most, default) == (1, 100, 100 if path == "/v1/webhook_endpoints" else 20)
            assert parameter["required"] == (parameter["in"] == "path"), (path, method)


def test_every_body_has_examples_that_fit_its_schema(document: dict[str, Any]) -> None:
    posting = [operation for _, _, operation in operations(document) if "requestBody" in operation]
    assert posting
    for operation in posting:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        parts = document["components"]["schemas"]
        fields = parts[schema["$ref"].rpartition("/")[2]]
        for name in fields["required"]:
            inside = list(schemas(fields["properties"][name]))
            named = [parts[part["$ref"].rpartition("/")[2]] for part in inside if "$ref" in part]
            assert named or any("examples" in part for part in inside), f"{operation['operationId']}: {name}"
    for name, part in document["components"]["schemas"].items():
        for schema in schemas(part):
            for example in schema.get("examples", ()):
                assert validator(document, schema).is_valid(example), (name, example)


def matching(document: dict[str, Any], answer: httpx.Response) -> dict[str, Any]:
    """The documented response for an answer."""
    path = answer.request.url.path
    template = next(p for p in document["paths"] if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", p), path))
    return document["paths"][template][answer.request.method.lower()]["responses"][str(answer.status_code)]


def tour(client: Client) -> Iterator[httpx.Response]:
    """One of everything that the API answers."""
    made = client.charge(key="tour")
    charge = made.json()["id"]
    yield made
    yield client.charge(key="tour")
    yield client.charge(key="tour", amount=50)
    yield client.charge(metadata={"s": "x", "i": 1, "f": 0.5, "b": True}, description=None)
    yield client.charge(number=DECLINES)
    yield client.charge(number=LOST)
    yield client.charge(amount=1, foo=2)
    yield client.refund(charge, amount=1000, reason="duplicate", notes="n", key="back")
    refund = client.refund(charge, amount=1)
    yield refund
    yield client.refund(charge, amount=10**9)
    yield client.refund("unknown")
    yield client.refund(client.charged(number=REFUND_PENDING)["id"])
    yield client.get(f"/v1/charges/{charge}")
    yield client.get("/v1/charges/unknown")
    yield client.get(f"/v1/refunds/{refund.json()['id']}")
    yield client.get("/v1/refunds/unknown")
    yield client.get("/v1/charges")
    yield client.get("/v1/charges?limit=1&status=failed")
    yield client.get("/v1/charges?limit=0")
    yield client.get("/v1/refunds")
    yield client.get(f"/v1/refunds?charge={charge}&limit=1")
    yield client.get("/v1/refunds?nonsense=1")
    yield from tour_of_money(client)
    yield from tour_of_webhooks(client)
    yield client.world.client().get("/v1/charges")
    yield client.world.client().post("/v1/refunds", {})
    yield client.post("/v1/charges", content=b" " * 70_000)


def tour_of_money(client: Client) -> Iterator[httpx.Response]:
    """One of everything that disputes, payouts, the balance and the clock answer, in each state."""
    dispute = client.disputed()["id"]
    path = f"/v1/disputes/{dispute}"
    yield client.get("/v1/disputes?limit=1")
    yield client.get(path)
    yield client.answer(dispute, "draft")
    yield client.answer(dispute, 5, submit="yes")
    yield client.answer(dispute, "losing_evidence", submit=True)
    yield client.answer(dispute, "losing_evidence", submit=True)
    yield client.get("/v1/disputes/unknown")
    yield client.post("/v1/disputes/unknown", {})
    yield client.get("/v1/balance")
    client.charged(amount=10_000_000)
    yield client.get("/v1/test_clock")
    yield client.post("/v1/test_clock", {"advance_seconds": 0})
    yield client.post("/v1/test_clock", {"advance_seconds": 259_200})
    payout = client.data("/v1/payouts")[0]["id"]
    yield client.get(f"/v1/payouts/{payout}")
    yield client.post("/v1/test_clock", {"advance_seconds": 86_400})
    yield client.get("/v1/payouts?limit=1")
    yield client.get(f"/v1/payouts/{payout}")
    yield client.get("/v1/payouts/unknown")
    yield client.get("/v1/payouts?limit=0")
    yield client.get(path)
    yield client.get("/v1/balance")
    yield client.get("/v1/events?type=dispute.closed")
    yield client.get("/v1/events?type=payout.paid")


def tour_of_webhooks(client: Client) -> Iterator[httpx.Response]:
    """One of everything that endpoints and events answer, with deliveries in each state."""
    made = client.register(description="mine", enabled_events=["*", "refund.updated"])
    yield made
    endpoint = f"/v1/webhook_endpoints/{made.json()['id']}"
    yield client.get(endpoint)
    yield client.patch(endpoint, {"url": "https://example.org/", "description": None, "status": "enabled"})
    yield client.patch(endpoint, {"status": "deleted"})
    yield client.register(url="http://localhost/", foo=1)
    client.refunded(client.charged()["id"])
    yield client.get(f"{endpoint}/deliveries")
    for receiver in (testing.accept, testing.miss, lambda post: testing.answer(post, 500, "no")):
        client.charged()
        client.world.deliver(receiver)
    yield client.get(f"{endpoint}/deliveries?limit=100")
    client.world.pass_time(days=4)
    client.world.deliver(testing.miss)
    yield client.get(f"{endpoint}/deliveries?limit=100")
    yield client.get("/v1/webhook_endpoints?limit=1")
    yield client.get("/v1/events?limit=100")
    yield client.get("/v1/events?type=charge.refunded")
    yield client.get("/v1/events?type=nonsense")
    event = f"/v1/events/{client.data('/v1/events')[0]['id']}"
    yield client.get(event)
    yield client.post(f"{event}/resend", content=b"")
    yield client.post(f"{event}/resend", {"endpoint": made.json()["id"]})
    yield client.post(f"{event}/resend", {"endpoint": "we_unknown"})
    yield client.post(f"{endpoint}/rotate_secret", content=b"")
    yield client.post(f"{endpoint}/rotate_secret", {})
    yield client.delete(endpoint)
    yield client.delete(endpoint)


def test_an_event_says_that_its_object_is_any_and_what_it_was_before_may_be_missing(
    document: dict[str, Any], client: Client
) -> None:
    data = document["components"]["schemas"]["EventData"]
    assert (data["required"], data["additionalProperties"]) == (["object"], False)
    assert data["properties"]["object"] == {"type": "object"}
    client.refunded(client.charged()["id"])
    told = [event["data"] for event in client.data("/v1/events")]
    assert {"previous_attributes" in each for each in told} == {True, False}
    event = validator(document, {"$ref": "#/components/schemas/Event"})
    assert not event.is_valid({**client.data("/v1/events")[0], "type": "charge.lost"})


def test_bodies_that_may_be_left_out_say_so(document: dict[str, Any]) -> None:
    required = {
        operation["operationId"]: operation["requestBody"]["required"]
        for _, _, operation in operations(document)
        if "requestBody" in operation
    }
    assert {name for name, needed in required.items() if not needed} == {
        "resendEvent",
        "rotateWebhookEndpointSecret",
    }


def test_every_answer_of_a_tour_is_as_the_document_says(document: dict[str, Any], client: Client) -> None:
    seen: set[int] = set()
    for answer in tour(client):
        response = matching(document, answer)
        validator(document, response["content"]["application/json"]["schema"]).validate(answer.json())
        assert "Request-Id" in response["headers"]
        if "idempotent-replayed" in answer.headers:
            assert "Idempotent-Replayed" in response["headers"]
        seen.add(answer.status_code)
    assert seen == {200, 201, 202, 400, 401, 402, 404, 413}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"amount": 49},
        {"amount": "4999"},
        {"amount": 50.0},
        {"amount": None},
        {"currency": None},
        {"currency": "EUR"},
        {"ammount": 1},
        {"description": "x" * 501},
        {"metadata": {"k": None}},
        {"metadata": {"": 1}},
        {"metadata": {"k": 1.5, "l": True, "m": "x"}},
        {"metadata": {f"k{n}": n for n in range(51)}},
        {"source": {}},
        {"billing_address": {**CHARGE["billing_address"], "state": "ZZ"}},
        {"billing_address": {**CHARGE["billing_address"], "line2": None}},
        {"billing_address": {**CHARGE["billing_address"], "postal_code": "94105-"}},
    ],
)
def test_the_schema_of_a_body_takes_what_the_service_takes(
    document: dict[str, Any], client: Client, changes: dict[str, Any]
) -> None:
    body = {**CHARGE, **changes}
    fits = validator(document, {"$ref": "#/components/schemas/NewCharge"}).is_valid(body)
    assert fits == (client.post("/v1/charges", body).status_code == 201)


def test_the_envelope_shows_no_other_error(document: dict[str, Any]) -> None:
    envelope = validator(document, {"$ref": "#/components/schemas/Error"})
    assert not envelope.is_valid({"status_code": 500, "detail": "Internal Server Error"})
    assert not envelope.is_valid({"error": {"type": "other", "message": "", "details": {}}})
