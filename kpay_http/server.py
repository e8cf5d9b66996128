"""The HTTP server: uvicorn, with deadlines for slow clients, that stops when told to and finishes what it has begun."""

import asyncio
import errno
import gc
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any

import uvicorn

from kpay_http.app import create_app
from kpay_http.deadlines import DeadlineProtocol
from kpay_http.settings import BadSetting, Settings
from kpay_http.system import DONE_WITHIN_SECONDS, System
from kpay_http.working import work_for_ever

# A kept-alive connection costs a file handle; clients that send every few seconds keep theirs.
KEEP_ALIVE_SECONDS = 30

# Of what requests make, nearly all is freed without the collector. It looks for the rest after so many new objects,
# instead of 700: 64 requests in flight hold about 10,000, and would be walked through again and again.
COLLECT_AFTER = 10_000


class Server(uvicorn.Server):
    """uvicorn, but the signals are ours: they ask it to stop, and what stands around it can then close in order."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def serve(
    system: System, settings: Settings, *, working: bool, on_start: Callable[[int], None] = lambda _: None
) -> None:
    """
    Serve until SIGINT or SIGTERM, then finish the requests in flight; a second signal stops at once.

    `on_start` is told the port once requests are taken. Raises `BadSetting` where nobody can listen.
    """
    server = Server(config_of(create_app(system), host=settings.host, port=settings.port))
    async with (
        listening(settings) as sockets,
        # A server that no longer delivers is better started anew than left to look healthy.
        beside(work_for_ever(system) if working else None, on_end=lambda: stop(server)),
    ):
        spare_the_collector()
        with stopping_signals(lambda: stop(server)):
            started = asyncio.create_task(tell_when_started(server, on_start))
            await server.serve(sockets)
            await started


@asynccontextmanager
async def listening(settings: Settings) -> AsyncGenerator[list[socket.socket]]:
    """
    Listen at every address that the host of the settings stands for.

    Raises `BadSetting` where it cannot be; uvicorn would log an error that names no setting, and exit.
    """
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        try:
            found = await loop.getaddrinfo(
                settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            # A file of hosts may name an address twice.
            addresses = dict.fromkeys((family, address) for family, _, _, _, address in found)
            sockets: list[socket.socket] = []
            missing: OSError | None = None
            for family, address in addresses:
                try:
                    sockets.append(stack.enter_context(socket.create_server(address, family=family)))
                except OSError as error:
                    # A name may have an address in IPv6 where the kernel has none.
                    if error.errno != errno.EAFNOSUPPORT:
                        raise
                    missing = error
            if missing and not sockets:
                raise missing
        except OSError as error:
            raise _blamed(settings, error) from error
        yield sockets


def _blamed(settings: Settings, error: OSError) -> BadSetting:
    """Name the setting for which nobody can listen."""
    match error.errno:
        case errno.EADDRINUSE:
            takes = f"a port that is free, 0 for any (also --port): {settings.port} is taken"
            return BadSetting("KPAY_PORT", takes)
        case errno.EACCES:
            takes = f"a port that this process may listen at (also --port): {settings.port} is not"
            return BadSetting("KPAY_PORT", takes)
        case _:
            return BadSetting("KPAY_HOST", "an address of this machine, or a name of one (also --host)")


def config_of(app: Any, *, host: str, port: int) -> uvicorn.Config:
    """Set uvicorn up for an ASGI application, which does its own logging."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=DeadlineProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DONE_WITHIN_SECONDS,
    )


def spare_the_collector() -> None:
    """Keep the garbage collector from walking, again and again, through what lives on."""
    # What was imported and opened by now lives as long as the process.
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


def stop(server: Server) -> None:
    """Ask for the end; ask again to insist."""
    server.force_exit = server.should_exit
    server.should_exit = True


@contextmanager
def stopping_signals(stop: Callable[[], None]) -> Generator[None]:
    """Call `stop` at SIGINT and SIGTERM while inside."""
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop)
    try:
        yield
    finally:
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(each)


@asynccontextmanager
async def beside(
    work: Coroutine[Any, Any, None] | None, *, on_end: Callable[[], None] = lambda: None
) -> AsyncGenerator[None]:
    """
    Run some work that never ends by itself, for as long as one is inside.

    Where it fails all the same, `on_end` is called, and leaving raises what it failed with.
    """
    task = asyncio.create_task(work) if work else None
    if task:
        task.add_done_callback(lambda ended: None if ended.cancelled() else on_end())
    try:
        yield
    finally:
        if task:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def tell_when_started(server: Server, on_start: Callable[[int], None]) -> None:
    """Tell the port that the server got; nothing when it could not start."""
    while not server.started:
        if server.should_exit:
            return
        await asyncio.sleep(0.01)
    on_start(server.servers[0].sockets[0].getsockname()[1])


async def until_signalled(
    work: Coroutine[Any, Any, None], *, on_start: Callable[[], None] = lambda: None
) -> None:
    """
    Run some work until SIGINT or SIGTERM; raises what it fails with. `on_start` is called once they are listened to.
    """
    ended = asyncio.Event()
    async with beside(work, on_end=ended.set):
        with stopping_signals(ended.set):
            on_start()
            await ended.wait()
