"""
Two who settle at once on PostgreSQL: each line is in one payout, each payout goes out once, whoever is first or killed.
"""

import asyncio
import os
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable

import pytest

from kpay_adapters.sandbox import Payment
from kpay_adapters.sql.migrate import create_all, migrate
from kpay_core.domain.charges import Charge
from kpay_core.domain.payouts import Payout
from kpay_core.query import Query
from tests.faults.settling import a_world, one_who_settles, settle_all
from tests.flows.money import (
    AT_ONCE,
    CLOSED_ACCOUNT,
    GOOD_ACCOUNT,
    check_at_rest,
    check_money,
    come_to_rest,
)
from tests.flows.world import GOOD, World
from tests.journals import JOURNAL_METADATA

pytestmark = pytest.mark.anyio

# Ten for each round of faults: 200, or a sample of them.
ROUNDS = 10 * int(os.environ.get("KPAY_FAULT_ROUNDS", "20"))

# A round of settling takes a few times as long.
LONGEST_LIFE_SECONDS = 0.06


@pytest.fixture
async def database(fresh_postgres: Callable[[], str]) -> str:
    url = fresh_postgres()
    await migrate(url)
    await create_all(url, JOURNAL_METADATA)
    return url


async def a_days_business(world: World, chance: random.Random) -> None:
    """Take a few charges, refund one, have the wrong account now and then, and let the day be over."""
    for number in chance.sample([GOOD, AT_ONCE, AT_ONCE], chance.randint(1, 3)):
        await world.charge(number, amount=chance.randint(50, 9000))
    charge = chance.choice(await world.all(Charge))
    if charge.refundable > 1:
        await world.refund(charge.id, amount=charge.refundable // 2)
    account = chance.choice([GOOD_ACCOUNT] * 4 + [CLOSED_ACCOUNT])
    await world.kpay.update_merchant(world.scope.merchant, {"bank_account": account})
    world.advance(days=1)


async def check_all(world: World, days: int) -> None:
    """Check that every line was paid out once, and that the bank has as many payments as there are payouts."""
    await come_to_rest(world)
    await check_money(world)
    await check_at_rest(world)
    await world.check_audit()
    payments = await world.journal.find(Query(kind=Payment, limit=10_000))
    assert len(payments) == len(await world.all(Payout)) > days / 2


@pytest.mark.parametrize("rounds", [3, pytest.param(ROUNDS, marks=pytest.mark.heavy)])
async def test_of_two_who_settle_at_once_each_line_is_paid_out_once(database: str, rounds: int) -> None:
    chance = random.Random(rounds)
    async with a_world(database) as world, one_who_settles(database, world.clock) as other:
        for _ in range(rounds):
            await a_days_business(world, chance)
            await asyncio.gather(settle_all(world.kpay), settle_all(other))
        await check_all(world, rounds)


async def start(url: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.settling", url, stdin=PIPE, stdout=PIPE
    )


async def tell_the_time(process: Process, world: World) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{world.clock.now().isoformat()}\n".encode())
    await process.stdin.drain()


async def is_done(process: Process) -> None:
    assert process.stdout is not None
    assert await process.stdout.readline() == b"done\n"


@pytest.mark.heavy
async def test_one_of_two_processes_that_is_killed_while_it_settles_costs_nothing(database: str) -> None:
    chance = random.Random(ROUNDS)
    async with a_world(database) as world:
        processes = [await start(database) for _ in range(2)]
        try:
            for _ in range(ROUNDS):
                await a_days_business(world, chance)
                for process in processes:
                    await tell_the_time(process, world)
                if chance.random() < 0.1:
                    await asyncio.sleep(chance.uniform(0, LONGEST_LIFE_SECONDS))
                    killed = processes.pop(0)
                    killed.kill()
                    await killed.wait()
                    await is_done(processes[0])
                    processes.append(await start(database))
                    continue
                for process in processes:
                    await is_done(process)
        finally:
            for process in processes:
                process.kill()
                await process.wait()
        await check_all(world, ROUNDS)
