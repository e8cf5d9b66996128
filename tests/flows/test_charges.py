"""Charges: what becomes of each card, told to the sender, in the books and at the network."""

from datetime import UTC, datetime
from typing import Any

import pytest

from kpay_adapters.sandbox.cards import DECLINED as DECLINE_CODES
from kpay_adapters.testing import FrozenClock
from kpay_core import Scope
from kpay_core.domain.charges import Charge, read_new_charge
from kpay_core.domain.errors import Invalid, NoProcessor, NotFound
from kpay_core.domain.events import Event
from kpay_core.domain.idempotency import Outcome
from kpay_core.domain.processing import Outcome as Network
from tests.flows.world import DOWN, GOOD, LATE, LOST, World, check_books, request

pytestmark = pytest.mark.anyio


async def test_a_good_card_is_captured_once_and_told_in_full() -> None:
    world = await World().open()
    answer = await world.charge()
    assert (answer.outcome, answer.replayed) == (Outcome.CREATED, False)
    charge = answer.value
    assert (charge["status"], charge["amount"], charge["livemode"]) == ("succeeded", 4999, False)
    assert charge["metadata"] == {"order_id": "1024"}
    assert await world.captured() == [charge["id"]]
    await check_books(world)


@pytest.mark.parametrize(
    "number",
    [
        "5555555555554444",
        "2223003122003222",
        "6011111111111117",
        "3056930009020004",
        "3566002020360505",
        "6200000000000005",
    ],
)
async def test_each_brands_usual_number_succeeds(number: str) -> None:
    world = await World().open()
    assert (await world.charge(number)).value["status"] == "succeeded"


@pytest.mark.parametrize(("number", "code"), DECLINE_CODES.items())
@pytest.mark.parametrize("key", [None, "k"])
async def test_a_magic_card_is_declined_with_its_code(number: str, code: str, key: str | None) -> None:
    world = await World().open()
    answer = await world.charge(number, key=key)
    error: Any = answer.value["error"]
    (charge,) = await world.all(Charge)
    assert answer.outcome is Outcome.DECLINED
    assert error["type"] == "card_error"
    assert error["details"] == {"code": "card_declined", "decline_code": code, "charge": charge.id}
    assert (charge.status, charge.failure_code) == ("failed", code)
    assert await world.captured() == []
    await check_books(world)


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_late_answer_is_waited_for(key: str | None) -> None:
    world = await World().open()
    before = world.clock.now()
    answer = await world.charge(LATE, key=key)
    assert answer.outcome is Outcome.CREATED
    assert (world.clock.now() - before).total_seconds() == 3
    await check_books(world)


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_lost_answer_is_accepted_and_the_charge_succeeds_within_half_a_minute(
    key: str | None,
) -> None:
    world = await World().open()
    answer = await world.charge(LOST, key=key)
    assert (answer.outcome, answer.value["status"]) == (Outcome.ACCEPTED, "processing")
    for _ in range(6):
        world.advance(seconds=5)
        await world.kpay.sweep()
    assert (await world.the_charge(answer)).status == "succeeded"
    await check_books(world)
    if key:
        final = await world.charge(LOST, key=key)
        assert (final.outcome, final.replayed, final.value["id"]) == (
            Outcome.CREATED,
            True,
            answer.value["id"],
        )
        assert final.value["status"] == "succeeded"


async def test_a_replay_while_nobody_knows_is_accepted_again() -> None:
    world = await World().open()
    first = await world.charge(LOST, key="k")
    again = await world.charge(LOST, key="k")
    assert (again.outcome, again.replayed, again.body) == (Outcome.ACCEPTED, True, first.body)
    world.advance(seconds=20)
    # The client's own retry does the sweeper's work.
    assert (await world.charge(LOST, key="k")).outcome is Outcome.CREATED
    await check_books(world)


async def test_a_charge_that_the_network_never_saw_is_undone_and_its_key_free() -> None:
    world = await World().open()
    answer = await world.charge(DOWN, key="k")
    assert answer.outcome is Outcome.ACCEPTED
    world.advance(seconds=119)
    await world.kpay.sweep()
    assert (await world.the_charge(answer)).status == "processing", "something may still be on its way"
    world.advance(seconds=1)
    await world.kpay.sweep()
    undone = await world.the_charge(answer)
    assert (undone.status, undone.failure_code) == ("failed", "not_processed")
    # The same key, also with another body, is a request of its own now.
    fresh = await world.charge(GOOD, key="k")
    assert (fresh.outcome, fresh.replayed) == (Outcome.CREATED, False)
    assert await world.captured() == [fresh.value["id"]]
    await check_books(world)


async def test_a_late_authorisation_finds_the_tombstone() -> None:
    world = await World().open()
    answer = await world.charge(DOWN)
    await world.settle()
    charge = await world.the_charge(answer)
    card = read_new_charge(request(), now=world.clock.now()).source
    verdict = await world.network.authorise(reference=charge.id, amount=4999, currency="USD", card=card)
    assert verdict.outcome is Network.REVERSED
    assert await world.captured() == []


async def test_an_invalid_request_leaves_nothing_behind_and_its_key_free() -> None:
    world = await World().open()
    with pytest.raises(Invalid) as caught:
        await world.charge("4242424242424241", key="k", amount=1)
    assert caught.value.fields == {"source.number": ["not a card number"], "amount": ["min 50"]}
    assert await world.all(Charge) == []
    assert await world.entries() == []
    assert (await world.charge(key="k")).outcome is Outcome.CREATED


async def test_a_replay_is_answered_also_when_the_card_has_expired_since() -> None:
    world = await World(clock=FrozenClock(datetime(2026, 1, 31, 23, 59, tzinfo=UTC))).open()
    body = request()
    body["source"].update(exp_month=1, exp_year=2026)
    first = await world.kpay.create_charge(world.scope, body, idempotency_key="k")
    world.advance(minutes=2)
    again = await world.kpay.create_charge(world.scope, body, idempotency_key="k")
    assert (again.body, again.replayed) == (first.body, True)
    with pytest.raises(Invalid, match="Validation"):
        await world.kpay.create_charge(world.scope, body, idempotency_key="other")


class Live:
    """A network that is no sandbox."""

    takes_test_cards = False

    def __init__(self, network: Any) -> None:
        self._network = network
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> object:
        self.asked.append(name)
        return getattr(self._network, name)


@pytest.mark.parametrize("number", ["4242424242424242", "4000000000000077"])
async def test_a_test_card_is_declined_in_live_mode_and_no_network_asked(number: str) -> None:
    world = await World().open()
    network = Live(world.network)
    world.kpay.processors = {"live": network}  # pyright: ignore[reportAttributeAccessIssue]
    world.scope = Scope(world.scope.merchant, livemode=True)
    declined = await world.charge(number, key="k")
    assert declined.outcome is Outcome.DECLINED
    assert '"decline_code":"test_card"' in declined.body
    assert network.asked == []
    assert (await world.charge(number, key="k")).body == declined.body
    taken = await world.charge("4539578763621486")
    assert (taken.value["status"], network.asked) == ("succeeded", ["authorise"])
    assert [each.type for each in await world.all(Event)] == ["charge.failed", "charge.succeeded"]


@pytest.mark.parametrize("key", [None, "k"])
async def test_live_mode_without_a_processor_takes_no_charge(key: str | None) -> None:
    world = await World().open()
    live = Scope(world.scope.merchant, livemode=True)
    for _ in range(2):
        with pytest.raises(NoProcessor):
            await world.kpay.create_charge(live, request(), idempotency_key=key)
    assert await world.all(Charge) == []


async def test_a_charge_of_another_scope_is_as_unknown_as_none() -> None:
    world = await World().open()
    id = str((await world.charge()).value["id"])
    other = await world.kpay.apply(name="Other")
    scopes = [Scope(other.id, livemode=False), Scope(world.scope.merchant, livemode=True)]
    told = []
    for scope, asked in [
        *((scope, id) for scope in scopes),
        (world.scope, "no such charge"),
        (world.scope, "\0"),
    ]:
        with pytest.raises(NotFound) as caught:
            await world.kpay.get_charge(scope, asked)
        told.append((str(caught.value), caught.value.details))
    assert all(each == told[0] for each in told)


async def test_a_fingerprint_is_the_same_for_a_card_within_a_merchant_only() -> None:
    world = await World().open()
    mine = [
        (await world.the_charge(await world.charge(number))).source.fingerprint
        for number in (GOOD, GOOD, LATE)
    ]
    await world.open()
    others = (await world.the_charge(await world.charge(GOOD))).source.fingerprint
    assert mine[0] == mine[1]
    assert len({*mine, others}) == 3


async def test_no_digit_of_a_card_is_kept_anywhere() -> None:
    world = await World().open()
    for number in (GOOD, LOST, DOWN, "4000000000000002"):
        body = request(number)
        body["source"]["cvc"] = "987"
        await world.kpay.create_charge(world.scope, body, idempotency_key=number[-4:])
    kept = repr([*await world.all(Charge), *await world.entries(), vars(world.store), vars(world.journal)])
    assert "4242424242424242" not in kept
    assert "400000000000" not in kept
    assert "'987'" not in kept
    assert '"987"' not in kept
