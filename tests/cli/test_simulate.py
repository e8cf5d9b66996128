"""`kpay simulate` from the outside: what it prints, how it ends, and how a failure is repeated."""

import json
import shlex
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kpay_adapters.memory import MemoryStore
from kpay_adapters.simulation import EVERY_FAULT, Campaign, Failure, Runner, simulate
from kpay_adapters.simulation.campaigns import CHUNK
from kpay_core.domain.charges import Charge
from kpay_http.cli.main import commands
from kpay_http.cli.simulate import show, shown


def kpay(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["simulate", *arguments], prog_name="kpay")


def test_runs_that_break_no_law_end_with_0_and_are_counted() -> None:
    done = kpay("--seeds", "30", "--seed", "5", "--jobs", "1")
    assert done.exit_code == 0, done.output
    first, last = done.stdout.splitlines()
    assert first.startswith("30 runs of 60 steps, seeds 5 to 34: ")
    assert last == "Every law held."


def test_two_processes_run_what_one_does() -> None:
    seeds = 2 * CHUNK + 1
    one, two = (simulate(Campaign(seeds=seeds, steps=10, jobs=jobs)) for jobs in (1, 2))
    assert (one.runs, one.steps, one.failure) == (two.runs, two.steps, two.failure)
    assert (one.runs, one.failure) == (seeds, None)


def test_a_seed_that_is_not_given_is_told() -> None:
    told = [json.loads(kpay("--seeds", "1", "--jobs", "1", "--json").stdout) for _ in range(2)]
    assert told[0]["first_seed"] != told[1]["first_seed"]
    assert (told[0]["held"], told[0]["runs"]) == (True, 1)
    assert told[0]["faults"] == list(EVERY_FAULT)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--faults", "crash,tsunami"], "all, none, or some of conflict, unknown"),
        (["--seeds", "0"], "0 is not in the range x>=1"),
        (["--history", "1-2.three"], "numbers with dashes and points between them"),
    ],
)
def test_what_cannot_be_run_ends_with_2_and_says_why(arguments: list[str], says: str) -> None:
    done = kpay("--jobs", "1", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr


class Stale(MemoryStore):
    """Shows charges as they were when they were looked up first."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, Any] = {}

    async def get(self, kind: type[Any], id: str) -> Any:
        found = await super().get(kind, id)
        return self.seen.setdefault(id, found) if kind is Charge and found else found


@pytest.fixture(scope="module")
def failed() -> tuple[Runner, Failure]:
    runner = Runner(make_store=lambda: AsIs(Stale()))
    return runner, next(failure for seed in range(60) if (failure := runner.run(seed)))


class AsIs:
    def __init__(self, store: MemoryStore) -> None:
        self.get, self.find, self.commit = store.get, store.find, store.commit


def test_a_failure_is_told_with_its_law_and_the_command_that_repeats_it(
    failed: tuple[Runner, Failure], capsys: pytest.CaptureFixture[str]
) -> None:
    runner, failure = failed
    campaign = Campaign(seeds=60)
    result = simulate(Campaign(seeds=1))
    result.failure = failure
    show(result, campaign, runner)
    printed = capsys.readouterr().out
    assert f"Seed {failure.seed} breaks a law." in printed
    assert f"{failure.law}: {failure.what}" in printed
    command = shlex.split(printed.strip().splitlines()[-1])
    assert command[:2] == ["kpay", "simulate"]
    machines = shown(result, campaign, runner)["failure"]
    assert machines["repeat"] == shlex.join(command)
    assert machines["story"][-1].startswith(f"broken: {failure.law}")
    # The command is one that can be pasted; our own store breaks nothing there.
    again = kpay(*command[2:])
    assert again.exit_code == 0, again.output
    assert "Every law held." in again.stdout
