"""Time that moves only when a test says so."""

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from types import coroutine

from kpay_core.domain.times import cut_to_milliseconds

START = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@coroutine
def step_aside() -> Generator[None, None, None]:
    """Let others go first: one turn of an event loop, or one step of a driver without one."""
    yield


class FrozenClock:
    """A clock that moves only when told to, and when somebody sleeps."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now
        self._passed = timedelta(0)

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._passed.total_seconds()

    def advance(self, by: timedelta) -> None:
        """Move the time; also backwards, as clocks do."""
        self._now = cut_to_milliseconds(self._now + by)
        self._passed += max(by, timedelta(0))

    async def turn_to(self, moment: datetime) -> None:
        """Turn the time forward to a moment; one that is past already changes nothing."""
        self.advance(max(moment - self._now, timedelta(0)))

    async def sleep(self, seconds: float) -> None:
        self.advance(timedelta(seconds=seconds))
        await step_aside()
