"""Telling: each change with its events, in one commit, to exactly those who were subscribed."""

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sandbox import SandboxNetwork
from kpay_adapters.testing import FrozenClock
from kpay_core import Scope
from kpay_core.commit import Record, Unknown
from kpay_core.domain.charges import Charge
from kpay_core.domain.deliveries import Delivery
from kpay_core.domain.errors import KpayError
from kpay_core.domain.events import Event
from kpay_core.domain.processing import Outcome, Verdict
from kpay_core.domain.refunds import Refund
from tests.flows.test_store_outcomes import Moody
from tests.flows.world import (
    DECLINED,
    DOWN,
    GOOD,
    LATE,
    LOST,
    REFUND_PENDING,
    Interleaved,
    SharedClock,
    World,
    check_deliveries,
    drive,
    request,
    run,
)

pytestmark = pytest.mark.anyio


async def told(world: World) -> list[dict[str, Any]]:
    """Return the bodies of all events, in the order in which they happened."""
    return [json.loads(event.body) for event in await world.all(Event)]


def types(bodies: list[dict[str, Any]]) -> list[str]:
    return [body["type"] for body in bodies]


# Charges.


@pytest.mark.parametrize("key", [None, "k", "a/b//c"])
@pytest.mark.parametrize(
    ("number", "type"),
    [
        (GOOD, "charge.succeeded"),
        (LATE, "charge.succeeded"),
        (LOST, "charge.succeeded"),
        (DECLINED, "charge.failed"),
        (DOWN, "charge.failed"),
    ],
)
async def test_each_charge_is_told_of_once_whoever_settled_it(
    number: str, type: str, key: str | None
) -> None:
    world = await World().open()
    await world.kpay.create_charge(world.scope, request(number), idempotency_key=key, request_id="req_1")
    at_once = number in (GOOD, LATE, DECLINED)
    assert len(await told(world)) == (1 if at_once else 0)
    await world.settle()
    (body,) = await told(world)
    (charge,) = await world.all(Charge)
    assert (body["type"], body["livemode"]) == (type, False)
    # What the sweeper settled was not made to happen by a request, but its key is known all the same.
    assert body["request"] == {"id": "req_1" if at_once else None, "idempotency_key": key}
    shown = body["data"]["object"]
    assert (shown["id"], shown["status"]) == (charge.id, charge.status)
    assert shown["failure_code"] == charge.failure_code
    assert "refunds" not in shown
    assert "previous_attributes" not in body["data"]


async def test_a_replayed_request_is_told_of_once() -> None:
    world = await World().open()
    for _ in range(3):
        await world.charge(key="k")
    assert types(await told(world)) == ["charge.succeeded"]


async def test_a_charge_that_was_cut_off_and_undone_is_told_of_once_as_failed() -> None:
    world = await World(clock=SharedClock()).open()
    world.kpay.store = Interleaved(world.store)  # type: ignore[assignment]
    work = world.charge()
    while not await world.captured():
        work.send(None)
    work.close()
    world.kpay.store = world.store
    await world.settle()
    (body,) = await told(world)
    assert (body["type"], body["data"]["object"]["failure_code"]) == ("charge.failed", "not_processed")


# Refunds.


@pytest.mark.parametrize("key", [None, "a/b//c"])
async def test_a_refund_that_succeeds_is_told_of_with_its_charge(key: str | None) -> None:
    world = await World().open()
    charge = str((await world.charge()).value["id"])
    for amount in (1000, 3999):
        key = key and f"{key}{amount}"
        await world.kpay.create_refund(
            world.scope, {"charge": charge, "amount": amount}, idempotency_key=key, request_id=f"req_{amount}"
        )
    bodies = (await told(world))[1:]
    assert types(bodies) == ["refund.created", "charge.refunded"] * 2
    assert [body["request"]["id"] for body in bodies] == ["req_1000"] * 2 + ["req_3999"] * 2
    assert bodies[-1]["request"]["idempotency_key"] == key
    assert bodies[0]["data"]["object"]["status"] == "succeeded"
    # The first body says what was true then, whatever has become of the charge since.
    first, last = bodies[1]["data"], bodies[3]["data"]
    assert (first["object"]["amount_refunded"], first["object"]["refunded"]) == (1000, False)
    assert first["previous_attributes"] == {"amount_refunded": 0}
    assert (last["object"]["amount_refunded"], last["object"]["refunded"]) == (4999, True)
    assert last["previous_attributes"] == {"amount_refunded": 1000, "refunded": False}


@pytest.mark.parametrize("key", [None, "a/b//c"])
async def test_a_pending_refund_is_told_of_when_it_is_made_and_when_it_is_settled(key: str | None) -> None:
    world = await World().open()
    charge = str((await world.charge(REFUND_PENDING)).value["id"])
    await world.refund(charge, key=key)
    assert types(await told(world)) == ["charge.succeeded", "refund.created"]
    await world.settle()
    created, updated, refunded = (await told(world))[1:]
    assert created["data"]["object"]["status"] == "pending"
    assert (updated["type"], updated["data"]["object"]["status"]) == ("refund.updated", "succeeded")
    assert updated["data"]["previous_attributes"] == {"status": "pending"}
    assert refunded["type"] == "charge.refunded"
    assert [body["request"] for body in (updated, refunded)] == [{"id": None, "idempotency_key": key}] * 2


class Network(SandboxNetwork):
    """A network that gives one verdict after the other on refunds."""

    def __init__(self, world: World, *verdicts: Verdict) -> None:
        super().__init__(journal=world.journal, clock=world.clock)
        self._verdicts = list(verdicts)

    async def refund(self, **_: Any) -> Verdict:
        return self._verdicts.pop(0)


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_pending_refund_that_fails_is_told_of_with_what_it_was(key: str | None) -> None:
    world = await World().open()
    charge = str((await world.charge()).value["id"])
    verdicts = Verdict(Outcome.PENDING), Verdict(Outcome.REFUSED, "lost_card")
    world.kpay.processors = {"test": Network(world, *verdicts)}
    await world.refund(charge, key=key)
    await world.settle()
    created, updated = (await told(world))[1:]
    assert (created["type"], updated["type"]) == ("refund.created", "refund.updated")
    assert updated["data"]["object"]["failure_code"] == "lost_card"
    assert updated["data"]["previous_attributes"] == {"status": "pending", "failure_code": None}


async def test_a_refused_refund_is_told_of_once_as_failed() -> None:
    world = await World().open()
    charge = str((await world.charge()).value["id"])
    world.kpay.processors = {"test": Network(world, Verdict(Outcome.REFUSED, "lost_card"))}
    await world.refund(charge)
    await world.settle()
    *_, created = await told(world)
    assert types(await told(world)) == ["charge.succeeded", "refund.created"]
    assert (created["data"]["object"]["status"], created["data"]["object"]["failure_code"]) == (
        "failed",
        "lost_card",
    )


async def test_a_refund_that_was_called_back_is_told_of_once_as_failed() -> None:
    world = await World(clock=SharedClock()).open()
    charge = str((await world.charge()).value["id"])
    world.kpay.store = Interleaved(world.store)  # type: ignore[assignment]
    work = world.refund(charge)
    while not await world.all(Refund):
        work.send(None)
    work.close()
    world.kpay.store = world.store
    for _ in range(20):
        world.clock.advance(timedelta(seconds=30))
        await world.kpay.sweep()
    (refund,) = await world.all(Refund)
    assert refund.failure_code == "not_processed"
    *_, created = await told(world)
    assert types(await told(world)) == ["charge.succeeded", "refund.created"]
    assert created["data"]["object"]["status"] == "failed"
    assert created["request"] == {"id": None, "idempotency_key": None}


# Who is told.


async def test_each_endpoint_that_wants_an_event_gets_one_delivery_of_it_and_no_other_gets_any() -> None:
    world = await World().open()
    everything = (await world.endpoint()).endpoint.id
    failures = (await world.endpoint("charge.failed", "refund.created", "charge.failed")).endpoint.id
    off = (await world.endpoint()).endpoint.id
    await world.patch(off, status="disabled")
    gone = (await world.endpoint()).endpoint.id
    await world.kpay.delete_endpoint(world.scope, gone)

    charge = str((await world.charge()).value["id"])
    await world.charge(DECLINED)
    await world.refund(charge)

    sent = {(delivery.endpoint, delivery.event_type) for delivery in await world.all(Delivery)}
    assert len(sent) == len(await world.all(Delivery))
    assert sent == {
        (everything, "charge.succeeded"),
        (everything, "charge.failed"),
        (everything, "refund.created"),
        (everything, "charge.refunded"),
        (failures, "charge.failed"),
        (failures, "refund.created"),
    }
    await check_deliveries(world)


async def test_test_and_live_and_other_merchants_never_mix() -> None:
    world = await World().open()
    world.kpay.processors = {"test": world.network, "live": world.network}
    test, live = world.scope, Scope(world.scope.merchant, livemode=True)
    other = (await world.open()).scope
    mine: dict[Scope, str] = {}
    for scope in (test, live, other):
        world.scope = scope
        mine[scope] = (await world.endpoint()).endpoint.id
    for world.scope in (live, other):
        await world.charge()
    sent = {(delivery.scope, delivery.endpoint) for delivery in await world.all(Delivery)}
    assert sent == {(live, mine[live]), (other, mine[other])}
    assert {body["livemode"] for body in await told(world)} == {True, False}
    for scope in mine:
        page = await world.kpay.list_events(scope, {})
        assert [event.scope for event in page.data] == ([] if scope == test else [scope])
    await check_deliveries(world)


async def test_whoever_delivers_is_woken_once_for_each_endpoint_after_the_commit() -> None:
    world = await World().open()
    ids = [(await world.endpoint()).endpoint.id for _ in range(2)]
    woken: list[tuple[str, ...]] = []

    def wake(endpoints: Any) -> None:
        assert run(world.all(Delivery)), "woken before there is anything"
        woken.append(tuple(endpoints))

    world.kpay.wake = wake
    charge = str((await world.charge()).value["id"])
    await world.refund(charge)
    assert woken == [tuple(ids)] * 2


async def test_an_event_that_nobody_wants_is_kept_and_wakes_nobody() -> None:
    world = await World().open()
    woken: list[Any] = []

    def wake(endpoints: Any) -> None:
        woken.append(endpoints)

    world.kpay.wake = wake
    await world.charge()
    assert (len(await told(world)), await world.all(Delivery), woken) == (1, [], [])


# The event is committed with its change.


class Watching:
    """A store that notes what came in one commit."""

    def __init__(self, store: Any) -> None:
        self.get, self.find = store.get, store.find
        self._store = store
        self.units: list[tuple[Record, ...]] = []

    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        await self._store.commit(*records, held=held)
        self.units.append(records)


@pytest.mark.parametrize("number", [GOOD, DECLINED, LOST, DOWN, REFUND_PENDING])
async def test_an_outcome_its_events_and_their_deliveries_are_one_commit(number: str) -> None:
    world = await World().open()
    await world.endpoint()
    watching = Watching(world.store)
    world.kpay.store = watching
    answer = await world.charge(number)
    if number in (GOOD, REFUND_PENDING):
        await world.refund(str(answer.value["id"]))
    await world.settle()
    outcomes = 0
    for unit in watching.units:
        changed = [record for record in unit if isinstance(record, Charge | Refund)]
        bodies = [json.loads(record.body) for record in unit if isinstance(record, Event)]
        deliveries = [record for record in unit if isinstance(record, Delivery)]
        assert [delivery.event for delivery in deliveries] == [body["id"] for body in bodies]
        settled = {record.id for record in changed if isinstance(record, Charge) and record.version > 1}
        settled -= {record.id for record in changed if isinstance(record, Charge) and record.look_at}
        refunds = {record.id for record in changed if isinstance(record, Refund) and record.look_at is None}
        about = {body["data"]["object"]["id"] for body in bodies}
        assert about <= {record.id for record in changed}
        assert refunds <= about
        if settled and not any(isinstance(record, Refund) for record in changed):
            assert about == settled
        outcomes += bool(bodies)
    assert outcomes == len({body["id"] for body in await told(world)}) - (
        sum(body["type"] == "charge.refunded" for body in await told(world))
    )


# Endpoints that come while something happens.


@pytest.mark.parametrize("change", ["create", "enable", "widen"])
@pytest.mark.parametrize("seed", range(60))
async def test_an_endpoint_that_was_there_before_the_event_gets_it_in_any_interleaving(
    change: str, seed: int
) -> None:
    """What was acknowledged before the event's time was taken counts; what came after it may."""
    clock = Ticking()
    world = await World(clock=clock).open()
    endpoint = (await world.endpoint("charge.failed")).endpoint.id
    if change == "enable":
        await world.patch(endpoint, enabled_events=["*"], status="disabled")
    world.kpay.store = Interleaved(world.store)  # type: ignore[assignment]
    world.kpay.processors = {"test": Interleaved(world.network)}  # type: ignore[dict-item]
    returned: dict[str, Any] = {}

    async def changes() -> None:
        match change:
            case "create":
                returned["endpoint"] = (await world.endpoint()).endpoint.id
            case "enable":
                returned["endpoint"] = (await world.patch(endpoint, status="enabled")).id
            case _:
                returned["endpoint"] = (await world.patch(endpoint, enabled_events=["charge.succeeded"])).id
        returned["at"] = clock.now()

    drive(clock, Random(seed), *(world.charge() for _ in range(3)), changes())
    world.kpay.store = world.store
    sent = {(delivery.event, delivery.endpoint) for delivery in await world.all(Delivery)}
    for event in await world.all(Event):
        if event.created_at > returned["at"]:
            assert (event.id, returned["endpoint"]) in sent
    await check_deliveries(world)


@pytest.mark.parametrize("change", ["disable", "delete", "narrow"])
@pytest.mark.parametrize("seed", range(40))
async def test_what_happens_after_an_endpoint_said_no_more_is_not_sent_to_it_in_any_interleaving(
    change: str, seed: int
) -> None:
    clock = Ticking()
    world = await World(clock=clock).open()
    endpoint = (await world.endpoint()).endpoint.id
    world.kpay.store = Interleaved(world.store)  # type: ignore[assignment]
    world.kpay.processors = {"test": Interleaved(world.network)}  # type: ignore[dict-item]
    returned: list[Any] = []

    async def changes() -> None:
        match change:
            case "disable":
                await world.patch(endpoint, status="disabled")
            case "delete":
                await world.kpay.delete_endpoint(world.scope, endpoint)
            case _:
                await world.patch(endpoint, enabled_events=["charge.failed"])
        returned.append(clock.now())

    drive(clock, Random(seed), *(world.charge() for _ in range(3)), changes())
    sent = {delivery.event for delivery in await world.all(Delivery)}
    for event in await world.all(Event):
        if event.created_at > returned[0]:
            assert event.id not in sent
    await check_deliveries(world)


class Ticking(SharedClock):
    """A clock by which no two moments are the same."""

    def now(self) -> Any:
        self.advance(timedelta(milliseconds=1))
        return super().now()


MOODS = {
    "unknown, written": {"failure": Unknown, "written": True},
    "unknown, not written": {"failure": Unknown},
    "unknown twice, written": {"failure": Unknown, "written": True, "times": 2},
}


@pytest.mark.parametrize("mood", MOODS.values(), ids=MOODS)
@pytest.mark.parametrize("at", range(1, 6))
async def test_an_uncertain_commit_never_tells_twice(mood: dict[str, Any], at: int) -> None:
    world = await World(clock=FrozenClock()).open()
    await world.endpoint()
    world.kpay.store = Moody(world.store, at, **mood)
    charge = str((await world.charge()).value["id"])
    await world.refund(charge)
    world.kpay.store = world.store
    assert types(await told(world)) == ["charge.succeeded", "refund.created", "charge.refunded"]
    assert len(await world.all(Delivery)) == 3
    await check_deliveries(world)


Ask = Callable[[World], Awaitable[object]]


@pytest.mark.parametrize(
    "ask",
    [
        lambda world: world.charge(amount=1),
        lambda world: world.refund("no such charge"),
        lambda world: world.kpay.create_charge(Scope(world.scope.merchant, livemode=True), request()),
    ],
    ids=["invalid", "not found", "no processor"],
)
async def test_what_is_refused_did_not_happen(ask: Ask) -> None:
    world = await World(store=MemoryStore()).open()
    await world.endpoint()
    with pytest.raises(KpayError):
        await ask(world)
    assert await world.all(Event) == []
