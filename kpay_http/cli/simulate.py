"""`kpay simulate`: the core under every fault, again and again, from seeds."""

import random
import shlex
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import click

from kpay_adapters.simulation import (
    EVERY_FAULT,
    STEPS,
    Campaign,
    Failure,
    Fault,
    Result,
    Runner,
    cores,
    read_history,
    shorten,
    simulate,
    write_history,
)
from kpay_http.cli.tools import as_json, print_json, say

# Seeds of runs that nobody asked for by number: few enough digits to read out.
SEED_LIMIT = 10**9


def read_faults(context: click.Context, parameter: click.Parameter, value: str) -> tuple[Fault, ...]:
    """Read names of faults with commas between them, or all, or none."""
    if value == "all":
        return EVERY_FAULT
    try:
        return tuple(Fault(name.strip()) for name in value.split(",") if value != "none")
    except ValueError:
        names = ", ".join(EVERY_FAULT)
        raise click.BadParameter(f"all, none, or some of {names}", ctx=context, param=parameter) from None


@click.command("simulate")
@click.option("--seeds", type=click.IntRange(1), default=1_000, show_default=True, help="How many runs.")
@click.option("--seed", type=click.IntRange(0), help="The first seed.  [else a random one]")
@click.option(
    "--steps", type=click.IntRange(1, 100_000), default=STEPS, show_default=True, help="Steps of a run."
)
@click.option(
    "--faults", callback=read_faults, default="all", show_default=True, help="What may go wrong, with commas."
)
@click.option("--jobs", type=click.IntRange(1), help="Processes at work.  [else one for each core]")
@click.option("--history", help="Run these choices of --seed, as a failure prints them, and tell the story.")
@as_json
@click.pass_context
def simulate_command(
    context: click.Context,
    seeds: int,
    seed: int | None,
    steps: int,
    faults: tuple[Fault, ...],
    jobs: int | None,
    history: str | None,
    as_json: bool,
) -> None:
    """
    Run the core in a simulated world under every fault, and hold the laws of money against each step.

    Each run is made by its seed alone. A failure is made as short as can be, told step by step, and printed with the
    command that repeats it. Needs no database. Ends with 0 when every law held, and with 1 when one was broken.
    """
    campaign = Campaign(
        seeds=seeds,
        first_seed=random.randrange(SEED_LIMIT) if seed is None else seed,
        steps=steps,
        faults=faults,
        jobs=jobs or cores(),
    )
    runner = Runner(steps=steps, faults=faults)
    if history is not None:
        result = repeat(runner, campaign, history)
    else:
        with progress(seeds) as tell:
            result = simulate(campaign, on_progress=tell)
        if result.failure is not None:
            result.failure = shorten(runner, result.failure)
    if as_json:
        print_json(shown(result, campaign, runner))
    else:
        show(result, campaign, runner)
    context.exit(1 if result.failure else 0)


def repeat(runner: Runner, campaign: Campaign, history: str) -> Result:
    """Run one history."""
    try:
        choices = read_history(history)
    except ValueError:
        raise click.BadParameter(
            "numbers with dashes and points between them", param_hint="--history"
        ) from None
    return Result(runs=1, steps=len(choices), failure=runner.repeat(campaign.first_seed, choices))


@contextmanager
def progress(runs: int) -> Generator[Callable[[int], None]]:
    """Show on a terminal how many runs were made."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=runs, label="Simulating", file=sys.stderr) as bar:
        yield bar.update


def repeating(failure: Failure, campaign: Campaign) -> str:
    """Write the command that repeats a failure."""
    words = ["kpay", "simulate", "--seed", str(failure.seed), "--steps", str(campaign.steps)]
    if set(campaign.faults) != set(EVERY_FAULT):
        words += ["--faults", ",".join(campaign.faults) or "none"]
    return shlex.join([*words, "--history", write_history(failure.history)])


def story(failure: Failure, runner: Runner) -> list[str]:
    """Tell what happens in a failure, line by line."""
    lines: list[str] = []
    runner.repeat(failure.seed, failure.history, story=lines)
    return lines


def shown(result: Result, campaign: Campaign, runner: Runner) -> dict[str, Any]:
    """What is printed for machines."""
    failure = result.failure
    return {
        "held": failure is None,
        "first_seed": campaign.first_seed,
        "runs": result.runs,
        "steps": result.steps,
        "faults": list(campaign.faults),
        "seconds": round(result.seconds, 3),
        "runs_per_cpu_second": round(result.runs / result.cpu_seconds, 1) if result.cpu_seconds else None,
        "failure": None
        if failure is None
        else {
            "seed": failure.seed,
            "law": failure.law,
            "what": failure.what,
            "expected": failure.expected,
            "found": failure.found,
            "steps": len(failure.history),
            "story": story(failure, runner),
            "history": write_history(failure.history),
            "repeat": repeating(failure, campaign),
        },
    }


def show(result: Result, campaign: Campaign, runner: Runner) -> None:
    """Print what the runs came to, and the story of a failure."""
    last = campaign.first_seed + result.runs - 1
    seeds = f"seed {last}" if result.runs == 1 else f"seeds {campaign.first_seed} to {last}"
    if result.cpu_seconds:
        speed = result.runs / result.cpu_seconds
        say(f"{result.runs:,} runs of {campaign.steps} steps, {seeds}: {speed:,.0f} a second on one core.")
    failure = result.failure
    if failure is None:
        say("Every law held.")
        return
    say(f"\nSeed {failure.seed} breaks a law. The shortest history that was found:\n")
    for line in story(failure, runner):
        say(line)
    say(f"\n{failure.law}: {failure.what} is {failure.found}, should be {failure.expected}.")
    say(f"\nTo see it again:\n\n  {repeating(failure, campaign)}\n")
