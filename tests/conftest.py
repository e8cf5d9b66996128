"""Fixtures for every test: the event loop, and servers to talk to (see `tests.backends` for which)."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from tests import backends
from tests.contract.stores import prepare, sqlite_url


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests on asyncio: the service knows no other loop."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a PostgreSQL whose user may create databases; not for data."""
    yield from _url(backends.postgres())


@pytest.fixture(scope="session")
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of a database that this run of the tests has to itself."""
    url = backends.create_database(postgres_server)
    yield url
    backends.drop_database(postgres_server, url)


@pytest.fixture(scope="session")
def postgres_database(postgres_url: str) -> str:
    """URL of a PostgreSQL database with our schema, which all tests of this run share."""
    return prepare(postgres_url)


@pytest.fixture(scope="session")
def sqlite_database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of an SQLite database with our schema, which all tests of this run share."""
    return prepare(sqlite_url(tmp_path_factory.mktemp("shared")))


@pytest.fixture
def fresh_postgres(postgres_server: str) -> Iterator[Callable[..., str]]:
    """
    Make databases that last as long as the test: `fresh_postgres()` returns the URL of an empty one,
    `fresh_postgres(like=url)` that of a copy of another, to which nobody may be connected.
    """
    made: list[str] = []

    def make(*, like: str | None = None) -> str:
        made.append(backends.create_database(postgres_server, like=like))
        return made[-1]

    yield make
    for url in made:
        backends.drop_database(postgres_server, url)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """URL of a Redis that others may use too: nothing may be flushed."""
    yield from _url(backends.redis())


@pytest.fixture(scope="session")
def amqp_url() -> Iterator[str]:
    """URL of a RabbitMQ that others may use too: queues need names of their own."""
    yield from _url(backends.amqp())


def _url(backend: AbstractContextManager[str]) -> Iterator[str]:
    try:
        with backend as url:
            yield url
    except backends.Missing as missing:
        # At home a server may be missing; in CI a test that does not run proves nothing.
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
