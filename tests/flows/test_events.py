"""Events as their merchant sees them: the same bytes for ever, listed, and sent once more."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kpay_adapters.testing import answer
from kpay_core import Scope
from kpay_core.commit import Unknown
from kpay_core.domain.deliveries import Delivery
from kpay_core.domain.errors import Invalid, NotFound
from kpay_core.domain.events import Event
from tests.flows.test_store_outcomes import Moody
from tests.flows.world import DECLINED, World, check_deliveries

pytestmark = pytest.mark.anyio


async def an_event(world: World) -> Event:
    await world.charge()
    return (await world.kpay.list_events(world.scope, {})).data[0]


async def test_an_event_is_the_same_bytes_wherever_it_is_seen() -> None:
    world = await World().open()
    await world.endpoint()
    event = await an_event(world)
    charge = (await world.kpay.list_charges(world.scope, {})).data[0]
    await world.refund(charge.id)
    await world.deliver()
    assert (await world.kpay.get_event(world.scope, event.id)) == event
    bodies = [got.post.body.decode() for got in world.received if got.event == event.id]
    assert bodies == [event.body]


async def test_an_event_of_another_scope_is_as_unknown_as_none() -> None:
    world = await World().open()
    event = await an_event(world)
    for scope, asked in [
        (Scope("mer_other", livemode=False), event.id),
        (Scope(world.scope.merchant, livemode=True), event.id),
        (world.scope, "no such event"),
    ]:
        with pytest.raises(NotFound):
            await world.kpay.get_event(scope, asked)
        with pytest.raises(NotFound):
            await world.kpay.resend_event(scope, asked, {})


async def test_events_are_listed_newest_first_and_by_type() -> None:
    world = await World().open()
    for _ in range(3):
        await world.charge()
        await world.charge(DECLINED)
    everything = (await world.kpay.list_events(world.scope, {})).data
    assert [event.id for event in everything] == sorted((event.id for event in everything), reverse=True)
    failed = await world.kpay.list_events(world.scope, {"type": "charge.failed", "limit": "2"})
    assert ([event.type for event in failed.data], failed.has_more) == (["charge.failed"] * 2, True)
    with pytest.raises(Invalid):
        # A cursor of another type is not in this list.
        await world.kpay.list_events(
            world.scope, {"type": "charge.failed", "starting_after": everything[-1].id}
        )


async def test_a_resend_is_a_delivery_of_its_own_with_the_same_event_id() -> None:
    world = await World().open()
    endpoint = (await world.endpoint()).endpoint.id
    world.receiver = lambda post: answer(post, 500)
    event = await an_event(world)
    await world.deliver()
    gone = await world.the_delivery()
    assert (gone.status, gone.reason, gone.attempts) == ("abandoned", "exhausted", 9)

    (again,) = await world.kpay.resend_event(world.scope, event.id, {})
    assert (again.id != gone.id, again.endpoint, again.attempts) == (True, endpoint, 0)
    world.receiver = lambda post: answer(post, 200)
    await world.deliver()
    assert [delivery.status for delivery in await world.all(Delivery)] == ["abandoned", "succeeded"]
    assert {got.event for got in world.received} == {event.id}
    assert {got.post.body for got in world.received} == {event.body.encode()}
    await check_deliveries(world)


async def test_a_resend_goes_to_all_that_want_the_type_now_or_to_the_one_that_is_named() -> None:
    world = await World().open()
    event = await an_event(world)
    wants = (await world.endpoint("charge.succeeded")).endpoint.id
    does_not = (await world.endpoint("charge.failed")).endpoint.id
    off = (await world.endpoint()).endpoint.id
    await world.patch(off, status="disabled")

    async def sent(body: object) -> list[str]:
        return [delivery.endpoint for delivery in await world.kpay.resend_event(world.scope, event.id, body)]

    assert await sent({}) == [wants]
    assert await sent({"endpoint": None}) == [wants]
    assert await sent({"endpoint": does_not}) == [does_not]
    with pytest.raises(Invalid) as caught:
        await sent({"endpoint": off})
    assert caught.value.details["code"] == "endpoint_disabled"
    for wrong in ("we_nobody", ""):
        with pytest.raises(NotFound):
            await sent({"endpoint": wrong})
    with pytest.raises(Invalid):
        await sent({"endpoints": wants})
    await check_deliveries(world)


async def test_a_resend_to_nobody_sends_nothing() -> None:
    world = await World().open()
    event = await an_event(world)
    assert await world.kpay.resend_event(world.scope, event.id, {}) == []


@pytest.mark.parametrize(
    "written",
    [True, False],
)
async def test_an_uncertain_resend_is_sent_once_also_when_it_was_delivered_meanwhile(written: bool) -> None:
    world = await World().open()
    event = await an_event(world)
    await world.endpoint()
    other = World(store=world.store, journal=world.journal, clock=world.clock)

    async def a_worker_was_quick() -> None:
        other.received = world.received
        await other.work()

    then: Callable[[], Awaitable[Any]] = a_worker_was_quick
    world.kpay.store = Moody(world.store, 1, Unknown, written=written, then=then)
    (again,) = await world.kpay.resend_event(world.scope, event.id, {})
    world.kpay.store = world.store
    await world.deliver()
    assert [delivery.id for delivery in await world.all(Delivery)] == [again.id]
    assert len(world.received) == 1
