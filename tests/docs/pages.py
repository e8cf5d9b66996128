"""Reads the pages as their readers do: the code that is shown, and the lines that are pasted."""

import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx

T = TypeVar("T")

ROOT = Path(__file__).parents[2]

# Every page that people read, by its path.
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}

# What the pages call the API, and the reader's own server.
API = "http://127.0.0.1:8000"
HOOKS = "http://localhost:3000"


def code(page: str, language: str) -> list[str]:
    """Return the blocks of one language, also those that stand in a list."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", PAGES[page], re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def lines_to_paste(page: str, program: str = "") -> list[str]:
    """Return what stands after each prompt and begins with a program, whole where it goes on over several lines."""
    pasted = [
        line for block in code(page, "console") for line in re.split(r"^\$ ", block, flags=re.MULTILINE)
    ]
    return [line.strip() for line in pasted if line.strip() and line.startswith(program)]


class Shell:
    """Where a reader pastes: variables, and servers that are elsewhere than the pages say."""

    def __init__(self, *, api: str, hooks: str = HOOKS, **variables: str) -> None:
        self.api = api
        self.hooks = hooks
        self.variables = variables

    def curl(self, line: str) -> httpx.Response:
        """Send what a curl line sends."""
        line = line.replace("\\\n", " ").replace(API, self.api).replace(HOOKS, self.hooks)
        for name, value in self.variables.items():
            line = line.replace(f"${name}", value)
        assert "$" not in line, f"a variable that nobody has set: {line}"
        method, url, headers, body = "", "", {}, None
        words = iter(shlex.split(line)[1:])
        for word in words:
            match word:
                case "-H":
                    name, _, value = next(words).partition(": ")
                    headers[name] = value
                case "-d":
                    body = next(words)
                case "-X":
                    method = next(words)
                case _:
                    assert word.startswith("http"), f"curl takes more than we know: {word}"
                    url = word
        return httpx.request(
            method or ("POST" if body else "GET"), url, headers=headers, content=body, timeout=20
        )


def until(look: Callable[[], T], *, seconds: float = 20) -> T:
    """Wait until something is there, and return it."""
    give_up = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        assert time.monotonic() < give_up, "it never came"
        time.sleep(0.05)
