"""Idempotency keys: one request, one effect, one answer, however often it is sent."""

from typing import Any, TypeVar

import pytest
from msgspec.structs import replace

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sandbox import SandboxNetwork
from kpay_adapters.testing import step_aside
from kpay_core import Scope
from kpay_core.commit import Record, Unavailable
from kpay_core.domain.charges import Charge
from kpay_core.domain.errors import IdempotencyKeyInUse, IdempotencyKeyReused, Invalid, NotFound
from kpay_core.domain.idempotency import IdempotencyKey, Outcome
from kpay_core.domain.processing import Verdict
from kpay_core.domain.refunds import Refund
from kpay_core.ports import NoAnswer
from tests.flows.world import DECLINED, GOOD, REFUND_PENDING, World, check_books, request

pytestmark = pytest.mark.anyio

R = TypeVar("R", bound=Record)


@pytest.mark.parametrize("number", [GOOD, DECLINED])
async def test_a_replay_is_the_first_answer_byte_for_byte(number: str) -> None:
    world = await World().open()
    first = await world.charge(number, key="k")
    again = await world.charge(number, key="k")
    assert (again.outcome, again.body) == (first.outcome, first.body)
    assert (first.replayed, again.replayed) == (False, True)
    assert len(await world.entries()) == 1


async def test_a_replay_tells_what_was_told_whatever_has_happened_since() -> None:
    world = await World().open()
    first = await world.charge(key="k")
    await world.refund(str(first.value["id"]))
    assert (await world.charge(key="k")).body == first.body


async def test_a_replay_may_correct_nothing_but_the_cvc() -> None:
    world = await World().open()
    await world.charge(key="k")
    other = request()
    other["source"]["cvc"] = "999"
    assert (await world.kpay.create_charge(world.scope, other, idempotency_key="k")).replayed
    changes: list[dict[str, Any]] = [
        {"amount": 5000},
        {"description": None},
        {"metadata": {"order_id": 1024}},
        {"foo": 1},
    ]
    for change in changes:
        with pytest.raises(IdempotencyKeyReused):
            await world.charge(key="k", **change)
    with pytest.raises(IdempotencyKeyReused):
        await world.charge(DECLINED, key="k")
    assert len(await world.all(Charge)) == 1


async def test_a_key_belongs_to_one_endpoint() -> None:
    world = await World().open()
    charge = str((await world.charge(key="k")).value["id"])
    with pytest.raises(IdempotencyKeyReused):
        await world.refund(charge, key="k")
    assert await world.all(Refund) == []


async def test_an_answer_is_remembered_for_24_hours_to_the_millisecond() -> None:
    world = await World().open()
    first = await world.charge(key="k")
    world.advance(hours=24, milliseconds=-1)
    assert (await world.charge(key="k")).body == first.body
    world.advance(milliseconds=1)
    fresh = await world.charge(key="k")
    assert (fresh.replayed, fresh.value["id"] == first.value["id"]) == (False, False)
    assert (await world.charge(key="k")).body == fresh.body
    assert len(await world.captured()) == 2


class Counting(MemoryStore):
    """A store that counts how often it is asked for a key, and can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.away = False

    async def get(self, kind: type[R], id: str) -> R | None:
        if self.away:
            raise Unavailable("away")
        self.asked += kind is IdempotencyKey
        return await super().get(kind, id)


async def test_an_answer_is_remembered_and_the_store_not_asked_for_it() -> None:
    store = Counting()
    world = await World(store=store).open()
    charge = await world.charge(key="k")
    refund = await world.refund(str(charge.value["id"]), key="r")
    store.away = True
    again = await world.charge(key="k")
    assert (again.body, again.replayed) == (charge.body, True)
    again = await world.refund(str(charge.value["id"]), key="r")
    assert (again.body, again.replayed) == (refund.body, True)
    with pytest.raises(IdempotencyKeyReused):
        await world.charge(key="k", amount=5000)


async def test_what_is_remembered_of_one_merchants_key_is_nothing_to_another() -> None:
    world = await World().open()
    first = await world.charge(key="k")
    merchant = await world.kpay.apply(name="Another")
    await world.kpay.approve(merchant.id)
    others = Scope(merchant.id, livemode=False)
    theirs = await world.kpay.create_charge(others, request(), idempotency_key="k")
    assert (theirs.replayed, theirs.value["id"] == first.value["id"]) == (False, False)


async def test_what_is_remembered_ends_before_the_key_does_so_that_the_store_decides() -> None:
    store = Counting()
    world = await World(store=store).open()
    await world.charge(key="k")
    asked = store.asked
    world.advance(hours=23, minutes=59, milliseconds=-1)
    assert (await world.charge(key="k")).replayed
    assert store.asked == asked
    world.advance(milliseconds=1)
    assert (await world.charge(key="k")).replayed
    assert store.asked == asked + 1


async def test_a_copy_with_another_store_remembers_nothing_of_the_first() -> None:
    world = await World().open()
    await world.charge(key="k")
    other = await World().open()
    copied = replace(world.kpay, store=other.store)
    answer = await copied.create_charge(other.scope, request(amount=5000), idempotency_key="k")
    assert not answer.replayed


async def test_what_another_process_has_answered_is_read_once_and_remembered() -> None:
    store = Counting()
    here = await World(store=store).open()
    first = await here.charge(key="k")
    there = World(store=store)
    there.scope, asked = here.scope, store.asked
    for _ in range(2):
        again = await there.charge(key="k")
        assert (again.body, again.replayed) == (first.body, True)
    assert store.asked == asked + 1


async def test_a_clock_that_steps_back_forgets_nothing() -> None:
    world = await World().open()
    first = await world.charge(key="k")
    world.advance(days=-2)
    assert (await world.charge(key="k")).body == first.body


async def test_a_key_does_not_depend_on_the_api_key() -> None:
    world = await World().open()
    first = await world.charge(key="k")
    rotated = await world.kpay.rotate_key(world.scope.merchant, "test", at_once=True)
    scope = await world.kpay.authenticate(rotated.key)
    assert (await world.kpay.create_charge(scope, request(), idempotency_key="k")).body == first.body


async def test_a_key_of_another_merchant_or_mode_is_another_key() -> None:
    world = await World().open()
    world.kpay.processors = {**world.kpay.processors, "live": world.network}
    answers = [await world.charge(key="k")]
    live = Scope(world.scope.merchant, livemode=True)
    answers.append(await world.kpay.create_charge(live, request(), idempotency_key="k"))
    await world.open()
    answers.append(await world.charge(key="k"))
    assert [answer.replayed for answer in answers] == [False] * 3
    assert len({answer.value["id"] for answer in answers}) == 3


@pytest.mark.parametrize("key", ["", "é", "x" * 256, "a\n"])
async def test_a_bad_key_is_refused_before_anything_is_done(key: str) -> None:
    world = await World().open()
    with pytest.raises(Invalid):
        await world.charge(key=key)
    with pytest.raises(Invalid):
        await world.refund("c", key=key)
    assert await world.all(Charge) == []


async def test_refusals_leave_a_key_free() -> None:
    world = await World().open()
    charge = str((await world.charge()).value["id"])
    refused: list[tuple[type[Exception], dict[str, Any]]] = [
        (NotFound, {"charge": "unknown"}),
        (Invalid, {"charge": charge, "amount": 0}),
        (Invalid, {"charge": charge, "amount": 5000}),
    ]
    for error, body in refused:
        with pytest.raises(error):
            await world.kpay.create_refund(world.scope, body, idempotency_key="k")
    assert await world.all(IdempotencyKey) == []
    answer = await world.refund(charge, key="k")
    assert (answer.outcome, answer.replayed) == (Outcome.CREATED, False)


@pytest.mark.parametrize("number", [GOOD, REFUND_PENDING])
async def test_a_replayed_refund_sends_nothing_back_twice(number: str) -> None:
    world = await World().open()
    charge = str((await world.charge(number)).value["id"])
    first = await world.refund(charge, key="k", amount=1000)
    await world.settle()
    again = await world.refund(charge, key="k", amount=1000)
    assert (again.body, again.replayed) == (first.body, True)
    assert len(await world.all(Refund)) == 1
    await check_books(world)


async def test_a_request_that_finds_its_key_at_work_waits_ten_seconds_and_is_told_to_come_back() -> None:
    world = await World().open()
    first = world.charge(key="k")
    # The first stands still in the middle of its way to the network.
    world.kpay.processors = {"test": Standing()}  # pyright: ignore[reportAttributeAccessIssue]
    first.send(None)
    before = world.clock.now()
    with pytest.raises(IdempotencyKeyInUse):
        await world.charge(key="k")
    assert 10 <= (world.clock.now() - before).total_seconds() < 10.5
    first.close()


class Standing:
    """A processor that never comes to an end."""

    def __getattr__(self, name: str) -> Any:
        async def call(**_: Any) -> Any:
            if name == "lookup":
                raise NoAnswer
            while True:
                await step_aside()

        return call


async def test_a_key_that_was_freed_is_remembered_for_24_hours_from_the_charge_it_then_made() -> None:
    world = await World().open()
    await world.charge("4000000000009821", key="k")
    await world.settle()
    (key,) = await world.all(IdempotencyKey)
    assert key.state == "free"
    world.clock.advance(key.first_used_at - world.clock.now())
    world.advance(hours=24, milliseconds=-1)
    first = await world.charge(key="k")
    world.advance(seconds=5)
    assert (await world.charge(key="k")).body == first.body
    assert len(await world.captured()) == 1


class Mute(SandboxNetwork):
    """A network that does what it is asked, and says nothing for as long as it is mute; after so many seconds."""

    mute_to: tuple[str, ...] = ("authorise", "lookup", "reverse")
    seconds = 0.0

    async def authorise(self, **asked: Any) -> Verdict:
        return await self._say("authorise", await super().authorise(**asked))

    async def lookup(self, **asked: Any) -> Verdict:
        return await self._say("lookup", await super().lookup(**asked))

    async def reverse(self, **asked: Any) -> Verdict:
        return await self._say("reverse", await super().reverse(**asked))

    async def _say(self, asked: str, verdict: Verdict) -> Verdict:
        if asked in self.mute_to:
            await self._clock.sleep(self.seconds)
            raise NoAnswer
        return verdict


async def muted() -> tuple[World, Mute]:
    world = await World().open()
    network = Mute(journal=world.journal, clock=world.clock)
    world.kpay.processors = {"test": network}
    return world, network


@pytest.mark.parametrize("is_swept", [True, False], ids=["the sweeper looks", "the retry looks"])
async def test_an_answer_that_comes_after_a_day_is_given_again_for_a_day(is_swept: bool) -> None:
    world, network = await muted()
    first = await world.charge(key="k")
    assert first.outcome is Outcome.ACCEPTED
    world.advance(hours=30)
    assert (await world.charge(key="k")).outcome is Outcome.ACCEPTED

    network.mute_to = ()
    world.advance(hours=2)
    if is_swept:
        await world.kpay.sweep()
    final = await world.charge(key="k")
    assert (final.outcome, final.replayed, final.value["id"]) == (Outcome.CREATED, True, first.value["id"])
    world.advance(hours=24, seconds=-1)
    assert (await world.charge(key="k")).body == final.body
    assert len(await world.captured()) == 1

    world.advance(seconds=1)
    assert not (await world.charge(key="k")).replayed
    assert len(await world.captured()) == 2
    await check_books(world)


async def test_a_charge_that_was_promised_is_under_way_also_while_it_is_undone() -> None:
    world, network = await muted()
    # It never got out, which the look-up tells in the end; that it is not to come any more is not confirmed.
    network.authorise = Standing().lookup  # type: ignore[method-assign]
    first = await world.charge(key="k")
    assert first.outcome is Outcome.ACCEPTED
    network.mute_to = ("reverse",)
    world.advance(minutes=4)
    await world.kpay.sweep()
    assert (await world.the_charge(first)).status == "reversing"

    again = await world.charge(key="k")
    assert (again.outcome, again.replayed, again.body) == (Outcome.ACCEPTED, True, first.body)


async def test_who_waits_for_another_asks_a_slow_network_once_at_most() -> None:
    world, network = await muted()
    first = world.charge(key="k")
    network.authorise = Standing().authorise  # type: ignore[method-assign]
    first.send(None)
    world.advance(seconds=6)
    network.seconds = 29.0
    before = world.clock.now()
    with pytest.raises(IdempotencyKeyInUse):
        await world.charge(key="k")
    assert (world.clock.now() - before).total_seconds() < 10 + 29 + 0.5
    first.close()
