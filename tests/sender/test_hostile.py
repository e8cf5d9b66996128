"""Receivers that are slow, broken or malicious: a post always has an outcome, in time, and at a bounded price."""

import asyncio
import gzip
import socket
import time

import pytest
from aiohttp.abc import ResolveResult

from kpay_adapters.sender import Sender
from kpay_core.domain.posts import MAX_KEPT_BYTES, Failure
from tests.sender.conftest import Receive
from tests.sender.receivers import OK, Authority, Directory, Line, Script, always_ok, answering, send

pytestmark = pytest.mark.anyio

# What the kernel and asyncio take in beside what we read: their buffers on both sides of loopback, generously.
BUFFERED_BYTES = 8 * 1024 * 1024

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"


def dripping(start: bytes, drip: bytes, *, seconds: float = 0.02) -> Script:
    async def script(line: Line) -> None:
        await line.read()
        await line.write(start)
        while True:
            await line.write(drip)
            await asyncio.sleep(seconds)

    return script


def flooding(start: bytes, flood: bytes) -> Script:
    async def script(line: Line) -> None:
        await line.read()
        await line.write(start)
        while True:
            await line.write(flood)
            await asyncio.sleep(0)

    return script


async def silent(line: Line) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (silent, None),
        (dripping(b"HTTP/1.1 200 OK\r\nX-A: ", b"a"), None),
        (dripping(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"), None),
        (dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), None),
        (dripping(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), None),
        (flooding(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 100), None),
        (dripping(HEAD, b"a"), 200),
        (dripping(b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"), 500),
        (dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a"), 200),
        (dripping(b"HTTP/1.1 302 X\r\nLocation: /\r\nContent-Length: 9\r\n\r\n", b"", seconds=9), 302),
    ],
    ids=[
        "says nothing",
        "drips a header",
        "drips headers",
        "drips 100",
        "drips 103",
        "floods 102",
        "drips a body",
        "drips chunks",
        "drips a chunk's extension",
        "redirects without a body",
    ],
)
async def test_one_deadline_spans_everything(
    hasty: Sender, receive: Receive, script: Script, status: int | None
) -> None:
    receiver = await receive(script)
    started = time.monotonic()
    reply = await send(hasty, receiver.url)
    assert (reply.failure, reply.status) == (Failure.TIMED_OUT, status)
    # Clocks differ by a millisecond.
    assert 0.29 <= time.monotonic() - started < 5
    assert 290 <= reply.milliseconds < 5000


async def test_what_had_come_by_the_deadline_is_kept(hasty: Sender, receive: Receive) -> None:
    receiver = await receive(dripping(HEAD + b"start", b"", seconds=9))
    assert (await send(hasty, receiver.url)).answer == "start"


async def test_the_deadline_spans_the_look_up(receive: Receive) -> None:
    class Stuck(Directory):
        async def resolve(self, host: str, port: int = 0, family: object = 0) -> list[ResolveResult]:
            await asyncio.sleep(60)
            return []

    async with Sender(local=True, resolver=Stuck({}), deadline_seconds=0.2) as sender:
        reply = await send(sender, "http://hooks.example.com/")
    assert reply.failure is Failure.TIMED_OUT


async def test_the_deadline_spans_the_handshake(hasty: Sender, receive: Receive) -> None:
    receiver = await receive(silent)
    assert (await send(hasty, receiver.url.replace("http", "https"))).failure is Failure.TIMED_OUT


async def test_the_deadline_spans_a_body_that_is_not_read(hasty: Sender, receive: Receive) -> None:
    receiver = await receive(silent)
    reply = await send(hasty, receiver.url, body=b"x" * 1_000_000)
    assert reply.failure is Failure.TIMED_OUT


async def test_the_deadline_spans_the_second_try(receive: Receive) -> None:
    async def worse_and_worse(line: Line) -> None:
        await line.read()
        if line.receiver.connections > 1:
            await asyncio.sleep(60)
        await line.write(OK)
        await line.read()
        await asyncio.sleep(1.5)

    receiver = await receive(worse_and_worse)
    async with Sender(local=True, deadline_seconds=2) as sender:
        await send(sender, receiver.url)
        reply = await send(sender, receiver.url)
    assert (reply.failure, receiver.connections) == (Failure.TIMED_OUT, 2)
    # Two deadlines of their own would be three and a half seconds.
    assert reply.milliseconds < 3_000


@pytest.mark.heavy
async def test_the_deadline_is_fifteen_seconds(receive: Receive) -> None:
    receiver = await receive(dripping(HEAD, b"a", seconds=1))
    async with Sender(local=True) as sender:
        reply = await send(sender, receiver.url)
    assert reply.failure is Failure.TIMED_OUT
    assert abs(reply.milliseconds - 15_000) < 500


@pytest.mark.parametrize("encrypted", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    ("start", "flood"),
    [
        (HEAD, b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 10_000),
    ],
    ids=["with its length", "till the end", "in chunks"],
)
async def test_of_an_endless_answer_only_the_beginning_is_read(
    receive: Receive, authority: Authority, start: bytes, flood: bytes, encrypted: bool
) -> None:
    tls = authority.server("127.0.0.1") if encrypted else None
    receiver = await receive(flooding(start, flood), tls)
    async with Sender(local=True, ssl_context=authority.client()) as sender:
        reply = await send(sender, receiver.url)
        assert (reply.status, reply.failure) == (200, None)
        assert reply.answer == "x" * MAX_KEPT_BYTES
        # Were the connection still there, the flood would go on.
        await asyncio.sleep(0.2)
        assert receiver.written < BUFFERED_BYTES


async def test_a_connection_is_cut_at_the_deadline_and_not_said_goodbye_to(
    receive: Receive, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deaf(line: Line) -> None:
        await line.read()
        # Below TLS, so that it never hears a goodbye, and never answers it.
        line.writer.transport._ssl_protocol._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(60)

    loop = asyncio.get_running_loop()
    connect, sockets = loop.sock_connect, []

    async def remember(sock: socket.socket, address: tuple[str, int]) -> None:
        sockets.append(sock)
        await connect(sock, address)

    monkeypatch.setattr(loop, "sock_connect", remember)
    receiver = await receive(deaf, authority.server("127.0.0.1"))
    async with Sender(local=True, ssl_context=authority.client(), deadline_seconds=0.3) as sender:
        assert (await send(sender, receiver.url)).failure is Failure.TIMED_OUT
        await asyncio.sleep(0.05)
        assert [sock.fileno() for sock in sockets] == [-1]


async def test_a_gzip_bomb_stays_packed(sender: Sender, receive: Receive) -> None:
    bomb = gzip.compress(b"\0" * 20_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    receiver = await receive(answering(head + bomb))
    reply = await send(sender, receiver.url)
    assert reply.failure is None
    assert len(reply.answer) <= MAX_KEPT_BYTES
    assert reply.answer.startswith("\x1f�\x08")


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308, 399])
async def test_a_redirect_is_a_failure_and_nobody_goes_there(
    sender: Sender, receive: Receive, status: int
) -> None:
    target = await receive(always_ok)
    head = f"HTTP/1.1 {status} X\r\nLocation: {target.url}\r\nRefresh: 0; url={target.url}\r\n"
    receiver = await receive(answering(head.encode() + b"Content-Length: 0\r\n\r\n"))
    reply = await send(sender, receiver.url)
    assert (reply.status, reply.failure) == (status, Failure.REDIRECTED)
    assert (target.connections, len(receiver.requests)) == (0, 1)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"220 mail.example.com ESMTP\r\n",
        b"\x00\x01\x02\x03" * 100,
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"<html>hello</html>\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 " + b"O" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
    ],
)
async def test_what_is_not_http_is_told_as_that(sender: Sender, receive: Receive, answer: bytes) -> None:
    async def script(line: Line) -> None:
        await line.read()
        await line.write(answer)
        await asyncio.sleep(9)

    receiver = await receive(script)
    reply = await send(sender, receiver.url)
    assert reply.failure is Failure.NOT_HTTP


@pytest.mark.parametrize(
    "flood",
    [b"A: b\r\n" * 1000, b"a" * 65536, b" folded\r\n" * 1000],
    ids=["headers", "one header", "folded lines"],
)
async def test_endless_headers_are_not_http(sender: Sender, receive: Receive, flood: bytes) -> None:
    receiver = await receive(flooding(b"HTTP/1.1 200 OK\r\nX: ", flood))
    assert (await send(sender, receiver.url)).failure is Failure.NOT_HTTP
    assert receiver.written < BUFFERED_BYTES


@pytest.mark.parametrize("answer", [b"zz\r\n", b"1\r\nabc\r\n", b"-1\r\n"])
async def test_chunks_that_are_none_are_not_http(sender: Sender, receive: Receive, answer: bytes) -> None:
    async def script(line: Line) -> None:
        await line.read()
        await line.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await asyncio.sleep(0.05)
        await line.write(answer)

    receiver = await receive(script)
    reply = await send(sender, receiver.url)
    assert (reply.status, reply.failure) == (200, Failure.NOT_HTTP)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"", None),
        (b"HTTP/1.1 20", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", None),
        (b"HTTP/1.1 100 Continue\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", 200),
        (b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n", 500),
    ],
)
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_connection_that_ends_too_early_is_lost(
    sender: Sender, receive: Receive, answer: bytes, status: int | None, reset: bool
) -> None:
    async def script(line: Line) -> None:
        await line.read()
        await line.write(answer)
        if reset:
            await asyncio.sleep(0.05)
            line.reset()

    receiver = await receive(script)
    reply = await send(sender, receiver.url)
    assert (reply.status, reply.failure) == (status, Failure.CONNECTION_LOST)
    assert len(receiver.requests) == 1


async def test_a_connection_that_is_closed_at_once_is_lost(sender: Sender, receive: Receive) -> None:
    async def script(line: Line) -> None:
        line.reset()

    receiver = await receive(script)
    assert (await send(sender, receiver.url)).failure is Failure.CONNECTION_LOST


async def test_a_port_without_a_server_is_a_failed_connection(sender: Sender, receive: Receive) -> None:
    receiver = await receive(always_ok)
    await receiver.close()
    reply = await send(sender, receiver.url)
    assert (reply.failure, reply.status) == (Failure.CONNECTION_FAILED, None)


async def test_an_unknown_name_is_told_as_that(hasty: Sender) -> None:
    async with Sender(local=True, resolver=Directory({})) as opened:
        assert (await send(opened, "https://hooks.example.com/")).failure is Failure.NAME_NOT_FOUND
    # The machine's own resolver: RFC 6761 promises that this name does not exist.
    reply = await send(hasty, "https://hooks.invalid/")
    assert reply.failure in (Failure.NAME_NOT_FOUND, Failure.TIMED_OUT)


async def test_an_early_answer_is_an_answer(sender: Sender, receive: Receive) -> None:
    async def script(line: Line) -> None:
        await line.write(b"HTTP/1.1 413 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    receiver = await receive(script)
    reply = await send(sender, receiver.url)
    assert (reply.status, reply.failure) == (413, Failure.REFUSED)


async def test_a_bug_of_ours_is_an_outcome_too(receive: Receive) -> None:
    class Broken(Directory):
        async def resolve(self, host: str, port: int = 0, family: object = 0) -> list[ResolveResult]:
            raise ZeroDivisionError

    async with Sender(local=True, resolver=Broken({})) as sender:
        assert (await send(sender, "https://hooks.example.com/")).failure is Failure.INTERRUPTED


async def test_an_endpoint_that_hangs_does_not_slow_others(hasty: Sender, receive: Receive) -> None:
    hanging = await receive(silent)
    healthy = await receive(always_ok)
    stuck = [asyncio.create_task(send(hasty, hanging.url)) for _ in range(50)]
    assert (await send(hasty, healthy.url)).failure is None
    assert not any(each.done() for each in stuck)
    assert {reply.failure for reply in await asyncio.gather(*stuck)} == {Failure.TIMED_OUT}
