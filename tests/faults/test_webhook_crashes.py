"""
A crash at every call of every port on the way of an event: while it is told, and while it is delivered.

An event exists exactly if its change does. A worker that dies anywhere costs at most that something is sent twice:
what was on its way, under the same event id, after the lease.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from kpay_adapters.testing import Crash, Crashing, CrashPoint, SeededIds, accept, answer
from kpay_core import Scope
from kpay_core.domain.charges import Charge
from kpay_core.domain.deliveries import Delivery
from kpay_core.domain.endpoints import Endpoint
from kpay_core.domain.events import Event
from kpay_core.domain.lanes import LEASE, Lane
from kpay_core.domain.posts import Post, Reply
from kpay_core.domain.refunds import Refund
from tests.faults.test_crashes import Case, Stores, stores
from tests.flows.world import (
    DECLINED,
    DOWN,
    GOOD,
    LOST,
    REFUND_PENDING,
    World,
    check_books,
    check_deliveries,
    run,
)

__all__ = ["stores"]

pytestmark = pytest.mark.anyio

MANY_CALLS = 100
EFFECT = pytest.mark.parametrize("after_effect", [False, True], ids=["before its effect", "after its effect"])


def mine(records: Sequence[Any], scope: Scope) -> list[Any]:
    return [record for record in records if record.scope == scope]


async def check_told(world: World, scope: Scope) -> None:
    """Check that events are exactly those of the outcomes there are, with one delivery each."""
    wanted: Counter[str] = Counter()
    for charge in mine(await world.all(Charge), scope):
        if charge.look_at is None:
            wanted["charge.succeeded" if charge.status == "succeeded" else "charge.failed"] += 1
    for refund in mine(await world.all(Refund), scope):
        wanted["refund.created"] += refund.status not in ("sending", "reversing")
        wanted["charge.refunded"] += refund.status == "succeeded"
    events = mine(await world.all(Event), scope)
    told = Counter(event.type for event in events)
    # A refund that was pending at first has an update too, which its record does not show.
    told.pop("refund.updated", None)
    assert told == +wanted
    sent = Counter(delivery.event for delivery in mine(await world.all(Delivery), scope))
    assert sent == Counter(event.id for event in events)


@EFFECT
@pytest.mark.parametrize("key", [None, "k"], ids=["keyless", "key"])
@pytest.mark.parametrize("number", [GOOD, DECLINED, LOST, DOWN], ids=["captured", "declined", "lost", "down"])
async def test_a_charge_and_its_event_are_there_together_or_not_at_all(
    stores: Stores, number: str, key: str | None, after_effect: bool
) -> None:
    async def prepare(world: World) -> None:
        await world.endpoint()

    await tell_everywhere(stores, lambda world: world.charge(number, key=key), prepare, after_effect)


@EFFECT
@pytest.mark.parametrize("number", [GOOD, REFUND_PENDING], ids=["ordinary", "pending"])
async def test_a_refund_and_its_events_are_there_together_or_not_at_all(
    stores: Stores, number: str, after_effect: bool
) -> None:
    async def prepare(world: World) -> None:
        await world.endpoint()
        await world.charge(number)

    async def refund(world: World) -> Any:
        (charge,) = mine(await world.all(Charge), world.scope)
        return await world.refund(charge.id, amount=1000)

    await tell_everywhere(stores, refund, prepare, after_effect)


async def tell_everywhere(
    stores: Stores,
    send: Callable[[World], Awaitable[Any]],
    prepare: Callable[[World], Awaitable[None]],
    after_effect: bool,
) -> None:
    for call in range(1, MANY_CALLS):
        case = Case(stores, call)
        crashed = await case.dies(send, prepare, CrashPoint(call, after_effect=after_effect))
        async with case.recovers() as world:
            await check_told(world, case.scope)
            await world.settle()
            await check_books(world)
            await check_told(world, case.scope)
            await world.deliver()
            await check_deliveries(world)
            left = {delivery.status for delivery in mine(await world.all(Delivery), case.scope)}
            assert left <= {"succeeded"}
        if not crashed:
            assert call > 5
            return
    raise AssertionError("the request never comes to its end")


@EFFECT
async def test_a_sweeper_that_dies_leaves_no_outcome_without_its_event(
    stores: Stores, after_effect: bool
) -> None:
    for call in range(1, MANY_CALLS):

        async def prepare(world: World) -> None:
            await world.endpoint()
            await world.charge(LOST)
            world.advance(seconds=20)

        case = Case(stores, call)

        async def sweep(world: World) -> Any:
            return await world.kpay.sweep()

        crashed = await case.dies(sweep, prepare, CrashPoint(call, after_effect=after_effect))
        async with case.recovers() as world:
            await check_told(world, case.scope)
            await world.settle()
            await check_told(world, case.scope)
        if not crashed:
            return
    raise AssertionError("the sweep never comes to its end")


# Delivering.


class CrashingCourier:
    """A courier whose every call goes through a crash point."""

    def __init__(self, courier: Any, point: CrashPoint) -> None:
        self._courier, self._point = courier, point

    def send(self, post: Post) -> None:
        async def effect() -> None:
            self._courier.send(post)

        run(self._point.call(effect))

    async def replies(self, *, seconds: float) -> Sequence[Reply]:
        return await self._point.call(lambda: self._courier.replies(seconds=seconds))


class CrashingClock:
    """A clock on which a process may die while it sleeps."""

    def __init__(self, clock: Any, point: CrashPoint) -> None:
        self.now, self.monotonic = clock.now, clock.monotonic
        self._clock, self._point = clock, point

    async def sleep(self, seconds: float) -> None:
        await self._point.call(lambda: self._clock.sleep(seconds))


def half(post: Post) -> Reply:
    """Accept every other event, by its name, so that one round has both."""
    return accept(post) if int(post.headers["K-Payments-Event-Id"][-6], 16) % 2 else answer(post, 500)


def hang(_: Post) -> timedelta:
    return timedelta(seconds=15)


@asynccontextmanager
async def a_process(case: Case, number: int) -> AsyncIterator[World]:
    """Start one more process on the stores of a case, at the time at which the last one died."""
    async with case.stores.open() as (store, journal):
        world = World(store=store, journal=journal, ids=SeededIds(1000 * number + case.seed))
        world.scope = case.scope
        world.clock.advance(case.now - world.clock.now())
        yield world


@EFFECT
async def test_a_worker_that_dies_at_any_call_loses_nothing(stores: Stores, after_effect: bool) -> None:
    await die_everywhere(stores, half, None, after_effect)


@EFFECT
@pytest.mark.parametrize("change", [None, "disabled", "deleted"])
@pytest.mark.parametrize("receiver", [accept, hang], ids=["accepts", "hangs"])
async def test_a_worker_that_dies_at_any_call_loses_nothing_whatever_the_endpoint_is_like(
    receiver: Any, change: str | None, after_effect: bool
) -> None:
    await die_everywhere(Stores(None), receiver, change, after_effect)


async def die_everywhere(stores: Stores, receiver: Any, change: str | None, after_effect: bool) -> None:
    for call in range(1, MANY_CALLS):
        case = Case(stores, call)
        case.now = World().clock.now()
        async with a_process(case, 1) as world:
            await world.open()
            case.scope = world.scope
            endpoint = (await world.endpoint()).endpoint.id
            # One more than may be on their way together.
            for _ in range(9):
                await world.charge()
            if change == "disabled":
                await world.patch(endpoint, status="disabled")
                world.advance(hours=72)
            elif change == "deleted":
                await world.kpay.delete_endpoint(world.scope, endpoint)
            world.receiver = receiver
            point = CrashPoint(call, after_effect=after_effect)
            courier: Any = CrashingCourier(world.courier(), point)
            world.kpay.store = Crashing(world.store, point)  # type: ignore[assignment]
            world.kpay.clock = CrashingClock(world.clock, point)
            crashed = True
            try:
                await world.kpay.deliver_to(endpoint, courier)
                crashed = False
            except Crash:
                pass
            died_at = case.now = world.clock.now()
            before = Counter(got.post.key for got in world.received)
            bodies = {got.post.key: got.post.body for got in world.received}
            lane = await world.store.get(Lane, endpoint)
            assert lane is not None
            written = {
                delivery.id for delivery in mine(await world.all(Delivery), case.scope) if delivery.attempts
            }
        async with a_process(case, 2) as heir:
            if lane.holder is not None:
                # Nobody sends here before the lease has lapsed.
                assert await heir.work() == 0
                heir.clock.advance(LEASE - timedelta(milliseconds=1) + died_at - heir.clock.now())
            heir.receiver = accept
            heir.clock.advance(max(timedelta(0), (lane.due_at or died_at) - heir.clock.now()))
            await heir.work()
            await heir.deliver()
            await check_deliveries(heir)
            its = mine(await heir.all(Delivery), case.scope)
            wanted = {None: "succeeded", "disabled": "abandoned", "deleted": "abandoned"}[change]
            assert {delivery.status for delivery in its} == {wanted}
            assert len(its) == 9
            again = Counter(got.post.key for got in heir.received)
            in_flight = {claim.delivery for claim in lane.sending}
            for delivery in its:
                if before[delivery.id] and again[delivery.id] and delivery.id not in written:
                    assert delivery.id in in_flight, "sent twice although it was not on its way"
            assert all(got.post.body == bodies.get(got.post.key, got.post.body) for got in heir.received)
            if change:
                assert not before
                assert not again
        if not crashed:
            assert call > 4
            return
    raise AssertionError("the worker never comes to its end")


@EFFECT
@pytest.mark.parametrize("what", ["create", "patch", "disable", "delete", "rotate"])
async def test_a_change_of_an_endpoint_happens_as_a_whole_or_not_at_all(
    stores: Stores, what: str, after_effect: bool
) -> None:
    for call in range(1, MANY_CALLS):
        case = Case(stores, call)

        async def prepare(world: World) -> None:
            await world.endpoint()

        async def change(world: World) -> Any:
            (endpoint,) = mine(await world.all(Endpoint), world.scope)
            match what:
                case "create":
                    return await world.endpoint()
                case "patch":
                    return await world.patch(endpoint.id, enabled_events=["charge.failed"])
                case "disable":
                    return await world.patch(endpoint.id, status="disabled")
                case "delete":
                    return await world.kpay.delete_endpoint(world.scope, endpoint.id)
                case _:
                    return await world.kpay.rotate_endpoint_secret(world.scope, endpoint.id)

        crashed = await case.dies(change, prepare, CrashPoint(call, after_effect=after_effect))
        async with case.recovers() as world:
            await check_deliveries(world)
            await world.deliver()
            await check_deliveries(world)
        if not crashed:
            assert call > 2
            return
    raise AssertionError("the change never comes to its end")
