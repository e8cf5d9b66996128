"""The time of a sandbox: turned forward, for all processes, and never back."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sandbox.clock import OFFSET, Offset, SandboxClock
from kpay_adapters.testing import START, FrozenClock
from kpay_core.commit import Record
from tests.flows.world import Interleaved

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)


class Machine:
    """A journal and the machine's time, on which processes live."""

    def __init__(self) -> None:
        self.time = FrozenClock()
        self.journal: Any = MemoryStore()

    def process(self) -> SandboxClock:
        return SandboxClock(self.time, journal=self.journal)


@pytest.fixture
def machine() -> Machine:
    return Machine()


async def test_it_is_the_machines_time_until_it_is_turned_and_goes_on_from_there(machine: Machine) -> None:
    clock = machine.process()
    assert clock.now() == START
    await clock.turn_to(START + HOUR)
    assert clock.now() == START + HOUR
    machine.time.advance(HOUR)
    assert clock.now() == START + 2 * HOUR


async def test_it_is_never_turned_back(machine: Machine) -> None:
    clock = machine.process()
    await clock.turn_to(START + 2 * HOUR)
    for moment in (START, START + HOUR, START + 2 * HOUR):
        await clock.turn_to(moment)
        assert clock.now() == START + 2 * HOUR


async def test_others_follow_and_those_who_start_later_live_in_the_same_time(machine: Machine) -> None:
    one, two = machine.process(), machine.process()
    await one.turn_to(START + HOUR)
    assert two.now() == START
    await two.follow()
    later = machine.process()
    await later.follow()
    assert one.now() == two.now() == later.now() == START + HOUR


async def test_one_who_is_behind_turns_nobody_back(machine: Machine) -> None:
    one, two = machine.process(), machine.process()
    await one.turn_to(START + 2 * HOUR)
    # Two has not heard of it yet.
    await two.turn_to(START + HOUR)
    assert two.now() == START + 2 * HOUR
    later = machine.process()
    await later.follow()
    assert later.now() == START + 2 * HOUR


async def test_one_who_hears_late_that_it_was_turned_does_not_turn_it_back(machine: Machine) -> None:
    two, sound = machine.process(), machine.journal

    class Late:
        """A journal whose writer hears of his commit after another has turned the time further."""

        get = sound.get

        async def commit(self, *records: Record) -> None:
            await sound.commit(*records)
            await two.turn_to(START + 2 * HOUR)
            await one.follow()

    machine.journal = Late()
    one = machine.process()
    await one.turn_to(START + HOUR)
    assert one.now() == START + 2 * HOUR


async def test_of_two_who_turn_it_at_once_the_later_time_stays(machine: Machine) -> None:
    for first, second in ((1, 2), (2, 1)):
        machine.journal = Interleaved(MemoryStore())
        one, two = machine.process(), machine.process()
        await asyncio.gather(one.turn_to(START + first * HOUR), two.turn_to(START + second * HOUR))
        kept = await machine.journal.get(Offset, OFFSET)
        assert kept is not None
        assert kept.milliseconds == 2 * 3_600_000
        for clock in (one, two):
            await clock.follow()
            assert clock.now() == START + 2 * HOUR


async def test_who_sleeps_sleeps_by_the_machines_time(machine: Machine) -> None:
    clock = machine.process()
    await clock.turn_to(START + HOUR)
    await clock.sleep(5)
    assert machine.time.now() == START + timedelta(seconds=5)
    assert clock.now() == START + HOUR + timedelta(seconds=5)
