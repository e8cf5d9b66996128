"""
The contract of the Store port as a suite: each sentence of the port's docstring has a test, and every store passes it.

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, tmp_path):
            return MyStore(tmp_path / "books")
"""

from kpay_adapters.testing.extras import NotInstalled

try:
    import pytest
except ImportError as missing:
    raise NotInstalled("pytest") from missing

from kpay_adapters.testing.contract.commits import Commits, Reopen
from kpay_adapters.testing.contract.finds import Finds
from kpay_adapters.testing.contract.gets import Gets
from kpay_adapters.testing.contract.holds import Holds


class StoreContract(Gets, Finds, Commits, Holds):
    """
    Subclass it under a name that begins with `Test`, and give it a fixture `store`: an open store for each test.
    A second one, `reopen`, proves that what was written lasts; it returns what opens the same store again.

    Every record has a new id, so tests may share one database. The store keeps whatever records it is given; one of
    fixed tables needs one for `kpay_adapters.testing.records.Note`, which has a text beside its id.
    The tests are async and run on asyncio, by the plugin of pytest that comes with anyio, and so with this package:
    there is nothing to install or to switch on, and a fixture `store` may be async too.
    """

    pytestmark = pytest.mark.anyio

    @pytest.fixture(scope="session")
    @classmethod
    def anyio_backend(cls) -> str:
        """Run on asyncio: an adapter may know no other loop."""
        return "asyncio"


__all__ = ["Reopen", "StoreContract"]
