"""A server as a target: which keys it is asked with, how long one waits, and what is told of it."""

import json

import pytest

from kpay_adapters.testing.targets import Ask, CannotAsk, OverHttp, Said
from kpay_core.domain import keys
from tests.kit.proxies import Answer, serving

KEY, OTHER_KEY = (keys.make_key("secret", "test", bytes([n] * 32)) for n in (1, 2))
LIVE_KEY = keys.make_key("secret", "live", bytes([3] * 32))
NOBODY = "http://127.0.0.1:9"

BALANCE = b'{"object":"balance"}'
CHARGE = Ask(verb="create", kind="charges", body={"amount": 50}, key="order 1")


class Scripted:
    """A server that lets everybody in, and then answers what it is told, in that order."""

    def __init__(self, *answers: Answer) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self._answers = list(answers)

    def __call__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if path == "/v1/balance":
            return 200, {}, BALANCE
        if path == "/v1/test_clock":
            return 404, {}, b"{}"
        self.asked.append((method, path, headers, body))
        return self._answers.pop(0)


@pytest.mark.parametrize(
    "key", [LIVE_KEY, "sk_live_", "pk_live_x", KEY[:-1], "", f"{KEY}\r\nX: y", f"sk{KEY}"]
)
def test_only_a_test_key_is_used_and_no_key_is_told(key: str) -> None:
    with pytest.raises(CannotAsk, match="sk_test_…") as refused:
        OverHttp(NOBODY, key)
    with pytest.raises(CannotAsk, match="sk_test_…"):
        OverHttp(NOBODY, KEY, other_keys=[key])
    assert not key or key not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://pay.example", "http://user:pass@pay.example", "http://", "http://a..b"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(CannotAsk, match="must be like"):
        OverHttp(url, KEY)


def test_a_server_that_is_away_cannot_be_asked() -> None:
    with pytest.raises(CannotAsk, match="cannot be reached: ConnectionRefusedError"):
        OverHttp(NOBODY, KEY)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((401, {}, b"{}"), "does not know the key"),
        ((200, {}, b"<html>"), "does not answer as K-Payments does"),
        ((302, {"location": "/login"}, b""), "does not answer as K-Payments does: 302"),
    ],
)
def test_a_server_that_is_none_or_lets_nobody_in_cannot_be_asked(answer: Answer, told: str) -> None:
    with serving(lambda *_: answer) as url, pytest.raises(CannotAsk, match=told) as refused:
        OverHttp(url, KEY)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("status", [409, 429])
def test_whoever_is_told_to_come_back_later_does(status: int) -> None:
    later = (status, {"retry-after": "0"}, b"{}")
    server = Scripted(later, later, (201, {}, b'{"id":"1"}'))
    with serving(server) as url:
        target = OverHttp(url, KEY)
        reply = target.ask(CHARGE)
        target.close()
    assert (reply.said, reply.value) == (Said.CREATED, {"id": "1"})
    assert len({json.dumps([method, path, body.decode()]) for method, path, _, body in server.asked}) == 1


def test_nobody_comes_back_for_ever() -> None:
    server = Scripted(*[(429, {"retry-after": "0"}, b"{}")] * 30)
    with serving(server) as url:
        target = OverHttp(url, KEY)
        assert target.ask(CHARGE).said is Said.BUSY
        target.close()


@pytest.mark.parametrize("status", [500, 503, 302, 418])
def test_an_answer_that_the_api_does_not_know_is_the_servers_failure(status: int) -> None:
    with serving(Scripted((status, {}, b"{}"))) as url:
        target = OverHttp(url, KEY)
        assert target.ask(CHARGE).said is Said.FAILED
        target.close()


def test_a_request_is_what_the_api_has() -> None:
    asks = [
        (CHARGE, "POST", "/v1/charges"),
        (Ask(verb="show", kind="charges", id="a/../b?"), "GET", "/v1/charges/a%2F..%2Fb%3F"),
        (Ask(verb="list", kind="refunds", params={"limit": "3"}), "GET", "/v1/refunds?limit=3"),
        (Ask(verb="change", kind="disputes", id="dp_1", body={}), "POST", "/v1/disputes/dp_1"),
        (
            Ask(verb="change", kind="webhook_endpoints", id="we_1", body={}),
            "PATCH",
            "/v1/webhook_endpoints/we_1",
        ),
        (
            Ask(verb="rotate", kind="webhook_endpoints", id="we_1"),
            "POST",
            "/v1/webhook_endpoints/we_1/rotate_secret",
        ),
        (
            Ask(verb="delete", kind="webhook_endpoints", id="we_1", as_other=0),
            "DELETE",
            "/v1/webhook_endpoints/we_1",
        ),
    ]
    server = Scripted(*[(200, {"Idempotent-Replayed": "true"}, b"{}")] * len(asks))
    with serving(server) as url:
        target = OverHttp(f"{url}/", KEY, other_keys=[OTHER_KEY])
        replies = [target.ask(ask) for ask, *_ in asks]
        target.close()
    assert [(method, path) for method, path, *_ in server.asked] == [
        (method, path) for _, method, path in asks
    ]
    assert all(reply.replayed for reply in replies)
    sent = [headers for _, _, headers, _ in server.asked]
    assert (sent[0]["Idempotency-Key"], sent[0]["Content-Type"]) == ("order 1", "application/json")
    assert [each["Authorization"] == f"Bearer {KEY}" for each in sent] == [True] * 6 + [False]
    assert sent[-1]["Authorization"] == f"Bearer {OTHER_KEY}"


def test_a_connection_that_breaks_tells_nothing_of_what_was_sent() -> None:
    def serve(method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if path == "/v1/charges":
            raise ConnectionAbortedError
        return Scripted()(method, path, headers, body)

    with serving(serve) as url:
        target = OverHttp(url, KEY)
        with pytest.raises(CannotAsk) as broken:
            target.ask(CHARGE)
        target.close()
    assert str(broken.value) == f"{url} cannot be reached: RemoteDisconnected."
    assert broken.value.__cause__ is None
    assert broken.value.__suppress_context__
