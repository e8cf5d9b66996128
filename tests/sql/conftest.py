"""Databases with our schema, which all tests share, and fresh ones for those who break things."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from kpay_adapters.sql.store import SqlStore
from tests.contract.stores import TABLES


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str:
    """URL of a database with our schema, which other tests use too."""
    return request.getfixturevalue(f"{request.param}_database")


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Make databases without a schema, which go with the test."""
    if request.param == "postgres":
        return request.getfixturevalue("fresh_postgres")
    numbers = iter(range(100))
    return lambda: f"sqlite:///{tmp_path / f'{next(numbers)}.db'}"


@pytest.fixture
async def store(database: str) -> AsyncIterator[SqlStore]:
    async with SqlStore(database, TABLES) as store:
        yield store
