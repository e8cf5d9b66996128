"""
A crash at every call of every port on the way of money, before its effect and right after it.

Refunds, disputes, maturing, settling, paying out, turning sheets, new terms: whatever had happened by then, the books
are right at that moment, and a new K-Payments on the same stores sees everything through by what is due alone.
"""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sandbox import SandboxBank, SandboxNetwork
from kpay_adapters.sql.migrate import create_all, migrate
from kpay_adapters.sql.store import SqlStore
from kpay_adapters.testing import Crash, Crashing, CrashPoint, SeededIds
from kpay_core import Scope
from kpay_core.ports import Store
from tests.flows.money import check_at_rest, check_money, come_to_rest
from tests.flows.stories import STORIES, Story
from tests.flows.world import World
from tests.journals import JOURNAL, JOURNAL_METADATA

pytestmark = pytest.mark.anyio

# More calls of ports than any of these makes.
MANY_CALLS = 400

# On SQLite each case takes half a second: for a sample, one call in so many is crashed at.
STRIDE_ON_DISK = 12 if int(os.environ.get("KPAY_FAULT_ROUNDS", "20")) < 20 else 1


class Ground:
    """Stores that outlive a process: a pair for each case."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._memory: dict[int, tuple[Store, Store]] = {}
        self.stride = 1 if folder is None else STRIDE_ON_DISK

    async def prepare(self) -> "Ground":
        """Make the schema that every case begins with a copy of."""
        if self._folder is not None:
            await migrate(f"sqlite:///{self._folder / 'books.db'}")
            await create_all(f"sqlite:///{self._folder / 'journal.db'}", JOURNAL_METADATA)
        return self

    @asynccontextmanager
    async def open(self, case: int) -> AsyncIterator[tuple[Store, Store]]:
        if self._folder is None:
            yield self._memory.setdefault(case, (MemoryStore(), MemoryStore()))
            return
        files = [self._folder / str(case) / name for name in ("books.db", "journal.db")]
        for file in files:
            if not file.exists():
                file.parent.mkdir(exist_ok=True)
                shutil.copy(self._folder / file.name, file)
        async with (
            SqlStore(f"sqlite:///{files[0]}") as store,
            SqlStore(f"sqlite:///{files[1]}", JOURNAL) as journal,
        ):
            yield store, journal


@pytest.fixture(params=["memory", pytest.param("sqlite", marks=pytest.mark.heavy)])
async def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    return await Ground(None if request.param == "memory" else tmp_path).prepare()


class Process:
    """The one that dies, and the one that comes after it."""

    def __init__(self, ground: Ground, case: int) -> None:
        self.ground = ground
        self.case = case

    async def dies(self, story: Story, point: CrashPoint) -> bool:
        """Live a story until the crash point; False when it came to its end first."""
        async with self.ground.open(self.case) as (store, journal):
            world = await World(store=store, journal=journal, ids=SeededIds(1)).open()
            await world.endpoint()
            await story.before(world)
            crash_at(world, point)
            self.scope: Scope = world.scope
            try:
                await story.act(world)
            except Crash:
                return True
            finally:
                self.now: datetime = world.clock.now()
            return False

    @asynccontextmanager
    async def recovers(self) -> AsyncIterator[World]:
        async with self.ground.open(self.case) as (store, journal):
            world = World(store=store, journal=journal, ids=SeededIds(2))
            world.scope = self.scope
            world.clock.advance(self.now - world.clock.now())
            yield world


def crash_at(world: World, point: CrashPoint) -> None:
    """Let a crash point see every call of the store, of the network and the bank, and of what those write."""
    journal: Any = Crashing(world.journal, point)
    network = SandboxNetwork(journal=journal, clock=world.clock)
    bank = SandboxBank(journal=journal, clock=world.clock)
    ports: Any = world.kpay
    ports.store = Crashing(world.store, point)
    ports.processors = {"test": Crashing(network, point)}
    ports.rails = {"test": Crashing(bank, point)}


async def crash_everywhere(ground: Ground, story: Story, *, after_effect: bool) -> int:
    """Crash a story at its first call of a port, its second, … until it comes through; return how many there were."""
    for call in range(1, MANY_CALLS, ground.stride):
        process = Process(ground, call)
        crashed = await process.dies(story, CrashPoint(call, after_effect=after_effect))
        async with process.recovers() as world:
            await check_money(world)
            # What the network knows by now may still have to be told.
            await world.check_audit(journal=False)
            if not crashed:
                assert await story.ends(world)
            await come_to_rest(world)
            await check_money(world)
            await check_at_rest(world)
            await world.check_audit()
        if not crashed:
            return call - 1
    raise AssertionError("it never comes to its end")


# To die before a call is to die after the one before it, but for what a call leaves behind that fails.
@pytest.mark.parametrize(
    "after_effect",
    [pytest.param(False, marks=pytest.mark.heavy), True],
    ids=["before its effect", "after its effect"],
)
@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
async def test_money_survives_a_crash_at_every_call(
    ground: Ground, story: Story, after_effect: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.begin(monkeypatch)
    assert await crash_everywhere(ground, story, after_effect=after_effect) > 8
