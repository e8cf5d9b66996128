"""A merchants' server in a thread of its own, which notes every post that it gets, and how many are there at once."""

import asyncio
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Self

from aiohttp import web


class Got(NamedTuple):
    """A post, as it came in. `at` is the time of day."""

    at: float
    path: str
    event: str


Behave = Callable[[str, int], Awaitable[int]]


async def accept(path: str, number: int) -> int:
    return 200


def after(seconds: float) -> Behave:
    """Accept everything, but slowly."""

    async def behave(path: str, number: int) -> int:
        await asyncio.sleep(seconds)
        return 200

    return behave


async def hang(path: str, number: int) -> int:
    """Never answer; who asked gives up some time."""
    await asyncio.sleep(3600)
    return 500


class Merchants:
    """
    The server. `behave` is given the path of a post and its number there, and returns the status to answer.

    `behave` may be replaced at any time.
    """

    def __init__(self, behave: Behave = accept) -> None:
        self.behave = behave
        self.got: list[Got] = []
        self.most = Counter[str]()
        self.in_flight = Counter[str]()
        self.answered = 0
        self._numbers = defaultdict[str, int](int)
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def events(self, path: str) -> list[str]:
        """Return the events that came to a path, in the order in which they came."""
        return [got.event for got in list(self.got) if got.path == path]

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        # Who hangs up is gone at once, so that what is in flight is counted as the sender sees it.
        server = web.Server(self._take, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
        await site.start()
        self.port: int = runner.addresses[0][1]
        self._started.set()
        await self._ended.wait()
        await runner.cleanup()

    def accepted(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """Make more of a post that is about to be answered with 200; overridden by those who do."""

    async def _take(self, request: web.BaseRequest) -> web.Response:
        path = request.path[1:]
        self.got.append(Got(time.time(), path, request.headers["K-Payments-Event-Id"]))
        self._numbers[path] += 1
        self.in_flight[path] += 1
        self.most[path] = max(self.most[path], self.in_flight[path])
        try:
            body = await request.read()
            status = await self.behave(path, self._numbers[path])
            if status == 200:
                self.accepted(path, request.headers, body)
        finally:
            self.in_flight[path] -= 1
        self.answered += 1
        return web.Response(status=status)
