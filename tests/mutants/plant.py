"""
Plants bugs: each patch of this folder is applied to a copy of the packages, and a finder has to see it.

    python -m tests.mutants.plant               every bug, and a table of what found it
    python -m tests.mutants.plant no-fence      those whose name says so

A patch is a unified diff under a few lines that say what it is:

    Law: …          what the bug must be found to break
    Found by: …     `simulate`, with `--steps` and `--faults`, or `pytest` with the name of a test
    Why: …          how real systems got this wrong

A bug counts as found where the law of its patch is broken, whatever was broken before that. Something else that
breaks, or a crash, is no find.
"""

import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

# What is copied: the packages, and for a test all that it may need.
PACKAGES = ("kpay_core", "kpay_adapters", "kpay_http")
TESTS = ("tests", "docs", "README.md", "pyproject.toml")

# What tests may use of one core, their start and all imports among it; the simulator counts steps.
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
    law: str
    finder: str
    why: str
    changes: Mapping[str, Sequence[Hunk]]


class Finding(NamedTuple):
    """
    What a finder came to: the law that does not hold, where it found one, and in words what it saw.

    `first` is the law that was broken first of all, which may be another.
    """

    law: str | None
    what: str
    seeds: int | None = None
    seconds: float = 0.0
    first: str | None = None


def read_mutants() -> list[Mutant]:
    """Read every patch of this folder."""
    return [read_mutant(file.stem, file.read_text()) for file in sorted(HERE.glob("*.patch"))]


def read_mutant(name: str, text: str) -> Mutant:
    """Read a patch: what it says of itself, and what it changes."""
    head, _, diff = text.partition("\n\n")
    law = finder = why = ""
    for line in head.splitlines():
        field, _, value = line.partition(": ")
        match field:
            case "Law":
                law = value
            case "Found by":
                finder = value
            case "Why":
                why = value
            case _:
                why = f"{why} {line}"
    return Mutant(name, law, finder, why, read_changes(diff.splitlines(keepends=True)))


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


def look(finder: str, folder: Path, *, law: str | None = None) -> Finding:
    """Let a finder look at the copy in a folder, for a breach of a law, or of any."""
    tool, _, options = finder.partition(" ")
    match tool:
        case "simulate":
            return simulate(shlex.split(options), law, folder)
        case "pytest":
            return run_tests(shlex.split(options), folder)
        case _:
            raise ValueError(f"no finder is called {tool!r}")


def simulate(options: Sequence[str], law: str | None, folder: Path) -> Finding:
    """Run the simulator, until the law is broken, or any, or it has made its steps."""
    status, output, _ = call([str(HERE / "simulating.py"), *options, *([law] if law else [])], folder)
    if status != 0 or not output.startswith("{"):
        return Finding(None, ended(status, output))
    told = json.loads(output)
    return Finding(told["law"], told["what"], told["runs"], told["seconds"], told["first"])


def run_tests(names: Sequence[str], folder: Path) -> Finding:
    """Run tests until one fails; the law is what its name says, in words."""
    report = folder / "report.xml"
    # Of the older family: tests may note figures of theirs.
    told = ("-o", "junit_family=legacy", f"--junitxml={report}")
    run = ("pytest", "-x", "-q", "-p", "no:cacheprovider", *told)
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
        return look(mutant.finder, Path(folder), law=mutant.law)


def row(mutant: Mutant, finding: Finding) -> Sequence[str]:
    """Say what became of a mutant, for a table."""
    if finding.law != mutant.law:
        found = f"NOT FOUND: {finding.first or finding.what}"
    elif finding.first in (None, finding.law):
        found = str(finding.law)
    else:
        found = f"{finding.law}, after {finding.first}"
    seeds = "" if finding.seeds is None else f"{finding.seeds:,}"
    return mutant.name, mutant.law, found, seeds, f"{finding.seconds:.1f}"


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
