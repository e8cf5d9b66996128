"""Real installations: a database, the command line, and server processes on free ports."""

import asyncio
import json
import logging
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any, Self

import asyncpg
import httpx
import structlog
from click.testing import CliRunner, Result

from kpay_http.cli.main import commands

# A cold machine imports everything in a few seconds.
START_SECONDS = 20

# Late cards take 3 s, and a server waits for them.
STOP_SECONDS = 15

SECRET = b64encode(bytes(range(32))).decode()

Process = subprocess.Popen[bytes]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def logs_as_before() -> Iterator[None]:
    """Take back what a command that serves does to this process's logs."""
    root, configured = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:], root.level = handlers, level
        structlog.configure(**configured)


class Server:
    """A process that serves, with its output in a file."""

    def __init__(self, process: Process, port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log
        self.url = f"http://127.0.0.1:{port}"

    def wait_until_up(self) -> Self:
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if httpx.get(f"{self.url}/healthz", timeout=1).status_code == 200:
                    return self
            except httpx.TransportError:
                time.sleep(0.02)
        raise AssertionError(f"no answer on {self.url}: {self.log.read_text()}")

    def stop(self) -> int:
        """Ask it to stop, wait until it has, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(STOP_SECONDS)


class Installation:
    """A folder, a database and what is started on it; everything ends with it."""

    def __init__(self, folder: Path, database_url: str, **settings: str) -> None:
        self.folder = folder
        self.database_url = database_url
        self.settings: dict[str, str | None] = {
            "KPAY_DATABASE_URL": database_url,
            "KPAY_SECRET_KEY": SECRET,
            "KPAY_RATE_LIMIT": "0",
            **settings,
        }
        self._servers: list[Server] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            if server.process.poll() is None:
                server.process.send_signal(signal.SIGTERM)
        for server in self._servers:
            try:
                server.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()

    def command(self, *arguments: str, **settings: str | None) -> Result:
        """Run `kpay` to its end, in this process because starting one takes a second. None takes a setting away."""
        with logs_as_before():
            return CliRunner(env=self._settings(settings)).invoke(commands, arguments, prog_name="kpay")

    def json(self, *arguments: str, **settings: str | None) -> Any:
        """Run `kpay … --json`, and return what it prints."""
        done = self.command(*arguments, "--json", **settings)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def process(
        self, *arguments: str, output: int | IO[bytes] = subprocess.PIPE, **settings: str | None
    ) -> Process:
        """Start `kpay` as a process of its own, its standard error with its output."""
        command = [sys.executable, "-m", "kpay_http.cli", *arguments]
        environment = self.environment(**settings)
        return subprocess.Popen(
            command, env=environment, cwd=self.folder, stdout=output, stderr=subprocess.STDOUT
        )

    def environment(self, **settings: str | None) -> dict[str, str]:
        """Make the environment of a process of this installation."""
        given = {name: value for name, value in os.environ.items() if not name.startswith("KPAY_")}
        return given | {name: value for name, value in self._settings(settings).items() if value is not None}

    def _settings(self, settings: dict[str, str | None]) -> dict[str, str | None]:
        return {
            **dict.fromkeys(name for name in os.environ if name.startswith("KPAY_")),
            **self.settings,
            **settings,
        }

    def migrate(self) -> Self:
        done = self.command("migrate")
        assert done.exit_code == 0, done.output
        return self

    def merchant(self, name: str = "Acme") -> dict[str, Any]:
        return self.json("merchants", "create", "--name", name, "--approve")

    def start(
        self, command: str = "serve", *arguments: str, port: int | None = None, **settings: str | None
    ) -> Server:
        """Start a server on a free port or the one that is given, without waiting for it."""
        port = port or free_port()
        log = self.folder / f"{command}-{port}.log"
        with log.open("wb") as output:
            process = self.process(command, "--port", str(port), *arguments, output=output, **settings)
        server = Server(process, port, log)
        self._servers.append(server)
        return server

    def serve(self, *arguments: str, **settings: str | None) -> Server:
        return self.start("serve", *arguments, port=None, **settings).wait_until_up()

    def logs(self) -> str:
        """Everything that all servers have printed."""
        return "".join(server.log.read_text(errors="replace") for server in self._servers)


class Site:
    """An installation that runs, and a merchant who sends requests to all its servers."""

    def __init__(self, installation: Installation, servers: list[Server], journal: str) -> None:
        self.installation = installation
        self.servers = servers
        self.key: str = installation.merchant()["keys"]["test"]["secret"]
        self.journal = journal

    def crowd(self, method: str, path: str, count: int, **options: Any) -> list[httpx.Response]:
        """Send one request many times at once, spread over the servers."""
        headers = {"Authorization": f"Bearer {self.key}"} | options.pop("headers", {})

        async def send() -> list[httpx.Response]:
            limits = httpx.Limits(max_connections=count)
            async with httpx.AsyncClient(headers=headers, limits=limits, timeout=30) as client:
                urls = [self.servers[n % len(self.servers)].url + path for n in range(count)]
                return await asyncio.gather(*(client.request(method, url, **options) for url in urls))

        return asyncio.run(send())

    def one(self, method: str, path: str, **options: Any) -> Any:
        (answer,) = self.crowd(method, path, 1, **options)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    def entries(self) -> list[tuple[str, str, int]]:
        """What the sandbox's own journal says has happened: reference, outcome and amount."""

        return rows_of(self.journal, "SELECT id, outcome, amount FROM sandbox_journal ORDER BY id")


def rows_of(url: str, query: str) -> list[Any]:
    """Ask a database without any code of ours."""
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            return connection.execute(query).fetchall()

    async def fetch() -> list[Any]:
        connection: Any = await asyncpg.connect(url)
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    return asyncio.run(fetch())
