"""What the README shows is what happens."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from kpay_core.domain import signing
from tests.docs.pages import Shell, code, lines_to_paste
from tests.docs.test_receive_webhooks import ok, secret_key_in
from tests.servers import Installation


def test_the_example_for_embedders_makes_a_charge(tmp_path: Path) -> None:
    (example,) = (block for block in code("README.md", "python") if "asyncio.run" in block)
    ran = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    outcome, _, status = ran.stdout.split()
    assert (outcome, status) == ("created", "succeeded")


def test_the_curl_lines_work_as_pasted(tmp_path: Path) -> None:
    charge_line, refund_line, endpoint_line, clock_line, payouts_line = lines_to_paste("README.md", "curl")
    with Installation(tmp_path, f"sqlite:///{tmp_path}/kpay.db") as installation:
        server = installation.start("dev").wait_until_up()
        shell = Shell(api=server.url, KEY=secret_key_in(server.log))
        charge = ok(shell.curl(charge_line), 201)
        assert charge["status"] == "succeeded"
        assert ok(shell.curl(charge_line), 201) == charge
        refund = ok(shell.curl(refund_line.replace("…the id…", charge["id"])), 201)
        assert (refund["amount"], refund["status"]) == (1000, "succeeded")
        endpoint = ok(shell.curl(endpoint_line), 201)
        assert endpoint["signing_secret"].startswith("whsec_")
        # Nobody is to be asked for example.com here.
        httpx.delete(
            f"{server.url}/v1/webhook_endpoints/{endpoint['id']}",
            headers={"Authorization": f"Bearer {shell.variables['KEY']}"},
        ).raise_for_status()
        ok(shell.curl(clock_line))
        (payout,) = ok(shell.curl(payouts_line))["data"]
        assert (payout["amount"], payout["status"]) == (4999 - 1000 - 175, "in_transit")


def test_the_example_for_webhooks_takes_ours_and_no_others() -> None:
    (example,) = (block for block in code("README.md", "python") if "on_post" in block)
    shown: dict[str, Any] = {}
    exec(example, shown)
    headers = {signing.HEADER: signing.sign(b"{}", secrets=["whsec_a"], now=datetime.now(UTC))}
    shown["on_post"](b"{}", headers, "whsec_a")
    with pytest.raises(signing.SignatureError):
        shown["on_post"](b"{}", headers, "whsec_b")
