"""What a process has of its own: a clock, the names it makes, and the work that it is at."""

from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from kpay_adapters.simulation.faults import Call
from kpay_adapters.simulation.gates import Stop, stop
from kpay_adapters.system import EPOCH, MILLISECOND, uuid7

Work = Coroutine[Any, Any, Any]


class SimulatedClock:
    """The clock of one process. It shows what the scheduler says, and whoever sleeps is woken by the scheduler."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment
        # Milliseconds since the run began, by which sleep is measured; turning a clock shortens nobody's sleep.
        self.elapsed = 0

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.elapsed / 1000

    async def sleep(self, seconds: float) -> None:
        await stop(Stop(Call.SLEEP, seconds, self.elapsed + int(seconds * 1000) + 1))


class PassingClock(SimulatedClock):
    """A clock of one who is alone: while he sleeps, time passes for all."""

    def __init__(self, moment: datetime, pass_time: Callable[[int], None]) -> None:
        super().__init__(moment)
        self._pass_time = pass_time

    async def sleep(self, seconds: float) -> None:
        self._pass_time(int(seconds * 1000) + 1)


class ProcessIds:
    """
    Names and random bytes of one process, the same in every run.

    Of two names of one millisecond, made by two processes, either may be the later one.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._count = 0
        self._millisecond = 0

    def uuid7(self, now: datetime) -> str:
        self._count += 1
        self._millisecond = max(self._millisecond, (now - EPOCH) // MILLISECOND)
        return uuid7(self._millisecond, 0, (self._count << 8 | self._number) << 20)

    def random_bytes(self, size: int) -> bytes:
        self._count += 1
        return (self._count * 2_654_435_761 + self._number).to_bytes(12, "big")[-size:].rjust(size, b"k")


NOT_BEGUN = Stop(Call.SLEEP, "")
LATE = Stop(Call.SLEEP, "until it gets there")


class Task:
    """Something that a process is at, or the network by itself: where it stands, and what comes of it."""

    def __init__(
        self, name: str, process: int, work: Work, *, began: int, then: Callable[[Any], None] | None = None
    ) -> None:
        self.name = name
        self.process = process
        self.work = work
        self.began = began
        self.then = then
        self.at: Stop = NOT_BEGUN
