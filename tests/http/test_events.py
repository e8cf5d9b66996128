"""Events over HTTP: the public document, and section 8 of the contract."""

import re
from typing import Any

import msgspec
import pytest

from kpay_core.domain.events import EVENT_TYPES, Event
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

PATH = "/v1/events"

EXAMPLE_LIST = """\
curl "https://api.k-payments.com/v1/events?type=charge.succeeded&limit=20" \\
  -H "Authorization: Bearer sk_test_..."
"""

EXAMPLE_GET = """\
curl https://api.k-payments.com/v1/events/evt_... \\
  -H "Authorization: Bearer sk_test_..."
"""


def resend(client: Client, event: dict[str, Any], **fields: Any) -> Any:
    return client.post(f"{PATH}/{event['id']}/resend", fields)


def types(client: Client, **params: Any) -> list[str]:
    return [event["type"] for event in client.data(PATH, **params)]


def test_the_examples_of_the_public_document_work_as_printed(client: Client, acme: Merchant) -> None:
    made = client.charge(key="order-1024")
    client.charge(number=DECLINES)
    listed = curl.send(client, EXAMPLE_LIST, key=acme.test)
    assert listed.status_code == 200
    (event,) = listed.json()["data"]
    assert listed.json() == {"object": "list", "url": PATH, "data": [event], "has_more": False}
    assert re.fullmatch("evt_[0-9a-f]{32}", event["id"])
    assert event == {
        "id": event["id"],
        "object": "event",
        "api_version": "v1",
        "type": "charge.succeeded",
        "livemode": False,
        "created_at": "2026-01-01T12:00:00.000Z",
        "data": {"object": made.json()},
        "request": {"id": made.headers["request-id"], "idempotency_key": "order-1024"},
    }
    assert curl.send(client, EXAMPLE_GET, key=acme.test, event_id=event["id"]).json() == event


def test_an_event_names_the_request_that_made_it_happen(client: Client) -> None:
    charged = client.charge()
    declined = client.charge(number=DECLINES, key="k")
    refunded = client.refund(charged.json()["id"], key="r")
    told = [(event["type"], event["request"]) for event in client.data(PATH)][::-1]
    assert told == [
        ("charge.succeeded", {"id": charged.headers["request-id"], "idempotency_key": None}),
        ("charge.failed", {"id": declined.headers["request-id"], "idempotency_key": "k"}),
        ("refund.created", {"id": refunded.headers["request-id"], "idempotency_key": "r"}),
        ("charge.refunded", {"id": refunded.headers["request-id"], "idempotency_key": "r"}),
    ]


def test_a_replay_makes_no_second_event_and_a_refused_request_none(client: Client) -> None:
    client.charge(key="k")
    client.charge(key="k")
    client.charge(amount=1)
    client.refund("unknown")
    assert types(client) == ["charge.succeeded"]


def test_what_happens_by_itself_has_no_request(client: Client, world: World) -> None:
    client.charge(number=LOST, key="k")
    assert client.data(PATH) == []
    world.pass_time(minutes=10)
    world.sweep()
    (event,) = client.data(PATH)
    assert event["request"] == {"id": None, "idempotency_key": "k"}


def test_a_refund_says_what_it_was_before(client: Client, world: World) -> None:
    paid = client.charged(number=REFUND_PENDING)["id"]
    client.refund(paid, amount=1000)
    world.pass_time(days=4)
    world.sweep()
    refunded, updated, created, _ = client.data(PATH)
    assert [each["type"] for each in (created, updated, refunded)] == [
        "refund.created",
        "refund.updated",
        "charge.refunded",
    ]
    assert list(created["data"]) == ["object"]
    assert updated["data"]["previous_attributes"] == {"status": "pending"}
    assert updated["data"]["object"]["status"] == "succeeded"
    assert refunded["data"]["previous_attributes"] == {"amount_refunded": 0}
    assert refunded["data"]["object"]["amount_refunded"] == 1000


def test_events_are_filtered_by_exact_type(client: Client) -> None:
    client.refunded(client.charged()["id"])
    client.charge(number=DECLINES)
    assert types(client) == ["charge.failed", "charge.refunded", "refund.created", "charge.succeeded"]
    for type in ("charge.failed", "charge.refunded", "refund.created", "charge.succeeded"):
        assert types(client, type=type) == [type]
    assert types(client, type="dispute.closed") == []


@pytest.mark.parametrize("type", ["", "charge", "charge.*", "*", "CHARGE.FAILED", "charge.failed "])
def test_an_unknown_type_is_a_400_that_names_the_known_ones(client: Client, type: str) -> None:
    told = {"type": ["one of: " + ", ".join(sorted(EVENT_TYPES))]}
    assert field_errors(client.get(PATH, params={"type": type})) == told


def test_a_cursor_is_of_the_filtered_list(client: Client) -> None:
    client.charged()
    client.charge(number=DECLINES)
    failed, succeeded = client.data(PATH)
    wrong = client.get(PATH, params={"type": "charge.failed", "starting_after": succeeded["id"]})
    assert field_errors(wrong) == {"starting_after": ["no such id in this list"]}
    found = client.data(PATH, type="charge.succeeded", ending_before=succeeded["id"])
    assert found == []
    assert client.data(PATH, ending_before=succeeded["id"]) == [failed]


def test_what_is_shown_listed_and_delivered_are_the_same_bytes_for_ever(client: Client, world: World) -> None:
    client.registered()
    paid = client.charged(description="Ünïcödé ☃ 𝄞 </script>", metadata={"f": 1.50, "n": 10**20, "b": True})
    (post,) = world.deliver().posts
    path = f"{PATH}/{post.headers['K-Payments-Event-Id']}"
    assert client.get(path).content == post.body
    client.refunded(paid["id"])
    world.pass_time(days=400)
    assert client.get(path).content == post.body
    assert post.body in client.get(PATH).content
    assert int(client.get(path).headers["content-length"]) == len(post.body)


def test_an_event_is_shown_as_it_was_stored_and_never_encoded_again(client: Client, world: World) -> None:
    """Not even one that an earlier release wrote down in another way."""
    client.charged()
    endpoint = client.registered()
    kept = world.run(world.kpay.store.get(Event, client.data(PATH)[0]["id"]))
    assert kept is not None
    body = '{ "data": {"object":{"amount":1.0e1,"text":"\\u0041\\/"}},\n"old":true}'
    old = msgspec.structs.replace(kept, id=kept.id[:-1] + "f", body=body)
    world.run(world.kpay.store.commit(old))
    assert client.get(f"{PATH}/{old.id}").text == body
    assert client.get(PATH, params={"limit": 1}).text == (
        f'{{"object":"list","url":"/v1/events","data":[{body}],"has_more":true}}'
    )
    client.post(f"{PATH}/{old.id}/resend", {"endpoint": endpoint["id"]})
    assert [post.body.decode() for post in world.deliver().posts] == [body]


def test_resending_gives_each_endpoint_that_wants_the_type_now_a_new_delivery(
    client: Client, world: World
) -> None:
    wanting = client.registered(url="https://one.example.com/")
    client.charged()
    (event,) = client.data(PATH)
    first = world.deliver().posts
    later = client.registered(url="https://two.example.com/", enabled_events=["charge.succeeded"])
    client.registered(url="https://three.example.com/", enabled_events=["charge.failed"])
    disabled = client.registered(url="https://four.example.com/")
    client.patch(f"/v1/webhook_endpoints/{disabled['id']}", {"status": "disabled"})

    answer = resend(client, event)
    assert answer.status_code == 200
    told = answer.json()
    assert list(told) == ["object", "url", "data", "has_more"]
    assert (told["object"], told["url"], told["has_more"]) == ("list", f"{PATH}/{event['id']}/resend", False)
    assert {each["endpoint"] for each in told["data"]} == {wanting["id"], later["id"]}
    for each in told["data"]:
        assert (each["event"], each["status"], each["attempts"]) == (event["id"], "pending", [])
        listed = client.data(f"/v1/webhook_endpoints/{each['endpoint']}/deliveries")
        assert each in listed
    again = world.deliver().posts
    assert {post.url for post in again} == {"https://one.example.com/", "https://two.example.com/"}
    assert {post.body for post in again} == {first[0].body}
    assert {post.headers["K-Payments-Event-Id"] for post in again} == {event["id"]}


def test_resending_to_one_endpoint_reaches_it_alone_whatever_types_it_wants(
    client: Client, world: World
) -> None:
    client.registered(url="https://one.example.com/")
    wanted = client.registered(url="https://two.example.com/", enabled_events=["charge.failed"])
    client.charged()
    (event,) = client.data(PATH)
    world.deliver()
    (delivery,) = resend(client, event, endpoint=wanted["id"]).json()["data"]
    assert delivery["endpoint"] == wanted["id"]
    assert [post.url for post in world.deliver().posts] == ["https://two.example.com/"]


@pytest.mark.parametrize("body", [{"content": b""}, {"body": {}}, {"body": {"endpoint": None}}])
def test_resending_needs_no_body_and_no_endpoints(client: Client, body: dict[str, Any]) -> None:
    client.charged()
    (event,) = client.data(PATH)
    path = f"{PATH}/{event['id']}/resend"
    answer = client.post(path, **body)
    empty = {"object": "list", "url": path, "data": [], "has_more": False}
    assert (answer.status_code, answer.json()) == (200, empty)


def test_resending_to_an_endpoint_that_cannot_be_reached_is_refused(client: Client, other: Client) -> None:
    mine, foreign = client.registered(), other.registered()
    client.charged()
    (event,) = client.data(PATH)
    for unknown in ("we_unknown", "", foreign["id"]):
        error_of(resend(client, event, endpoint=unknown), 404, "not_found")
    client.patch(f"/v1/webhook_endpoints/{mine['id']}", {"status": "disabled"})
    refused = resend(client, event, endpoint=mine["id"])
    assert field_errors(refused) == {"endpoint": ["disabled"]}
    assert refused.json()["error"]["details"]["code"] == "endpoint_disabled"
    assert field_errors(resend(client, event, endpoint=1, endpoints=[])) == {
        "endpoint": ["must be a string"],
        "endpoints": ["unknown field"],
    }
    error_of(client.post(f"{PATH}/evt_unknown/resend", {}), 404, "not_found")
    assert other.data(f"/v1/webhook_endpoints/{foreign['id']}/deliveries") == []
