"""A store in lockstep with the one in memory: ours say the same, and whoever does not is found."""

from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sql.store import SqlStore
from kpay_adapters.testing.lockstep import StoreMachine
from tests.contract.stores import TABLES
from tests.kit import broken_stores
from tests.kit.broken_stores import BROKEN, FindsAnyhow

# Those which only many at once, or who is cancelled, or who looks very closely, can tell from an honest store.
BESIDE_ONE_ANOTHER = (
    broken_stores.StopsInTheMiddle,
    broken_stores.IsLate,
    broken_stores.ReadsBitByBit,
    broken_stores.SharesItsCopies,
    broken_stores.TellsWhatItRejects,
    broken_stores.AsksForBytes,
    broken_stores.AnythingIsText,
    broken_stores.ForgetsAtTheEnd,
)
OTHERS = [kind for kind in BROKEN if kind not in BESIDE_ONE_ANOTHER]


def run(open_store: Any, *, histories: int, steps: int = 30) -> None:
    class Machine(StoreMachine):
        def open_store(self) -> Any:
            opened = open_store()
            return opened if isinstance(opened, SqlStore) else nullcontext(opened)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=histories,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
        ),
    )


def test_a_store_that_finds_by_other_means_says_the_same() -> None:
    run(FindsAnyhow, histories=20)


def test_ours_on_sqlite_says_the_same(sqlite_database: str) -> None:
    run(lambda: SqlStore(sqlite_database, TABLES), histories=5)


@pytest.mark.heavy
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_ours_say_the_same_in_many_histories(database: str, request: pytest.FixtureRequest) -> None:
    url: str = request.getfixturevalue(f"{database}_database")
    run(lambda: SqlStore(url, TABLES), histories=200, steps=50)


@pytest.mark.heavy
@pytest.mark.parametrize("kind", OTHERS)
def test_a_broken_store_says_something_else(kind: type[MemoryStore]) -> None:
    with pytest.raises((AssertionError, ExceptionGroup)):
        run(kind, histories=200)
