"""
Delivering: each event arrives or is given up for a stated reason, at the table's times, by one worker at a time.

Whatever workers, merchants and the store do meanwhile, nothing is lost, and nothing is sent that must not be.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import count, pairwise
from random import Random
from typing import Any

import pytest

from kpay_adapters.testing import FrozenClock, Receiver, SeededIds, accept, answer, miss
from kpay_core.commit import CommitFailed, Conflict, Record, Unavailable, Unknown, bump
from kpay_core.domain import deliveries, lanes, signing
from kpay_core.domain.deliveries import Attempt, Delivery
from kpay_core.domain.endpoints import Endpoint
from kpay_core.domain.events import Event
from kpay_core.domain.lanes import LEASE, START_WITHIN, Claim, Lane
from kpay_core.domain.posts import Failure, Post
from kpay_core.flows.telling import make_delivery
from kpay_core.query import Query
from tests.flows.test_store_outcomes import Moody
from tests.flows.world import (
    ExactClock,
    Received,
    SharedClock,
    Stepped,
    World,
    check_deliveries,
    drive,
    drive_anyhow,
    every_choice,
)

pytestmark = pytest.mark.anyio

OFFSETS_MINUTES = [0, 1, 6, 36, 156, 516, 1236, 2676, 4116]
SECOND = timedelta(seconds=1)
MILLISECOND = timedelta(milliseconds=1)


def fail(post: Post) -> Any:
    return answer(post, 500, "down")


def hang(_: Post) -> timedelta:
    return timedelta(seconds=15)


def vanish(_: Post) -> None:
    """Swallow a post: whoever sent it hears nothing, as a worker that is dead."""


async def a_world(receiver: Receiver = accept, *, charges: int = 1, **parts: Any) -> tuple[World, str]:
    """Make a world with one endpoint and some events for it."""
    world = await World(**parts).open()
    world.receiver = receiver
    endpoint = (await world.endpoint()).endpoint.id
    for _ in range(charges):
        await world.charge()
    return world, endpoint


def beside(world: World, seed: int) -> World:
    """Make another process on the same stores, clock and servers."""
    other = World(store=world.kpay.store, journal=world.journal, clock=world.clock, ids=SeededIds(seed))
    other.scope, other.received, other.receiver = world.scope, world.received, world.receiver
    return other


async def the_lane(world: World) -> Lane:
    (lane,) = await world.all(Lane)
    return lane


def sent(world: World) -> Counter[str]:
    """Count the posts of each delivery."""
    return Counter(got.post.key for got in world.received)


def step_until(work: Any, done: Callable[[], bool]) -> None:
    """Drive a worker by hand until something is true of the world."""
    for _ in range(1000):
        if done():
            return
        work.send(None)
    raise AssertionError("it never comes to that")


# The table of attempts.


async def test_what_is_accepted_is_sent_once_as_it_was_written_down() -> None:
    world, _ = await a_world()
    await world.deliver()
    (event,) = await world.all(Event)
    (got,) = world.received
    delivery = await world.the_delivery()
    assert (delivery.status, delivery.attempts, delivery.reason) == ("succeeded", 1, None)
    assert (got.post.url, got.post.body) == ("https://shop.example/hooks", event.body.encode())
    assert (got.event, got.post.headers["Content-Type"]) == (event.id, "application/json")
    assert got.post.headers["User-Agent"] == "K-Payments/1"
    lane = await the_lane(world)
    assert (lane.holder, lane.due_at, lane.sending) == (None, None, ())
    await check_deliveries(world)


@pytest.mark.parametrize(
    "receiver", [fail, hang, miss, lambda post: answer(post, 302)], ids=["500", "hangs", "away", "redirects"]
)
async def test_what_never_arrives_is_attempted_nine_times_by_the_table_and_given_up(
    receiver: Receiver,
) -> None:
    world, _ = await a_world(receiver)
    await world.deliver()
    delivery = await world.the_delivery()
    assert (delivery.status, delivery.reason, delivery.attempts) == ("abandoned", "exhausted", 9)
    moments = [got.at for got in world.received]
    assert len(moments) == 9
    for number, (minutes, at) in enumerate(zip(OFFSETS_MINUTES, moments, strict=True)):
        offset = timedelta(minutes=minutes)
        delay = offset - timedelta(minutes=OFFSETS_MINUTES[max(number - 1, 0)])
        jitter = at - moments[0] - offset
        # The worker looks once a second.
        assert timedelta(0) <= jitter <= min(delay / 10, timedelta(minutes=15)) + SECOND
    for number, (one, next) in enumerate(pairwise(moments), start=1):
        assert next - one >= deliveries.delay_after(number)
    assert {got.event for got in world.received} == {delivery.event}
    assert len({got.post.body for got in world.received}) == 1
    await check_deliveries(world)


async def test_a_success_at_any_attempt_is_the_last() -> None:
    for good in range(1, 10):
        world, _ = await a_world()
        world.receiver = lambda post, world=world, good=good: answer(
            post, 204 if len(world.received) == good else 503
        )
        await world.deliver()
        assert (await world.the_delivery()).status == "succeeded"
        assert len(world.received) == good
        await check_deliveries(world)


@pytest.mark.parametrize("hours", [1, 5, 30, 71, 100])
@pytest.mark.parametrize("after", [0, 1, 3])
async def test_after_hours_without_a_worker_the_next_attempt_has_its_whole_delay_before_it(
    after: int, hours: int
) -> None:
    world, _ = await a_world(fail)
    while len(world.received) < after:
        await world.work()
        world.advance(seconds=10)
    world.advance(hours=hours)
    await world.deliver()
    moments = [got.at for got in world.received]
    for number, (one, next) in enumerate(pairwise(moments), start=1):
        assert next - one >= deliveries.delay_after(number)
    delivery = await world.the_delivery()
    assert delivery.status == "abandoned"
    assert moments[-1] - moments[0] < timedelta(hours=72)
    if after == 0:
        # Its life begins with its first attempt, however late that is.
        assert len(moments) == 9
    await check_deliveries(world)


async def test_each_attempt_is_signed_at_its_own_time_with_the_secrets_in_force() -> None:
    world, endpoint = await a_world(fail, charges=0)
    first = await world.kpay.rotate_endpoint_secret(world.scope, endpoint)
    await world.charge()
    while len(world.received) < 3:
        await world.work()
        world.advance(seconds=30)
    second = await world.kpay.rotate_endpoint_secret(world.scope, endpoint)
    await world.deliver()
    for number, got in enumerate(world.received):
        header = got.post.headers[signing.HEADER]
        old, new = number < 3, number >= 3
        for secret, in_force in [
            (first.secret, old or got.at < second.endpoint.retired[0].until),
            (second.secret, new),
        ]:
            if in_force:
                assert signing.verify(got.post.body, header, secret, now=got.at) == got.at.replace(
                    microsecond=0
                )
            else:
                with pytest.raises(signing.NoMatch):
                    signing.verify(got.post.body, header, secret, now=got.at)
    assert len({got.post.headers[signing.HEADER] for got in world.received}) == 9
    # Attempts between the two rotations, within 24 hours of both, and after them.
    signatures = [got.post.headers[signing.HEADER].count("v1=") for got in world.received]
    assert signatures == [2] * 3 + [3] * 4 + [1] * 2


async def test_a_new_url_is_where_the_next_attempt_goes() -> None:
    world, endpoint = await a_world(fail)
    await world.work()
    await world.patch(endpoint, url="https://new.example/")
    await world.deliver()
    assert [got.post.url for got in world.received] == [
        "https://shop.example/hooks",
        *["https://new.example/"] * 8,
    ]


async def test_a_new_url_is_where_the_next_attempt_goes_also_in_the_middle_of_a_shift() -> None:
    world, endpoint = await a_world(hang, charges=12, clock=SharedClock())
    work = world.kpay.deliver_to(endpoint, world.courier())
    step_until(work, lambda: len(world.received) == 8)
    change = beside(world, 1).patch(endpoint, url="https://new.example/")
    (changed,) = drive(world.clock, Random(0), change)
    assert isinstance(changed, Endpoint)
    world.clock.advance(timedelta(seconds=15))
    step_until(work, lambda: len(world.received) == 12)
    assert Counter(got.post.url for got in world.received) == {
        "https://shop.example/hooks": 8,
        "https://new.example/": 4,
    }
    work.close()


@pytest.mark.parametrize(
    ("changes", "waits"),
    [({"url": "https://new.example/"}, True), ({"status": "disabled"}, True), ({"description": "x"}, False)],
)
async def test_a_change_of_where_posts_go_returns_when_none_can_start_for_the_old_place(
    changes: dict[str, str], waits: bool
) -> None:
    world, endpoint = await a_world(charges=0)
    lane = await world.store.get(Lane, endpoint)
    assert lane is not None
    began = world.clock.now()
    claims = [Claim(delivery="dlv_1", since=began)]
    await world.store.commit(lanes.hold(lane, claims, holder="another", now=began))
    await world.patch(endpoint, **changes)
    assert world.clock.now() - began == (START_WITHIN if waits else timedelta(0))


class Behind(SharedClock):
    """A worker's clock that is behind everybody else's, and on which no time passes by itself."""

    def __init__(self, clock: SharedClock, by: timedelta) -> None:
        super().__init__(clock.now() - by)
        self._clock, self._by = clock, by

    def now(self) -> datetime:
        return self._clock.now() - self._by

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def turn_back(self, by: timedelta) -> None:
        self._by += by


@pytest.mark.parametrize("turned", [timedelta(0), timedelta(seconds=5)])
@pytest.mark.parametrize("behind", [timedelta(0), timedelta(milliseconds=250), timedelta(seconds=2)])
@pytest.mark.parametrize("change", ["disable", "delete", "move"])
async def test_nothing_starts_for_the_old_place_after_a_change_also_by_a_clock_that_is_behind(
    change: str, behind: timedelta, turned: timedelta
) -> None:
    """A worker has written down what it starts, and hears of that late; the endpoint changes meanwhile."""
    world, endpoint = await a_world(clock=SharedClock())
    clock = Behind(world.clock, behind)
    # So that what is to be sent is due by the worker's clock.
    world.clock.advance(behind)
    worker = beside(world, 1)
    changes: list[object] = []
    worker.kpay.clock = clock
    sound = world.store

    class Late:
        """A store whose writer hears of its lane only after the change has been answered."""

        get, find = sound.get, sound.find

        async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
            await sound.commit(*records, held=held)
            if changes or not any(isinstance(each, Lane) and each.sending for each in records):
                return
            match change:
                case "disable":
                    changed = world.patch(endpoint, status="disabled")
                case "delete":
                    changed = world.kpay.delete_endpoint(world.scope, endpoint)
                case _:
                    changed = world.patch(endpoint, url="https://new.example/")
            changes.extend(drive(world.clock, Random(0), changed))
            clock.turn_back(turned)

    worker.kpay.store = Late()  # pyright: ignore[reportAttributeAccessIssue]
    work = worker.kpay.deliver_to(endpoint, worker.courier())
    drive(world.clock, Random(0), work)
    assert [type(each) for each in changes] == [Endpoint]
    assert "https://shop.example/hooks" not in {got.post.url for got in world.received}


# Disabled, enabled, deleted.


async def test_a_disabled_endpoint_gets_nothing_and_goes_on_where_it_was_when_enabled() -> None:
    world, endpoint = await a_world(fail)
    await world.work()
    await world.patch(endpoint, status="disabled")
    for _ in range(50):
        world.advance(hours=1)
        await world.work()
    assert len(world.received) == 1
    world.receiver = accept
    await world.patch(endpoint, status="enabled")
    await world.deliver()
    delivery = await world.the_delivery()
    assert (len(world.received), delivery.status, delivery.attempts) == (2, "succeeded", 2)
    await check_deliveries(world)


@pytest.mark.parametrize("attempted", [False, True])
async def test_what_a_disabled_endpoint_keeps_is_given_up_after_72_hours_exactly(attempted: bool) -> None:
    world, endpoint = await a_world(fail)
    begun = world.clock.now()
    if attempted:
        await world.work()
    await world.patch(endpoint, status="disabled")
    await world.work()
    world.clock.advance(begun + timedelta(hours=72) - MILLISECOND - world.clock.now())
    await world.work()
    assert (await world.the_delivery()).status == "pending"
    await check_deliveries(world)
    world.clock.advance(MILLISECOND)
    await world.work()
    delivery = await world.the_delivery()
    assert (delivery.status, delivery.reason, delivery.attempts) == ("abandoned", "expired", int(attempted))
    assert len(world.received) == attempted
    await world.deliver()
    await check_deliveries(world)


@pytest.mark.parametrize("attempted", [False, True])
async def test_one_that_is_enabled_before_72_hours_are_over_is_still_sent(attempted: bool) -> None:
    world, endpoint = await a_world(fail)
    begun = world.clock.now()
    if attempted:
        await world.work()
    await world.patch(endpoint, status="disabled")
    await world.work()
    world.clock.advance(begun + timedelta(hours=72) - MILLISECOND - world.clock.now())
    world.receiver = accept
    await world.patch(endpoint, status="enabled")
    await world.deliver()
    assert (await world.the_delivery()).status == "succeeded"


async def test_a_disabled_endpoint_with_a_large_backlog_gives_all_of_it_up() -> None:
    world, endpoint = await a_world(charges=450)
    await world.patch(endpoint, status="disabled")
    await world.deliver()
    assert {(each.status, each.reason) for each in await world.all(Delivery)} == {("abandoned", "expired")}
    assert world.received == []
    await check_deliveries(world)


async def test_a_deleted_endpoint_gives_up_all_at_once() -> None:
    world, endpoint = await a_world(fail, charges=250)
    await world.work()
    before = len(world.received)
    await world.kpay.delete_endpoint(world.scope, endpoint)
    await world.work()
    assert {each.reason for each in await world.all(Delivery)} == {"endpoint_deleted"}
    assert len(world.received) == before
    lane = await the_lane(world)
    assert (lane.holder, lane.due_at) == (None, None)
    await check_deliveries(world)


@pytest.mark.parametrize("end", ["accepted", "failed"])
@pytest.mark.parametrize("change", ["delete", "disable"])
async def test_what_was_on_its_way_when_the_endpoint_went_is_written_down(change: str, end: str) -> None:
    answers: list[Any] = []
    world, endpoint = await a_world(hang, charges=3, clock=SharedClock())
    if end == "accepted":
        # The answer comes late, and it is a success.
        world.receiver = answers.append
    courier = world.courier()
    work = world.kpay.deliver_to(endpoint, courier)
    step_until(work, lambda: len(world.received) == 3)
    changer = beside(world, 1)
    changing: Any = (
        changer.kpay.delete_endpoint(world.scope, endpoint)
        if change == "delete"
        else changer.patch(endpoint, status="disabled")
    )
    with suppress(StopIteration):
        while True:
            wakes = changing.send(None)
            if wakes:
                world.clock.move_to(wakes)
    world.clock.advance(timedelta(seconds=14))
    for post in answers:
        courier.deliver(accept(post))
    with suppress(StopIteration):
        while True:
            wakes = work.send(None)
            if wakes:
                world.clock.move_to(wakes)
    await world.work()
    assert len(world.received) == 3
    found = await world.all(Delivery)
    assert [each.attempts for each in found] == [1] * 3
    missed = ("abandoned", "endpoint_deleted") if change == "delete" else ("pending", None)
    assert {(each.status, each.reason) for each in found} == {
        ("succeeded", None) if end == "accepted" else missed
    }
    await check_deliveries(world)


async def test_an_event_that_reaches_an_endpoint_after_its_deletion_is_given_up() -> None:
    """Its subscribers were read a moment before the deletion, and it is committed a moment after."""
    world, endpoint = await a_world(charges=1)
    (event,) = await world.all(Event)
    await world.kpay.delete_endpoint(world.scope, endpoint)
    await world.deliver()
    late = make_delivery(world.kpay, event, endpoint, now=world.clock.now())
    await world.store.commit(late)
    await world.deliver()
    assert {each.reason for each in await world.all(Delivery)} == {"endpoint_deleted"}
    assert world.received == []


async def test_an_event_that_reaches_an_endpoint_after_its_disabling_waits_and_expires() -> None:
    world, endpoint = await a_world(charges=1)
    await world.deliver()
    (event,) = await world.all(Event)
    await world.patch(endpoint, status="disabled")
    await world.deliver()
    world.advance(hours=10)
    await world.store.commit(make_delivery(world.kpay, event, endpoint, now=world.clock.now()))
    await world.deliver()
    assert [each.reason for each in await world.all(Delivery)] == [None, "expired"]
    assert len(world.received) == 1
    await check_deliveries(world)


# Looking.


async def test_an_endpoint_with_a_thousand_fresh_ones_hides_nobody_behind_it() -> None:
    world = await World().open()
    first = (await world.endpoint()).endpoint.id
    await world.charge()
    (event,) = await world.all(Event)
    await world.store.commit(
        *(make_delivery(world.kpay, event, first, now=world.clock.now()) for _ in range(1000))
    )
    others = [(await world.endpoint("charge.failed")).endpoint.id for _ in range(3)]
    for other in others:
        await world.kpay.resend_event(world.scope, event.id, {"endpoint": other})
    assert await world.kpay.endpoints_due() == (first, *others)


async def test_many_endpoints_with_a_fresh_one_each_are_all_found() -> None:
    world = await World().open()
    await world.charge()
    (event,) = await world.all(Event)
    endpoints: list[str] = []
    for _ in range(5):
        # As many merchants.
        await world.open()
        endpoints += [(await world.endpoint()).endpoint.id for _ in range(90)]
    fresh = [make_delivery(world.kpay, event, endpoint, now=world.clock.now()) for endpoint in endpoints]
    Random(7).shuffle(fresh)
    await world.store.commit(*fresh)
    assert await world.kpay.endpoints_due() == tuple(endpoints)


async def test_what_waits_at_disabled_endpoints_hides_nobody_behind_it() -> None:
    """It is not fresh any more once somebody has seen it, and goes out when its endpoint is enabled."""
    world, endpoint = await a_world(charges=450)
    await world.patch(endpoint, status="disabled")
    (event, *_) = await world.all(Event)
    await world.work()
    await world.store.commit(make_delivery(world.kpay, event, endpoint, now=world.clock.now()))
    assert await world.kpay.endpoints_due() == (endpoint,)
    await world.work()
    assert await world.kpay.endpoints_due() == ()
    assert {(each.fresh_at, each.status) for each in await world.all(Delivery)} == {(None, "pending")}
    await check_deliveries(world)
    await world.patch(endpoint, status="enabled")
    await world.deliver()
    assert set(sent(world).values()) == {1}
    assert len(world.received) == 451


async def test_retries_that_are_due_come_before_what_is_fresh_and_each_endpoint_once() -> None:
    world, endpoint = await a_world(fail)
    await world.work()
    fresh = (await world.endpoint()).endpoint.id
    assert await world.kpay.endpoints_due() == ()
    world.advance(minutes=2)
    await world.charge()
    assert await world.kpay.endpoints_due() == (endpoint, fresh)


async def test_a_lane_with_nothing_due_costs_no_commit() -> None:
    world, endpoint = await a_world(fail)
    await world.work()
    sound = world.store
    for status in (None, "disabled"):
        if status:
            await world.patch(endpoint, status=status)
            await world.work()
        moody = Moody(sound, 10**9, Unavailable)
        world.kpay.store = moody
        for _ in range(3):
            assert await world.kpay.deliver_to(endpoint, world.courier()) == 0
        assert moody.commits == 0
        world.kpay.store = sound


async def test_an_endpoint_that_does_not_exist_has_nothing_to_serve() -> None:
    world = await World().open()
    assert await world.kpay.deliver_to("we_nobody", world.courier()) == 0


# Serving.


async def test_at_most_eight_are_on_their_way_to_one_endpoint() -> None:
    world, _ = await a_world(hang, charges=30)
    await world.work()
    under_way: list[datetime] = []
    for got in world.received:
        under_way = [at for at in under_way if at + timedelta(seconds=15) > got.at]
        under_way.append(got.at)
        assert len(under_way) <= 8
    assert len(world.received) > 8
    await world.deliver()
    await check_deliveries(world)


async def test_a_backlog_is_worked_on_for_twenty_seconds_and_then_others_get_their_turn() -> None:
    world, endpoint = await a_world(hang, charges=60)
    begun = world.clock.now()
    await world.kpay.deliver_to(endpoint, world.courier())
    assert max(got.at for got in world.received) < begun + timedelta(seconds=20)
    assert world.clock.now() <= begun + timedelta(seconds=20 + 15 + 1)
    lane = await the_lane(world)
    assert lane.holder is None
    assert lanes.is_due(lane, now=world.clock.now())
    await world.deliver()
    assert set((await the_attempts(world)).values()) == {9}


async def the_attempts(world: World) -> Counter[str]:
    return Counter(attempt.delivery for attempt in await world.all(Attempt))


async def test_what_comes_while_a_lane_is_held_goes_out_in_the_same_shift() -> None:
    world, endpoint = await a_world(hang, clock=SharedClock())
    work = world.kpay.deliver_to(endpoint, world.courier())
    step_until(work, lambda: len(world.received) == 1)
    await beside(world, 1).charge()
    world.clock.advance(SECOND)
    step_until(work, lambda: len(world.received) == 2)
    work.close()


async def test_a_worker_that_dies_loses_nothing_and_its_lane_is_taken_after_the_lease() -> None:
    world, endpoint = await a_world(vanish, charges=10, clock=SharedClock())
    work = world.kpay.deliver_to(endpoint, world.courier())
    step_until(work, lambda: len(world.received) == 8)
    work.close()
    begun = world.clock.now()
    heir = beside(world, 1)
    heir.receiver = accept
    world.clock.move_to(begun + LEASE - MILLISECOND)
    assert await heir.work() == 0
    await check_deliveries(world)
    world.clock.move_to(begun + LEASE)
    assert await heir.work() == 10
    assert {each.status for each in await world.all(Delivery)} == {"succeeded"}
    # Twice only what was on its way.
    assert sorted(sent(world).values()) == [1] * 2 + [2] * 8
    assert {each.attempts for each in await world.all(Delivery)} == {1}
    await check_deliveries(world)


async def test_what_kills_five_workers_counts_as_one_failed_attempt() -> None:
    world, endpoint = await a_world(vanish, clock=SharedClock())
    for seed in range(1, 6):
        worker = beside(world, seed)
        work = worker.kpay.deliver_to(endpoint, worker.courier())
        step_until(work, lambda seed=seed: len(world.received) == seed)
        work.close()
        world.clock.advance(LEASE)
    sixth = beside(world, 6)
    await sixth.work()
    assert len(world.received) == 5, "it is not sent a sixth time"
    (attempt,) = await world.all(Attempt)
    delivery = await world.the_delivery()
    assert (attempt.failure, attempt.status, attempt.number) == ("interrupted", None, 1)
    assert (delivery.status, delivery.attempts) == ("pending", 1)
    assert delivery.next_attempt_at == attempt.started_at + timedelta(minutes=1) + deliveries.jitter(
        delivery.id, timedelta(minutes=1)
    )
    world.clock.advance(timedelta(minutes=2))
    sixth.receiver = accept
    await sixth.work()
    assert (await world.the_delivery()).status == "succeeded"
    await check_deliveries(world)


async def test_a_stopped_worker_that_wakes_after_its_lease_changes_nothing() -> None:
    world, endpoint = await a_world(charges=8, clock=SharedClock())
    late = world.courier()
    world.receiver = vanish
    work = world.kpay.deliver_to(endpoint, late)
    step_until(work, lambda: len(world.received) == 8)
    world.clock.advance(LEASE)
    heir = beside(world, 1)
    heir.receiver = fail
    await heir.work()
    before = [await world.all(kind) for kind in (Delivery, Lane, Attempt)]
    for got in world.received[:8]:
        late.deliver(accept(got.post))
    posts = len(world.received)
    with suppress(StopIteration):
        for _ in range(50):
            work.send(None)
    assert [await world.all(kind) for kind in (Delivery, Lane, Attempt)] == before
    assert len(world.received) == posts
    await check_deliveries(world)


async def test_a_worker_that_hears_nothing_gives_its_lane_up_when_its_lease_lapses() -> None:
    world, endpoint = await a_world(vanish)
    begun = world.clock.now()
    work = world.kpay.deliver_to(endpoint, world.courier())
    with suppress(StopIteration):
        for _ in range(500):
            work.send(None)
        work.close()
        raise AssertionError("it waits for ever")
    assert world.clock.now() - begun <= LEASE + SECOND


@pytest.mark.parametrize("late_ms", [0, 999, 1000, 1001, 15_000])
async def test_what_was_written_down_too_long_ago_is_not_started(late_ms: int) -> None:
    """The commit itself takes so long, or the process stands still after it."""
    world, endpoint = await a_world(hang, clock=SharedClock())
    slow = Slow(world.store, world.clock, timedelta(milliseconds=late_ms))
    world.kpay.store = slow
    work = world.kpay.deliver_to(endpoint, world.courier())
    step_until(work, lambda: bool(world.received))
    work.close()
    (got,) = world.received
    (claim,) = (await the_lane(world)).sending
    assert got.at - claim.since < START_WITHIN
    assert (slow.commits > 1) == (late_ms >= 1000)


class Slow:
    """A store whose first commit takes long."""

    def __init__(self, store: Any, clock: SharedClock, time: timedelta) -> None:
        self.get, self.find = store.get, store.find
        self._store, self._clock, self._time = store, clock, time
        self.commits = 0

    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        self.commits += 1
        await self._store.commit(*records, held=held)
        if self.commits == 1:
            self._clock.advance(self._time)


# Many at once.


def check_single(world: World, history: list[tuple[datetime, Lane]]) -> None:
    """Check that nobody sent what another held: a lane passes on when it is free or its lease has lapsed."""
    for (_, one), (at, next) in pairwise(history):
        if one.holder and next.holder and next.holder != one.holder:
            assert one.due_at is not None
            assert one.due_at <= at, "two holders"
        assert len(next.sending) <= 8


class Watched(Stepped):
    """A store that notes how the lane goes from hand to hand."""

    def __init__(self, store: Any, clock: SharedClock) -> None:
        super().__init__(store)
        self._clock = clock
        self.history: list[tuple[datetime, Lane]] = []

    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        await super().commit(*records, held=held)
        # Noted late, but in order: `super` lets others go first after the commit, and lanes have versions.
        self.history += [(self._clock.now(), record) for record in records if isinstance(record, Lane)]
        self.history.sort(key=lambda each: each[1].version)


def choices(depth: int, seeds: int) -> Any:
    """Give every order of the first steps, and then random ones of all."""
    yield from every_choice(depth)
    for seed in range(seeds):
        yield Random(seed).randrange


@pytest.mark.parametrize("receiver", [accept, fail, hang], ids=["accepts", "fails", "hangs"])
async def test_two_workers_in_any_interleaving_send_nothing_twice_while_their_leases_last(
    receiver: Receiver,
) -> None:
    for choose in choices(8, 80):
        world, endpoint = await a_world(receiver, charges=3, clock=ExactClock())
        sound = world.store
        watched = Watched(sound, world.clock)
        world.kpay.store = watched  # type: ignore[assignment]
        one, two = beside(world, 1), beside(world, 2)
        begun = world.clock.now()
        drive_anyhow(
            world.clock,
            choose,
            one.kpay.deliver_to(endpoint, one.courier()),
            two.kpay.deliver_to(endpoint, two.courier()),
        )
        check_single(world, watched.history)
        first: dict[str, Received] = {}
        for got in world.received:
            if got.post.key in first:
                assert got.at - first[got.post.key].at >= min(LEASE - START_WITHIN, timedelta(minutes=1)), (
                    "twice"
                )
            first[got.post.key] = got
        world.kpay.store = sound
        assert world.clock.now() >= begun
        await check_deliveries(world)


@pytest.mark.parametrize("change", ["delete", "disable"])
@pytest.mark.parametrize("receiver", [accept, fail], ids=["accepts", "fails"])
async def test_no_attempt_starts_after_a_deletion_or_disabling_has_returned(
    change: str, receiver: Receiver
) -> None:
    seen: Counter[bool] = Counter()
    for choose in choices(8, 80):
        world, endpoint = await a_world(receiver, charges=3, clock=ExactClock())
        sound = world.store
        world.kpay.store = Stepped(sound)  # type: ignore[assignment]
        worker, merchant = beside(world, 1), beside(world, 2)
        posts_at_return: list[int] = []

        async def changes(
            merchant: World = merchant, endpoint: str = endpoint, at: Any = posts_at_return
        ) -> None:
            if change == "delete":
                await merchant.kpay.delete_endpoint(merchant.scope, endpoint)
            else:
                await merchant.patch(endpoint, status="disabled")
            at.append(len(merchant.received))

        serving = worker.kpay.deliver_to(endpoint, worker.courier())
        _, failed = drive_anyhow(world.clock, choose, serving, changes())
        assert failed is None
        assert posts_at_return == [len(world.received)], "it was sent after the merchant was told"
        seen[bool(world.received)] += 1
        world.kpay.store = sound
        await world.deliver()
        assert not [each for each in await world.all(Delivery) if each.status == "pending"]
        await check_deliveries(world)
    assert min(seen[True], seen[False]) > 10, "both orders were seen"


# A store that says no, or does not say.


class Sick:
    """A store whose calls from the n-th on fail, reads and commits alike, as often as `times`."""

    def __init__(self, store: Any, at: int, *, times: int = 1) -> None:
        self._store = store
        self._bad = range(at, at + times)
        self.calls = 0

    def _check(self) -> None:
        self.calls += 1
        if self.calls in self._bad:
            raise Unavailable

    async def get(self, kind: Any, id: str) -> Any:
        self._check()
        return await self._store.get(kind, id)

    async def find(self, query: Query[Any]) -> Any:
        self._check()
        return await self._store.find(query)

    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        self._check()
        await self._store.commit(*records, held=held)


async def change_in_the_middle(world: World) -> None:
    """Change the endpoint, as its merchant does, so that its worker has to find out."""
    for endpoint in await world.all(Endpoint):
        await world.patch(endpoint.id, description=None)


@pytest.mark.parametrize("changed", [False, True], ids=["alone", "changed meanwhile"])
@pytest.mark.parametrize("times", [1, 100])
@pytest.mark.parametrize("receiver", [accept, fail, hang], ids=["accepts", "fails", "hangs"])
async def test_a_store_that_is_away_at_any_call_loses_nothing(
    receiver: Receiver, times: int, changed: bool
) -> None:
    for at in count(1):
        world, endpoint = await a_world(receiver, charges=10)
        sound = world.store
        sick = Sick(sound, at, times=times)
        worker = beside(world, 1)
        worker.kpay.store = sick
        if changed:
            merchant = beside(world, 2)
            changing = iter([True])
            receive = world.receiver

            def receiver_then(
                post: Post, receive: Any = receive, merchant: Any = merchant, once: Any = changing
            ) -> Any:
                if next(once, False):
                    run_now(change_in_the_middle(merchant))
                return receive(post)

            worker.receiver = receiver_then
        told: Exception | None = None
        try:
            await worker.kpay.deliver_to(endpoint, worker.courier())
        except Unavailable as error:
            told = error
        # Only the first look is the caller's to try again; from then on a shift knows what to do.
        assert told is None or at <= 2
        await check_deliveries(world)
        world.advance(seconds=LEASE.total_seconds())
        await world.deliver()
        wanted = "succeeded" if receiver is accept else "abandoned"
        assert {each.status for each in await world.all(Delivery)} == {wanted}
        await check_deliveries(world)
        if times == 1 and told is None:
            assert set(sent(world).values()) == {1 if receiver is accept else 9}, "a hiccup costs nothing"
        if sick.calls < at:
            assert at > 6
            return


def run_now(work: Any) -> None:
    """Run something that does not wait."""
    with suppress(StopIteration):
        while True:
            work.send(None)


MOODS: dict[str, dict[str, Any]] = {
    "unknown, written": {"failure": Unknown, "written": True},
    "unknown, not written": {"failure": Unknown},
    "unknown twice, written": {"failure": Unknown, "written": True, "times": 2},
    "unknown for long, written": {"failure": Unknown, "written": True, "times": 8},
    "unknown from then on, written": {"failure": Unknown, "written": True, "times": 10**6},
    "unknown from then on, not written": {"failure": Unknown, "times": 10**6},
    "conflict": {"failure": Conflict},
}


@pytest.mark.parametrize("changed", [False, True], ids=["alone", "changed meanwhile"])
@pytest.mark.parametrize("mood", MOODS.values(), ids=MOODS)
@pytest.mark.parametrize("receiver", [accept, fail], ids=["accepts", "fails"])
async def test_a_store_that_does_not_say_what_it_did_loses_nothing(
    receiver: Receiver, mood: dict[str, Any], changed: bool
) -> None:
    for at in count(1):
        world, endpoint = await a_world(receiver, charges=10)
        merchant = beside(world, 2)

        async def changes(merchant: World = merchant) -> None:
            await change_in_the_middle(merchant)

        worker = beside(world, 1)
        moody = Moody(world.store, at, **mood, then=changes if changed else None)
        worker.kpay.store = moody
        with suppress(CommitFailed):
            await worker.kpay.deliver_to(endpoint, worker.courier())
        await check_deliveries(world)
        world.advance(seconds=LEASE.total_seconds())
        await world.deliver()
        wanted = "succeeded" if receiver is accept else "abandoned"
        assert {each.status for each in await world.all(Delivery)} == {wanted}
        # At worst, what was on its way is sent once more.
        assert max(sent(world).values()) <= (1 if receiver is accept else 9) + 1
        await check_deliveries(world)
        if moody.commits < at:
            assert at > 2
            return


async def test_a_claim_that_another_worker_left_behind_is_not_the_merchants_fault() -> None:
    """Deliveries lost with a worker keep their number of attempts: a crash costs no retry."""
    world, _ = await a_world(fail)
    lane = await the_lane(world)
    delivery = await world.the_delivery()
    claim = Claim(delivery=delivery.id, since=world.clock.now())
    await world.store.commit(lanes.hold(lane, [claim], holder="gone", now=world.clock.now()))
    await world.deliver()
    assert len(world.received) == 9
    assert {attempt.failure for attempt in await world.all(Attempt)} == {Failure.REFUSED}


async def test_two_deliveries_of_one_event_may_be_on_their_way_together() -> None:
    world, _ = await a_world()
    (event,) = await world.all(Event)
    await world.kpay.resend_event(world.scope, event.id, {})
    await world.work()
    assert [got.event for got in world.received] == [event.id] * 2
    assert len(sent(world)) == 2


async def test_a_worker_with_a_stale_lane_is_turned_away_by_the_fence() -> None:
    world, _ = await a_world(clock=FrozenClock())
    lane = await the_lane(world)
    await world.store.commit(bump(lane))
    with pytest.raises(Conflict):
        await world.store.commit(lanes.hold(lane, [], holder="late", now=world.clock.now()))
