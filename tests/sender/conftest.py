import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from kpay_adapters.sender import Sender
from tests.sender.receivers import Authority, Receiver, Script

Receive = Callable[..., Awaitable[Receiver]]
Dialled = list[tuple[str, int]]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def receive() -> AsyncIterator[Receive]:
    """Start receivers that last as long as the test: `await receive(script)`."""
    opened: list[Receiver] = []

    async def start(script: Script, tls: ssl.SSLContext | None = None) -> Receiver:
        opened.append(Receiver(script, tls))
        await opened[-1].open()
        return opened[-1]

    yield start
    for receiver in opened:
        await receiver.close()


@pytest.fixture
async def sender(authority: Authority) -> AsyncIterator[Sender]:
    """One for development."""
    async with Sender(local=True, ssl_context=authority.client()) as opened:
        yield opened


@pytest.fixture
async def hasty(authority: Authority) -> AsyncIterator[Sender]:
    """One for development, whose deadline of 0.3 s a test can wait for."""
    async with Sender(local=True, ssl_context=authority.client(), deadline_seconds=0.3) as opened:
        yield opened


@pytest.fixture
async def dialled(monkeypatch: pytest.MonkeyPatch) -> Dialled:
    """
    The addresses that sockets are connected to. Public ones are played by loopback: nothing leaves this machine.

    Only a port that a receiver listens on leads anywhere.
    """
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect
    seen: Dialled = []

    async def connect_here(sock: Any, address: Any) -> None:
        seen.append(address[:2])
        host = "::ffff:127.0.0.1" if ":" in address[0] else "127.0.0.1"
        await connect(sock, (host, address[1]))

    monkeypatch.setattr(loop, "sock_connect", connect_here)
    return seen
