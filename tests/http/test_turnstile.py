"""The gate that keeps everybody out while time passes."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from kpay_http.turnstile import Turnstile

pytestmark = pytest.mark.anyio


class Gate:
    """A turnstile, and who is inside, in the order in which they came."""

    def __init__(self) -> None:
        self.turnstile = Turnstile()
        self.inside: list[str] = []
        self.came: list[str] = []
        self.leave: dict[str, asyncio.Event] = {}
        self.tasks: list[asyncio.Task[None]] = []

    def go(self, name: str, *, alone: bool = False) -> None:
        self.leave[name] = asyncio.Event()
        self.tasks.append(asyncio.create_task(self._pass(name, alone=alone)))

    async def _pass(self, name: str, *, alone: bool) -> None:
        async with self.turnstile.alone() if alone else self.turnstile.passing():
            assert not alone or self.inside == []
            assert not any(other.startswith("alone") for other in self.inside)
            self.inside.append(name)
            self.came.append(name)
            try:
                await self.leave[name].wait()
            finally:
                self.inside.remove(name)

    async def rest(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    gate = Gate()
    yield gate
    for task in gate.tasks:
        task.cancel()
    for result in await asyncio.gather(*gate.tasks, return_exceptions=True):
        assert result is None or isinstance(result, asyncio.CancelledError), result


async def test_any_number_pass_side_by_side(gate: Gate) -> None:
    for name in "abc":
        gate.go(name)
    await gate.rest()
    assert gate.inside == ["a", "b", "c"]


async def test_who_wants_to_be_alone_waits_for_those_inside_and_the_others_for_him(gate: Gate) -> None:
    gate.go("a")
    gate.go("b")
    await gate.rest()
    gate.go("alone", alone=True)
    await gate.rest()
    gate.go("c")
    await gate.rest()
    assert gate.inside == ["a", "b"]
    gate.leave["a"].set()
    await gate.rest()
    assert gate.inside == ["b"]
    gate.leave["b"].set()
    await gate.rest()
    assert gate.inside == ["alone"]
    gate.leave["alone"].set()
    await gate.rest()
    assert gate.inside == ["c"]


async def test_two_who_want_to_be_alone_come_one_after_the_other(gate: Gate) -> None:
    for name in ("alone 1", "alone 2"):
        gate.go(name, alone=True)
    await gate.rest()
    gate.go("a")
    await gate.rest()
    assert gate.inside == ["alone 1"]
    for name in ("alone 1", "alone 2", "a"):
        gate.leave[name].set()
    await gate.rest()
    assert sorted(gate.came) == ["a", "alone 1", "alone 2"]


async def test_nobody_slips_in_between_two_who_want_to_be_alone(gate: Gate) -> None:
    """Who was woken by the first has not had his turn yet when the second has closed the gate again."""
    turnstile, order = gate.turnstile, list[str]()

    async def slip_in() -> None:
        async with turnstile.passing():
            order.append("in")

    async def alone() -> None:
        async with turnstile.alone():
            order.append("begun")
            await gate.rest()
            order.append("ended")

    async with turnstile.alone():
        waiting = asyncio.create_task(slip_in())
        await gate.rest()
        # Its first step comes after ours and before that of the one who waits.
        second = asyncio.create_task(alone())
    await asyncio.gather(waiting, second)
    assert order in (["begun", "ended", "in"], ["in", "begun", "ended"])


async def test_who_gives_up_leaves_the_gate_as_it_was(gate: Gate) -> None:
    gate.go("a")
    await gate.rest()
    gate.go("alone", alone=True)
    await gate.rest()
    gate.tasks[1].cancel()
    await gate.rest()
    gate.go("b")
    await gate.rest()
    assert gate.inside == ["a", "b"]
    gate.tasks[0].cancel()
    gate.tasks[2].cancel()
    await gate.rest()
    gate.go("alone again", alone=True)
    await gate.rest()
    assert gate.inside == ["alone again"]
