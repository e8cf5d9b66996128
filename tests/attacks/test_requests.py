"""Requests that nobody honest sends, through the ASGI application: always 4xx in the envelope, never a 500."""

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kpay_adapters.testing import CHARGE
from tests.attacks.memory import MIB
from tests.attacks.target import Attack, send
from tests.http.world import Client, World, field_errors

# One world for all examples: what they leave behind is part of the hostility.
MANY = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])

JSON = [(b"content-type", b"application/json")]


@pytest.fixture(scope="module")
def victim() -> Iterator[Client]:
    with World() as world:
        yield world.client(world.merchant().test)


@pytest.fixture(scope="module")
def held(victim: Client) -> dict[str, str]:
    """Ids of what the victim has."""
    endpoint = victim.registered()["id"]
    victim.charged()
    return {"endpoint": endpoint, "event": victim.data("/v1/events")[0]["id"]}


def ask(
    client: Client,
    method: str,
    path: str,
    *,
    query: bytes = b"",
    headers: list[tuple[bytes, bytes]] | None = None,
    body: bytes = b"",
    with_key: bool = True,
) -> httpx.Response:
    """Send what no client library lets through, with the client's key or without."""
    attack = Attack(
        operation="", method=method, path=path, query=query, headers=tuple(headers or ()), body=body
    )
    key = client.headers["Authorization"].encode()
    given = ((b"authorization", key), *attack.headers) if with_key else attack.headers
    heard = client.world.run(send(client.world.app, replace(attack, headers=given), key=None))
    return heard.response()


def is_told_off(answer: httpx.Response) -> bool:
    """A 4xx in the one envelope, with everything that every response has."""
    error = answer.json()["error"]
    assert set(error) == {"type", "message", "details"}
    assert answer.headers["request-id"].startswith("req_")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"
    return 400 <= answer.status_code < 500


def is_fine(answer: httpx.Response) -> bool:
    return answer.status_code in (200, 201, 402) or is_told_off(answer)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["4242424242424242", "USD", "CA", "94105", "US", "", "\x00", "\ud7ff", "𝄞" * 200])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [*CHARGE, "charge", "reason", "notes", "ammount", "url", "enabled_events", "status", "endpoint"]


@MANY
@given(
    asked=st.sampled_from(
        [
            ("POST", "/v1/charges"),
            ("POST", "/v1/refunds"),
            ("POST", "/v1/webhook_endpoints"),
            ("PATCH", "/v1/webhook_endpoints/{endpoint}"),
            ("POST", "/v1/webhook_endpoints/{endpoint}/rotate_secret"),
            ("DELETE", "/v1/webhook_endpoints/x"),
            ("POST", "/v1/events/{event}/resend"),
        ]
    ),
    body=st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), VALUES, max_size=6),
)
def test_any_json_object_is_answered(
    victim: Client, held: dict[str, str], asked: tuple[str, str], body: dict[str, Any]
) -> None:
    method, path = asked
    assert is_fine(ask(victim, method, path.format(**held), headers=JSON, body=json.dumps(body).encode()))


@MANY
@given(url=st.text(max_size=100) | st.builds("https://{}".format, st.text(max_size=100)))
@example(url="https://" + "a." * 1000)
@example(url="https://[" + ":" * 2000)
@example(url="https://0x7f.1/")
@example(url="https://example.com:" + "9" * 2000)
@example(url="https://exämple.com/")
def test_any_url_is_answered(victim: Client, url: str) -> None:
    assert is_fine(ask(victim, "POST", "/v1/webhook_endpoints", headers=JSON, body=to_json({"url": url})))


@MANY
@given(events=st.lists(SCALARS | st.sampled_from(["*", "charge.failed"]), max_size=60) | VALUES)
def test_any_events_are_answered(victim: Client, held: dict[str, str], events: Any) -> None:
    path = f"/v1/webhook_endpoints/{held['endpoint']}"
    assert is_fine(ask(victim, "PATCH", path, headers=JSON, body=to_json({"enabled_events": events})))


def to_json(value: Any) -> bytes:
    return json.dumps(value).encode()


@MANY
@given(data=st.data())
def test_a_valid_charge_with_one_thing_changed_is_answered(victim: Client, data: st.DataObject) -> None:
    body = json.loads(json.dumps(CHARGE))
    part = data.draw(st.sampled_from([body, body["source"], body["billing_address"], body["metadata"]]))
    part[data.draw(st.sampled_from(sorted(part)) | st.text(max_size=41))] = data.draw(VALUES)
    assert is_fine(ask(victim, "POST", "/v1/charges", headers=JSON, body=json.dumps(body).encode()))


@MANY
@given(body=st.binary(max_size=200))
@example(b"\xff\xfe{}")
@example(b'{"a":' + b"[" * 30_000)
@example(b'{"a":"\\ud800"}')
@example(b"9" * 60_000)
@example(b'{"amount":' + b"9" * 60_000 + b"}")
def test_any_bytes_for_a_body_are_a_4xx(victim: Client, body: bytes) -> None:
    assert is_told_off(ask(victim, "POST", "/v1/charges", headers=JSON, body=body))


@MANY
@given(
    path=st.sampled_from(["/v1/charges", "/v1/refunds", "/v1/events", "/v1/webhook_endpoints"]),
    query=st.binary(max_size=60)
    | st.builds(
        lambda name, value: f"{name}={value}".encode(),
        st.sampled_from(
            [
                "limit",
                "starting_after",
                "ending_before",
                "status",
                "charge",
                "type",
                "created_at[gt]",
                "created_at[lte]",
            ]
        ),
        st.text(max_size=30)
        | st.sampled_from(["%", "%zz", "%00", "%ff", "%u0041", "+", "%2500", "0" * 5000]),
    ),
)
@example(path="/v1/charges", query=b"created_at[gt]=0001-01-01T00:00:00%2B14:00")
@example(path="/v1/charges", query=b"created_at[gt]=9999-12-31T23:59:60Z")
@example(path="/v1/refunds", query=b"charge=%00")
@example(path="/v1/refunds", query=b"&" * 5000)
@example(path="/v1/refunds", query=b"=" * 5000)
def test_any_query_string_is_answered(victim: Client, path: str, query: bytes) -> None:
    assert is_fine(ask(victim, "GET", path, query=query))


COLLECTIONS = ("", "charges", "refunds", "events", "webhook_endpoints")


@MANY
@given(
    root=st.sampled_from(
        ["/v1/charges/", "/v1/refunds/", "/v1/events/", "/v1/webhook_endpoints/", "/v1/", "/docs/", "/"]
    ),
    # A path that ends in a slash is the path without it.
    id=st.text(max_size=60).filter(lambda text: text.strip("/") not in COLLECTIONS),
)
@example(root="/v1/charges/", id="../" * 20)
@example(root="/v1/charges/", id="{id}")
@example(root="/v1/charges/", id="\x00")
@example(root="/v1/charges/", id="\ufffd" * 5000)
@example(root="/v1/refunds/", id="re_' OR 1=1 --")
@example(root="/docs/", id="..\\..\\app.py")
def test_any_id_is_a_404(victim: Client, root: str, id: str) -> None:
    answer = ask(victim, "GET", root + id)
    assert is_told_off(answer)
    assert answer.status_code == 404


@pytest.mark.parametrize(
    "path", ["/v1/charges/", "/v1/charges//", "//v1/charges", "/v1//charges", "/v1/refunds/", "/docs/"]
)
def test_a_path_with_a_slash_too_many_is_none_of_ours(victim: Client, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert ask(victim, method, path).status_code == 404


def test_long_paths_are_not_remembered(victim: Client) -> None:
    def ask_for_many(mark: str) -> None:
        for number in range(100):
            assert ask(victim, "GET", f"/v1/charges/{number}{'a' * 60_000}{mark}").status_code == 404

    ask_for_many("")
    tracemalloc.start()
    # With a letter past the first plane each of them takes four times the memory.
    ask_for_many("\U0001f600")
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < MIB


@MANY
@given(
    headers=st.lists(
        st.tuples(
            st.sampled_from(
                [
                    b"authorization",
                    b"content-type",
                    b"content-length",
                    b"idempotency-key",
                    b"cookie",
                    b"accept",
                    b"x-forwarded-for",
                    b"host",
                    b"transfer-encoding",
                    b"expect",
                    b"upgrade",
                ]
            ),
            st.binary(max_size=40).filter(lambda value: b"\n" not in value and b"\r" not in value),
        ),
        max_size=6,
    ),
    with_key=st.booleans(),
)
@example(headers=[(b"content-length", b"9" * 5000)], with_key=True)
@example(headers=[(b"content-length", b"-1")], with_key=True)
@example(headers=[(b"cookie", b"a=" * 20_000)], with_key=True)
@example(headers=[(b"content-type", b"application/json; charset=\xff")], with_key=True)
@example(headers=[(b"accept", b"text/html")], with_key=False)
@example(headers=[(b"", b"")], with_key=True)
def test_any_headers_are_answered(victim: Client, headers: list[tuple[bytes, bytes]], with_key: bool) -> None:
    body = json.dumps(CHARGE).encode()
    assert is_fine(ask(victim, "POST", "/v1/charges", headers=headers, body=body, with_key=with_key))
    assert is_fine(ask(victim, "GET", "/v1/charges", headers=headers, with_key=with_key))


@pytest.mark.parametrize("method", ["", "get", "GET ", "POST\x00", "X" * 10_000, "PRI"])
def test_any_method_is_answered(victim: Client, method: str) -> None:
    assert is_told_off(ask(victim, method, "/v1/charges"))


def test_a_header_is_never_echoed(victim: Client) -> None:
    planted = [(b"idempotency-key", b"k\xffinjected"), (b"x-injected", b"injected")]
    answer = ask(victim, "POST", "/v1/charges", headers=[*JSON, *planted], body=json.dumps(CHARGE).encode())
    assert field_errors(answer)
    assert b"injected" not in answer.content
    assert "injected" not in str(answer.headers)
