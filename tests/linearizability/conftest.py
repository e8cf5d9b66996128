"""Servers that share one database, and a network beside them that notes what it is asked."""

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests import backends
from tests.kills.fleets import Fleet, on_postgres, on_sqlite


@pytest.fixture
def chance() -> random.Random:
    """Return what chooses; KPAY_FAULT_SEED repeats its choices."""
    seed = int(os.environ.get("KPAY_FAULT_SEED", str(random.randrange(10**6))))
    print(f"KPAY_FAULT_SEED={seed}")  # noqa: T201 - repeats this run
    return random.Random(seed)


@pytest.fixture(params=["one server on SQLite", "three servers on PostgreSQL"])
def fleet(request: pytest.FixtureRequest, chance: random.Random) -> Iterator[Fleet]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="kpay-", ignore_cleanup_errors=True)))
        # PostgreSQL runs as another user where tests are root's, and must reach it.
        folder.chmod(0o711)
        try:
            yield stack.enter_context(
                on_sqlite(folder, chance)
                if "SQLite" in request.param
                else on_postgres(folder, chance, servers=3)
            )
        except backends.Missing as missing:
            if os.environ.get("CI") == "true":
                pytest.fail(str(missing))
            pytest.skip(str(missing))
