"""The one envelope, whatever goes wrong: the public document, and section 2 of the contract."""

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from kpay_adapters.memory import MemoryStore
from kpay_adapters.ratelimit import MemoryLimiter, TokenBucket
from kpay_adapters.testing import CHARGE
from kpay_core.commit import Record, Unavailable
from kpay_core.domain.charges import Charge
from tests.http.world import Client, Merchant, World, error_of

JSON = {"Content-Type": "application/json"}


def test_an_error_is_one_envelope_as_in_the_public_document(client: Client) -> None:
    answer = client.charge(amount=49)
    assert answer.json() == {
        "error": {
            "type": "invalid_request_error",
            "message": "Validation failed.",
            "details": {"fieldErrors": {"amount": ["min 50"]}},
        }
    }


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"", JSON),
        (b"{", JSON),
        (b"[]", JSON),
        (b"null", JSON),
        (b'{"amount":"\xff"}', JSON),
        (b'{"amount":50,"amount":60}', JSON),
        (b'{"description":"\\u0000"}', JSON),
        (b'{"amount":NaN}', JSON),
        (b'{"amount":1e999}', JSON),
        (b'{"a":' * 33 + b"1" + b"}" * 33, JSON),
        (b"{}", {}),
        (b"{}", {"Content-Type": "text/plain"}),
        (b"{}", {"Content-Type": "application/x-www-form-urlencoded"}),
    ],
)
@pytest.mark.parametrize("path", ["/v1/charges", "/v1/refunds", "/v1/webhook_endpoints"])
def test_a_body_that_is_no_strict_json_object_is_400(
    client: Client, path: str, content: bytes, headers: dict[str, str]
) -> None:
    error_of(client.post(path, content=content, headers=headers), 400, "invalid_request_error")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/charges/{}",
        "/v1/refunds/{}",
        "/v1/events/{}",
        "/v1/webhook_endpoints/{}",
        "/v1/webhook_endpoints/{}/deliveries",
    ],
)
def test_unknown_misshapen_foreign_and_other_mode_ids_are_byte_identical(
    client: Client, live: Client, other: Client, path: str
) -> None:
    kind = path.split("/")[2]
    paid, endpoint = client.charged()["id"], client.registered()["id"]
    mine = {
        "charges": paid,
        "refunds": client.refunded(paid)["id"],
        "events": client.data("/v1/events")[0]["id"],
        "webhook_endpoints": endpoint,
    }[kind]
    path_of = path.format
    assert client.get(path_of(mine)).status_code == 200
    unknown = mine[:-1] + ("0" if mine[-1] != "0" else "1")
    shown = {
        seen(client.get(path_of(unknown))),
        seen(client.get(path_of("nonsense"))),
        seen(client.get(path_of(mine.upper()))),
        seen(client.get(path_of("%00"))),
        seen(client.get(path_of("%F0%9D%84%9E" * 300))),
        seen(other.get(path_of(mine))),
        seen(live.get(path_of(mine))),
        seen(client.get("/v1/nothing")),
    }
    assert len(shown) == 1


def seen(answer: httpx.Response) -> tuple[Any, ...]:
    """Everything a client sees of a 404, apart from the name of the request."""
    error_of(answer, 404, "not_found")
    headers = sorted((name, value) for name, value in answer.headers.items() if name != "request-id")
    return (answer.status_code, answer.content, *headers)


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v2/charges", "/v1/charge", "/v1/charges/x/y", "/favicon.ico", "//"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_unknown_route_is_404_in_the_envelope(stranger: Client, method: str, path: str) -> None:
    error_of(stranger.world.run(raw(stranger.world, method, path)), 404, "not_found")


async def raw(world: World, method: str, path: str) -> httpx.Response:
    return await world.send(method, httpx.URL("http://api.test").copy_with(raw_path=path.encode()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/charges", {"GET", "POST"}),
        ("/v1/refunds", {"GET", "POST"}),
        ("/v1/charges/x", {"GET"}),
        ("/v1/refunds/x", {"GET"}),
        ("/v1/events", {"GET"}),
        ("/v1/events/x", {"GET"}),
        ("/v1/events/x/resend", {"POST"}),
        ("/v1/webhook_endpoints", {"GET", "POST"}),
        ("/v1/webhook_endpoints/x/rotate_secret", {"POST"}),
        ("/v1/webhook_endpoints/x/deliveries", {"GET"}),
        ("/healthz", {"GET"}),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "PURGE"])
def test_a_method_that_a_route_has_not_is_405_with_allow(
    client: Client, method: str, path: str, allowed: set[str]
) -> None:
    answer = client.send(method, path)
    error_of(answer, 405, "invalid_request_error")
    assert set(answer.headers["allow"].split(", ")) == allowed | {"OPTIONS"}
    options = client.send("OPTIONS", path)
    assert (options.status_code, options.content) == (204, b"")
    assert set(options.headers["allow"].split(", ")) == allowed | {"OPTIONS"}


@pytest.mark.parametrize("method", ["PUT", "POST", "TRACE", "PURGE"])
def test_an_endpoint_may_be_read_changed_and_deleted_and_nothing_else(client: Client, method: str) -> None:
    answer = client.send(method, "/v1/webhook_endpoints/x")
    error_of(answer, 405, "invalid_request_error")
    assert set(answer.headers["allow"].split(", ")) == {"DELETE", "GET", "OPTIONS", "PATCH"}


def test_a_body_that_declares_more_than_64_kib_is_413(client: Client) -> None:
    assert client.post("/v1/charges", content=b" " * 65_536, headers=JSON).status_code == 400
    error_of(client.post("/v1/charges", content=b" " * 65_537, headers=JSON), 413, "invalid_request_error")


def test_a_chunked_body_of_more_than_64_kib_is_413(client: Client) -> None:
    def pieces(count: int) -> Any:
        async def send() -> Any:
            for _ in range(count):
                yield b" " * 1024

        return send()

    assert client.post("/v1/charges", content=pieces(64), headers=JSON).status_code == 400
    error_of(client.post("/v1/charges", content=pieces(65), headers=JSON), 413, "invalid_request_error")


@pytest.mark.parametrize("path", ["/v1/charges", "/v1/charges/x"])
def test_an_oversized_body_is_413_on_a_get_too(client: Client, path: str) -> None:
    error_of(client.send("GET", path, content=b" " * 65_537), 413, "invalid_request_error")


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock can be put forward."""

    skipped = 0.0

    def time(self) -> float:
        return super().time() + self.skipped


def test_a_body_that_is_not_complete_in_30_seconds_is_408() -> None:
    async def drip() -> Any:
        yield b'{"amount":'
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SkippingLoop)
        loop.skipped += 29.9
        await asyncio.sleep(0)
        yield b" "
        loop.skipped += 0.2
        await asyncio.sleep(3600)

    with World(loop_factory=SkippingLoop) as world:
        client = world.client(world.merchant().test)
        error_of(client.post("/v1/charges", content=drip(), headers=JSON), 408, "invalid_request_error")


@pytest.fixture
def limited() -> Iterator[Client]:
    # So slow that no test gains a request by the time it takes.
    with World(limiter=MemoryLimiter(TokenBucket(rate=1, burst=3), clock=lambda: 1000.0)) as world:
        yield world.client(world.merchant().test)


def test_too_many_requests_are_429_with_retry_after_and_the_ratelimit_headers(limited: Client) -> None:
    for left in (2, 1, 0):
        answer = limited.get("/v1/charges")
        assert answer.status_code == 200
        assert answer.headers["ratelimit-policy"] == '"default";q=3;w=3'
        assert answer.headers["ratelimit"] == f'"default";r={left};t={3 - left}'
        assert "retry-after" not in answer.headers
    refused = limited.charge(key="k")
    error_of(refused, 429, "rate_limit_error")
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["ratelimit-policy"] == '"default";q=3;w=3'
    assert refused.headers["ratelimit"] == '"default";r=0;t=1'


def test_the_rate_limit_is_per_merchant_and_mode_and_counts_refusals_too(limited: Client) -> None:
    world = limited.world
    other = world.merchant("Globex")
    for _ in range(3):
        assert limited.charge(amount=1).status_code == 400
    assert limited.get("/v1/charges").status_code == 429
    assert world.client(other.test).get("/v1/charges").status_code == 200
    assert world.client(other.live).get("/v1/charges").status_code == 200


def test_the_rate_limit_comes_before_the_body_is_parsed_and_after_the_key(limited: Client) -> None:
    for _ in range(3):
        limited.get("/v1/charges")
    assert limited.post("/v1/charges", content=b"{").status_code == 429
    assert limited.post("/v1/charges", content=b" " * 65_537).status_code == 413
    assert limited.world.client("sk_test_nonsense").post("/v1/charges", CHARGE).status_code == 401
    assert limited.world.client().get("/healthz").status_code == 200


class Broken(MemoryStore):
    """A store that fails to commit charges: in a way that the world has, or by a bug."""

    error: Callable[[], Exception] | None = None

    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        if self.error and any(isinstance(record, Charge) for record in records):
            raise self.error()
        await super().commit(*records, held=held)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (lambda: Unavailable("the database is away"), 503),
        (lambda: RuntimeError("a bug: 4242424242424242"), 500),
    ],
)
def test_a_5xx_is_internal_error_safe_to_retry_and_says_nothing_of_itself(
    error: Callable[[], Exception], status: int
) -> None:
    store = Broken()
    with World(store=store) as world:
        client = world.client(world.merchant().test)
        store.error = error
        with capture_logs() as logged:
            failed = client.charge(key="k")
        told = error_of(failed, status, "internal_error")
        assert told["details"] == {}
        assert told["message"].endswith("It is safe to try again.")
        store.error = None
        assert client.charge(key="k").status_code == 201
        assert len(client.get("/v1/charges").json()["data"]) == 1
        names = [line["request_id"] for line in logged if line["event"] == "request failed"]
        assert names == ([failed.headers["request-id"]] if status == 500 else [])


def test_a_client_that_hangs_up_before_its_body_is_complete_is_no_error_of_ours(
    world: World, acme: Merchant
) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {acme.test}".encode())]
    scope = {"type": "http", "method": "POST", "path": "/v1/charges", "raw_path": b"/v1/charges"}
    scope |= {"query_string": b"", "headers": headers, "root_path": "", "http_version": "1.1"}
    with capture_logs() as logged:
        world.run(world.app(scope, receive, send))
    assert sent == []
    assert [(line["event"], line["status"]) for line in logged] == [("request", 499)]
    assert 'status="500"' not in world.metrics.text().decode()


def test_messages_never_repeat_what_was_submitted_of_a_card(client: Client) -> None:
    bodies = [
        client.charge(number="4000056655665557"),
        client.charge(number="4000056655665556", source={"cvc": "90817", "exp_month": 77, "exp_year": 98765}),
        client.post("/v1/charges", content=b'{"source":{"number":"4000056655665556"', headers=JSON),
        client.charge(source={"cvc": 90817}),
    ]
    for answer in bodies:
        assert answer.status_code == 400
        assert not re.search("40000566556655|90817|77|98765", answer.text)
