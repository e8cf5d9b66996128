"""
How long a refusal takes, by its hidden reason: figures to look at, and no law.

The law is in the tests of secrecy and of keys: the store is asked the same questions. What is left is how long it takes
to read a row that is there, and how much of that can be seen is printed here.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kpay_adapters.sql.store import SqlStore
from kpay_core.domain.keys import make_key
from tests.attacks.target import Attack, Ears, send
from tests.attacks.test_secrecy import neighbour
from tests.contract.stores import prepare, sqlite_url
from tests.http.world import World

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]

# Enough to see a difference of a microsecond beside a spread of a hundred.
SAMPLES = 4000

Request = tuple[Attack, str]


@contextmanager
def world_on(database: str, folder: Path) -> Iterator[World]:
    store = SqlStore(prepare(sqlite_url(folder))) if database == "SQLite" else None
    with Ears(), World(store=store) as world:
        if store is not None:
            world.run(store.__aenter__())
        yield world
        if store is not None:
            world.run(store.__aexit__(None, None, None))


def pairs_of(world: World) -> dict[str, tuple[Request, Request]]:
    """Requests that are refused alike, for two reasons."""
    acme, globex = world.merchant("Acme"), world.merchant("Globex")
    foreign = world.client(acme.test).charged()["id"]
    other_mode = world.client(globex.live).charged()["id"]
    held = world.run(world.kpay.list_keys(acme.id))
    (live,) = (key.id for key in held if key.kind == "secret" and key.livemode)
    world.run(world.kpay.revoke_key(live))

    def getting(id: str) -> Request:
        return Attack(operation="getCharge", method="GET", path=f"/v1/charges/{id}", headers=()), globex.test

    unknown_key = make_key("secret", "live", bytes(range(32)))
    return {
        "a charge: unknown, another merchant's": (getting(neighbour(foreign)), getting(foreign)),
        "a charge: unknown, the other mode's": (getting(neighbour(other_mode)), getting(other_mode)),
        "a key: unknown, revoked": ((getting(foreign)[0], unknown_key), (getting(foreign)[0], acme.live)),
    }


async def measure(world: World, requests: tuple[Request, Request]) -> tuple[list[int], list[int]]:
    """Time two requests in turns, in nanoseconds, so that whatever else the machine does comes upon both alike."""
    taken: tuple[list[int], list[int]] = ([], [])
    for turn in range(2 * SAMPLES + 200):
        attack, key = requests[turn % 2]
        started = time.perf_counter_ns()
        await send(world.app, attack, key=key)
        taken[turn % 2].append(time.perf_counter_ns() - started)
    return taken[0][100:], taken[1][100:]


def share_slower(one: list[int], other: list[int]) -> float:
    """How often a sample of the other is slower than one of the first: a half where they cannot be told apart."""
    ranked = sorted([(each, 0) for each in one] + [(each, 1) for each in other])
    ranks = sum(rank for rank, (_, which) in enumerate(ranked, 1) if which)
    return (ranks - len(other) * (len(other) + 1) / 2) / (len(one) * len(other))


@pytest.mark.parametrize("database", ["memory", "SQLite"])
def test_how_long_refusals_take(database: str, tmp_path: Path, tell: Callable[[str], None]) -> None:
    with world_on(database, tmp_path) as world:
        for name, requests in pairs_of(world).items():
            one, other = world.run(measure(world, requests))
            assert len(one) == len(other) == SAMPLES
            quarters = statistics.quantiles(one, n=4)
            apart, spread = statistics.median(other) - quarters[1], quarters[2] - quarters[0]
            tell(
                f"{name}, in {database}: medians {apart / 1000:+.1f} µs apart, half within {spread / 1000:.0f} µs;"
                f" the second is slower {share_slower(one, other):.0%} of the time"
            )
