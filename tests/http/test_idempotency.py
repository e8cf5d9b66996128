"""Idempotency keys over HTTP: the public document, and section 4 of the contract."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sandbox import SandboxNetwork
from kpay_adapters.testing import CHARGE, FrozenClock
from kpay_core.domain.cards import Card
from kpay_core.domain.processing import Verdict
from tests.http.world import (
    DECLINES,
    DOWN,
    LOST,
    Client,
    Merchant,
    World,
    charge,
    error_of,
    field_errors,
)


def is_replay_of(again: httpx.Response, first: httpx.Response) -> bool:
    """Status and body byte for byte, plus `Idempotent-Replayed: true`."""
    assert "idempotent-replayed" not in first.headers
    assert again.headers.get("idempotent-replayed") == "true"
    assert again.headers["request-id"] != first.headers["request-id"]
    return (again.status_code, again.content) == (first.status_code, first.content)


def charges_of(client: Client) -> list[Any]:
    return client.get("/v1/charges").json()["data"]


def is_reused(answer: httpx.Response) -> bool:
    error = error_of(answer, 400, "invalid_request_error")
    return error["details"] == {"code": "idempotency_key_reused"}


def test_a_replay_returns_the_original_response_without_a_duplicate(client: Client) -> None:
    first = client.charge(key="8f4c2e1a-...")
    assert is_replay_of(client.charge(key="8f4c2e1a-..."), first)
    assert is_replay_of(client.charge(key="8f4c2e1a-..."), first)
    assert len(charges_of(client)) == 1


def test_a_replay_is_the_original_response_also_when_the_charge_has_changed(client: Client) -> None:
    first = client.charge(key="k")
    client.refunded(first.json()["id"])
    assert is_replay_of(client.charge(key="k"), first)


def test_a_decline_is_replayed(client: Client) -> None:
    first = client.charge(number=DECLINES, key="k")
    assert first.status_code == 402
    assert is_replay_of(client.charge(number=DECLINES, key="k"), first)
    assert len(charges_of(client)) == 1


def test_a_refund_is_replayed(client: Client) -> None:
    paid = client.charged()["id"]
    first = client.refund(paid, amount=1000, key="k")
    assert is_replay_of(client.refund(paid, amount=1000, key="k"), first)
    assert client.get(f"/v1/charges/{paid}").json()["amount_refunded"] == 1000


def test_a_full_refund_is_replayed_although_nothing_is_left_now(client: Client) -> None:
    paid = client.charged()["id"]
    first = client.refund(paid, key="k")
    assert is_replay_of(client.refund(paid, key="k"), first)


def test_a_replay_is_answered_before_validation_when_the_card_has_expired_since(
    client: Client, world: World
) -> None:
    expiring = {"exp_month": 1, "exp_year": 2026}
    world.pass_time(days=30, hours=11)
    first = client.charge(source=expiring, key="k")
    world.pass_time(hours=2)
    assert field_errors(client.charge(source=expiring, key="another"))
    assert is_replay_of(client.charge(source=expiring, key="k"), first)


def test_keys_are_remembered_for_24_hours_from_first_use(client: Client, world: World) -> None:
    first = client.charge(key="k")
    world.pass_time(hours=23, minutes=59, seconds=59)
    assert is_replay_of(client.charge(key="k"), first)
    world.pass_time(seconds=1)
    anew = client.charge(key="k", amount=50)
    assert anew.status_code == 201
    assert anew.json()["id"] != first.json()["id"]


def test_keys_are_scoped_to_merchant_and_mode(client: Client, live: Client, other: Client) -> None:
    answers = [each.charge(key="k") for each in (client, live, other)]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len({answer.json()["id"] for answer in answers}) == 3
    assert not any("idempotent-replayed" in answer.headers for answer in answers)


def test_rotating_the_api_key_in_the_middle_of_a_retry_does_not_matter(
    client: Client, world: World, acme: Merchant
) -> None:
    first = client.charge(key="k")
    rotated = world.run(world.kpay.rotate_key(acme.id, "test"))
    assert is_replay_of(world.client(rotated.key).charge(key="k"), first)


@pytest.mark.parametrize(
    ("first", "then"),
    [({"description": None}, {}), ({}, {"description": None}), ({"amount": 4999}, {"amount": 4999.0})],
)
def test_what_means_the_same_is_the_same_request(
    client: Client, first: dict[str, Any], then: dict[str, Any]
) -> None:
    body = {name: value for name, value in CHARGE.items() if name != "description"}
    given = client.post("/v1/charges", {**body, **first}, key="k")
    again = client.post("/v1/charges", {**body, **then}, key="k")
    assert (again.status_code, again.content) == (201, given.content)
    assert again.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 5000},
        {"number": "5555555555554444"},
        {"source": {"exp_year": 2031}},
        {"description": "Order #1025"},
        {"metadata": {"order_id": 1024}},
        {"billing_address": {"line2": "Suite 2"}},
        {"ammount": 4999},
    ],
)
def test_another_body_is_400_idempotency_key_reused(client: Client, changes: dict[str, Any]) -> None:
    client.charge(key="k")
    assert is_reused(client.charge(key="k", **changes))
    assert len(charges_of(client)) == 1


def test_another_endpoint_is_400_idempotency_key_reused(client: Client) -> None:
    paid = client.charge(key="k").json()["id"]
    assert is_reused(client.refund(paid, key="k"))
    assert is_reused(client.post("/v1/refunds", CHARGE, key="k"))


def test_the_cvc_does_not_count_nor_does_the_order_or_spelling_of_the_json(client: Client) -> None:
    first = client.charge(key="k", source={"cvc": "123"})
    assert is_replay_of(client.charge(key="k", source={"cvc": "999"}), first)
    reordered = {name: charge()[name] for name in reversed(CHARGE)}
    assert is_replay_of(client.post("/v1/charges", reordered, key="k"), first)
    spaced = client.post(
        "/v1/charges",
        key="k",
        content=httpx.Request("POST", "/", json=CHARGE).content.replace(b"USD", b"\\u0055SD") + b"\n  ",
        headers={"Content-Type": "application/json"},
    )
    assert is_replay_of(spaced, first)


@pytest.mark.parametrize(
    ("request_of", "status"),
    [
        (lambda c: c.charge(key="k", amount=49), 400),
        (lambda c: c.post("/v1/charges", key="k", content=b"{"), 400),
        (lambda c: c.refund("01941f29-7c00-7000-8000-000000000001", key="k"), 404),
        (lambda c: c.world.client().charge(key="k"), 401),
        (lambda c: c.post("/v1/charges", key="k", content=b"x" * 65_537), 413),
    ],
)
def test_what_took_no_effect_is_not_stored_and_the_key_stays_free(
    client: Client, request_of: Any, status: int
) -> None:
    assert request_of(client).status_code == status
    answer = client.charge(key="k")
    assert answer.status_code == 201
    assert "idempotent-replayed" not in answer.headers


@pytest.mark.parametrize("key", ["", "é", "a\tb", "x" * 256, "\x7f", "a\x00b"])
def test_a_key_is_1_to_255_printable_ascii_characters(client: Client, key: str) -> None:
    answer = client.post("/v1/charges", CHARGE, headers=[(b"Idempotency-Key", key.encode())])
    assert field_errors(answer) == {"Idempotency-Key": ["1 to 255 printable ASCII characters"]}
    assert charges_of(client) == []


@pytest.mark.parametrize("key", ["x", "x" * 255, "~!@#$%^&*(){}[]|\\:;\"'<>,.?/`", "a b", "../../etc"])
def test_any_printable_key_works(client: Client, key: str) -> None:
    first = client.charge(key=key)
    assert first.status_code == 201
    assert is_replay_of(client.charge(key=key), first)
    assert client.charge(key=key + "2" if len(key) < 255 else "y").json()["id"] != first.json()["id"]


def test_a_key_that_is_given_twice_is_400(client: Client) -> None:
    headers = [("Idempotency-Key", "k"), ("Idempotency-Key", "k")]
    answer = client.post("/v1/charges", CHARGE, headers=headers)
    assert field_errors(answer) == {"Idempotency-Key": ["given more than once"]}


def test_a_get_does_not_look_at_the_header(client: Client) -> None:
    for headers in ([("Idempotency-Key", "")], [("Idempotency-Key", "k")] * 2):
        assert client.get("/v1/charges", headers=headers).status_code == 200


def test_an_unknown_outcome_is_202_and_later_replays_give_the_final_answer(
    client: Client, world: World
) -> None:
    first = client.charge(number=LOST, key="k")
    assert (first.status_code, first.json()["status"]) == (202, "processing")
    assert is_replay_of(client.charge(number=LOST, key="k"), first)
    world.pass_time(seconds=20)
    final = client.charge(number=LOST, key="k")
    assert (final.status_code, final.json()) == (201, {**first.json(), "status": "succeeded"})
    assert final.headers["idempotent-replayed"] == "true"
    assert client.charge(number=LOST, key="k").content == final.content
    assert len(charges_of(client)) == 1


def test_a_charge_that_was_undone_frees_its_key(client: Client, world: World) -> None:
    first = client.charge(number=DOWN, key="k")
    assert first.status_code == 202
    world.pass_time(minutes=10)
    world.sweep()
    again = client.charge(number=DOWN, key="k")
    assert again.status_code == 202
    assert again.json()["id"] != first.json()["id"]


class Slow(SandboxNetwork):
    """A network whose authorisations take until the test lets them go."""

    def __init__(self) -> None:
        super().__init__(journal=MemoryStore(), clock=FrozenClock())
        self.asked = 0
        self.is_asked = asyncio.Event()
        self.let_go = asyncio.Event()

    async def authorise(self, *, reference: str, amount: int, currency: str, card: Card) -> Verdict:
        self.asked += 1
        self.is_asked.set()
        await self.let_go.wait()
        return await super().authorise(reference=reference, amount=amount, currency=currency, card=card)


@pytest.fixture
def network() -> Slow:
    return Slow()


@pytest.fixture
def slow(network: Slow) -> Iterator[Client]:
    with World(processor=network) as world:
        yield world.client(world.merchant().test)


def test_a_key_still_worked_on_after_10_seconds_is_409_with_retry_after(slow: Client, network: Slow) -> None:
    options = slow.options({"Idempotency-Key": "k"}, {"json": CHARGE})

    async def race() -> tuple[httpx.Response, httpx.Response]:
        first = asyncio.create_task(slow.world.send("POST", "/v1/charges", **options))
        await network.is_asked.wait()
        began = slow.world.clock.now()
        second = await slow.world.send("POST", "/v1/charges", **options)
        assert 10 <= (slow.world.clock.now() - began).total_seconds() < 11
        network.let_go.set()
        return await first, second

    first, second = slow.world.run(race())
    error = error_of(second, 409, "invalid_request_error")
    assert error["details"] == {"code": "idempotency_key_in_use"}
    assert int(second.headers["retry-after"]) >= 1
    assert first.status_code == 201
    assert is_replay_of(slow.charge(key="k"), first)


def test_the_second_waits_for_the_first_and_replays_it(slow: Client, network: Slow) -> None:
    async def let_go() -> None:
        await network.is_asked.wait()
        network.let_go.set()

    async def race() -> list[httpx.Response]:
        options = slow.options({"Idempotency-Key": "k"}, {"json": CHARGE})
        sent = [slow.world.send("POST", "/v1/charges", **options) for _ in range(20)]
        answers, _ = await asyncio.gather(asyncio.gather(*sent), let_go())
        return answers

    answers = slow.world.run(race())
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 19
    assert network.asked == 1


def test_a_client_that_hangs_up_does_not_cut_its_charge_off(slow: Client, network: Slow) -> None:
    options = slow.options({"Idempotency-Key": "k"}, {"json": CHARGE})

    async def hang_up() -> None:
        request = asyncio.create_task(slow.world.send("POST", "/v1/charges", **options))
        await network.is_asked.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        network.let_go.set()
        await slow.world.system.until_done()

    slow.world.run(hang_up())
    assert [each["status"] for each in charges_of(slow)] == ["succeeded"]
    answer = slow.charge(key="k")
    assert (answer.status_code, answer.headers["idempotent-replayed"]) == (201, "true")
    assert network.asked == 1
