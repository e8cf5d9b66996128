"""The sender: connections that all merchants share, and a courier for each."""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from kpay_adapters.sender.answers import Answer, failure_of, text_of
from kpay_adapters.sender.guard import Names, Refused
from kpay_core.domain.addresses import check_url, is_admitted
from kpay_core.domain.posts import (
    DEADLINE_SECONDS,
    MAX_KEPT_BYTES,
    MAX_READ_BYTES,
    Failure,
    Post,
    Reply,
    judge,
)

# Idle connections are kept for bursts. Node.js, Apache and uvicorn close theirs after 5 s: we do it first, so that
# few posts go out on a connection that is just being closed.
KEEPALIVE_SECONDS = 4

# What may pile up in the kernel and in aiohttp (it stops reading at twice this) while we are busy with others.
BUFFER_BYTES = 32 * 1024

# URLs of endpoints that are checked and parsed once. A process rarely has more of them busy at a time.
URLS_KEPT = 1024

# aiohttp would add these. `Accept-Encoding` would invite what we do not unpack; the others are in the post.
NO_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Passage:
    """How far a post has come."""

    __slots__ = ("dialled", "kept", "status")

    def __init__(self) -> None:
        # Whether a connection was opened for it. If not, it went out on one that had been idle.
        self.dialled = False
        self.status: int | None = None
        self.kept = bytearray()


# Each post has a task of its own, from which aiohttp's tasks inherit this.
_passage: ContextVar[Passage | None] = ContextVar("passage", default=None)


class Sender:
    """
    The connections to all endpoints of all merchants. Each merchant's posts go through a `courier()` of their own.

    `local` is for development: it admits http and loopback addresses. TLS is 1.2 or newer and verified against the
    system's certificates. `resolver`, `ssl_context` and `deadline_seconds` are for tests.
    `on_reply` is told of every reply.
    """

    def __init__(
        self,
        *,
        local: bool = False,
        resolver: AbstractResolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
        on_reply: Callable[[Reply], None] = lambda _: None,
    ) -> None:
        self._local = local
        self._names = Names(local, resolver)
        self._ssl_context = ssl_context or tls_context()
        self._deadline_seconds = deadline_seconds
        self._on_reply = on_reply
        self._parse = lru_cache(URLS_KEPT)(self._parse_url)
        self._session: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Get ready, once, on the loop that runs. Nothing is dialled yet."""
        self._session = self._open_session(keep_alive=True)
        self._fresh = self._open_session(keep_alive=False)

    async def close(self) -> None:
        """Cancel what is on its way, which then has no reply, and close all connections. Safe to call twice."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for session in (self._session, self._fresh):
            if session:
                await session.close()
        await self._names.close()

    def courier(self) -> "AiohttpCourier":
        """Return a new courier, which shares the connections with all others."""
        return AiohttpCourier(self)

    def start(self, post: Post, courier: "AiohttpCourier") -> None:
        """Begin to carry a post, of which the courier is told in the end."""
        task = asyncio.get_running_loop().create_task(self._carry(post, courier))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, post: Post, courier: "AiohttpCourier") -> None:
        started = time.monotonic()
        passage = Passage()
        _passage.set(passage)
        try:
            async with asyncio.timeout(self._deadline_seconds):
                failure = await self._exchange(post, passage)
        except Exception as error:  # noqa: BLE001 whatever it is, the merchant's attempt has an outcome
            failure = failure_of(error)
        reply = Reply(
            key=post.key,
            status=passage.status,
            failure=failure,
            answer=text_of(passage.kept),
            milliseconds=round((time.monotonic() - started) * 1000),
        )
        courier.deliver(reply)
        self._on_reply(reply)

    async def _exchange(self, post: Post, passage: Passage) -> Failure | None:
        url = self._parse(post.url)
        if url is None:
            return Failure.ADDRESS_REFUSED
        assert self._session and self._fresh, "open it first"
        try:
            return await self._post(self._session, url, post, passage)
        except aiohttp.ClientConnectionError as lost:
            # The server may close an idle connection in the moment in which we use it (RFC 9112, section 9.3.1). That
            # is nobody's failure, so it is tried once more, on a connection that nobody else has used. If the server
            # had read the post after all it gets it twice: the promise is at least once, under the same event id.
            # One that was answered in part is not: reading fails with another kind of error.
            if passage.dialled or isinstance(lost, aiohttp.ClientConnectorError):
                raise
        return await self._post(self._fresh, url, post, passage)

    async def _post(
        self, session: aiohttp.ClientSession, url: URL, post: Post, passage: Passage
    ) -> Failure | None:
        answer = await session.post(url, data=post.body, headers=post.headers, allow_redirects=False)
        try:
            passage.status = answer.status
            assert isinstance(answer, Answer)
            answer.watch()
            await self._read(answer.content, passage.kept)
        finally:
            # After the last byte the connection has gone back already, and this does nothing to it.
            answer.close()
        return judge(answer.status)

    async def _read(self, content: aiohttp.StreamReader, kept: bytearray) -> None:
        left = MAX_READ_BYTES
        while left > 0 and (chunk := await content.read(left)):
            left -= len(chunk)
            kept += chunk[: MAX_KEPT_BYTES - len(kept)]

    def _parse_url(self, url: str) -> URL | None:
        # It was checked when the endpoint was made, perhaps by a process that admitted more than this one.
        return None if check_url(url, local=self._local) else URL(url, encoded=True)

    def _open_session(self, *, keep_alive: bool) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=self._ssl_context,
            resolver=self._names,
            # Nothing is kept, since every answer is too old at once: it makes posts to one name share a look-up.
            ttl_dns_cache=0,
            socket_factory=self._dial,
            # Who may have how many posts in flight is decided by the couriers' owners, fairly; not here, by queueing.
            limit=0,
            limit_per_host=0,
            force_close=not keep_alive,
            keepalive_timeout=KEEPALIVE_SECONDS if keep_alive else None,
        )
        return aiohttp.ClientSession(
            connector=connector,
            response_class=Answer,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=NO_HEADERS,
            # One deadline spans everything; aiohttp's would be for parts.
            timeout=aiohttp.ClientTimeout(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=BUFFER_BYTES,
        )

    def _dial(self, address: tuple[int, int, int, str, tuple[Any, ...]]) -> socket.socket:
        """Make the socket for one address, or raise `Refused`: no connection is made past this."""
        family, kind, protocol, _, target = address
        if not is_admitted(str(target[0]), local=self._local):
            raise Refused
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        if passage := _passage.get():
            passage.dialled = True
        return made


class AiohttpCourier:
    """A `Courier` (see the port) on the connections of a `Sender`."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._replies: list[Reply] = []
        self._wake = asyncio.Event()

    def send(self, post: Post) -> None:
        self._sender.start(post, self)

    async def replies(self, *, seconds: float) -> Sequence[Reply]:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()
        replies, self._replies = self._replies, []
        return replies

    def nudge(self) -> None:
        self._wake.set()

    def deliver(self, reply: Reply) -> None:
        """Take in what came of a post."""
        self._replies.append(reply)
        self._wake.set()


def tls_context() -> ssl.SSLContext:
    """Return TLS as the contract has it. It reads the system's certificates, which takes some milliseconds."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
