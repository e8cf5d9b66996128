"""TLS: 1.2 or newer, a certificate that is valid now, for this name, from somebody we trust."""

import asyncio
import ssl
import warnings

import pytest

from kpay_adapters.sender import Sender
from kpay_adapters.sender.posting import tls_context
from kpay_core.domain.posts import Failure
from tests.sender.conftest import Dialled, Receive
from tests.sender.receivers import Authority, Directory, Line, Script, always_ok, send

pytestmark = pytest.mark.anyio

HOST = "hooks.example.com"


async def outcome(authority: Authority, port: int, *, host: str = HOST) -> Failure | None:
    directory = Directory({host: [["93.184.215.14"]]})
    async with Sender(resolver=directory, ssl_context=authority.client(), deadline_seconds=5) as sender:
        return (await send(sender, f"https://{host}:{port}/")).failure


def shaking_hands(context: ssl.SSLContext) -> Script:
    """Tell the other side what is wrong with its handshake, which asyncio's servers do not."""

    async def script(line: Line) -> None:
        coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(coming, going, server_side=True)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await line.write(going.read())
                coming.write(await line.reader.read(65536))
            except ssl.SSLError:
                return await line.write(going.read())

    return script


async def test_a_good_certificate_is_accepted(
    receive: Receive, authority: Authority, dialled: Dialled
) -> None:
    receiver = await receive(always_ok, authority.server(HOST))
    assert await outcome(authority, receiver.port) is None


async def test_a_name_with_a_final_dot_has_the_same_certificate(
    receive: Receive, authority: Authority, dialled: Dialled
) -> None:
    receiver = await receive(always_ok, authority.server(HOST))
    assert await outcome(authority, receiver.port, host=f"{HOST}.") is None


@pytest.mark.parametrize("flaw", ["another name", "expired", "self-signed"])
async def test_a_bad_certificate_is_not(
    receive: Receive, authority: Authority, dialled: Dialled, flaw: str
) -> None:
    tls = {
        "another name": lambda: authority.server("hooks.example.org"),
        "expired": lambda: authority.server(HOST, days=-1),
        "self-signed": lambda: authority.server(HOST, forged=True),
    }[flaw]()
    receiver = await receive(always_ok, tls)
    assert await outcome(authority, receiver.port) is Failure.TLS_FAILED
    assert receiver.requests == []


async def test_a_certificate_that_only_this_machine_knows_is_not_trusted_by_default(
    receive: Receive, authority: Authority
) -> None:
    receiver = await receive(always_ok, authority.server("127.0.0.1"))
    async with Sender(local=True) as sender:
        assert (await send(sender, receiver.url)).failure is Failure.TLS_FAILED
    assert receiver.requests == []


async def test_tls_1_1_is_too_old(receive: Receive, authority: Authority, dialled: Dialled) -> None:
    tls = authority.server(HOST)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        tls.minimum_version = tls.maximum_version = ssl.TLSVersion.TLSv1_1
    receiver = await receive(shaking_hands(tls))
    assert await outcome(authority, receiver.port) is Failure.TLS_FAILED
    assert tls_context().minimum_version is ssl.TLSVersion.TLSv1_2


async def test_the_default_context_verifies_and_speaks_http_1_1() -> None:
    context = tls_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


async def test_a_server_without_tls_is_told_as_that(
    receive: Receive, authority: Authority, dialled: Dialled
) -> None:
    async def plain(line: Line) -> None:
        await line.reader.read(100)
        await line.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    receiver = await receive(plain)
    assert await outcome(authority, receiver.port) is Failure.TLS_FAILED


async def test_a_connection_that_is_closed_in_the_handshake_is_lost(
    receive: Receive, authority: Authority, dialled: Dialled
) -> None:
    async def close(line: Line) -> None:
        await line.reader.read(100)

    receiver = await receive(close)
    assert await outcome(authority, receiver.port) is Failure.CONNECTION_LOST


async def test_a_server_that_wants_a_certificate_of_ours_is_told_as_that(
    receive: Receive, authority: Authority, dialled: Dialled
) -> None:
    tls = authority.server(HOST)
    tls.verify_mode = ssl.CERT_REQUIRED
    receiver = await receive(shaking_hands(tls))
    assert await outcome(authority, receiver.port) is Failure.TLS_FAILED


async def test_a_connection_with_tls_is_used_again(receive: Receive, authority: Authority) -> None:
    receiver = await receive(always_ok, authority.server("127.0.0.1"))
    async with Sender(local=True, ssl_context=authority.client()) as sender:
        for _ in range(3):
            assert (await send(sender, receiver.url)).failure is None
            await asyncio.sleep(0)
    assert receiver.connections == 1
