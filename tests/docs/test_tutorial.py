"""The tutorial's lines can be pasted one after the other."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import API, lines_to_paste
from tests.docs.test_receive_webhooks import secret_key_in
from tests.servers import Installation

PAGE = "docs/tutorial.md"

# Where the tutorial's reader has the command.
KPAY = ".nox/dev/bin/kpay"


def part(begin: str, end: str) -> list[str]:
    """Return the lines from the one with some text up to the one with another."""
    lines = lines_to_paste(PAGE)
    first, last = (next(n for n, line in enumerate(lines) if text in line) for text in (begin, end))
    return lines[first:last]


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_the_first_lines_do_what_the_tutorial_says(tmp_path: Path) -> None:
    with Installation(tmp_path, f"sqlite:///{tmp_path}/kpay.db") as installation:
        server = installation.start("dev").wait_until_up()
        lines = part("alias pay", "refund-1")
        script = "\n".join(lines).replace("alias pay=", "").replace(API, server.url)
        # A script has no aliases; a function is the same to its reader.
        script = re.sub(r"^'(.*)'$", r'pay() { \1 "$@"; }', script, count=1, flags=re.MULTILINE)
        assert "pay() {" in script
        ran = subprocess.run(
            ["sh", "-ec", script],
            cwd=tmp_path,
            env={**os.environ, "KEY": secret_key_in(server.log)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout.count('"status":"succeeded"') == 2
        assert "idempotent-replayed: true" in ran.stdout.lower()
        assert '"fieldErrors"' in ran.stdout

        (listed,) = (line for line in lines_to_paste(PAGE, KPAY) if "events list" in line)
        done = installation.command(*listed.split()[1:])
        assert (done.exit_code, done.stdout.count("charge.succeeded")) == (0, 1)
