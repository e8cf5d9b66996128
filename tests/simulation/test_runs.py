"""A run is made by its seed alone, every law holds in it, and whoever breaks one is caught."""

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from kpay_adapters.memory import MemoryStore, _keep
from kpay_adapters.simulation import (
    Campaign,
    Fault,
    Runner,
    read_history,
    shorten,
    simulate,
    write_history,
)
from kpay_adapters.simulation.actions import CARDS
from kpay_adapters.simulation.draws import Draws
from kpay_core.commit import Record
from kpay_core.domain.charges import Charge


def story_of(runner: Runner, seed: int) -> list[str]:
    story: list[str] = []
    runner.run(seed, story=story)
    return story


def test_every_law_holds_in_the_first_runs() -> None:
    result = simulate(Campaign(seeds=300))
    assert result.failure is None, result.failure
    assert result.runs == 300
    assert 50 < result.steps / result.runs < 70


def test_a_seed_makes_the_same_run_again() -> None:
    # Another runner, that has made other runs before: nothing is carried over.
    used = Runner()
    for seed in range(5):
        used.run(seed)
    for seed in (11, 29, 823):
        assert story_of(used, seed) == story_of(Runner(), seed)


def test_other_seeds_make_other_runs() -> None:
    runner = Runner()
    assert len({"\n".join(story_of(runner, seed)) for seed in range(20)}) == 20


def test_runs_meet_every_fault_and_every_call() -> None:
    told = "\n".join(line for seed in range(300) for line in story_of(Runner(), seed))
    for words in (
        "conflict",
        "unknown, without effect",
        "unknown, with effect",
        "unavailable",
        "no answer, and nothing done",
        "no answer, although it was done",
        "no answer, and done only later",
        "done, and heard of later",
        "dies",
        "our clocks are turned",
        "is off by",
        "the network tells again",
        "the network lies",
        "after all",
    ):
        assert words in told, words


class Forgetful(MemoryStore):
    """Writes over whatever is there."""

    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        for record in records:
            self._kept.setdefault(type(record), {})[record.id] = _keep(record)


class Stale(MemoryStore):
    """Shows charges as they were when they were looked up first."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, Any] = {}

    async def get(self, kind: type[Any], id: str) -> Any:
        found = await super().get(kind, id)
        return self.seen.setdefault(id, found) if kind is Charge and found else found


@pytest.mark.parametrize("store", [Forgetful, Stale])
def test_a_store_that_breaks_its_promise_is_caught(store: type[MemoryStore]) -> None:
    runner = Runner(make_store=lambda: AsIs(store()))
    failures = [failure for seed in range(60) if (failure := runner.run(seed))]
    assert failures, "nobody noticed"
    shortest = shorten(runner, failures[0])
    assert len(shortest.history) <= len(failures[0].history)
    again = runner.repeat(shortest.seed, shortest.history)
    assert again is not None
    assert (again.law, again.what) == (shortest.law, shortest.what)


class AsIs:
    """A store of somebody else's: all that is known of it is the port."""

    def __init__(self, store: MemoryStore) -> None:
        self.get, self.find, self.commit = store.get, store.find, store.commit


def test_a_store_of_somebody_elses_runs_as_ours_does() -> None:
    ours, theirs = Runner(), Runner(make_store=lambda: AsIs(MemoryStore()))
    for seed in range(30):
        assert story_of(ours, seed) == story_of(theirs, seed)


def test_a_history_is_read_as_it_was_written() -> None:
    draws = Draws(7)
    for _ in range(20):
        draws.begin_step()
        for _ in range(draws.below(3)):
            draws.below(100)
    assert read_history(write_history(draws.history)) == draws.history
    with pytest.raises(ValueError, match="invalid"):
        read_history("1-2.x")


def test_without_faults_nothing_goes_wrong_in_a_story() -> None:
    runner = Runner(faults=())
    for seed in range(50):
        told = "\n".join(story_of(runner, seed))
        assert not re.search("unavailable|unknown|no answer|dies|lies|turned", told)


def test_only_the_faults_that_are_asked_for_happen() -> None:
    runner = Runner(faults=(Fault.CRASH,))
    told = "\n".join(line for seed in range(60) for line in story_of(runner, seed))
    assert "dies" in told
    assert not re.search("unavailable|unknown|no answer|lies|turned|is off", told)


def test_no_story_tells_a_card() -> None:
    told = "\n".join(line for seed in range(100) for line in story_of(Runner(), seed))
    assert "from the card that ends in 4242" in told
    assert not any(number in told for number in CARDS)
    assert "cvc" not in told


def test_what_is_printed_for_machines_repeats_a_run() -> None:
    runner = Runner(make_store=lambda: AsIs(Stale()))
    failure = next(failure for seed in range(60) if (failure := runner.run(seed)))
    assert json.loads(json.dumps(write_history(failure.history))) == write_history(failure.history)
    assert runner.repeat(failure.seed, read_history(write_history(failure.history))) == failure
