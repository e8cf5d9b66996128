"""A process that settles whenever it is told what time it is: `python -m tests.faults.settling <url>`."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from kpay_adapters.sandbox import SandboxNetwork
from kpay_adapters.sql.store import SqlStore
from kpay_adapters.system import SystemIds
from kpay_adapters.testing import FrozenClock, make_kpay
from kpay_core import Kpay
from tests.flows.world import World
from tests.journals import JOURNAL


class StandingClock(FrozenClock):
    """A clock that stands still also for who sleeps, while others work."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@asynccontextmanager
async def one_who_settles(url: str, clock: FrozenClock) -> AsyncIterator[Kpay]:
    """Open a core of its own on a database that holds the journal as well."""
    async with SqlStore(url) as store, SqlStore(url, JOURNAL) as journal:
        network = SandboxNetwork(journal=journal, clock=clock)
        yield make_kpay(store=store, journal=journal, processor=network, clock=clock, ids=SystemIds())


@asynccontextmanager
async def a_world(url: str) -> AsyncIterator[World]:
    """Open a world on such a database, with a merchant in it."""
    async with SqlStore(url) as store, SqlStore(url, JOURNAL) as journal:
        yield await World(store=store, journal=journal, clock=StandingClock()).open()


async def settle_all(kpay: Kpay) -> None:
    """Do what a worker does, with no regard to others who do the same."""
    await kpay.mature()
    await kpay.settle()
    await kpay.sweep()


async def main(url: str) -> None:
    clock = StandingClock()
    async with one_who_settles(url, clock) as kpay:
        while told := await asyncio.to_thread(sys.stdin.readline):
            await clock.turn_to(datetime.fromisoformat(told.strip()))
            await settle_all(kpay)
            sys.stdout.write("done\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
