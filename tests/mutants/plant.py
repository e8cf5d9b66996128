"""
Plants bugs: each patch of this folder is applied to a copy of the packages, and a finder has to see it.

    python -m tests.mutants.plant               every bug, and a table of what found it
    python -m tests.mutants.plant no-fence      those whose name says so

A patch is a unified diff under a few lines that say what it is:

    Law: …          what the bug must be found to break; one of several where there are more lines of it
    Found by: …     `simulate`, with options, or `pytest` with the name of a test
    Why: …          how real systems got this wrong

A bug counts as found where the finder names a law of the patch. Something else that breaks, or a crash, is no find.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from kpay_adapters.simulation import STEPS as STEPS_OF_A_RUN

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

# What is copied: the packages, and for a test all that it may need.
PACKAGES = ("kpay_core", "kpay_adapters", "kpay_http")
TESTS = ("tests", "docs", "README.md", "pyproject.toml")

# Steps of all runs together that one core makes in ten seconds. Not seconds, so that a slow day changes nothing.
STEPS = 180_000
FIRST_SEED = 1

# What tests may use of one core, their start and all imports among it.
CPU_SECONDS = 10

# Much longer than any finder takes, on however busy a machine: whatever still runs then hangs.
HANGS_SECONDS = 300

# How a test fails that says what is wrong; anything else is a crash.
ASSERTIONS = ("AssertionError", "assert ", "Failed: DID NOT RAISE")


class Rotted(Exception):
    """A patch that does not fit the code as it is."""


class Hunk(NamedTuple):
    """Lines as they are before and after."""

    before: Sequence[str]
    after: Sequence[str]


class Mutant(NamedTuple):
    """A bug, to be planted."""

    name: str
    laws: Sequence[str]
    finder: str
    why: str
    changes: Mapping[str, Sequence[Hunk]]


class Finding(NamedTuple):
    """What a finder came to: the law that does not hold, where it found one, and in words what it saw."""

    law: str | None
    what: str
    seeds: int | None = None
    seconds: float = 0.0


def read_mutants() -> list[Mutant]:
    """Read every patch of this folder."""
    return [read_mutant(file.stem, file.read_text()) for file in sorted(HERE.glob("*.patch"))]


def read_mutant(name: str, text: str) -> Mutant:
    """Read a patch: what it says of itself, and what it changes."""
    head, _, diff = text.partition("\n\n")
    laws, finder, why = list[str](), "", ""
    for line in head.splitlines():
        field, _, value = line.partition(": ")
        match field:
            case "Law":
                laws.append(value)
            case "Found by":
                finder = value
            case "Why":
                why = value
            case _:
                why = f"{why} {line}"
    return Mutant(name, tuple(laws), finder, why, read_changes(diff.splitlines(keepends=True)))


def read_changes(diff: Iterable[str]) -> dict[str, list[Hunk]]:
    """Read a unified diff, file by file."""
    changes: dict[str, list[Hunk]] = {}
    hunks: list[Hunk] = []
    before, after = list[str](), list[str]()
    for line in diff:
        if line.startswith("--- "):
            continue
        if line.startswith("+++ "):
            hunks = changes[line.removeprefix("+++ b/").rstrip("\n")] = []
        elif line.startswith("@@ "):
            before, after = list[str](), list[str]()
            hunks.append(Hunk(before, after))
        else:
            if line[0] in " -":
                before.append(line[1:])
            if line[0] in " +":
                after.append(line[1:])
    return changes


def patched(text: str, hunks: Sequence[Hunk]) -> str:
    """Apply hunks to a file's text; raises `Rotted` unless each fits in exactly one place, to the letter."""
    lines = text.splitlines(keepends=True)
    for before, after in hunks:
        places = [at for at in range(len(lines)) if lines[at : at + len(before)] == before]
        if len(places) != 1:
            raise Rotted(f"fits in {len(places)} places: {''.join(before)}")
        lines[places[0] : places[0] + len(before)] = after
    return "".join(lines)


def plant(mutant: Mutant | None, folder: Path, *, tests: bool) -> None:
    """Copy the packages, and the tests if they are wanted, to a folder, and plant a bug in the copy."""
    for name in (*PACKAGES, *(TESTS if tests else ())):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, folder / name)
    for name, hunks in mutant.changes.items() if mutant else ():
        file = folder / name
        file.write_text(patched(file.read_text(), hunks))
        # One that was compiled within the same second would pass for this one.
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            compiled.unlink()


def look(finder: str, folder: Path) -> Finding:
    """Let a finder look at the copy in a folder."""
    tool, _, options = finder.partition(" ")
    match tool:
        case "simulate":
            return simulate(options.split(), folder)
        case "pytest":
            return run_tests(options.split(), folder)
        case _:
            raise ValueError(f"no finder is called {tool!r}")


def simulate(options: Sequence[str], folder: Path) -> Finding:
    """Run the simulator, until it finds something or has made its steps."""
    steps = int(options[options.index("--steps") + 1]) if "--steps" in options else STEPS_OF_A_RUN
    seeds = ("--seeds", str(STEPS // steps), "--seed", str(FIRST_SEED))
    run = ("kpay_http.cli", "simulate", "--json", "--jobs", "1", *seeds)
    status, output, _ = call(["-m", *run, *options], folder)
    if status not in (0, 1) or not output.startswith("{"):
        return Finding(None, ended(status, output))
    told = json.loads(output)
    runs, failure = told["runs"], told["failure"]
    # Of the runs alone: a failure that was found is made shorter afterwards.
    seconds = runs / rate if (rate := told["runs_per_cpu_second"]) else 0.0
    if failure is None:
        return Finding(None, "nothing", runs, seconds)
    return Finding(failure["law"], failure["what"], runs, seconds)


def run_tests(names: Sequence[str], folder: Path) -> Finding:
    """Run tests until one fails; the law is what its name says, in words."""
    report = folder / "report.xml"
    run = ("pytest", "-x", "-q", "-p", "no:cacheprovider", f"--junitxml={report}")
    status, output, seconds = call(["-m", *run, *names], folder, cpu_seconds=CPU_SECONDS)
    if status not in (0, 1):
        return Finding(None, ended(status, output), seconds=seconds)
    failed = next(
        (case for case in ET.parse(report).iter("testcase") if case.find("failure") is not None), None
    )
    if failed is None:
        return Finding(None, "nothing" if status == 0 else ended(status, output), seconds=seconds)
    failure = failed.find("failure")
    what = "" if failure is None else failure.get("message", "").partition("\n")[0]
    law = failed.get("name", "").partition("[")[0].removeprefix("test_").replace("_", " ")
    return Finding(law if what.startswith(ASSERTIONS) else None, what, seconds=seconds)


def ended(status: int, output: str) -> str:
    """Say how a finder ended that came to nothing."""
    last = output.strip().rpartition("\n")[2]
    return f"nothing within {CPU_SECONDS} s" if status == HAD_ITS_TIME else f"status {status}: {last}"


HAD_ITS_TIME = -24  # SIGXCPU


def call(arguments: Sequence[str], folder: Path, *, cpu_seconds: int | None = None) -> tuple[int, str, float]:
    """Run Python on the copy; return its exit status, what it wrote, and how much of one core it used."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if cpu_seconds is not None:
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    try:
        output, _ = process.communicate(timeout=HANGS_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return process.returncode, output, seconds


def hunt(mutant: Mutant) -> Finding:
    """Plant a bug, and look for it."""
    with tempfile.TemporaryDirectory(prefix="kpay-mutant-") as folder:
        plant(mutant, Path(folder), tests=mutant.finder.startswith("pytest"))
        return look(mutant.finder, Path(folder))


def row(mutant: Mutant, finding: Finding) -> Sequence[str]:
    """Say what became of a mutant, for a table."""
    found = str(finding.law) if finding.law in mutant.laws else f"NOT FOUND: {finding.law or finding.what}"
    seeds = "" if finding.seeds is None else f"{finding.seeds:,}"
    return mutant.name, " / ".join(mutant.laws), found, seeds, f"{finding.seconds:.1f}"


TITLES = ("mutant", "law expected", "law found", "seeds", "seconds")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Draw a table."""
    widths = [max(len(line[i]) for line in (TITLES, *rows)) for i in range(len(TITLES))]
    lines = (TITLES, ["-" * width for width in widths], *rows)
    return "\n".join("  ".join(f"{cell:{w}}" for cell, w in zip(line, widths, strict=True)) for line in lines)


def main() -> None:
    """Hunt for every bug whose name one of the arguments is part of, or for all."""
    names = sys.argv[1:] or [""]
    hunted = [mutant for mutant in read_mutants() if any(name in mutant.name for name in names)]
    rows = [row(mutant, hunt(mutant)) for mutant in hunted]
    sys.stdout.write(f"{table(rows)}\n")
    sys.exit(any("NOT FOUND" in each[2] for each in rows))


if __name__ == "__main__":
    main()
