"""A running K-Payments: the core, what the HTTP adapter needs beside it, and the work it has begun."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from kpay_core import Kpay
from kpay_http.metrics import Metrics
from kpay_http.sandbox_time import SandboxTime
from kpay_http.turnstile import Turnstile

T = TypeVar("T")

# The processor answers within 30 s, and its outcome still has to be committed.
DONE_WITHIN_SECONDS = 40


class Decision(Protocol):
    """Whether a request may pass."""

    @property
    def allowed(self) -> bool: ...

    def headers(self) -> dict[str, str]: ...


class Limiter(Protocol):
    """Counts requests by merchant and mode."""

    async def take(self, key: str) -> Decision:
        """
        Take one request out of the key's bucket, if there is one in it. A refused request costs nothing.

        Never more than `burst + rate * seconds` pass in any span of time, however many ask at once. Never raises.
        """
        ...

    async def close(self) -> None:
        """Let go of what counting needs."""
        ...


class System:
    """
    What every request is served with.

    Work that changes something runs in a task of its own, so that neither a client that hangs up nor a server that
    stops cuts it off: `until_done` waits for it. All of it passes the `turnstile`, so that time can be turned while
    nobody is at work.
    """

    def __init__(
        self,
        *,
        kpay: Kpay,
        metrics: Metrics,
        ready: Callable[[], Awaitable[bool]],
        limiter: Limiter | None = None,
        deliver: Callable[[], Coroutine[Any, Any, None]] | None = None,
        turnstile: Turnstile | None = None,
        sandbox_time: SandboxTime | None = None,
    ) -> None:
        self.kpay = kpay
        self.metrics = metrics
        self.ready = ready
        self.limiter = limiter
        # Delivers for ever, in a process that does.
        self.deliver = deliver
        # What time it is where testers turn the clock.
        self.sandbox_time = sandbox_time
        self._turnstile = turnstile or Turnstile()
        self._begun: set[asyncio.Task[Any]] = set()

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work to its end, also when the caller is cancelled."""
        return await self.finish_alone(self._pass(work))

    async def _pass(self, work: Coroutine[Any, Any, T]) -> T:
        async with self._turnstile.passing():
            return await work

    async def finish_alone(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work to its end that sees to it by itself that nobody else is at work."""
        task = asyncio.create_task(work)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        return await asyncio.shield(task)

    async def until_done(self) -> None:
        """
        Wait until all that was begun has ended, or for as long as one call to the network takes.

        What is still open then is left as a crash would leave it, and resolved like that.
        """
        if self._begun:
            await asyncio.wait(self._begun, timeout=DONE_WITHIN_SECONDS)
