"""Installations on either database, of their own for each test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import Installation


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Installation]:
    with Installation(tmp_path, f"sqlite:///{tmp_path}/kpay.db") as installation:
        yield installation


@pytest.fixture
def postgres(tmp_path: Path, fresh_postgres: Callable[[], str]) -> Iterator[Installation]:
    with Installation(tmp_path, fresh_postgres()) as installation:
        yield installation


# What the commands do is the same on both. The second is for the long proofs, since every one starts processes.
@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.heavy)])
def installation(request: pytest.FixtureRequest) -> Installation:
    return request.getfixturevalue(request.param)
