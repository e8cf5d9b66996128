"""A real server for those who talk to one, and a way to tell figures."""

import sys
from collections.abc import Callable, Iterator

import pytest

from tests.sender.conftest import dialled
from tests.servers import Installation, Server, Site

# A fixture of the sender's, which plays public addresses by loopback and notes what is dialled.
__all__ = ["dialled"]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One server on an embedded database."""
    folder = tmp_path_factory.mktemp("site")
    with Installation(folder, f"sqlite:///{folder}/kpay.db") as installation:
        yield Site(installation.migrate(), [installation.serve()], f"sqlite:///{folder}/kpay-sandbox.db")


@pytest.fixture
def running(site: Site) -> tuple[Server, str]:
    """A server, and a key that opens it."""
    return site.servers[0], site.key


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Tell a figure to whoever runs the session, also where the test passes."""

    def tell(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n    {text}\n")

    return tell
