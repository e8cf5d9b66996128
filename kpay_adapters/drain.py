"""
The drain loop: looks for endpoints that something is due for, and serves each in a task of its own.

It runs in the API's process, or in as many workers as there are. It is woken by hints, and looks by itself once a
second: so losing every hint costs a second, and never a delivery.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from kpay_core import Kpay
from kpay_core.commit import Unavailable
from kpay_core.domain.posts import DEADLINE_SECONDS
from kpay_core.ports import Courier, Couriers

# How often it looks by itself.
LOOK_SECONDS = 1.0

# Endpoints served at a time. Each may have 8 requests on their way, and none of them holds another up.
MAX_SERVED = 1000

# Hints kept while all places are taken; what is not kept is found by looking.
MAX_HINTS = 10_000

# How long it may take to stop: the longest attempt, and the commit of what came of it.
STOP_SECONDS = DEADLINE_SECONDS + 10


class Drain:
    """
    Serves whatever is due, for ever, in the running event loop.

    `wake` may be called before it runs and after. `on_failure` is told of what kept a round, or the serving of an
    endpoint, from its end; it goes on by itself. `places` is how many endpoints it serves at a time,
    `look_seconds` how often it looks.
    """

    def __init__(
        self,
        couriers: Couriers,
        *,
        on_failure: Callable[[Exception], None],
        places: int = MAX_SERVED,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._couriers = couriers
        self._on_failure = on_failure
        self._places = places
        self._look_seconds = look_seconds
        self._hints: dict[str, None] = {}
        self._woken = asyncio.Event()
        # Whom we serve, and those of them that got a hint meanwhile.
        self._served: dict[str, Courier] = {}
        self._again: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._pausing = False

    def wake(self, endpoints: Sequence[str]) -> None:
        """Take a hint."""
        if len(self._hints) < MAX_HINTS:
            self._hints.update(dict.fromkeys(endpoints))
            self._woken.set()

    async def run(self, kpay: Kpay) -> None:
        """
        Serve until cancelled; then nothing more is started, and what is on its way is seen to its end.

        That takes 15 seconds and a little at most.
        """
        looked_at = float("-inf")
        try:
            while True:
                for endpoint in self._take_hints():
                    self._serve(kpay, endpoint, hinted=True)
                if time.monotonic() - looked_at >= self._look_seconds:
                    looked_at = time.monotonic()
                    await self._look(kpay)
                with suppress(TimeoutError):
                    async with asyncio.timeout(looked_at + self._look_seconds - time.monotonic()):
                        await self._woken.wait()
        finally:
            await self._stop()

    @asynccontextmanager
    async def paused(self) -> AsyncGenerator[None]:
        """Start nothing within; what is on its way is seen to its end first."""
        self._pausing = True
        try:
            await self._until_idle()
            yield
        finally:
            self._pausing = False
            self._woken.set()

    async def _look(self, kpay: Kpay) -> None:
        if self._pausing:
            return
        try:
            for endpoint in await kpay.endpoints_due():
                self._serve(kpay, endpoint, hinted=False)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the next look comes in a second
            self._on_failure(failure)

    def _take_hints(self) -> list[str]:
        self._woken.clear()
        if self._pausing:
            return []
        free = self._places - len(self._tasks)
        taken = list(self._hints)[: max(free, 0)]
        for endpoint in taken:
            del self._hints[endpoint]
        return taken

    def _serve(self, kpay: Kpay, endpoint: str, *, hinted: bool) -> None:
        courier = self._served.get(endpoint)
        if courier is not None:
            courier.nudge()
            if hinted:
                self._again.add(endpoint)
        elif len(self._tasks) < self._places:
            # Before the task's first step, so that a second hint does not start a second task.
            self._served[endpoint] = self._couriers.courier()
            task = asyncio.create_task(self._keep_serving(kpay, endpoint), name=f"serve {endpoint}")
            self._tasks.add(task)
            task.add_done_callback(self._make_room)
        elif len(self._hints) < MAX_HINTS:
            # Its turn comes before the next look finds the same ones first again.
            self._hints[endpoint] = None

    def _make_room(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._hints:
            self._woken.set()

    async def _keep_serving(self, kpay: Kpay, endpoint: str) -> None:
        """Serve an endpoint, and again where a hint came when it might not have been seen any more."""
        try:
            while True:
                self._again.discard(endpoint)
                await kpay.deliver_to(endpoint, self._served[endpoint], stop=self._is_to_stop)
                if endpoint not in self._again or self._is_to_stop():
                    return
                # One that lost its lane may have left replies to come, which are no longer anybody's.
                self._served[endpoint] = self._couriers.courier()
        except Unavailable:
            # The next look finds out, and says so once for all.
            return
        except Exception as failure:  # noqa: BLE001 - whatever it is, others are served, and this one tried again
            self._on_failure(failure)
        finally:
            del self._served[endpoint]
            self._again.discard(endpoint)

    def _is_to_stop(self) -> bool:
        return self._stopping or self._pausing

    async def _stop(self) -> None:
        self._stopping = True
        late = await self._until_idle()
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _until_idle(self) -> set[asyncio.Task[None]]:
        """Wait until nobody is served any more; return those who take longer than anything may."""
        for courier in self._served.values():
            courier.nudge()
        if not self._tasks:
            return set()
        _, late = await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
        return late
