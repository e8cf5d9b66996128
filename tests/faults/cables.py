"""A cable to a server that tests share: they cut theirs, and nobody else's."""

import asyncio
import threading
from typing import Literal, Self
from urllib.parse import urlsplit


class Line:
    """What is known of one connection: whether records are written through it, and whether its next answer is lost."""

    writes = False
    breaks_at_answer = False


class Cable:
    """
    A TCP proxy in a thread of its own.

    While it is "cut" there are no connections, and none can be made; while it is "stuck" they stay, and nothing gets
    through. It can also be made to break at the next commit of a PostgreSQL server.
    """

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._state: Literal["whole", "cut", "stuck"] = "whole"
        self._breaks: Literal["before", "after"] | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        user = f"{self._parts.netloc.rpartition('@')[0]}@" if "@" in self._parts.netloc else ""
        self.url = self._parts._replace(netloc=f"{user}127.0.0.1:{self._port}").geturl()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def cut(self) -> None:
        self._state = "cut"
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()

    def stick(self) -> None:
        self._state = "stuck"

    def mend(self) -> None:
        self._state = "whole"
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()

    def hang_up(self) -> None:
        """End all connections; new ones can be made."""
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()

    def hang_up_at_commit(self, when: Literal["before", "after"]) -> None:
        """
        End the connection that commits next: before the server hears of it, or after it has answered.

        A writer's batch is one statement and a transaction of its own, so what it sends ends in a commit.
        """
        self._breaks = when

    async def _hang_up(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port: int = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._ended.wait()
        server.close()
        await self._hang_up()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Sockets are closed in the loop's next turn.
        await asyncio.sleep(0.01)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._state == "cut":
            writer.transport.abort()
            return
        try:
            there = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        except OSError:
            # The server itself is away.
            writer.transport.abort()
            return
        self._writers |= {writer, there[1]}
        line = Line()
        for source, target, is_asking in ((reader, there[1], True), (there[0], writer, False)):
            task = asyncio.create_task(self._carry(source, target, line, is_asking=is_asking))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, line: Line, *, is_asking: bool
    ) -> None:
        try:
            while data := await source.read(65536):
                if self._state == "stuck":
                    continue
                if is_asking and self._breaks_before(data, line):
                    break
                if line.breaks_at_answer and not is_asking:
                    break
                target.write(data)
        except OSError:
            pass
        finally:
            target.transport.abort()

    def _breaks_before(self, data: bytes, line: Line) -> bool:
        """Tell whether what is asked here is not to arrive, and whether its answer is not."""
        # Statements are named when they are first used on a connection, and called by their names from then on.
        line.writes = line.writes or b"INSERT INTO" in data
        if self._breaks is None or not line.writes:
            return False
        when, self._breaks = self._breaks, None
        line.breaks_at_answer = when == "after"
        return when == "before"
