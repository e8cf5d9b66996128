"""
A crash at every call of every port, before its effect and right after it.

Whatever had happened by then, a new K-Payments on the same stores brings the books and the network's journal
together again: by its sweeper alone, or with the client who sends the request again.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sandbox import SandboxNetwork
from kpay_adapters.sql.migrate import create_all, migrate
from kpay_adapters.sql.store import SqlStore
from kpay_adapters.testing import Crash, Crashing, CrashPoint, SeededIds
from kpay_core import Scope
from kpay_core.domain.charges import Charge
from kpay_core.domain.errors import IdempotencyKeyInUse, Undone
from kpay_core.domain.idempotency import Answer
from kpay_core.domain.idempotency import Outcome as Told
from kpay_core.domain.processing import Outcome
from kpay_core.domain.refunds import Refund
from kpay_core.ports import Store
from tests.flows.world import DECLINED, GOOD, LOST, REFUND_PENDING, World, check_books
from tests.journals import JOURNAL, JOURNAL_METADATA

pytestmark = pytest.mark.anyio

# More calls of ports than any flow here makes.
MANY_CALLS = 100

Open = Callable[[], Any]


class Stores:
    """Where the records of one case live, also through a crash."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._memory: tuple[Store, Store] = (MemoryStore(), MemoryStore())

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Store, Store]]:
        if self._folder is None:
            yield self._memory
            return
        books, journal = (f"sqlite:///{self._folder / name}" for name in ("books.db", "journal.db"))
        async with SqlStore(books) as store, SqlStore(journal, JOURNAL) as journal_store:
            yield store, journal_store


@pytest.fixture(params=["memory", pytest.param("sqlite", marks=pytest.mark.heavy)])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Stores:
    """Return the stores of one test; its cases have a merchant each."""
    if request.param == "memory":
        return Stores(None)
    await migrate(f"sqlite:///{tmp_path / 'books.db'}")
    await create_all(f"sqlite:///{tmp_path / 'journal.db'}", JOURNAL_METADATA)
    return Stores(tmp_path)


class Case:
    """One request, sent by a process that dies at a call of a port."""

    def __init__(self, stores: Stores, number: int) -> None:
        self.stores = stores
        self.seed = number
        self.scope = Scope("", livemode=False)

    async def dies(
        self,
        send: Callable[[World], Awaitable[Answer]],
        prepare: Callable[[World], Awaitable[None]],
        point: CrashPoint,
    ) -> bool:
        """Send a request until the crash point; False when the request came to its end first."""
        async with self.stores.open() as (store, journal):
            world = World(store=store, journal=journal, ids=SeededIds(3 * self.seed))
            await world.open()
            await prepare(world)
            self.scope, self.now = world.scope, world.clock.now()
            crashing: Any = Crashing(journal, point)
            network = SandboxNetwork(journal=crashing, clock=world.clock)
            world.kpay.store = Crashing(store, point)  # type: ignore[assignment]
            world.kpay.processors = {"test": Crashing(network, point)}  # type: ignore[dict-item]
            try:
                await send(world)
            except Crash:
                self.now = world.clock.now()
                return True
            return False

    @asynccontextmanager
    async def recovers(self) -> AsyncIterator[World]:
        """Start anew on the same stores."""
        async with self.stores.open() as (store, journal):
            world = World(store=store, journal=journal, ids=SeededIds(3 * self.seed + 1))
            world.scope = self.scope
            world.clock.advance(self.now - world.clock.now())
            yield world


async def retry(world: World, send: Callable[[World], Awaitable[Answer]]) -> Answer:
    """Send a request as a stubborn client does: until its answer is final."""
    for _ in range(60):
        try:
            answer = await send(world)
        except (IdempotencyKeyInUse, Undone):
            pass
        else:
            if answer.outcome is not Told.ACCEPTED:
                return answer
        world.advance(seconds=10)
    raise AssertionError("the request never gets an answer")


async def nothing(_: World) -> None: ...


async def crash_everywhere(
    stores: Stores,
    send: Callable[[World], Awaitable[Answer]],
    *,
    key: str | None,
    retries: bool,
    after_effect: bool,
    prepare: Callable[[World], Awaitable[None]] = nothing,
) -> int:
    """Crash a request at its first call of a port, its second, … until it comes through; return how many there were."""
    for call in range(1, MANY_CALLS):
        case = Case(stores, call)
        crashed = await case.dies(send, prepare, CrashPoint(call, after_effect=after_effect))
        async with case.recovers() as world:
            left = {charge.id: charge for charge in await world.all(Charge) if charge.scope == case.scope}
            if retries:
                answer = await retry(world, send)
                assert (await send(world)).body == answer.body
            await world.settle()
            await check_books(world)
            mine = [charge for charge in await world.all(Charge) if charge.scope == case.scope]
            captured = set(await world.captured())
            standing = [charge for charge in mine if charge.id in captured]
            assert len(standing) <= 1, "captured twice"
            if retries:
                again = await send(world)
                assert (again.body, again.replayed) == (answer.body, True), "one final answer for a key"
            for charge in mine:
                before = left.get(charge.id)
                if key is None and before and before.status == "processing" and not before.told:
                    assert charge.id not in captured, "a charge that nobody can learn of was left captured"
        if not crashed:
            return call - 1
    raise AssertionError("the request never comes to its end")


@pytest.mark.parametrize("after_effect", [False, True], ids=["before its effect", "after its effect"])
@pytest.mark.parametrize(
    ("key", "retries"), [(None, False), ("k", False), ("k", True)], ids=["keyless", "swept", "retried"]
)
@pytest.mark.parametrize("number", [GOOD, DECLINED, LOST], ids=["captured", "declined", "lost"])
async def test_a_charge_survives_a_crash_at_every_call(
    stores: Stores, number: str, key: str | None, retries: bool, after_effect: bool
) -> None:
    calls = await crash_everywhere(
        stores,
        lambda world: world.charge(number, key=key),
        key=key,
        retries=retries,
        after_effect=after_effect,
    )
    # The look at the key, the intent, the network, its journal, the outcome.
    assert calls >= (5 if key else 4)


@pytest.mark.parametrize("after_effect", [False, True], ids=["before its effect", "after its effect"])
@pytest.mark.parametrize(
    ("key", "retries"), [(None, False), ("k", False), ("k", True)], ids=["keyless", "swept", "retried"]
)
@pytest.mark.parametrize("number", [GOOD, REFUND_PENDING], ids=["ordinary", "pending"])
async def test_a_refund_survives_a_crash_at_every_call(
    stores: Stores, number: str, key: str | None, retries: bool, after_effect: bool
) -> None:
    async def charge_first(world: World) -> None:
        await world.charge(number)

    async def refund(world: World) -> Answer:
        (charge,) = [charge for charge in await world.all(Charge) if charge.scope == world.scope]
        return await world.refund(charge.id, amount=1000, key=key)

    calls = await crash_everywhere(
        stores, refund, key=key, retries=retries, after_effect=after_effect, prepare=charge_first
    )
    assert calls >= 8


@pytest.mark.parametrize("after_effect", [False, True], ids=["before its effect", "after its effect"])
async def test_a_sweeper_that_crashes_at_every_call_leaves_all_to_the_next(
    stores: Stores, after_effect: bool
) -> None:
    """The sweeper of an undoing: its lease, the look-up, the fence, the reversal, the end."""
    for call in range(1, MANY_CALLS):
        case = Case(stores, call)
        # Dies behind the network's capture: nobody will ever learn of this charge.
        assert await case.dies(lambda world: world.charge(), nothing, CrashPoint(3, after_effect=False))
        async with case.recovers() as world:
            assert len(await world.unfinished()) == 1
            world.advance(seconds=61)
            point = CrashPoint(call, after_effect=after_effect)
            crashing: Any = Crashing(world.journal, point)
            network = SandboxNetwork(journal=crashing, clock=world.clock)
            sound = world.kpay.store, world.kpay.processors
            world.kpay.store = Crashing(world.store, point)  # type: ignore[assignment]
            world.kpay.processors = {"test": Crashing(network, point)}  # type: ignore[dict-item]
            crashed = True
            try:
                await world.kpay.sweep()
                crashed = False
            except Crash:
                pass
            world.kpay.store, world.kpay.processors = sound
            await world.settle()
            await check_books(world)
            assert await world.captured() == []
        if not crashed:
            assert call > 6
            return
    raise AssertionError("the sweep never comes to its end")


async def test_crashes_again_and_again_are_survived_too(stores: Stores) -> None:
    """The client's every retry dies one call later than the one before."""
    async with stores.open() as (store, journal):
        world = await World(store=store, journal=journal, ids=SeededIds(1)).open()
        scope, now = world.scope, world.clock.now()
    for call in range(1, MANY_CALLS):
        async with stores.open() as (store, journal):
            world = World(store=store, journal=journal, ids=SeededIds(call + 1))
            world.scope = scope
            world.clock.advance(now - world.clock.now())
            world.advance(seconds=6)
            point = CrashPoint(call, after_effect=call % 2 == 0)
            crashing: Any = Crashing(journal, point)
            world.kpay.processors = {
                "test": Crashing(SandboxNetwork(journal=crashing, clock=world.clock), point)  # type: ignore[dict-item]
            }
            world.kpay.store = Crashing(store, point)  # type: ignore[assignment]
            try:
                answer = await retry(world, lambda world: world.charge(key="k"))
            except Crash:
                now = world.clock.now()
                continue
            world.kpay.store = store
            await world.settle()
            assert len(await world.captured()) == 1
            assert answer.value["id"] in await world.captured()
            assert await world.all(Refund) == []
            assert {entry.outcome for entry in await world.entries()} <= {Outcome.CAPTURED, Outcome.REVERSED}
            await check_books(world)
            return
    raise AssertionError("no retry comes through")
