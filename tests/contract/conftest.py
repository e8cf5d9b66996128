"""The stores that keep the contract."""

from collections.abc import AsyncIterator

import pytest

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sql.store import SqlStore
from kpay_core.ports import Store
from tests.contract.stores import TABLES, prepare, sqlite_url


@pytest.fixture(scope="session")
def sqlite_database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return prepare(sqlite_url(tmp_path_factory.mktemp("contract")))


@pytest.fixture(scope="session")
def postgres_database(postgres_url: str) -> str:
    return prepare(postgres_url)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    async with SqlStore(request.getfixturevalue(f"{request.param}_database"), TABLES) as store:
        yield store
