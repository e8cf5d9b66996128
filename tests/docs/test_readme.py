"""What the README shows is what happens."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import httpx

from tests.servers import Installation

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_example_for_embedders_makes_a_charge(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    ran = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    outcome, _, status = ran.stdout.split()
    assert (outcome, status) == ("created", "succeeded")


def test_the_curl_lines_work_as_pasted(tmp_path: Path) -> None:
    with Installation(tmp_path, f"sqlite:///{tmp_path}/kpay.db") as installation:
        server = installation.start("dev").wait_until_up()
        (key,) = set(re.findall(r"sk_test_\w+", server.log.read_text()))
        charge_line, refund_line = re.findall(r"\$ (curl .*?')\n", README, re.DOTALL)
        charge = paste(charge_line, server.url, key)
        assert charge["status"] == "succeeded"
        assert paste(charge_line, server.url, key) == charge
        refund = paste(refund_line.replace("…the id…", charge["id"]), server.url, key)
        assert (refund["amount"], refund["status"]) == (1000, "succeeded")


def paste(line: str, url: str, key: str) -> dict[str, str]:
    """Send what a curl line sends."""
    words = shlex.split(line.replace("\\\n", " ").replace("http://127.0.0.1:8000", url).replace("$KEY", key))
    headers = dict(words[n + 1].split(": ", 1) for n, word in enumerate(words) if word == "-H")
    answer = httpx.post(words[1], headers=headers, content=words[words.index("-d") + 1])
    assert answer.status_code == 201, answer.text
    return json.loads(answer.text)
