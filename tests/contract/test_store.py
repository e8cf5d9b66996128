"""Our own stores keep the contract of the Store port: the suite of the kit, as anybody runs it."""

import pytest

from kpay_adapters.sql.store import SqlStore
from kpay_adapters.testing.contract import Reopen, StoreContract
from tests.contract.stores import TABLES


class TestStores(StoreContract):
    """In memory, on SQLite, on PostgreSQL: the fixture `store` has all three."""

    @pytest.fixture
    def reopen(self, request: pytest.FixtureRequest) -> Reopen | None:
        database = request.node.callspec.params["store"]
        if database == "memory":
            return None
        url = request.getfixturevalue(f"{database}_database")
        return lambda: SqlStore(url, TABLES)
