"""Nothing but public addresses is ever dialled, however a URL or a name leads elsewhere."""

import socket
from typing import Any

import aiohttp
import pytest

from kpay_adapters.sender import Sender
from kpay_adapters.sender.guard import Names, Refused
from kpay_core.domain.posts import Failure
from tests.sender.conftest import Dialled, Receive
from tests.sender.receivers import Authority, Directory, always_ok, answering, send

pytestmark = pytest.mark.anyio

HOST = "hooks.example.com"
PUBLIC = "93.184.215.14"
PUBLIC_V6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"

# Each leads to this machine, its network, or the cloud's innards.
FORBIDDEN = [
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "2001::1",
    "2002:7f00:1::",
    "2606:4700::5efe:127.0.0.1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%1",
    "ff02::1",
]


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_a_name_of_a_forbidden_address_is_refused(
    receive: Receive, authority: Authority, dialled: Dialled, address: str
) -> None:
    receiver = await receive(always_ok, authority.server(HOST))
    directory = Directory({HOST: [[address]]})
    async with Sender(resolver=directory, ssl_context=authority.client()) as sender:
        reply = await send(sender, f"https://{HOST}:{receiver.port}/")
    assert (reply.failure, reply.status) == (Failure.ADDRESS_REFUSED, None)
    assert (dialled, receiver.connections) == ([], 0)


async def test_a_name_of_many_forbidden_addresses_is_refused(authority: Authority, dialled: Dialled) -> None:
    directory = Directory({HOST: [FORBIDDEN]})
    async with Sender(resolver=directory, ssl_context=authority.client()) as sender:
        assert (await send(sender, f"https://{HOST}/")).failure is Failure.ADDRESS_REFUSED
    assert dialled == []


async def test_this_machines_own_name_is_refused(receive: Receive, authority: Authority) -> None:
    # No resolver of ours here: what the system says of a name that is in every hosts file.
    receiver = await receive(always_ok, authority.server("localhost"))
    async with Sender(ssl_context=authority.client()) as sender:
        async with Sender(local=True, ssl_context=authority.client()) as developer:
            assert (await send(developer, f"https://localhost:{receiver.port}/")).failure is None
        names = Names(False, None)
        with pytest.raises(Refused):
            await names.resolve("localhost", receiver.port)
        await names.close()
        assert (await send(sender, f"https://localhost:{receiver.port}/")).failure is Failure.ADDRESS_REFUSED
    assert receiver.connections == 1


@pytest.mark.parametrize(
    "mixed", [[PUBLIC, *FORBIDDEN], [*FORBIDDEN, PUBLIC], [*FORBIDDEN, PUBLIC, *FORBIDDEN]]
)
async def test_of_mixed_addresses_only_the_public_are_dialled(
    receive: Receive, authority: Authority, dialled: Dialled, mixed: list[str]
) -> None:
    receiver = await receive(always_ok, authority.server(HOST))
    async with Sender(resolver=Directory({HOST: [mixed]}), ssl_context=authority.client()) as sender:
        assert (await send(sender, f"https://{HOST}:{receiver.port}/")).failure is None
    assert dialled == [(PUBLIC, receiver.port)]


async def test_a_public_address_that_fails_does_not_lead_to_a_forbidden_one(
    receive: Receive, authority: Authority, dialled: Dialled
) -> None:
    closed = await receive(always_ok)
    await closed.close()
    directory = Directory({HOST: [["::1", PUBLIC, "127.0.0.1"]]})
    async with Sender(resolver=directory, ssl_context=authority.client()) as sender:
        reply = await send(sender, f"https://{HOST}:{closed.port}/")
    assert reply.failure is Failure.CONNECTION_FAILED
    assert {host for host, _ in dialled} == {PUBLIC}


async def test_both_families_are_dialled(receive: Receive, authority: Authority, dialled: Dialled) -> None:
    try:
        socket.socket(socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    receiver = await receive(always_ok, authority.server(HOST))
    directory = Directory({HOST: [[PUBLIC_V6]]})
    async with Sender(resolver=directory, ssl_context=authority.client()) as sender:
        assert (await send(sender, f"https://{HOST}:{receiver.port}/")).failure is None
    assert dialled == [(PUBLIC_V6, receiver.port)]


async def test_a_name_that_is_bound_again_is_looked_up_again_and_refused(
    receive: Receive, authority: Authority, dialled: Dialled
) -> None:
    receiver = await receive(
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), authority.server(HOST)
    )
    directory = Directory({HOST: [[PUBLIC], ["127.0.0.1"]]})
    async with Sender(resolver=directory, ssl_context=authority.client()) as sender:
        url = f"https://{HOST}:{receiver.port}/"
        assert (await send(sender, url)).failure is None
        # The connection is closed by now, or breaks and is opened once more.
        assert (await send(sender, url)).failure is Failure.ADDRESS_REFUSED
    assert directory.asked == [HOST, HOST]
    assert dialled == [(PUBLIC, receiver.port)]


async def test_a_name_with_many_addresses_is_not_a_way_to_knock_at_them_all(
    receive: Receive, authority: Authority, dialled: Dialled
) -> None:
    closed = await receive(always_ok)
    await closed.close()
    directory = Directory({HOST: [[f"93.184.215.{number}" for number in range(250)]]})
    async with Sender(resolver=directory, ssl_context=authority.client()) as sender:
        assert (await send(sender, f"https://{HOST}:{closed.port}/")).failure is Failure.CONNECTION_FAILED
    assert len({host for host, _ in dialled}) == 3
    assert len(dialled) <= 6


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:{}/",
        "https://[::1]:{}/",
        "https://[::ffff:127.0.0.1]:{}/",
        "https://2130706433:{}/",
        "https://0x7f.1:{}/",
        "https://0177.0.0.1:{}/",
        "https://127.1:{}/",
        "https://127.0.0.1.:{}/",
        "https://%31%32%37.0.0.1:{}/",
        "https://localhost:{}/",
        "https://a@127.0.0.1:{}/",
        "http://hooks.example.com:{}/",
        "http://93.184.215.14:{}/",
        "file:///etc/passwd",
        "unix:///var/run/docker.sock",
        "not a url",
        "",
    ],
)
async def test_a_url_that_would_not_be_accepted_is_not_sent_to_either(
    receive: Receive, authority: Authority, dialled: Dialled, url: str
) -> None:
    receiver = await receive(always_ok)
    directory = Directory({HOST: [[PUBLIC]], "localhost": [["127.0.0.1"]]})
    async with Sender(resolver=directory, ssl_context=authority.client()) as sender:
        assert (await send(sender, url.format(receiver.port))).failure is Failure.ADDRESS_REFUSED
    assert (dialled, receiver.connections) == ([], 0)


@pytest.mark.parametrize("url", ["http://127.0.0.1:{}/", "http://[::1]:{}/", "https://127.0.0.1:{}/"])
async def test_the_socket_itself_is_guarded(receive: Receive, dialled: Dialled, url: str) -> None:
    # Past the check of the URL: aiohttp asks no resolver for a literal.
    receiver = await receive(always_ok)
    async with Sender() as sender:
        for session in (sender._session, sender._fresh):
            assert session
            with pytest.raises(aiohttp.ClientConnectorError) as caught:
                await session.post(url.format(receiver.port))
            assert isinstance(caught.value.os_error, Refused)
    assert (dialled, receiver.connections) == ([], 0)


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_no_socket_is_made_for_a_forbidden_address(authority: Authority, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    target: tuple[Any, ...] = (address, 443, 0, 0) if ":" in address else (address, 443)
    with pytest.raises(Refused):
        Sender(ssl_context=authority.client())._dial(
            (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", target)
        )


async def test_development_admits_loopback_and_nothing_else(receive: Receive, dialled: Dialled) -> None:
    receiver = await receive(always_ok)
    names = {"localhost": [["127.0.0.1"]], HOST: [["10.0.0.1", "169.254.169.254", "0.0.0.0", "fe80::1"]]}
    async with Sender(local=True, resolver=Directory(names)) as sender:
        assert (await send(sender, receiver.url)).failure is None
        assert (await send(sender, f"http://localhost:{receiver.port}/")).failure is None
        assert (await send(sender, f"http://{HOST}:{receiver.port}/")).failure is Failure.ADDRESS_REFUSED
        for host in ("10.0.0.1", "169.254.169.254", "0.0.0.0", "[::]", "[fe80::1]", "[::ffff:127.0.0.1]"):
            url = f"http://{host}:{receiver.port}/"
            assert (await send(sender, url)).failure is Failure.ADDRESS_REFUSED
    assert {host for host, _ in dialled} == {"127.0.0.1"}
