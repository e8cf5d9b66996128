"""A K-Payments in memory with one approved merchant, and what is asked of it over and over."""

from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from itertools import count, pairwise
from types import coroutine
from typing import Any, NamedTuple, TypeVar

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sandbox import Entry, SandboxBank, SandboxNetwork, Witnesses
from kpay_adapters.testing import (
    CHARGE,
    START,
    FrozenClock,
    Receiver,
    ScriptedCourier,
    SeededIds,
    accept,
    make_kpay,
    step_aside,
)
from kpay_core import Kpay, Scope
from kpay_core.commit import Record
from kpay_core.domain import deliveries, endpoints, lanes
from kpay_core.domain.audit import Report
from kpay_core.domain.charges import Charge
from kpay_core.domain.deliveries import Attempt, Delivery
from kpay_core.domain.endpoints import Endpoint, Subscriptions
from kpay_core.domain.events import Event
from kpay_core.domain.idempotency import Answer, IdempotencyKey
from kpay_core.domain.lanes import Lane
from kpay_core.domain.posts import Post, Reply
from kpay_core.domain.processing import Outcome
from kpay_core.domain.refunds import Refund
from kpay_core.domain.times import cut_to_milliseconds
from kpay_core.flows.endpoints import NewSecret
from kpay_core.flows.merchants import KeySet
from kpay_core.ports import Clock, Store
from kpay_core.query import Query

R = TypeVar("R", bound=Record)
T = TypeVar("T")

GOOD, DECLINED, LATE, LOST, DOWN, REFUND_PENDING = (
    "4242424242424242",
    "4000000000000002",
    "4000000000009805",
    "4000000000009813",
    "4000000000009821",
    "4000000000007726",
)

# What a charge that is unfinished needs at most: the settle window and the looks that lead there, with room.
UNTIL_QUIET = 40


HOOKS = "https://shop.example/hooks"

# Nine attempts of each of a few hundred deliveries, each at its own moment, with a look before it and after it.
UNTIL_DELIVERED = 5_000


class Received(NamedTuple):
    """A post, as a merchant's server got it."""

    at: datetime
    post: Post

    @property
    def event(self) -> str:
        return self.post.headers["K-Payments-Event-Id"]


def request(number: str = GOOD, **changes: Any) -> dict[str, Any]:
    """Make a valid request for a charge of some card."""
    body = {**deepcopy(CHARGE), **changes}
    body["source"]["number"] = number
    return body


class World:
    """A system, what stands behind it, and the time it lives by."""

    def __init__(
        self,
        *,
        store: Store | None = None,
        journal: Store | None = None,
        clock: Clock | None = None,
        ids: SeededIds | None = None,
    ) -> None:
        self.store: Store = store or MemoryStore()
        self.journal: Store = journal or MemoryStore()
        self.clock: Any = clock or FrozenClock()
        self.network = SandboxNetwork(journal=self.journal, clock=self.clock)
        self.kpay: Kpay = make_kpay(
            store=self.store,
            journal=self.journal,
            processor=self.network,
            clock=self.clock,
            ids=ids or SeededIds(),
        )
        self.scope = Scope("", livemode=False)
        self.keys: KeySet
        # The servers of the merchants, and what they got.
        self.receiver: Receiver = accept
        self.received: list[Received] = []

    async def open(self) -> "World":
        """Let a merchant in."""
        merchant = await self.kpay.apply(name="Acme")
        approved = await self.kpay.approve(merchant.id)
        self.scope, self.keys = Scope(merchant.id, livemode=False), approved.keys
        return self

    def advance(self, **time: float) -> None:
        self.clock.advance(timedelta(**time))

    async def charge(self, number: str = GOOD, *, key: str | None = None, **changes: Any) -> Answer:
        return await self.kpay.create_charge(self.scope, request(number, **changes), idempotency_key=key)

    async def refund(self, charge: str, *, key: str | None = None, **fields: Any) -> Answer:
        return await self.kpay.create_refund(self.scope, {"charge": charge, **fields}, idempotency_key=key)

    async def endpoint(self, *events: str, **fields: Any) -> NewSecret:
        """Register an endpoint for some events, or for all."""
        body = {"url": HOOKS, **({"enabled_events": list(events)} if events else {}), **fields}
        return await self.kpay.create_endpoint(self.scope, body)

    async def patch(self, endpoint: str, **changes: Any) -> Endpoint:
        return await self.kpay.update_endpoint(self.scope, endpoint, changes)

    def courier(self) -> ScriptedCourier:
        """Make a courier for one worker. All of them go to the same servers."""
        return ScriptedCourier(self._receive, clock=self.clock)

    def _receive(self, post: Post) -> Reply | timedelta | None:
        self.received.append(Received(self.clock.now(), post))
        return self.receiver(post)

    async def work(self) -> int:
        """Look once, serve what is due, and return how many attempts were made."""
        return sum(
            [
                await self.kpay.deliver_to(endpoint, self.courier())
                for endpoint in await self.kpay.endpoints_due()
            ]
        )

    async def deliver(self) -> None:
        """Let time pass, and a worker with it, until nothing is left to send or to give up."""
        for _ in range(UNTIL_DELIVERED):
            before = await self.all(Lane)
            await self.work()
            if await self.all(Lane) == before:
                ahead = [lane.due_at for lane in before if lane.due_at]
                if not ahead:
                    return
                self.clock.advance(max(min(ahead) - self.clock.now(), timedelta(seconds=1)))
        raise AssertionError("there is always something left to deliver")

    async def the_delivery(self) -> Delivery:
        (delivery,) = await self.all(Delivery)
        return delivery

    async def settle(self) -> None:
        """Let time pass, and the sweeper with it, until nothing is left to do."""
        for _ in range(UNTIL_QUIET):
            if not await self.unfinished():
                return
            due = min(record.look_at for record in await self.unfinished())
            self.clock.advance(max(due - self.clock.now(), timedelta(seconds=30)))
            await self.kpay.sweep()
        raise AssertionError("there is always something left to do")

    async def unfinished(self) -> list[Any]:
        everything = [*await self.all(Charge), *await self.all(Refund)]
        return [record for record in everything if record.look_at is not None]

    async def check_audit(self, *, journal: bool = True) -> Report:
        """Check that the audit finds nothing; without `journal` the network and the bank are not asked."""
        bank = SandboxBank(journal=self.journal, clock=self.clock)
        witnesses = {"test": Witnesses(self.network, bank)} if journal else {}
        report = await self.kpay.audit(witnesses=witnesses)
        assert not report.disagreements, report.disagreements
        assert sum(sum(accounts.values()) for accounts in report.totals.values()) == 0
        return report

    async def all(self, kind: type[R]) -> list[R]:
        return list(await self.store.find(Query(kind=kind, limit=10_000)))

    async def entries(self, outcome: Outcome | None = None) -> list[Entry]:
        """Return what the network noted."""
        found = await self.journal.find(Query(kind=Entry, limit=10_000))
        return [entry for entry in found if outcome in (None, entry.outcome)]

    async def captured(self) -> list[str]:
        return [entry.id for entry in await self.entries(Outcome.CAPTURED)]

    async def the_charge(self, answer: Answer) -> Charge:
        charge, _ = await self.kpay.get_charge(self.scope, str(answer.value["id"]))
        return charge


async def check_books(world: World, *, quiet: bool = True) -> None:
    """
    Hold the books against themselves and, once nothing is on its way, against the network's journal.

    Everywhere: refunds never exceed their charge, and its counts are their sums; a key keeps its subject's outcome.
    Quiet: a charge has succeeded exactly if it was captured, a refund exactly if it was refunded.
    """
    booked, returned = await world.all(Charge), await world.all(Refund)
    for charge in booked:
        its = [refund for refund in returned if refund.charge == charge.id]
        done = sum(refund.amount for refund in its if refund.status == "succeeded")
        under_way = sum(refund.amount for refund in its if refund.look_at is not None)
        assert (charge.amount_refunded, charge.amount_refunding) == (done, under_way)
        assert done + under_way <= charge.amount
        assert charge.refunds == len(its)
        assert all(refund.scope == charge.scope for refund in its)
    outcomes: Mapping[str, Charge | Refund] = {record.id: record for record in (*booked, *returned)}
    for key in await world.all(IdempotencyKey):
        subject = outcomes[key.subject]
        assert subject.idempotency_key == key.id
        if isinstance(subject, Charge):
            assert (key.state in ("answered", "free")) == (subject.look_at is None)
    journal = {entry.id: entry for entry in await world.entries()}
    refunded: dict[str, int] = {}
    for entry in journal.values():
        if entry.outcome is Outcome.REFUNDED and entry.charge:
            refunded[entry.charge] = refunded.get(entry.charge, 0) + entry.amount
    for charge in booked:
        assert refunded.get(charge.id, 0) <= charge.amount, "the network sent back more than it took"
        if charge.status == "succeeded":
            assert journal[charge.id].outcome is Outcome.CAPTURED, "booked, and never captured"
            assert journal[charge.id].amount == charge.amount
    assert journal.keys() <= outcomes.keys()
    if quiet:
        assert not await world.unfinished()
        took = {entry.id for entry in journal.values() if entry.outcome is Outcome.CAPTURED}
        assert took == {charge.id for charge in booked if charge.status == "succeeded"}
        sent = {entry.id for entry in journal.values() if entry.outcome is Outcome.REFUNDED}
        assert sent == {refund.id for refund in returned if refund.status == "succeeded"}


async def check_deliveries(world: World) -> None:
    """
    Hold events, endpoints, lanes and deliveries against each other; true at every moment.

    What is pending is found by somebody, in time; pauses are never shorter than the table's; nine attempts at most.
    """
    known = {endpoint.id: endpoint for endpoint in await world.all(Endpoint)}
    await check_subscriptions(world, known)
    events = {event.id: event for event in await world.all(Event)}
    ways = {lane.id: lane for lane in await world.all(Lane)}
    assert ways.keys() == known.keys()
    tried: dict[str, list[Attempt]] = {}
    for attempt in sorted(await world.all(Attempt), key=lambda attempt: attempt.id):
        tried.setdefault(attempt.delivery, []).append(attempt)
    for lane in ways.values():
        assert len(lane.sending) == len({claim.delivery for claim in lane.sending}) <= 8
        assert lane.holder is None or lane.due_at is not None, "a lease lapses"
        assert lane.sending == () or lane.holder is not None
    for delivery in await world.all(Delivery):
        assert events[delivery.event].scope == delivery.scope == known[delivery.endpoint].scope
        its = tried.pop(delivery.id, [])
        assert [attempt.number for attempt in its] == list(range(1, delivery.attempts + 1))
        assert len(its) <= 9
        for number, (one, next) in enumerate(pairwise(its), start=1):
            assert next.started_at - one.started_at >= deliveries.delay_after(number)
        assert (delivery.status == "succeeded") == any(attempt.failure is None for attempt in its)
        assert (delivery.status == "pending") == (delivery.next_attempt_at is not None)
        assert (delivery.status == "abandoned") == (delivery.reason is not None)
        if delivery.next_attempt_at:
            check_is_found(delivery, ways[delivery.endpoint], known[delivery.endpoint], world.clock.now())
    assert not tried, "an attempt of nothing"


def check_is_found(delivery: Delivery, lane: Lane, endpoint: Endpoint, now: datetime) -> None:
    """Check that somebody will look for a pending delivery, and not too late."""
    if delivery.fresh_at is not None:
        assert delivery.attempts == 0
        return
    assert lane.due_at is not None, "nobody looks for it any more"
    if not lanes.is_held(lane, now=now):
        wanted = delivery.expires_at if endpoint.status == "disabled" else delivery.next_attempt_at
        assert lane.due_at <= max(wanted or now, now)


async def check_subscriptions(world: World, known: Mapping[str, Endpoint]) -> None:
    """Check that whoever tells of an event knows each endpoint exactly as it is."""
    entries = {
        entry.endpoint: (held.id, entry.events)
        for held in await world.all(Subscriptions)
        for entry in held.entries
    }
    assert entries == {
        endpoint.id: (
            endpoints.subscriptions_id(endpoint.scope),
            endpoint.enabled_events if endpoint.status == "enabled" else None,
        )
        for endpoint in known.values()
        if endpoint.status != "deleted"
    }


@coroutine
def wait_until(moment: datetime) -> Generator[datetime, None, None]:
    """Tell the driver when to go on."""
    yield moment


class SharedClock(FrozenClock):
    """A clock for many at once: who sleeps is woken by the driver, and nobody's sleep moves another's time."""

    async def sleep(self, seconds: float) -> None:
        await wait_until(cut_to_milliseconds(self.now() + timedelta(seconds=seconds, milliseconds=1)))

    def move_to(self, moment: datetime) -> None:
        self.advance(max(moment - self.now(), timedelta(0)))


class Interleaved:
    """A port before and behind whose every call the others may go first."""

    def __init__(self, port: object) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            await step_aside()
            result = await method(*args, **kwargs)
            await step_aside()
            return result

        return call


def drive(clock: SharedClock, random: Any, *work: Coroutine[Any, Any, Any]) -> list[Any]:
    """
    Run many at once without an event loop, in an order that `random` chooses; return results and exceptions.

    Time stands still while anybody can go on, then jumps to whoever wakes first.
    """
    results: list[Any] = [None] * len(work)
    ready, asleep, tie = list(range(len(work))), [], count()
    while ready or asleep:
        if not ready:
            moment, _, number = min(asleep)
            asleep.remove(next(each for each in asleep if each[2] == number))
            clock.move_to(moment)
            ready.append(number)
        number = ready.pop(random.randrange(len(ready)))
        try:
            told = work[number].send(None)
        except StopIteration as stop:
            results[number] = stop.value
        except Exception as error:  # noqa: BLE001 - it is a result, for the test to judge
            results[number] = error
        else:
            if told is None:
                ready.append(number)
            else:
                asleep.append((told, next(tie), number))
    return results


class ExactClock(SharedClock):
    """A clock by which who sleeps is woken at the very moment."""

    async def sleep(self, seconds: float) -> None:
        await wait_until(cut_to_milliseconds(self.now() + timedelta(seconds=seconds)))


def drive_anyhow(
    clock: SharedClock, choose: Callable[[int], int], *work: Coroutine[Any, Any, Any]
) -> list[Any]:
    """
    Run many at once, in an order that `choose` says, by which anybody may stand still while time passes for others.

    Work that never ends is closed when nobody else is left, after an hour.
    """
    results: list[Any] = [None] * len(work)
    waiting: dict[int, datetime | None] = dict.fromkeys(range(len(work)))
    end = clock.now() + timedelta(hours=1)
    while waiting and clock.now() < end:
        number = list(waiting)[choose(len(waiting)) if len(waiting) > 1 else 0]
        wakes = waiting[number]
        if wakes:
            clock.move_to(wakes)
        try:
            waiting[number] = work[number].send(None)
        except StopIteration as stop:
            results[number] = stop.value
            del waiting[number]
        except Exception as error:  # noqa: BLE001 - it is a result, for the test to judge
            results[number] = error
            del waiting[number]
    for number in waiting:
        work[number].close()
    return results


def every_choice(depth: int) -> Iterator[Callable[[int], int]]:
    """Give out, one after the other, every way to make the first `depth` choices; what comes later goes in turns."""
    path: list[int] = []
    while True:
        made: list[tuple[int, int]] = []

        def choose(many: int, path: list[int] = path, made: list[tuple[int, int]] = made) -> int:
            at = len(made)
            chosen = path[at] if at < len(path) else 0 if at < depth else at % many
            made.append((chosen, many))
            return chosen

        yield choose
        made = made[:depth]
        while made and made[-1][0] + 1 == made[-1][1]:
            made.pop()
        if not made:
            return
        path = [chosen for chosen, _ in made[:-1]] + [made[-1][0] + 1]


class Stepped:
    """A store before whose every call the others may go first, and after each commit."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, kind: type[R], id: str) -> R | None:
        await step_aside()
        return await self._store.get(kind, id)

    async def find(self, query: Query[R]) -> Any:
        await step_aside()
        return await self._store.find(query)

    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        await step_aside()
        await self._store.commit(*records, held=held)
        await step_aside()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run one to its end, without an event loop."""
    while True:
        try:
            work.send(None)
        except StopIteration as stop:
            return stop.value


__all__ = ["START", "World", "check_books", "check_deliveries", "drive", "request", "run"]
