"""The store's contract finds every way in which a store can break it; and a store that keeps it passes."""

import re
from pathlib import Path

import pytest

from tests.kit.broken_stores import BROKEN

pytest_plugins = ("pytester",)

SUITE = """
import pytest

from broken_stores import BROKEN, FindsAnyhow, reopen
from kpay_adapters.testing.contract import StoreContract


def of(kind):
    class Suite(StoreContract):
        @pytest.fixture
        def store(self):
            return kind()

        @pytest.fixture
        def reopen(self, store):
            return lambda: reopen(kind, store)

    return Suite


globals().update({f"Test{kind.__name__}": of(kind) for kind in (FindsAnyhow, *BROKEN)})
"""


@pytest.mark.heavy
def test_each_way_to_break_the_contract_is_found_by_its_test_and_who_keeps_it_passes(
    pytester: pytest.Pytester,
) -> None:
    stores = Path(__file__).with_name("broken_stores.py").read_text(encoding="utf-8")
    pytester.makepyfile(broken_stores=stores, test_stores=SUITE)
    wanted = [f"test_stores.py::Test{kind.__name__}::test_{name}" for kind, name in BROKEN.items()]
    alone = ("-p", "no:xdist", "-p", "no:timeout", "-p", "no:schemathesis", "-W", "error", "--strict-markers")
    done = pytester.runpytest_subprocess(
        *alone, "-q", "-rf", "--tb=no", "test_stores.py::TestFindsAnyhow", *wanted
    )
    failed = set(re.findall(r"^FAILED (test_stores.py::\w+::\w+)", done.stdout.str(), re.MULTILINE))
    assert failed == set(wanted)
    assert not done.parseoutcomes().get("errors")
