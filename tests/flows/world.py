"""A K-Payments in memory with one approved merchant, and what is asked of it over and over."""

from collections.abc import Coroutine, Generator, Mapping
from copy import deepcopy
from datetime import datetime, timedelta
from itertools import count
from types import coroutine
from typing import Any, TypeVar

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sandbox import Entry, SandboxNetwork
from kpay_adapters.system import cut_to_milliseconds
from kpay_adapters.testing import CHARGE, START, FrozenClock, SeededIds, make_kpay, step_aside
from kpay_core import Kpay, Scope
from kpay_core.commit import Record
from kpay_core.domain.charges import Charge
from kpay_core.domain.idempotency import Answer, IdempotencyKey
from kpay_core.domain.processing import Outcome
from kpay_core.domain.refunds import Refund
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
            store=self.store, processor=self.network, clock=self.clock, ids=ids or SeededIds()
        )
        self.scope = Scope("", livemode=False)
        self.keys: KeySet

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


@coroutine
def wait_until(moment: datetime) -> Generator[datetime, None, None]:
    """Tell the driver when to go on."""
    yield moment


class SharedClock(FrozenClock):
    """A clock for many at once: who sleeps is woken by the driver, and nobody's sleep moves another's time."""

    async def sleep(self, seconds: float) -> None:
        await wait_until(cut_to_milliseconds(self.now() + timedelta(seconds=seconds, milliseconds=1)))

    def move_to(self, moment: datetime) -> None:
        self._now = max(self._now, moment)


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


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run one to its end, without an event loop."""
    while True:
        try:
            work.send(None)
        except StopIteration as stop:
            return stop.value


__all__ = ["START", "World", "check_books", "drive", "request", "run"]
