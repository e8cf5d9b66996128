"""The document as it is served, and a world to hold it against."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.http.world import Client, World


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as world:
        yield world


@pytest.fixture(scope="module")
def client(world: World) -> Client:
    return world.client(world.merchant().test)


@pytest.fixture(scope="module")
def document(world: World) -> dict[str, Any]:
    return world.client().get("/openapi.json").json()
