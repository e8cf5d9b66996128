"""Real servers, one process each, as they are run in production."""

import asyncio
import os
import secrets
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from benchmarks.databases import fresh, postmaster_of
from benchmarks.processes import Failed, running
from kpay_http import compose
from kpay_http.settings import read_settings

KPAY = (sys.executable, "-m", "kpay_http.cli")

# A server imports its libraries and opens its database in a second or two.
START_SECONDS = 20


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """Processes that take requests, each at its port. `postgres_pid` is their database's, where that can be seen."""

    name: str
    ports: tuple[int, ...]
    pids: tuple[int, ...]
    secret_key: str
    postgres_pid: int | None = None
    database_url: str = ""

    @property
    def port(self) -> int:
        return self.ports[0]

    @property
    def pid(self) -> int:
        return self.pids[0]


def settings(database_url: str) -> dict[str, str]:
    """Make the environment of K-Payments: nothing is limited, everything is logged, to nowhere."""
    return {
        "KPAY_DATABASE_URL": database_url,
        "KPAY_SECRET_KEY": b64encode(secrets.token_bytes(32)).decode(),
        "KPAY_RATE_LIMIT": "0",
        "KPAY_LOG_FORMAT": "json",
        "PYTHONPATH": os.pathsep.join(filter(None, (".", os.environ.get("PYTHONPATH")))),
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def opened(environment: Mapping[str, str]) -> AsyncIterator[compose.Opened]:
    """Open the core on an installation's database, in this process: what is prepared is not measured."""
    chosen = read_settings(environment)
    async with compose.open_kpay(chosen, compose.secret_of(chosen, make=False)) as found:
        yield found


def make_merchant(environment: Mapping[str, str]) -> tuple[str, str]:
    """Make the tables and a merchant in them; return its id and its secret key of test mode."""

    async def make() -> tuple[str, str]:
        await compose.migrate_all(read_settings(environment))
        async with opened(environment) as (kpay, _, _):
            merchant = await kpay.apply(name="Bench")
            return merchant.id, (await kpay.approve(merchant.id)).keys.test.secret

    return asyncio.run(make())


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """A database with a merchant in it, and the environment in which K-Payments uses it. Nothing runs yet."""

    name: str
    environment: dict[str, str]
    database_url: str
    merchant: str
    secret_key: str
    postgres_pid: int | None


@contextmanager
def installed(postgres: str | None, more: Mapping[str, str] | None = None) -> Iterator[Installation]:
    """Make a fresh database, on a PostgreSQL server or on SQLite; `more` are settings that are not the usual ones."""
    with fresh(postgres) as url:
        environment = {**settings(url), **(more or {})}
        merchant, secret_key = make_merchant(environment)
        yield Installation(
            name="postgres" if postgres else "sqlite",
            environment=environment,
            database_url=url,
            merchant=merchant,
            secret_key=secret_key,
            postgres_pid=postmaster_of(url) if postgres else None,
        )


@contextmanager
def serving(here: Installation, program: Sequence[str] = KPAY, *, processes: int = 1) -> Iterator[Server]:
    """Run `kpay serve` on an installation, or what a program makes of it, in so many processes."""
    with ExitStack() as stack:
        ports = [free_port() for _ in range(processes)]
        commands = [[*program, "serve", "--port", str(port)] for port in ports]
        started = [stack.enter_context(running(each, environment=here.environment)) for each in commands]
        for port, process in zip(ports, started, strict=True):
            wait_for(port, process)
        yield Server(
            name=here.name,
            ports=tuple(ports),
            pids=tuple(process.pid for process in started),
            secret_key=here.secret_key,
            database_url=here.database_url,
            postgres_pid=here.postgres_pid,
        )


@contextmanager
def kpay(postgres: str | None, program: Sequence[str] = KPAY) -> Iterator[Server]:
    """Run `kpay serve` on a fresh database."""
    with installed(postgres) as here, serving(here, program) as server:
        yield server


@contextmanager
def bare(how: Literal["litestar", "asgi"], answers: Path, secret_key: str) -> Iterator[Server]:
    """Run a bare handler with answers from a file."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.programs.bare", how, str(port), str(answers), secret_key]
    with running(command) as process:
        wait_for(port, process)
        name = "bare" if how == "litestar" else "bare ASGI"
        yield Server(name=name, ports=(port,), pids=(process.pid,), secret_key=secret_key)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when a server takes connections; raises `Failed`."""
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise Failed(f"the server on port {port} did not start")
