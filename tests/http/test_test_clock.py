"""The clock of the sandbox over HTTP: section 9 of the contract. What is due has happened when it answers."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sandbox import SandboxClock
from kpay_adapters.testing import CHARGE, START, FrozenClock, accept, answer, make_kpay
from kpay_core.domain import deliveries
from kpay_core.domain.posts import Post, Reply
from kpay_core.domain.views import time as written
from kpay_http.sandbox_time import SandboxTime
from kpay_http.turnstile import Turnstile
from tests.http.world import (
    REFUND_FAILING,
    REFUND_PENDING,
    Client,
    Merchant,
    Servers,
    World,
    error_of,
    field_errors,
)
from tests.servers import Installation, Server

HOUR = timedelta(hours=1)
PATH = "/v1/test_clock"


def test_it_tells_the_time_and_turns_it(client: Client) -> None:
    shown = {"object": "test_clock", "now": "2026-01-01T12:00:00.000Z", "livemode": False}
    assert client.get(PATH).json() == shown
    assert client.turn(days=2) == {**shown, "now": "2026-01-03T12:00:00.000Z"}
    assert client.get(PATH).json()["now"] == "2026-01-03T12:00:00.000Z"
    assert client.charged()["created_at"] == "2026-01-03T12:00:00.000Z"


def test_it_is_one_for_all_merchants(client: Client, other: Client) -> None:
    client.turn(hours=1)
    other.turn(hours=1)
    assert client.get(PATH).content == other.get(PATH).content
    assert client.get(PATH).json()["now"] == written(START + 2 * HOUR)


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, {"advance_seconds": ["required"]}),
        ({"advance_seconds": None}, {"advance_seconds": ["required"]}),
        ({"advance_seconds": 0}, {"advance_seconds": ["min 1"]}),
        ({"advance_seconds": -60}, {"advance_seconds": ["min 1"]}),
        ({"advance_seconds": 31_622_401}, {"advance_seconds": ["max 31622400"]}),
        ({"advance_seconds": 10**30}, {"advance_seconds": ["max 31622400"]}),
        ({"advance_seconds": "60"}, {"advance_seconds": ["must be an integer"]}),
        ({"advance_seconds": True}, {"advance_seconds": ["must be an integer"]}),
        ({"advance_seconds": 0.5}, {"advance_seconds": ["must be an integer"]}),
        ({"advance_seconds": 1, "now": "x"}, {"now": ["unknown field"]}),
        ({"seconds": 1}, {"advance_seconds": ["required"], "seconds": ["unknown field"]}),
    ],
)
def test_what_is_wrong_is_a_400_and_no_time_passes(
    client: Client, body: dict[str, Any], errors: dict[str, list[str]]
) -> None:
    assert field_errors(client.post(PATH, body)) == errors
    assert client.get(PATH).json()["now"] == written(START)


def test_a_pending_refund_has_settled_when_its_time_has_come(client: Client) -> None:
    pending = client.refunded(client.charged(number=REFUND_PENDING)["id"], amount=100)["id"]
    client.turn(seconds=29)
    assert client.get(f"/v1/refunds/{pending}").json()["status"] == "pending"
    client.turn(seconds=1)
    assert client.get(f"/v1/refunds/{pending}").json()["status"] == "succeeded"


def test_nobody_turns_it_past_all_times(world: World, client: Client) -> None:
    world.clock.advance(datetime(9900, 12, 31, tzinfo=UTC) - world.clock.now())
    errors = field_errors(client.post(PATH, {"advance_seconds": 86_400}))
    assert errors == {"advance_seconds": ["no further than the year 9900"]}


def test_without_the_setting_there_is_none() -> None:
    with World(test_clock=False) as world:
        client = world.client(world.merchant().test)
        for answered in (client.get(PATH), client.post(PATH, {"advance_seconds": 1}), client.post(PATH, {})):
            error_of(answered, 404, "not_found")


def test_with_a_live_key_there_is_none(client: Client, live: Client) -> None:
    for answered in (live.get(PATH), live.post(PATH, {"advance_seconds": 1}), live.post(PATH, {})):
        error_of(answered, 404, "not_found")
    assert client.get(PATH).json()["now"] == written(START)


def test_everything_that_is_due_has_happened_when_it_answers(client: Client) -> None:
    paid = client.charged()["id"]
    pending = client.refunded(client.charged(number=REFUND_PENDING)["id"], amount=100)["id"]
    bounces = client.refunded(client.charged(number=REFUND_FAILING)["id"], amount=200)["id"]
    disputed = client.disputed()["id"]
    client.turn(days=8)
    statuses = [client.get(f"/v1/refunds/{refund}").json()["status"] for refund in (pending, bounces)]
    assert statuses == ["succeeded", "failed"]
    assert client.get(f"/v1/disputes/{disputed}").json()["status"] == "lost"
    payouts = client.data("/v1/payouts")
    assert payouts
    assert {payout["status"] for payout in payouts} == {"paid"}
    assert client.balance() == (0, 0, 0, 0)
    sources = [
        line["source"]
        for payout in payouts
        for line in client.get(f"/v1/payouts/{payout['id']}").json()["line_items"]
    ]
    assert {paid, pending, bounces, disputed} <= set(sources)
    types = [event["type"] for event in client.data("/v1/events")]
    assert {"refund.updated", "payout.created", "payout.paid", "dispute.created", "dispute.closed"} <= set(
        types
    )


def test_what_is_due_happens_when_it_is_due_and_not_when_the_time_has_passed(client: Client) -> None:
    client.charged(number=REFUND_FAILING)
    client.disputed()
    client.turn(days=30)
    at = {event["type"]: event["created_at"] for event in client.data("/v1/events")}
    assert at["dispute.created"] == "2026-01-01T12:01:00.000Z"
    assert at["dispute.closed"] == "2026-01-08T12:01:00.000Z"
    days = [payout["created_at"] for payout in client.data("/v1/payouts")]
    assert days == ["2026-01-04T00:00:00.000Z"]


def refuse(post: Post) -> Reply:
    return answer(post, 500)


def attempts(client: Client, endpoint: str) -> list[datetime]:
    (delivery,) = client.data(f"/v1/webhook_endpoints/{endpoint}/deliveries")
    return [datetime.fromisoformat(attempt["started_at"]) for attempt in delivery["attempts"]]


def test_a_webhook_that_fails_is_retried_when_it_is_due_and_abandoned(world: World, client: Client) -> None:
    endpoint = client.registered(enabled_events=["charge.failed"])["id"]
    world.servers.receiver = refuse
    client.charge(number="4000000000000002")
    client.turn(seconds=1)
    assert attempts(client, endpoint) == [START]
    client.turn(hours=80)
    made = attempts(client, endpoint)
    assert len(made) == 9
    for number, (one, following) in enumerate(pairwise(made), start=1):
        delay = deliveries.delay_after(number)
        most = min(delay * deliveries.JITTER_SHARE, deliveries.MAX_JITTER)
        assert delay <= following - one <= delay + most + timedelta(seconds=1)
    (delivery,) = client.data(f"/v1/webhook_endpoints/{endpoint}/deliveries")
    assert (delivery["status"], delivery["abandoned_because"]) == ("abandoned", "exhausted")


def test_each_retry_is_made_within_a_second_of_its_time(world: World, client: Client) -> None:
    endpoint = client.registered(enabled_events=["charge.failed"])["id"]
    world.servers.receiver = refuse
    client.charge(number="4000000000000002")
    client.turn(seconds=1)
    for number in range(1, 9):
        (delivery,) = client.data(f"/v1/webhook_endpoints/{endpoint}/deliveries")
        due = datetime.fromisoformat(delivery["next_attempt_at"])
        client.turn(seconds=(due - world.clock.now()) // timedelta(seconds=1))
        assert len(attempts(client, endpoint)) == number + (due <= world.clock.now())
        # Far over it: the attempt is made at its time all the same.
        client.turn(minutes=10 if number == 2 else 1)
        made = attempts(client, endpoint)
        assert len(made) == number + 1
        assert timedelta(0) <= made[-1] - due <= timedelta(seconds=1)


def test_a_receiver_that_is_back_gets_what_it_missed(world: World, client: Client) -> None:
    endpoint = client.registered(enabled_events=["charge.failed"])["id"]
    back_at = START + timedelta(hours=3)

    def receive(post: Post) -> Reply:
        return accept(post) if world.clock.now() >= back_at else refuse(post)

    world.servers.receiver = receive
    client.charge(number="4000000000000002")
    client.turn(days=1)
    made = attempts(client, endpoint)
    assert len(made) == 6
    assert made[-2] < back_at <= made[-1]


def test_an_idempotency_key_is_forgotten_after_24_hours(client: Client) -> None:
    made = client.charge(key="order-1")
    client.turn(hours=23, minutes=59)
    again = client.charge(key="order-1")
    assert (again.content, again.headers["idempotent-replayed"]) == (made.content, "true")
    client.turn(minutes=1)
    assert client.charge(key="order-1").json()["id"] != made.json()["id"]


def test_a_key_that_was_rotated_ends_after_24_hours(world: World, client: Client, acme: Merchant) -> None:
    rotated = world.run(world.kpay.rotate_key(acme.id, "test", kind="secret", at_once=False))
    new = world.client(rotated.key)
    new.turn(hours=23, minutes=59, seconds=59)
    assert client.get(PATH).status_code == 200
    # Who turns it by the key that ends with this second is answered.
    assert client.turn(seconds=1)["now"] == written(START + timedelta(days=1))
    assert client.get(PATH).status_code == 401
    assert new.get(PATH).status_code == 200


def test_a_key_that_was_just_let_in_ends_with_the_time_that_is_turned_over(
    world: World, client: Client, acme: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Days pass in a moment: what a process has in mind of the key was read within the second.
    monkeypatch.setattr(world.clock, "monotonic", lambda: 0.0)
    assert client.get(PATH).status_code == 200
    new = world.client(world.run(world.kpay.rotate_key(acme.id, "test")).key)
    new.turn(hours=24, seconds=1)
    assert client.get(PATH).status_code == 401


class Passing:
    """Time that passes while something else is done: a receiver hangs, and others get their turn at each second."""

    def __init__(self, world: World, client: Client) -> None:
        self.world = world
        self.client = client
        self.has_begun = asyncio.Event()
        world.servers.receiver = self._hang
        client.registered(enabled_events=["charge.failed"])
        client.charge(number="4000000000000002")

    def _hang(self, _: Post) -> timedelta:
        self.has_begun.set()
        return timedelta(seconds=15)

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self.world.send(method, path, **self.client.options(None, options))

    async def turn(self, seconds: int) -> httpx.Response:
        return await self.send("POST", PATH, json={"advance_seconds": seconds})


def test_what_is_sent_while_time_passes_waits_and_lives_after_it(world: World, client: Client) -> None:
    passing = Passing(world, client)

    async def charge(number: int) -> httpx.Response:
        options = client.options({"Idempotency-Key": f"order-{number % 2}"}, {"json": CHARGE})
        return await world.send("POST", "/v1/charges", **options)

    async def at_once() -> tuple[httpx.Response, list[httpx.Response]]:
        turning = asyncio.ensure_future(passing.turn(259_200))
        await passing.has_begun.wait()
        made = await asyncio.gather(*(charge(number) for number in range(4)))
        return await turning, made

    turned, made = world.run(at_once())
    now = turned.json()["now"]
    assert now == written(START + timedelta(days=3))
    assert [each.status_code for each in made] == [201] * 4
    assert {each.json()["created_at"] for each in made} == {now}
    assert len({each.json()["id"] for each in made}) == 2


def test_what_only_reads_does_not_wait(world: World, client: Client) -> None:
    passing = Passing(world, client)

    async def at_once() -> bool:
        turning = asyncio.ensure_future(passing.turn(259_200))
        await passing.has_begun.wait()
        assert (await passing.send("GET", "/v1/charges")).status_code == 200
        still = not turning.done()
        await turning
        return still

    assert world.run(at_once())


def test_two_who_turn_it_at_once_turn_it_by_both(world: World, client: Client) -> None:
    passing = Passing(world, client)

    async def at_once() -> list[httpx.Response]:
        return list(await asyncio.gather(passing.turn(3600), passing.turn(7200)))

    times = sorted(each.json()["now"] for each in world.run(at_once()))
    assert times[-1] == written(START + 3 * HOUR)
    assert times[0] in (written(START + HOUR), written(START + 2 * HOUR))


def test_a_client_that_hangs_up_stops_nothing(world: World, client: Client) -> None:
    passing = Passing(world, client)

    async def hang_up() -> None:
        turning = asyncio.ensure_future(passing.turn(259_200))
        await passing.has_begun.wait()
        turning.cancel()
        await asyncio.gather(turning, return_exceptions=True)
        await world.system.until_done()

    world.run(hang_up())
    assert client.get(PATH).json()["now"] == written(START + timedelta(days=3))
    # And the gate is open again.
    client.charged()


def test_a_process_that_is_behind_adds_to_the_time_of_all() -> None:
    machine, journal = FrozenClock(), MemoryStore()
    ahead, behind = (SandboxClock(machine, journal=journal) for _ in range(2))
    here = SandboxTime(
        make_kpay(clock=behind, journal=journal),
        behind,
        Servers(machine),
        turnstile=Turnstile(),
        pause=nullcontext,
    )

    async def turn() -> datetime:
        await ahead.turn_to(START + 2 * HOUR)
        return await here.advance(HOUR)

    assert asyncio.run(turn()) == START + 3 * HOUR


# Whole installations


def ask(server: Server, key: str, method: str = "GET", path: str = PATH, **body: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.request(method, server.url + path, headers=headers, json=body or None, timeout=30)


def time_at(server: Server, key: str) -> datetime:
    answered = ask(server, key)
    assert answered.status_code == 200, answered.text
    return datetime.fromisoformat(answered.json()["now"])


@contextmanager
def installed(folder: Path, **settings: str) -> Iterator[tuple[Installation, str]]:
    with Installation(folder, f"sqlite:///{folder}/kpay.db", **settings) as installation:
        yield installation.migrate(), installation.merchant()["keys"]["test"]["secret"]


def test_it_is_off_where_nobody_has_set_it(tmp_path: Path) -> None:
    with installed(tmp_path) as (installation, key):
        assert ask(installation.serve(), key).status_code == 404


def test_dev_has_it_on_unless_it_is_set_off(tmp_path: Path) -> None:
    with installed(tmp_path) as (installation, key):
        for setting, status in ((None, 200), ("0", 404)):
            server = installation.start("dev", KPAY_TEST_CLOCK=setting).wait_until_up()
            assert ask(server, key).status_code == status
            server.stop()


def within(seconds: float, happens: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if happens():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.heavy
def test_a_second_process_follows_a_restart_keeps_it_and_commands_live_in_it(tmp_path: Path) -> None:
    with installed(tmp_path, KPAY_TEST_CLOCK="1") as (installation, key):
        one, two = installation.start(), installation.start()
        one.wait_until_up()
        two.wait_until_up()
        charged = ask(one, key, "POST", "/v1/charges", **CHARGE).json()
        turned = ask(one, key, "POST", advance_seconds=5 * 86_400)
        until = datetime.fromisoformat(turned.json()["now"])
        # It looks once a second; the rest is what a machine under load takes.
        assert within(3, lambda: time_at(two, key) >= until)
        for server in (one, two):
            (payout,) = ask(server, key, path="/v1/payouts").json()["data"]
            assert payout["status"] == "paid"
            shown = ask(server, key, path=f"/v1/payouts/{payout['id']}").json()
            assert [line["source"] for line in shown["line_items"]] == [charged["id"]] * 2
            assert server.stop() == 0
        again = installation.serve()
        assert time_at(again, key) >= until
        # Whoever turns it adds to the time of all.
        assert ask(again, key, "POST", advance_seconds=60).json()["now"] >= written(
            until + timedelta(minutes=1)
        )

        merchant = installation.json("merchants", "list")[0]
        for setting in ("1", None):
            rotated = installation.json(
                "keys", "rotate", "--merchant", merchant["id"], KPAY_TEST_CLOCK=setting
            )
            assert datetime.fromisoformat(rotated["previous_expires_at"]) >= until + timedelta(days=1)
            assert ask(again, key).status_code == 200
