"""What holds for every response: section 1 of the contract."""

import re
from collections.abc import Callable
from datetime import datetime

import httpx
import pytest

from tests.http.world import BASE_URL, DECLINES, Client, World

REQUESTS: list[tuple[int, Callable[[Client], httpx.Response]]] = [
    (201, lambda c: c.charge()),
    (200, lambda c: c.get("/v1/charges")),
    (200, lambda c: c.get("/v1/refunds")),
    (200, lambda c: c.get("/v1/events")),
    (201, lambda c: c.register()),
    (200, lambda c: c.delete(f"/v1/webhook_endpoints/{c.registered()['id']}")),
    (400, lambda c: c.charge(amount=1)),
    (401, lambda c: c.world.client().get("/v1/charges")),
    (402, lambda c: c.charge(number=DECLINES)),
    (404, lambda c: c.get("/v1/charges/x")),
    (404, lambda c: c.get("/unknown")),
    (405, lambda c: c.send("PUT", "/v1/charges")),
    (413, lambda c: c.post("/v1/charges", content=b" " * 65_537)),
    (200, lambda c: c.get("/healthz")),
    (200, lambda c: c.get("/readyz")),
    (200, lambda c: c.get("/metrics")),
    (200, lambda c: c.get("/docs")),
    (200, lambda c: c.get("/openapi.json")),
]


@pytest.mark.parametrize(("status", "ask"), REQUESTS)
def test_every_response_has_one_request_id_of_its_own_and_is_not_stored(
    client: Client, status: int, ask: Callable[[Client], httpx.Response]
) -> None:
    first, second = ask(client), ask(client)
    assert first.status_code == status
    for answer in (first, second):
        assert re.fullmatch("req_[0-9a-f]{32}", answer.headers["request-id"])
        assert answer.headers.get_list("cache-control") == ["no-store"]
    assert first.headers["request-id"] != second.headers["request-id"]


def test_a_request_id_is_ours_whatever_the_client_sends(client: Client) -> None:
    answer = client.get("/v1/charges", headers={"Request-Id": "req_mine", "X-Request-Id": "req_mine"})
    assert "mine" not in answer.headers["request-id"]


@pytest.mark.parametrize("host", ["api.example", "localhost:8000", "[::1]:8000", "pay_1.example", ""])
def test_a_host_may_be_any(client: Client, host: str) -> None:
    assert client.get("/v1/charges", headers={"Host": host}).status_code == 200


def test_a_host_that_is_none_is_a_400(client: Client) -> None:
    for path in ("/v1/charges", "/unknown"):
        answer = client.get(path, headers={"Host": "api.example/v1"})
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_every_object_has_id_object_livemode_and_created_at(client: Client) -> None:
    endpoint, charge = client.registered(), client.charged()
    lists = ("/v1/events", "/v1/webhook_endpoints", f"/v1/webhook_endpoints/{endpoint['id']}/deliveries")
    found = [client.data(path)[0] for path in lists]
    for seen in (charge, client.refunded(charge["id"]), endpoint, *found):
        assert {"id", "object", "livemode", "created_at"} <= seen.keys()
        assert type(seen["livemode"]) is bool


def test_created_at_is_rfc_3339_in_utc_with_z_and_milliseconds(client: Client, world: World) -> None:
    world.pass_time(days=58, milliseconds=7)
    charge = client.charged()
    assert charge["created_at"] == "2026-02-28T12:00:00.007Z"
    refund = client.refunded(charge["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", refund["created_at"])
    assert datetime.fromisoformat(refund["created_at"]) == world.clock.now()
    assert client.registered()["created_at"] == "2026-02-28T12:00:00.007Z"
    assert client.data("/v1/events")[0]["created_at"] == "2026-02-28T12:00:00.007Z"


def test_a_charges_id_is_a_uuid_a_refunds_has_a_prefix_and_both_sort_by_creation_time(
    client: Client, world: World
) -> None:
    charges, refunds = [], []
    for _ in range(5):
        charges.append(client.charged()["id"])
        refunds.append(client.refunded(charges[-1])["id"])
        world.pass_time(milliseconds=1)
    for charge, refund in zip(charges, refunds, strict=True):
        # Version 7, variant 10 (RFC 9562).
        assert re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", charge)
        assert re.fullmatch("re_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", refund)
    assert charges == sorted(charges)
    assert refunds == sorted(refunds)


def test_ids_of_endpoints_events_and_deliveries_have_prefixes_and_sort_by_creation_time(
    client: Client, world: World
) -> None:
    endpoints: list[str] = []
    for _ in range(3):
        endpoints.append(client.registered()["id"])
        world.pass_time(milliseconds=1)
        client.charged()
    events = [event["id"] for event in client.data("/v1/events")][::-1]
    path = f"/v1/webhook_endpoints/{endpoints[0]}/deliveries"
    deliveries = [delivery["id"] for delivery in client.data(path)][::-1]
    for prefix, ids in {"we": endpoints, "evt": events, "dlv": deliveries}.items():
        assert len(ids) == 3
        assert ids == sorted(ids)
        for id in ids:
            assert re.fullmatch(prefix + "_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", id)


def test_money_is_integer_cents(client: Client) -> None:
    charge = client.charged(amount=4999.0)
    refund = client.refunded(charge["id"], amount=1000.0)
    for amount in (charge["amount"], charge["amount_refunded"], refund["amount"]):
        assert type(amount) is int


def test_a_created_object_is_201_and_the_rest_200(client: Client) -> None:
    made = client.charge()
    assert made.status_code == 201
    refund = client.refund(made.json()["id"])
    assert refund.status_code == 201
    paths = (f"/v1/charges/{made.json()['id']}", f"/v1/refunds/{refund.json()['id']}", "/v1/charges")
    assert [client.get(path).status_code for path in paths] == [200, 200, 200]


def test_all_answers_are_json_in_utf_8(client: Client) -> None:
    answer = client.charge(description="Ünïcödé ☃ 𝄞")
    assert answer.headers["content-type"] == "application/json"
    assert "Ünïcödé ☃ 𝄞".encode() in answer.content
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_health_and_docs_need_no_key_and_load_nothing_from_elsewhere(stranger: Client) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"):
        assert stranger.get(path).status_code == 200
    page = stranger.get("/docs")
    assets = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)
    assert len(assets) >= 2
    for asset in assets:
        assert stranger.get(str(httpx.URL(f"{BASE_URL}/docs").join(asset))).status_code == 200
        assert httpx.URL(f"{BASE_URL}/docs").join(asset).host == httpx.URL(BASE_URL).host
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert stranger.get("/docs/../pyproject.toml").status_code == 404
    assert stranger.get("/docs/%2e%2e%2fapp.py").status_code == 404


def test_metrics_count_by_route_and_never_by_path(client: Client) -> None:
    made = client.charged()["id"]
    client.get(f"/v1/charges/{made}")
    client.get("/v1/charges/canary-of-a-path")
    text = client.get("/metrics").text
    assert 'route="/v1/charges/{id}",status="200"' in text.replace("{id:str}", "{id}")
    assert made not in text
    assert "canary" not in text
