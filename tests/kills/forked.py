"""
`kpay` as a process of its own that starts at once: forked from one that has imported the program and done nothing else.

Importing takes a second of a processor, which is longer than most lives here. What runs is the same.
"""

import os
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

# Imported in each child before our function is: the tests' own packages would take as long as the program.
PRELOADED = ["kpay_http.cli.main", "uvloop", "pytest"]

context = get_context("forkserver")
context.set_forkserver_preload(PRELOADED)


def start(arguments: Sequence[str], *, environment: Mapping[str, str], log: Path) -> ForkServerProcess:
    """Start `kpay …`, with its output at the end of a file."""
    process = context.Process(
        target=run, args=(list(arguments), dict(environment), str(log), str(log.parent)), daemon=True
    )
    process.start()
    return process


def run(arguments: list[str], environment: dict[str, str], log: str, folder: str) -> None:
    """Be `kpay …`, in the child."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    from kpay_http.cli.main import commands

    commands(arguments, prog_name="kpay")
