"""
A crash at every call of the journal, before its effect and right after it, and then the same question again.

The answer and everything in the journal are as if nothing had happened.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sql.migrate import create_all
from kpay_adapters.sql.store import SqlStore
from kpay_adapters.testing import Crash, Crashing, CrashPoint
from kpay_core.ports import Store
from tests.journals import JOURNAL, JOURNAL_METADATA
from tests.sandbox.world import (
    AT_ONCE,
    CLOSED_ACCOUNT,
    DAY,
    DECLINED,
    DOWN,
    DUE_BY,
    FRAUDULENT,
    GOOD,
    LOST,
    MINUTE,
    OPENS_AT,
    REFUND,
    REFUND_FAILING,
    REFUND_PENDING,
    START,
    Sandbox,
    told,
)

pytestmark = pytest.mark.anyio

# More calls of the journal than any question here makes.
MANY_CALLS = 30

Question = Callable[[Sandbox], Awaitable[Any]]
Journals = Callable[[], Any]


async def nothing(_: Sandbox) -> None: ...


def charged(number: str, *, refunded: int = 0) -> Question:
    async def prepare(world: Sandbox) -> None:
        await told(world.charge(number))
        if refunded:
            await world.refund(refunded)

    return prepare


async def opened(world: Sandbox) -> None:
    await world.charge(FRAUDULENT)
    await world.refund(2000, "re_0")
    await world.at(OPENS_AT).news()


async def closed(world: Sandbox) -> None:
    await opened(world)
    await world.answer("winning_evidence")
    await world.after(MINUTE).news()


STORIES: dict[str, tuple[Question, Question]] = {
    **{f"charge {n}": (nothing, lambda world, n=n: world.charge(n)) for n in (GOOD, DECLINED, LOST, DOWN)},
    **{f"charge {n}": (nothing, lambda world, n=n: world.charge(n)) for n in (FRAUDULENT, AT_ONCE)},
    **{
        f"refund {n}": (charged(n), lambda world: world.refund(2000))
        for n in (GOOD, REFUND_PENDING, REFUND_FAILING, FRAUDULENT, DECLINED)
    },
    "refund of everything": (charged(FRAUDULENT), lambda world: world.refund(5000)),
    "refund of too much": (charged(FRAUDULENT, refunded=1), lambda world: world.refund(5000, "re_2")),
    "refund of what is disputed": (opened, lambda world: world.refund(2000)),
    "refund that is due": (
        charged(REFUND_PENDING, refunded=100),
        lambda world: world.at(OPENS_AT).refund(100),
    ),
    "look at a refund that failed": (
        charged(REFUND_FAILING, refunded=100),
        lambda world: world.at(OPENS_AT).lookup(REFUND),
    ),
    "reverse": (charged(GOOD), lambda world: world.reverse()),
    "reverse nothing": (nothing, lambda world: world.reverse()),
    "reverse before a dispute": (charged(FRAUDULENT), lambda world: world.reverse()),
    "reverse what is disputed": (opened, lambda world: world.reverse()),
    "reverse after a dispute": (closed, lambda world: world.reverse()),
    "reverse a pending refund": (
        charged(REFUND_PENDING, refunded=100),
        lambda world: world.reverse(REFUND),
    ),
    "win": (opened, lambda world: world.answer("winning_evidence")),
    "lose": (opened, lambda world: world.answer("losing_evidence")),
    "bore": (opened, lambda world: world.answer("Hm.")),
    "answer nothing": (nothing, lambda world: world.answer("Hm.")),
    "read of a dispute": (charged(FRAUDULENT), lambda world: world.at(OPENS_AT).mail()),
    "read of a dispute and its end": (charged(FRAUDULENT), lambda world: world.at(DUE_BY).mail()),
    "read of a failed refund": (
        charged(REFUND_FAILING, refunded=100),
        lambda world: world.at(OPENS_AT).mail(),
    ),
    "acknowledge": (closed, lambda world: world.collect()),
    "pay out": (nothing, lambda world: world.send()),
    "pay out in vain": (nothing, lambda world: world.send(CLOSED_ACCOUNT)),
}


@pytest.fixture(params=["memory", pytest.param("sqlite", marks=pytest.mark.heavy)])
async def journals(request: pytest.FixtureRequest, tmp_path: Path) -> Journals:
    """Make journals that are empty at first."""
    count = iter(range(1_000_000))

    @asynccontextmanager
    async def open_journal() -> AsyncIterator[Store]:
        if request.param == "memory":
            yield MemoryStore()
            return
        url = f"sqlite:///{tmp_path / f'journal-{next(count)}.db'}"
        await create_all(url, JOURNAL_METADATA)
        async with SqlStore(url, JOURNAL) as store:
            yield store

    return open_journal


async def what_is(world: Sandbox) -> list[Any]:
    """Return what is in the journal, and what will be told of it."""
    seen: list[Any] = await world.dump()
    for moment in (START + DAY, START + 20 * DAY):
        seen += [await world.at(moment).mail(), await world.testify()]
    return seen


@pytest.mark.parametrize("after_effect", [False, True], ids=["before its effect", "after its effect"])
@pytest.mark.parametrize("story", STORIES)
async def test_the_same_question_after_a_crash_gives_the_same_world(
    journals: Journals, story: str, after_effect: bool
) -> None:
    prepare, ask = STORIES[story]
    async with journals() as journal:
        world = Sandbox(journal)
        await prepare(world)
        # What was acknowledged is not told again, so that its answer depends on the crash.
        answer = None if story == "acknowledge" else await told(ask(world))
        await told(ask(world))
        undisturbed = await what_is(world)
    for call in range(1, MANY_CALLS):
        async with journals() as journal:
            world = Sandbox(journal)
            await prepare(world)
            point = CrashPoint(call, after_effect=after_effect)
            crashing: Any = Crashing(journal, point)
            crashed = True
            try:
                await told(ask(Sandbox(crashing, world.clock)))
                crashed = False
            except Crash:
                pass
            heir = world.fork()
            again = await told(ask(heir))
            assert story == "acknowledge" or again == answer
            assert await what_is(heir) == undisturbed
        if not crashed:
            assert call > 1
            return
    raise AssertionError("the question is never answered")
