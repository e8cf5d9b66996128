"""The stores that keep the contract."""

from collections.abc import AsyncIterator

import pytest

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sql.store import SqlStore
from kpay_core.ports import Store
from tests.contract.stores import TABLES


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    async with SqlStore(request.getfixturevalue(f"{request.param}_database"), TABLES) as store:
        yield store
