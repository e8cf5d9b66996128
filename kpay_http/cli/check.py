"""`kpay check`: a merchant who asks a server for anything, and holds every answer against what must be true."""

import os
import secrets
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any, TypedDict, Unpack

import click
import msgspec

from kpay_http import compose
from kpay_http.cli.tools import as_json, print_json, say

# Enough to find again what a seed found, and short enough to be typed.
SEEDS = 1_000_000

# Where Hypothesis keeps its notes.
NOTES = "HYPOTHESIS_STORAGE_DIRECTORY"


class How(TypedDict):
    """How much is asked, and what of the sandbox's time."""

    steps: int
    examples: int
    seed: int | None
    keep_time: bool


@click.command()
@click.argument("url", metavar="URL")
@click.option(
    "--key", envvar="KPAY_TEST_KEY", show_envvar=True, required=True, help="A secret test key: sk_test_…"
)
@click.option(
    "--other-key",
    "other_keys",
    multiple=True,
    metavar="KEY",
    help="A test key of another merchant, who must see nothing; may be given several times.",
)
@click.option(
    "--steps", type=click.IntRange(1, 1_000), default=30, show_default=True, help="Of each history."
)
@click.option(
    "--examples", type=click.IntRange(1, 1_000_000), default=20, show_default=True, help="Histories."
)
@click.option("--seed", type=click.IntRange(0), help="Ask what this seed asked before.  [else a new one]")
@click.option(
    "--keep-time", is_flag=True, help="Leave the sandbox's clock alone, also where it can be turned."
)
@as_json
@click.pass_context
def check(
    context: click.Context, url: str, key: str, other_keys: tuple[str, ...], as_json: bool, **how: Unpack[How]
) -> None:
    """
    Be a merchant of the server at URL, with a test key, and hold every answer against what must be true.

    Give it a merchant for whom nobody else makes anything meanwhile: charges, refunds and endpoints are made, endpoints
    are deleted again, and where the sandbox has a clock that can be turned, days pass for the whole of it. Ends with 0
    when all holds, with 1 when something does not, and with 2 when it could not be done. A live key is never used.
    """
    seed = secrets.randbelow(SEEDS) if how["seed"] is None else how["seed"]
    steps, histories = how["steps"], how["examples"]
    reached = compose.open_check(url, key, other_keys=other_keys, may_turn=not how["keep_time"])
    with leaving_nothing(), reached as run, progress(histories) as tell:
        checked = run(steps=steps, histories=histories, seed_number=seed, on_history=tell)
    again = command(checked, how, others=len(other_keys))
    if as_json:
        print_json(shown(checked, again))
    else:
        show(checked, again)
    context.exit(0 if checked.finding is None else 1)


@contextmanager
def progress(histories: int) -> Generator[Callable[[int], None]]:
    """Show on a terminal how many histories are done. Making one shorter that broke a law takes its time, too."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=histories, label="Checking", file=sys.stderr) as bar:
        yield lambda done: bar.update(done - bar.pos)


@contextmanager
def leaving_nothing() -> Generator[None]:
    """Let Hypothesis keep what it notes for itself elsewhere than in the folder that somebody happens to be in."""
    with TemporaryDirectory(prefix="kpay-") as folder:
        before = os.environ.get(NOTES)
        os.environ[NOTES] = before or folder
        try:
            yield
        finally:
            os.environ.pop(NOTES)
            if before is not None:
                os.environ[NOTES] = before


def command(checked: "compose.Checked", how: How, *, others: int) -> str:
    """Write the command that asks the same again; the keys are left to whoever has them."""
    words = [
        f"KPAY_TEST_KEY=sk_test_… kpay check {checked.target}",
        f"--seed {checked.seed} --examples {how['examples']} --steps {checked.steps}",
        *(["--keep-time"] if how["keep_time"] else []),
        *["--other-key sk_test_…"] * others,
    ]
    return " ".join(words)


def shown(checked: "compose.Checked", again: str) -> dict[str, Any]:
    """What is printed for machines."""
    fields: dict[str, Any] = msgspec.to_builtins(checked)
    return {"holds": checked.finding is None, **fields, "command": again}


def show(checked: "compose.Checked", again: str) -> None:
    """Print how often each law held, and what broke one."""
    asked = f"{checked.histories:,} histories of {checked.steps} steps, {checked.requests:,} requests"
    passed = f"; {checked.days_passed:,} days passed there" if checked.days_passed else ""
    say(f"Checked {checked.target} with seed {checked.seed}: {asked}{passed}.")
    say("")
    for law, words in checked.laws.items():
        if checked.held[law]:
            say(f"{checked.held[law]:>9,}  {law:33}  {words}")
    unasked = [law for law in checked.laws if not checked.held[law]]
    if unasked:
        say(f"{'never':>9}  {', '.join(unasked)}")
    for why, times in checked.passed_over.items():
        say(f"{times:>9,}  passed over: {why}")
    say("")
    finding = checked.finding
    if finding is None:
        say("Everything holds.")
        return
    say(f"BROKEN: {finding.law}: {finding.words}.")
    say(f"Seen: {finding.seen}")
    say("")
    say(
        "The shortest history that shows it:"
        if finding.again
        else "It was seen once, and not again, in this history:"
    )
    for number, line in enumerate(finding.history, start=1):
        say(f"{number:>5}. {line}")
    say("")
    say(f"Again: {again}")
