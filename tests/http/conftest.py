"""A world of its own for each test, and real servers that tests share by module."""

from collections.abc import Iterator

import pytest

from tests import backends
from tests.http.world import Client, Merchant, World
from tests.servers import Installation, Site


@pytest.fixture
def world() -> Iterator[World]:
    with World() as world:
        yield world


@pytest.fixture
def acme(world: World) -> Merchant:
    return world.merchant("Acme")


@pytest.fixture
def globex(world: World) -> Merchant:
    return world.merchant("Globex")


@pytest.fixture
def client(world: World, acme: Merchant) -> Client:
    """Acme in test mode."""
    return world.client(acme.test)


@pytest.fixture
def live(world: World, acme: Merchant) -> Client:
    """Acme in live mode."""
    return world.client(acme.live)


@pytest.fixture
def other(world: World, globex: Merchant) -> Client:
    """Globex in test mode."""
    return world.client(globex.test)


@pytest.fixture
def stranger(world: World) -> Client:
    """Nobody: requests without a key."""
    return world.client()


@pytest.fixture(scope="session")
def site_on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One server on an embedded database."""
    folder = tmp_path_factory.mktemp("site")
    with Installation(folder, f"sqlite:///{folder}/kpay.db") as installation:
        yield Site(installation.migrate(), [installation.serve()], f"sqlite:///{folder}/kpay-sandbox.db")


@pytest.fixture(scope="session")
def site_on_postgres(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> Iterator[Site]:
    """Two servers on one PostgreSQL database, which nobody else uses: their sweepers look at all that is in it."""
    url = backends.create_database(postgres_server)
    with Installation(tmp_path_factory.mktemp("site"), url) as installation:
        servers = [installation.migrate().start(), installation.start()]
        yield Site(installation, [server.wait_until_up() for server in servers], url)
    backends.drop_database(postgres_server, url)


@pytest.fixture(params=["one server on SQLite", "two servers on PostgreSQL"])
def site(request: pytest.FixtureRequest) -> Site:
    """Servers on either database."""
    name = "site_on_sqlite" if "SQLite" in request.param else "site_on_postgres"
    return request.getfixturevalue(name)
