"""Webhook endpoints over HTTP: the public document, and section 8 of the contract."""

import asyncio
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from kpay_adapters.memory import MemoryStore
from kpay_adapters.testing import answer
from kpay_core.commit import Record
from kpay_core.domain import signing
from kpay_core.domain.endpoints import Endpoint
from kpay_core.domain.events import EVENT_TYPES
from kpay_core.domain.posts import Post
from tests.http import curl
from tests.http.world import HOOKS, Client, Merchant, World, error_of, field_errors

PATH = "/v1/webhook_endpoints"

EXAMPLE = """\
curl https://api.k-payments.com/v1/webhook_endpoints \\
  -H "Authorization: Bearer sk_test_..." \\
  -H "Content-Type: application/json" \\
  -d '{ "url": "https://example.com/hooks", "enabled_events": ["charge.succeeded","refund.created"] }'
"""

EXAMPLE_LIST = """\
curl https://api.k-payments.com/v1/webhook_endpoints \\
  -H "Authorization: Bearer sk_test_..."
"""

EXAMPLE_GET = """\
curl https://api.k-payments.com/v1/webhook_endpoints/we_... \\
  -H "Authorization: Bearer sk_test_..."
"""

EXAMPLE_PATCH = """\
curl -X PATCH https://api.k-payments.com/v1/webhook_endpoints/we_... \\
  -H "Authorization: Bearer sk_test_..." \\
  -H "Content-Type: application/json" \\
  -d '{ "status": "disabled" }'
"""

EXAMPLE_DELETE = """\
curl -X DELETE https://api.k-payments.com/v1/webhook_endpoints/we_... \\
  -H "Authorization: Bearer sk_test_..."
"""

ONE_OF = "one of: " + ", ".join(["*", *sorted(EVENT_TYPES)])


def path_of(endpoint: dict[str, Any], *, under: str = "") -> str:
    return f"{PATH}/{endpoint['id']}{under}"


def without_secret(endpoint: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in endpoint.items() if name != "signing_secret"}


def test_the_examples_of_the_public_document_work_as_printed(client: Client, acme: Merchant) -> None:
    created = curl.send(client, EXAMPLE, key=acme.test)
    assert created.status_code == 201
    made = created.json()
    assert list(made) == [
        "id",
        "object",
        "url",
        "enabled_events",
        "description",
        "status",
        "livemode",
        "created_at",
        "signing_secret",
    ]
    assert re.fullmatch("we_[0-9a-f]{32}", made["id"])
    assert re.fullmatch("whsec_[A-Za-z0-9_-]{43}", made["signing_secret"])
    shown = without_secret(made)
    assert shown == {
        "id": made["id"],
        "object": "webhook_endpoint",
        "url": "https://example.com/hooks",
        "enabled_events": ["charge.succeeded", "refund.created"],
        "description": None,
        "status": "enabled",
        "livemode": False,
        "created_at": "2026-01-01T12:00:00.000Z",
    }
    got = curl.send(client, EXAMPLE_GET, key=acme.test, endpoint_id=made["id"])
    assert (got.status_code, got.json()) == (200, shown)
    listed = curl.send(client, EXAMPLE_LIST, key=acme.test).json()
    assert listed == {"object": "list", "url": PATH, "data": [shown], "has_more": False}
    changed = curl.send(client, EXAMPLE_PATCH, key=acme.test, endpoint_id=made["id"])
    assert (changed.status_code, changed.json()) == (200, {**shown, "status": "disabled"})
    deleted = curl.send(client, EXAMPLE_DELETE, key=acme.test, endpoint_id=made["id"])
    assert deleted.status_code == 200
    assert deleted.content == b'{"id":"%s","object":"webhook_endpoint","deleted":true}' % made["id"].encode()


def test_an_endpoint_in_live_mode_says_so(live: Client) -> None:
    assert live.registered()["livemode"] is True


def test_all_events_are_the_default_and_repeats_are_folded(client: Client) -> None:
    assert client.registered()["enabled_events"] == ["*"]
    assert client.registered(enabled_events=None)["enabled_events"] == ["*"]
    assert client.registered(enabled_events=["*"])["enabled_events"] == ["*"]
    twice = ["refund.created", "charge.failed", "refund.created", "charge.failed", "charge.failed"]
    made = client.registered(enabled_events=twice)
    assert made["enabled_events"] == ["refund.created", "charge.failed"]
    changed = client.patch(path_of(made), {"enabled_events": twice[::-1]}).json()
    assert changed["enabled_events"] == ["charge.failed", "refund.created"]
    assert client.registered(enabled_events=list(EVENT_TYPES))["enabled_events"] == list(EVENT_TYPES)


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"url": ...}, {"url": ["required"]}),
        ({"url": None}, {"url": ["required"]}),
        ({"url": 1}, {"url": ["must be a string"]}),
        ({"url": ""}, {"url": ["must be https"]}),
        ({"url": "http://example.com"}, {"url": ["must be https"]}),
        ({"url": "https://127.0.0.1/"}, {"url": ["not a public address"]}),
        ({"url": "https://10.0.0.1/"}, {"url": ["not a public address"]}),
        ({"url": "https://169.254.169.254/latest"}, {"url": ["not a public address"]}),
        ({"url": "https://[::1]/"}, {"url": ["not a public address"]}),
        ({"url": "https://[64:ff9b::a00:1]/"}, {"url": ["not a public address"]}),
        ({"url": "https://localhost/"}, {"url": ["not a public name"]}),
        ({"url": "https://me:secret@example.com/"}, {"url": ["no user info"]}),
        ({"url": "https://example.com/#part"}, {"url": ["no fragment"]}),
        ({"url": "https://example.com/" + "a" * 2029}, {"url": ["at most 2048 characters"]}),
        ({"enabled_events": []}, {"enabled_events": ["at least 1 items"]}),
        ({"enabled_events": "charge.failed"}, {"enabled_events": ["must be an array"]}),
        ({"enabled_events": ["charge.failed"] * 51}, {"enabled_events": ["at most 50 items"]}),
        (
            {"enabled_events": ["charge.lost", "*", 1, None]},
            {f"enabled_events.{n}": [ONE_OF] for n in (0, 2, 3)},
        ),
        ({"description": "x" * 201}, {"description": ["at most 200 characters"]}),
        ({"description": 1}, {"description": ["must be a string"]}),
        ({"status": "enabled", "urls": []}, {"status": ["unknown field"], "urls": ["unknown field"]}),
        (
            {"url": "ftp://x", "enabled_events": ["x"], "description": [], "secret": "whsec_mine"},
            {
                "url": ["must be https"],
                "enabled_events.0": [ONE_OF],
                "description": ["must be a string"],
                "secret": ["unknown field"],
            },
        ),
    ],
)
def test_whatever_is_wrong_is_a_400_that_names_every_field(
    client: Client, fields: dict[str, Any], errors: dict[str, list[str]]
) -> None:
    assert field_errors(client.register(**fields)) == errors
    assert client.data(PATH) == []


def test_the_limits_themselves_are_taken(client: Client) -> None:
    url = "https://example.com/" + "a" * 2028
    made = client.registered(url=url, description="x" * 200, enabled_events=["charge.failed"] * 50)
    assert (made["url"], made["description"], made["enabled_events"]) == (url, "x" * 200, ["charge.failed"])


def test_the_own_machine_is_admitted_where_a_setting_says_so() -> None:
    with World(local_webhooks=True) as world:
        client = world.client(world.merchant().test)
        made = client.registered(url="http://localhost:3000/hooks")
        assert client.patch(path_of(made), {"url": "http://127.0.0.1/"}).status_code == 200
        assert field_errors(client.register(url="http://10.0.0.1/")) == {"url": ["not a public address"]}


def test_a_merchant_has_at_most_100_endpoints_in_a_mode(client: Client, live: Client) -> None:
    made = [client.registered() for _ in range(100)]
    refused = client.register()
    assert field_errors(refused) == {"url": ["at most 100 endpoints"]}
    assert refused.json()["error"]["details"]["code"] == "too_many_endpoints"
    live.registered()
    client.delete(path_of(made[0]))
    client.registered()


CHANGES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"url": "https://example.org/new"}, {"url": "https://example.org/new"}),
    ({"enabled_events": ["charge.failed"]}, {"enabled_events": ["charge.failed"]}),
    ({"description": "new"}, {"description": "new"}),
    ({"description": ""}, {"description": ""}),
    ({"status": "disabled"}, {"status": "disabled"}),
    ({"status": "enabled"}, {}),
    ({"url": HOOKS, "status": "disabled", "description": "x"}, {"status": "disabled", "description": "x"}),
    # Nothing is said, so nothing changes; a description alone can be empty.
    ({}, {}),
    ({"url": None, "enabled_events": None, "status": None}, {}),
    ({"description": None}, {"description": None}),
]


@pytest.mark.parametrize(("changes", "outcome"), CHANGES)
def test_a_patch_changes_what_it_names_and_leaves_the_rest(
    client: Client, changes: dict[str, Any], outcome: dict[str, Any]
) -> None:
    made = without_secret(client.registered(description="old", enabled_events=["refund.created", "*"]))
    answer = client.patch(path_of(made), changes)
    assert (answer.status_code, answer.json()) == (200, {**made, **outcome})
    assert client.get(path_of(made)).json() == {**made, **outcome}
    assert client.data(PATH) == [{**made, **outcome}]


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"url": "http://example.com"}, {"url": ["must be https"]}),
        ({"url": ""}, {"url": ["must be https"]}),
        ({"enabled_events": []}, {"enabled_events": ["at least 1 items"]}),
        ({"enabled_events": ["*", "x"]}, {"enabled_events.1": [ONE_OF]}),
        ({"status": "deleted"}, {"status": ["one of: disabled, enabled"]}),
        ({"signing_secret": "whsec_mine"}, {"signing_secret": ["unknown field"]}),
        (
            {"status": True, "description": "x" * 201, "id": "we_x"},
            {
                "status": ["one of: disabled, enabled"],
                "description": ["at most 200 characters"],
                "id": ["unknown field"],
            },
        ),
    ],
)
def test_a_patch_that_cannot_stand_changes_nothing(
    client: Client, changes: dict[str, Any], errors: dict[str, list[str]]
) -> None:
    made = without_secret(client.registered())
    assert field_errors(client.patch(path_of(made), {"description": "new", **changes})) == errors
    assert client.get(path_of(made)).json() == made


def test_the_signing_secret_is_shown_once_and_neither_stored_nor_logged(client: Client, world: World) -> None:
    with capture_logs() as logged:
        made = client.registered()
        rotated = client.post(path_of(made, under="/rotate_secret")).json()
        secrets = [made["signing_secret"], rotated["signing_secret"]]
        client.charged()
        world.deliver()
        answers = [
            client.get(path_of(made)),
            client.get(PATH),
            client.get(path_of(made, under="/deliveries")),
            client.get("/v1/events"),
            client.patch(path_of(made), {"status": "disabled"}),
            client.delete(path_of(made)),
        ]
    kept = world.run(world.kpay.store.get(Endpoint, made["id"]))
    everything = [
        *(answer.text for answer in answers),
        repr(kept),
        repr(logged),
        repr(world.kpay.store.__dict__),
    ]
    for secret in secrets:
        assert not any(secret.removeprefix("whsec_") in text for text in everything)
    assert all("signing_secret" not in answer.text for answer in answers)


def test_no_two_secrets_are_the_same(client: Client) -> None:
    made = [client.registered() for _ in range(5)]
    rotated = [client.post(path_of(each, under="/rotate_secret")).json() for each in made]
    assert len({each["signing_secret"] for each in (*made, *rotated)}) == 10


@pytest.mark.parametrize("body", [{"content": b""}, {"body": {}}])
def test_rotating_gives_a_new_secret_and_signs_with_both_for_24_hours(
    client: Client, world: World, body: dict[str, Any]
) -> None:
    made = client.registered(description="mine")
    answer = client.post(path_of(made, under="/rotate_secret"), **body)
    assert answer.status_code == 200
    assert without_secret(answer.json()) == without_secret(made)
    old, new = made["signing_secret"], answer.json()["signing_secret"]
    assert old != new
    assert signers(client, world, old, new) == {old, new}
    world.pass_time(hours=23, minutes=59)
    assert signers(client, world, old, new) == {old, new}
    world.pass_time(minutes=1)
    assert signers(client, world, old, new) == {new}


def signers(client: Client, world: World, *secrets: str) -> set[str]:
    """The secrets by which the next delivery can be verified."""
    client.charged()
    (post,) = world.deliver().posts
    found: set[str] = set()
    for secret in secrets:
        try:
            signing.verify(post.body, post.headers[signing.HEADER], secret, now=world.clock.now())
        except signing.NoMatch:
            continue
        found.add(secret)
    return found


def test_rotating_asks_for_nothing(client: Client) -> None:
    path = path_of(client.registered(), under="/rotate_secret")
    assert field_errors(client.post(path, {"secret": "whsec_mine"})) == {"secret": ["unknown field"]}
    error_of(client.post(path, content=b"{}"), 400, "invalid_request_error")
    error_of(client.post(path, []), 400, "invalid_request_error")


def test_a_deleted_endpoint_is_404_everywhere_and_in_no_list(client: Client) -> None:
    made, kept = client.registered(), client.registered()
    client.charged()
    (event,) = client.data("/v1/events")
    assert client.delete(path_of(made)).status_code == 200
    answers = [
        client.get(path_of(made)),
        client.patch(path_of(made), {"status": "enabled"}),
        client.patch(path_of(made), {}),
        client.delete(path_of(made)),
        client.post(path_of(made, under="/rotate_secret")),
        client.get(path_of(made, under="/deliveries")),
        client.post(f"/v1/events/{event['id']}/resend", {"endpoint": made["id"]}),
    ]
    for each in answers:
        error_of(each, 404, "not_found")
    assert len({each.content for each in answers}) == 1
    assert client.data(PATH) == [without_secret(kept)]
    for name in ("starting_after", "ending_before"):
        refused = client.get(PATH, params={name: made["id"]})
        assert field_errors(refused) == {name: ["no such id in this list"]}


def test_pending_deliveries_of_a_deleted_endpoint_never_go_out(client: Client, world: World) -> None:
    made = client.registered()
    client.charged()
    client.delete(path_of(made))
    client.charged()
    assert world.deliver().posts == []


def test_a_disabled_endpoint_gets_what_was_pending_once_it_is_enabled_and_nothing_of_meanwhile(
    client: Client, world: World
) -> None:
    made = client.registered()
    before = client.charged()["id"]
    client.patch(path_of(made), {"status": "disabled"})
    client.charged()
    assert world.deliver().posts == []
    client.patch(path_of(made), {"status": "enabled"})
    posts = world.deliver().posts
    assert [before.encode() in post.body for post in posts] == [True]


def test_an_endpoint_gets_the_types_it_is_enabled_for(client: Client, world: World) -> None:
    all_of_them = client.registered(url="https://all.example.com/")
    client.registered(url="https://one.example.com/", enabled_events=["refund.created"])
    changed = client.registered(url="https://two.example.com/")
    client.patch(path_of(changed), {"enabled_events": ["charge.refunded"]})
    client.refunded(client.charged()["id"])
    posts = world.deliver().posts
    told = {(post.url, post.body.split(b'"type":"')[1].split(b'"')[0].decode()) for post in posts}
    assert told == {
        ("https://all.example.com/", "charge.succeeded"),
        ("https://all.example.com/", "refund.created"),
        ("https://all.example.com/", "charge.refunded"),
        ("https://one.example.com/", "refund.created"),
        ("https://two.example.com/", "charge.refunded"),
    }
    assert len(client.data(path_of(all_of_them, under="/deliveries"))) == 3


def test_deliveries_show_every_attempt_and_what_came_of_it(client: Client, world: World) -> None:
    made = client.registered()
    path = path_of(made, under="/deliveries")
    client.charged()
    (event,) = client.data("/v1/events")
    pending = {
        "id": client.data(path)[0]["id"],
        "object": "webhook_delivery",
        "event": event["id"],
        "event_type": "charge.succeeded",
        "endpoint": made["id"],
        "status": "pending",
        "abandoned_because": None,
        "next_attempt_at": "2026-01-01T12:00:00.000Z",
        "attempts": [],
        "livemode": False,
        "created_at": "2026-01-01T12:00:00.000Z",
    }
    listed = client.get(path).json()
    assert listed == {"object": "list", "url": path, "data": [pending], "has_more": False}

    world.deliver(lambda post: answer(post, 500, "out of order ☃"))
    (missed,) = client.data(path)
    first = {
        "number": 1,
        "started_at": "2026-01-01T12:00:00.000Z",
        "duration_ms": 1,
        "status": 500,
        "error": "refused",
        "answer": "out of order ☃",
    }
    assert missed == {**pending, "attempts": [first], "next_attempt_at": missed["next_attempt_at"]}
    assert "2026-01-01T12:01:00.000Z" <= missed["next_attempt_at"] <= "2026-01-01T12:01:06.000Z"

    world.pass_time(minutes=2)
    world.deliver(lambda post: answer(post, 204))
    (arrived,) = client.data(path)
    assert (arrived["status"], arrived["next_attempt_at"]) == ("succeeded", None)
    assert arrived["attempts"][0] == first
    second = arrived["attempts"][1]
    assert (second["number"], second["status"], second["error"], second["answer"]) == (2, 204, None, "")


def test_a_delivery_that_is_abandoned_says_why(client: Client, world: World) -> None:
    made = client.registered()
    client.charged()
    for _ in range(9):
        world.deliver(lambda post: answer(post, 302))
        (given_up,) = client.data(path_of(made, under="/deliveries"))
        if given_up["next_attempt_at"] is not None:
            world.clock.advance(datetime.fromisoformat(given_up["next_attempt_at"]) - world.clock.now())
    assert len(given_up["attempts"]) == 9
    assert (given_up["status"], given_up["abandoned_because"]) == ("abandoned", "exhausted")
    assert given_up["next_attempt_at"] is None
    assert {each["error"] for each in given_up["attempts"]} == {"redirected"}


def test_deliveries_come_in_pages_by_cursor(client: Client) -> None:
    made, other = client.registered(), client.registered()
    for _ in range(3):
        client.charged()
    path = path_of(made, under="/deliveries")
    ids = [each["id"] for each in client.data(path)]
    assert len(ids) == 3
    page = client.get(path, params={"limit": 2}).json()
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (ids[:2], True)
    page = client.get(path, params={"limit": 2, "starting_after": ids[1]}).json()
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (ids[2:], False)
    page = client.get(path, params={"limit": 1, "ending_before": ids[2]}).json()
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (ids[1:2], True)
    elsewhere = client.data(path_of(other, under="/deliveries"))[0]["id"]
    assert field_errors(client.get(path, params={"starting_after": elsewhere})) == {
        "starting_after": ["no such id in this list"]
    }
    wrong = client.get(path, params={"limit": 0, "type": "charge.failed"})
    assert field_errors(wrong) == {"limit": ["min 1"], "type": ["unknown field"]}


class Held(MemoryStore):
    """A store that takes commits only after it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.gate: asyncio.Event | None = None
        self.asked = asyncio.Event()

    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        await super().commit(*records, held=held)


def created(client: Client, before: dict[str, Any]) -> bool:
    return len(client.data(PATH)) == 2


def disabled(client: Client, before: dict[str, Any]) -> bool:
    return client.get(path_of(before)).json()["status"] == "disabled"


def gone(client: Client, before: dict[str, Any]) -> bool:
    return client.get(path_of(before)).status_code == 404


def rotated(client: Client, before: dict[str, Any]) -> bool:
    kept = client.world.run(client.world.kpay.store.get(Endpoint, before["id"]))
    assert kept is not None
    return len(kept.retired) == 1


def resent(client: Client, before: dict[str, Any]) -> bool:
    return len(client.data(path_of(before, under="/deliveries"))) == 2


@pytest.mark.parametrize(
    ("method", "path", "body", "is_done"),
    [
        ("POST", PATH, {"url": HOOKS}, created),
        ("PATCH", PATH + "/{endpoint}", {"status": "disabled"}, disabled),
        ("DELETE", PATH + "/{endpoint}", None, gone),
        ("POST", PATH + "/{endpoint}/rotate_secret", None, rotated),
        ("POST", "/v1/events/{event}/resend", None, resent),
    ],
)
def test_a_client_that_hangs_up_does_not_cut_off_what_it_began(
    method: str, path: str, body: Any, is_done: Callable[[Client, dict[str, Any]], bool]
) -> None:
    store = Held()
    with World(store=store) as world:
        client = world.client(world.merchant().test)
        before = client.registered()
        client.charged()
        path = path.format(endpoint=before["id"], event=client.data("/v1/events")[0]["id"])
        options: dict[str, Any] = {} if body is None else {"json": body}

        async def hang_up() -> None:
            gate = store.gate = asyncio.Event()
            store.asked.clear()
            sending = world.send(method, path, **client.options(None, options))
            request = asyncio.ensure_future(sending)
            await store.asked.wait()
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
            gate.set()
            store.gate = None
            await world.system.until_done()

        world.run(hang_up())
        assert is_done(client, before)


def test_a_delivery_has_the_headers_of_the_public_document(client: Client, world: World) -> None:
    made = client.registered()
    client.charged()
    (event,) = client.data("/v1/events")
    (post,) = world.deliver().posts
    assert isinstance(post, Post)
    assert {name: value for name, value in post.headers.items() if name != signing.HEADER} == {
        "Content-Type": "application/json",
        "User-Agent": "K-Payments/1",
        "K-Payments-Event-Id": event["id"],
    }
    signing.verify(post.body, post.headers[signing.HEADER], made["signing_secret"], now=world.clock.now())


def test_every_answer_is_json_that_is_not_stored(client: Client) -> None:
    made = client.registered()
    answers: list[httpx.Response] = [
        client.get(path_of(made)),
        client.patch(path_of(made), {}),
        client.post(path_of(made, under="/rotate_secret")),
        client.get(path_of(made, under="/deliveries")),
        client.delete(path_of(made)),
    ]
    for each in answers:
        assert each.status_code == 200
        assert each.headers["content-type"] == "application/json"
        assert each.headers["cache-control"] == "no-store"
