"""
Hostile bodies, by the thousand or by the million: each is answered once, none with a 5xx, and nothing is logged.

KPAY_TEST_BODIES says how many the long session sends. A failure shows the request that failed, and a smaller one.
"""

import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sql.store import SqlStore
from kpay_core.commit import Record
from kpay_core.domain.charges import Charge
from kpay_http.app import create_framework
from kpay_http.openapi import operations_of
from tests.attacks.corpus import Corpus, bodies_of, valid_requests
from tests.attacks.memory import MIB, resident_bytes
from tests.attacks.shrinking import minimise
from tests.attacks.target import Attack, Ears, Target, fresh_world, wrong
from tests.contract.stores import prepare, sqlite_url
from tests.http.world import World

ROOT = Path(__file__).parents[2]

# Enough for every kind of mutation to be tried on every route, within a minute on one core.
BODIES = int(os.environ.get("KPAY_TEST_BODIES", "20000"))

# What a quick run sends.
FEW = 1000

# Counting branches makes every one of them slower.
LED_BY_COVERAGE = BODIES // 4

# After so many attacks what they have stored is forgotten: a store in memory looks at all that it holds, and a charge
# is a delivery for each of the hundred endpoints that there may be by then.
ROUND = 500

# Caches, pools and counters have grown to their size by then.
WARM_UP = 10_000

# How much the process may grow in a million requests, after warming up.
MAX_GROWTH_BYTES = 50 * MIB


# Attacks that were answered with a 500 once, as small as they were made.
ANSWERED_WRONGLY_ONCE = [
    Attack(
        operation="rotateWebhookEndpointSecret",
        method="POST",
        path="/v1/webhook_endpoints/\ud800/rotate_secret",
        headers=(),
    ),
]


@contextmanager
def target_in_memory() -> Iterator[Target]:
    with Ears() as ears, fresh_world() as world:
        yield Target(world, ears)


@contextmanager
def target_on(url: str) -> Iterator[Target]:
    """A world on a database, which is opened on the world's own loop."""
    store = SqlStore(url)
    with Ears() as ears, World(store=store) as world:
        world.run(store.__aenter__())
        try:
            yield Target(world, ears)
        finally:
            world.run(store.__aexit__(None, None, None))


def fails_on(target: Target) -> Callable[[Attack], bool]:
    """Tell whether an attack fails where nothing else was sent."""

    def fails(attack: Attack) -> bool:
        target.forget()
        return target.attempt(attack) is not None

    return fails


def report(why: str, attack: Attack, *, seed: int, number: int) -> str:
    """Say what failed, and the least that fails."""
    with target_in_memory() as target:
        fails = fails_on(target)
        smaller = repr(minimise(attack, fails)) if fails(attack) else "it takes those before it, too"
    return f"{why}\nseed {seed}, attack {number}: {attack!r}\nsmaller: {smaller}"


async def send_round(target: Target, corpus: Corpus, *, seed: int, first: int, count: int) -> None:
    for number in range(first, first + count):
        attack = corpus.next()
        heard = await target.fire(attack)
        if why := wrong(heard, attack, target.ears.take()):
            raise Failed(why, attack, seed, number)
        corpus.note(attack, heard)


class Failed(Exception):
    """An attack broke a law."""

    def __init__(self, why: str, attack: Attack, seed: int, number: int) -> None:
        super().__init__(why)
        self.why, self.attack, self.seed, self.number = why, attack, seed, number


def send_many(target: Target, *, seed: int, count: int) -> tuple[Corpus, int]:
    """Send attacks; return their corpus, and how many bytes the process grew by after warming up."""
    corpus = Corpus(valid_requests(target), seed=seed)
    before = 0
    for first in range(0, count, ROUND):
        if first <= WARM_UP:
            before = resident_bytes()
        try:
            work = send_round(target, corpus, seed=seed, first=first, count=min(ROUND, count - first))
            target.world.run(work)
        except Failed as failed:
            pytest.fail(report(failed.why, failed.attack, seed=seed, number=failed.number))
        target.forget()
    return corpus, resident_bytes() - before


def test_a_thousand_hostile_bodies_are_answered() -> None:
    with target_in_memory() as target:
        corpus, _ = send_many(target, seed=1, count=FEW)
        assert corpus.kinds > FEW / 10, "hardly anything was reached"


@pytest.mark.parametrize("attack", ANSWERED_WRONGLY_ONCE, ids=lambda attack: attack.operation)
def test_what_was_answered_wrongly_once_is_answered(attack: Attack) -> None:
    with target_in_memory() as target:
        assert target.attempt(attack) is None


@pytest.mark.heavy
@pytest.mark.timeout(0)
def test_any_number_of_hostile_bodies_is_answered_and_leaves_no_memory_behind(
    tell: Callable[..., None],
) -> None:
    with target_in_memory() as target:
        started = time.process_time()
        corpus, growth = send_many(target, seed=20_000_003, count=BODIES)
        rate = BODIES / (time.process_time() - started)
    tell(
        f"{BODIES:,} hostile bodies, {rate:,.0f} a second of processor time, {corpus.kinds:,} kinds of answers;"
        f" memory grew by {growth / MIB:.1f} MiB"
    )
    assert growth < MAX_GROWTH_BYTES


@pytest.mark.heavy
@pytest.mark.timeout(0)
@pytest.mark.parametrize("database", ["SQLite", "PostgreSQL"])
def test_databases_stand_hostile_bodies_too(
    database: str, request: pytest.FixtureRequest, tmp_path: Any, tell: Callable[..., None]
) -> None:
    url = sqlite_url(tmp_path) if database == "SQLite" else request.getfixturevalue("fresh_postgres")()
    count = BODIES // 10
    with target_on(prepare(url)) as target:
        corpus, _ = send_many(target, seed=30_000_001, count=count)
    tell(f"{count:,} hostile bodies on {database}, {corpus.kinds:,} kinds of answers")


@pytest.mark.heavy
@pytest.mark.timeout(0)
def test_hostile_bodies_that_are_led_by_coverage_are_answered(tell: Callable[..., None]) -> None:
    if find_spec("atheris") is None:
        # At home it may be missing; in CI a test that does not run proves nothing.
        has_wheels = (sys.platform, platform.machine()) == ("linux", "x86_64") and sys.version_info < (3, 12)
        is_needed = os.environ.get("CI") == "true" and has_wheels
        (pytest.fail if is_needed else pytest.skip)("atheris is not installed")
    program = [
        sys.executable,
        "-m",
        "tests.attacks.guided",
        f"-runs={LED_BY_COVERAGE}",
        "-seed=1",
        "-print_funcs=0",
    ]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    ended = re.search(rf"^#{LED_BY_COVERAGE}\s+DONE +cov: (\d+) ft: (\d+) ", done.stderr, re.MULTILINE)
    assert ended, done.stderr[-20_000:]
    assert done.returncode == 0
    tell(
        f"{LED_BY_COVERAGE:,} hostile bodies, led by coverage to {ended[1]} branches and {ended[2]} features"
    )


def test_every_route_that_changes_something_is_attacked() -> None:
    with target_in_memory() as target:
        changing = {o.id for method, _, o in operations_of(create_framework()) if method != "get"}
        assert bodies_of(target).keys() == changing
        for attack in valid_requests(target):
            heard = target.world.run(target.fire(attack))
            assert heard.status in (200, 201, 202, 402), (attack, heard)
            target.forget()


class Stumbling(MemoryStore):
    """A store with a bug: charges whose metadata hold a number that is not whole are too much for it."""

    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        charges = (record for record in records if isinstance(record, Charge))
        if any(type(value) is float for charge in charges for value in charge.metadata.values()):
            raise RuntimeError("a planted bug")
        await super().commit(*records, held=held)


def test_a_planted_bug_is_found_and_shown_small() -> None:
    with Ears() as ears, World(store=Stumbling()) as world:
        target = Target(world, ears)
        corpus = Corpus(valid_requests(target), seed=1)
        with pytest.raises(Failed, match="a planted bug") as caught:
            world.run(send_round(target, corpus, seed=1, first=0, count=20 * FEW))
        smaller = minimise(caught.value.attack, fails_on(target))
    sent = json.loads(smaller.body)
    assert sent.keys() <= {"amount", "source", "billing_address", "metadata"}
    (value,) = sent["metadata"].values()
    assert type(value) is float
