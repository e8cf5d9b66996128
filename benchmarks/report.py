"""What is told of a whole run: on the terminal, and to machines."""

import os
import platform
import sqlite3
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from benchmarks.goals import Judged
from benchmarks.parts import Findings

LIBRARIES = ("litestar", "uvicorn", "uvloop", "httptools", "msgspec", "asyncpg", "aiosqlite", "sqlalchemy")

# More than this of the machine in use by others, and a figure says little.
MUCH = 0.05


def environment(postgres: str | None) -> dict[str, str]:
    """Name what the figures depend on."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        **({"PostgreSQL": postgres} if postgres else {}),
        **{name: version(name) for name in LIBRARIES},
    }


def show_environment(facts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" if name != "machine" else value for name, value in facts.items())


def show_others(shares: Sequence[float]) -> str:
    """Tell how much of the machine others used meanwhile."""
    if not shares:
        return "Nothing tells how much of the machine others used."
    median, most = statistics.median(shares), max(shares)
    told = f"Other processes used {median:.0%} of the machine (median), {most:.0%} at most"
    return f"{told}: the figures are worth little." if median > MUCH else f"{told}."


def as_json(about: Mapping[str, str], found: Mapping[str, Findings], judged: Sequence[Judged]) -> bytes:
    """Write everything that was found, for machines."""
    everything: dict[str, Any] = {
        "environment": about,
        "goals": judged,
        "parts": {part: {"others": each.others, "results": each.results} for part, each in found.items()},
    }
    return msgspec.json.format(msgspec.json.encode(everything), indent=1)
