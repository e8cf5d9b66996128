"""
`kill -9` of servers, workers, PostgreSQL and Redis at any moment, while clients charge, refund, replay and listen.

Nothing acknowledged is missing, nothing is captured without being booked, nothing is charged twice, everything is told,
and whatever was unfinished is resolved without anyone's help. The network is another process, to which nothing happens.

KPAY_FAULT_KILLS says how many die: 20 is a sample, 1,000 a proof. KPAY_FAULT_SEED repeats what clients do and who is
killed when, as far as that decides what happens.
"""

import asyncio
import os
import random
import time
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import pytest

from tests import backends
from tests.kills import figures, laws
from tests.kills.clients import Client, Merchant
from tests.kills.fleets import LOOK_SECONDS, Fleet, on_postgres, on_sqlite
from tests.kills.shops import Shops
from tests.servers import rows_of

KILLS = int(os.environ.get("KPAY_FAULT_KILLS", "20"))

# A few seconds a kill on a loaded machine, and as long again to look at what they leave behind.
pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600 + 15 * KILLS)]

MERCHANTS, CLIENTS = 4, 32

# A life is as long as a start, or a few hundred requests.
LONGEST_LIFE_SECONDS = 1.0

# After so many nobody dies for a while, so that it can be seen how soon all is resolved.
KILLS_IN_A_ROW = 50

# Of a hundred lives so many end while others are starting.
NOT_WAITED_FOR_PER_CENT = 20

# Past the settle window of 120 s, so that whatever was left is undone.
UNDONE_SECONDS = 200

# The retries of a delivery after 1, 5 and 30 minutes, and whatever the network tells within minutes.
RETRIED_SECONDS = 3600

# Two or three rounds do.
MANY = 20

# Far over what is measured.
RESOLVED_WITHIN_SECONDS = 180


def tell(text: str) -> None:
    """Say what was measured, to whoever looks (`-s`, or a failure)."""
    print(text, flush=True)  # noqa: T201


def a_chance() -> random.Random:
    seed = int(os.environ.get("KPAY_FAULT_SEED", str(random.randrange(10**6))))
    tell(f"KPAY_FAULT_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def folder() -> Any:
    # Not pytest's own: PostgreSQL runs as another user where tests are root's, and must reach it.
    with TemporaryDirectory(prefix="kpay-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def test_a_server_on_sqlite_that_is_killed_again_and_again_loses_nothing_and_doubles_nothing(
    folder: Path,
) -> None:
    chance = a_chance()
    prove(on_sqlite(folder, chance), chance)


def test_a_network_that_is_killed_as_well_loses_nothing_and_doubles_nothing(folder: Path) -> None:
    chance = a_chance()
    prove(on_sqlite(folder, chance, network_dies=True), chance, kills=-(-KILLS // 5))


def test_servers_workers_postgres_and_redis_that_are_killed_lose_nothing_and_double_nothing(
    folder: Path,
) -> None:
    chance = a_chance()
    try:
        prove(on_postgres(folder, chance), chance)
    except backends.Missing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


def prove(opening: AbstractContextManager[Fleet], chance: random.Random, *, kills: int = KILLS) -> None:
    """Kill as many as asked for, let the rest come to its end, and hold everything against everything."""
    with opening as fleet, Shops(random.Random(chance.random())) as shops:
        clients = make_clients(fleet, shops, chance)
        seconds = asyncio.run(kill_and_heal(fleet, clients, chance, kills))
        tell(figures.summary(fleet, clients, shops, seconds=seconds))
        audited = fleet.installation.json("audit")
        assert (audited["clean"], audited["journal"], audited["moving"]) == (True, True, 0), audited
        found = laws.read(fleet.installation.database_url, fleet.journal)
        laws.check(found, clients, shops)
        tell(f"all agrees; {audited['checked']}")


async def kill_and_heal(fleet: Fleet, clients: list[Client], chance: random.Random, kills: int) -> float:
    """Return the seconds that the killing took."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        for client in clients:
            client.use(http)
        for client in clients[:MERCHANTS]:
            await client.merchant.register(client, ["*"])
        started = time.monotonic()
        async with asyncio.TaskGroup() as running:
            supervising = running.create_task(fleet.supervise())
            for client in clients:
                running.create_task(client.run())
            await kill_again_and_again(fleet, clients, chance, kills)
            seconds = time.monotonic() - started
            for client in clients:
                client.stopped = True
            await heal(fleet, clients)
            supervising.cancel()
        replayed = await asyncio.gather(*(client.replay_all() for client in clients))
    tell(f"{sum(replayed)} answers were given again, byte for byte")
    return seconds


def make_clients(fleet: Fleet, shops: Shops, chance: random.Random) -> list[Client]:
    """Make merchants, and the clients of each."""
    names = [f"merchant-{number}" for number in range(MERCHANTS)]
    merchants = [
        Merchant(
            name,
            fleet.installation.merchant(name)["keys"]["test"]["secret"],
            hooks=shops.url,
            secrets=shops.secrets,
        )
        for name in names
    ]
    return [
        Client(
            f"client-{number}",
            merchants[number % MERCHANTS],
            random.Random(chance.random()),
            urls=lambda: fleet.urls,
        )
        for number in range(CLIENTS)
    ]


async def kill_again_and_again(
    fleet: Fleet, clients: list[Client], chance: random.Random, kills: int
) -> None:
    for number in range(1, kills + 1):
        if chance.random() * 100 >= NOT_WAITED_FOR_PER_CENT:
            await fleet.until_up()
        await asyncio.sleep(chance.uniform(0, LONGEST_LIFE_SECONDS))
        fleet.break_connections()
        fleet.kill_one()
        if number % KILLS_IN_A_ROW == 0 or number == kills:
            for client in clients:
                client.repeats = False
            await until_resolved(fleet)
            for client in clients:
                client.repeats = True


async def until_resolved(fleet: Fleet) -> None:
    """
    Wait until all from before the last restart has its outcome of which the network has given its verdict.

    Clients go on, and repeat nothing, so that nobody gets help.
    """
    killed_at = fleet.restarts[-1]
    await fleet.until_up()
    up_at = time.time()
    while (left := await asyncio.to_thread(figures.unfinished, fleet, before=killed_at)).known:
        assert time.time() - up_at < RESOLVED_WITHIN_SECONDS, left
        await asyncio.sleep(LOOK_SECONDS)
    now = time.time()
    tell(
        f"after {len(fleet.restarts)} kills all that the network has a verdict on is resolved: "
        f"{now - killed_at:.1f} s after the last kill, {now - up_at:.1f} s after all were up again; "
        f"captured and to be undone: {len(left.cut_off)}, unknown to the network or not told yet: {len(left.unknown)}"
    )


async def heal(fleet: Fleet, clients: list[Client]) -> None:
    """Let the time pass until nothing is left to do, and have every request answered."""
    await clients[0].turn_the_clock(UNDONE_SECONDS)
    for _ in range(MANY):
        if not any(await asyncio.gather(*(client.repeat_unanswered() for client in clients))):
            break
        await clients[0].turn_the_clock(UNDONE_SECONDS)
    for _ in range(MANY):
        await clients[0].turn_the_clock(RETRIED_SECONDS)
        if not await asyncio.to_thread(left_to_do, fleet):
            return
    raise AssertionError("it does not come to rest")


def left_to_do(fleet: Fleet) -> int:
    """Count what has no outcome yet."""
    unfinished = (
        "SELECT count(*) FROM charges WHERE look_at IS NOT NULL",
        "SELECT count(*) FROM refunds WHERE look_at IS NOT NULL",
        "SELECT count(*) FROM webhook_deliveries WHERE status = 'pending'",
    )
    return sum(rows_of(fleet.installation.database_url, query)[0][0] for query in unfinished)
