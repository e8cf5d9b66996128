"""The time of a sandbox as its testers turn it: nobody is at work while it passes."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import datetime, timedelta
from typing import Protocol

from kpay_core import Kpay
from kpay_core.ports import Clock, Couriers
from kpay_http.turnstile import Turnstile


class TurnableClock(Clock, Protocol):
    """A clock that can be turned forward, for all processes."""

    async def turn_to(self, moment: datetime) -> None:
        """Turn it forward."""
        ...


Pause = Callable[[], AbstractAsyncContextManager[None]]


class SandboxTime:
    """
    Lets time pass: the clock, who delivers meanwhile, and the gate that keeps everybody else of this process out.

    `pause` stops whatever else delivers in this process. Other processes learn of the new time within a second; what
    they are at goes on, and may be begun anew by us where its lease is jumped over, which is safe.
    """

    def __init__(
        self, kpay: Kpay, clock: TurnableClock, couriers: Couriers, *, turnstile: Turnstile, pause: Pause
    ) -> None:
        self._kpay = kpay
        self._clock = clock
        self._couriers = couriers
        self._turnstile = turnstile
        self._pause = pause

    def now(self) -> datetime:
        return self._clock.now()

    async def advance(self, by: timedelta) -> datetime:
        """Let time pass; when this returns the new time, everything due by then has happened."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._turnstile.alone())
            await stack.enter_async_context(self._pause())
            # Learns how far others have turned it, so that what we add is added to that.
            await self._clock.turn_to(self._clock.now())
            until = self._clock.now() + by
            await self._kpay.pass_time(until, turn_to=self._clock.turn_to, couriers=self._couriers)
            # Keys that were rotated have expired by now; they were let in a moment ago by the clock, days by the time.
            self._kpay.remembered.api_keys.forget_all()
            return self._clock.now()
