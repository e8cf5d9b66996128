"""Servers as merchants may have them: raw asyncio servers with a script, their certificates, and name servers."""

import asyncio
import datetime
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kpay_adapters.sender import Sender
from kpay_core.domain.posts import Post, Reply

Script = Callable[["Line"], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": "K-Payments/1",
    "K-Payments-Signature": "t=1,v1=00",
    "K-Payments-Event-Id": "evt_1",
}
DAY = datetime.timedelta(days=1)


class Line:
    """One connection, seen from the receiver."""

    def __init__(
        self, receiver: "Receiver", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.receiver = receiver
        self.reader = reader
        self.writer = writer

    async def read(self) -> None:
        """Read one request, and remember it."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")[:-2]
        fields = dict(line.split(": ", 1) for line in lines[1:])
        self.receiver.requests.append((lines[0], fields, b""))
        body = await self.reader.readexactly(int(fields["Content-Length"]))
        self.receiver.requests[-1] = (lines[0], fields, body)

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        self.receiver.written += len(data)
        await self.writer.drain()

    def reset(self) -> None:
        self.writer.transport.abort()


class Receiver:
    """A server on loopback that follows a script on each connection, and closes it in the end."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.tls = tls
        self.connections = 0
        # Line, header fields and body of each request.
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.written = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0, ssl=self.tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/hooks"

    async def close(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self.connections += 1
        try:
            await self.script(Line(self, reader, writer))
            writer.close()
            await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the sender has gone, or the test has ended
        finally:
            writer.transport.abort()
            self._tasks.discard(task)


def answering(*answers: bytes) -> Script:
    """Read a request and send these bytes, once for each answer; then close."""

    async def script(line: Line) -> None:
        for answer in answers:
            await line.read()
            await line.write(answer)

    return script


async def always_ok(line: Line) -> None:
    while True:
        await line.read()
        await line.write(OK)


class Directory(AbstractResolver):
    """Names and what they resolve to: the n-th look-up of a name finds the n-th answer, or the last."""

    def __init__(self, names: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._names = {name: list(answers) for name, answers in names.items()}
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        self.asked.append(host)
        if host not in self._names:
            raise OSError(-2, "Name or service not known")
        answers = self._names[host]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(
                hostname=host, host=each, port=port, family=10 if ":" in each else 2, proto=6, flags=0
            )
            for each in answer
        ]

    async def close(self) -> None:
        pass


class Authority:
    """A certificate authority that exists for this run of the tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tests")])
        builder = self._builder(self._name, self._key.public_key(), days=9)
        basic = x509.BasicConstraints(ca=True, path_length=None)
        signing = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(basic, critical=True).add_extension(signing, critical=True)
        self.certificate = builder.sign(self._key, hashes.SHA256())

    def client(self) -> ssl.SSLContext:
        """Return a context that believes this authority alone."""
        pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()
        return ssl.create_default_context(cadata=pem)

    def server(self, name: str, *, days: int = 1, forged: bool = False) -> ssl.SSLContext:
        """Return the context of a server of this name, valid for so many more days; `forged` is signed by itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        builder = self._builder(subject, key.public_key(), days=days)
        alternative = x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
        names = x509.SubjectAlternativeName([alternative])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(names, critical=False).add_extension(issuer, critical=False)
        certificate = builder.sign(key if forged else self._key, hashes.SHA256())
        path = self._folder / f"{certificate.serial_number}.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _builder(self, subject: x509.Name, key: Any, *, days: int) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 10 * DAY)
            .not_valid_after(now + days * DAY)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )


def post_to(url: str, *, key: str = "one", body: bytes = b'{"id":"evt_1"}') -> Post:
    return Post(key=key, url=url, headers=HEADERS, body=body)


async def send(sender: Sender, url: str, *, body: bytes = b'{"id":"evt_1"}') -> Reply:
    """Send one post, and return what came of it."""
    courier = sender.courier()
    courier.send(post_to(url, body=body))
    (reply,) = await courier.replies(seconds=30)
    assert reply.key == "one"
    return reply
