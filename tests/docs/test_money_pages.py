"""The pages on payouts, refunds that fail and time that passes: their lines are pasted, their answers compared."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kpay_core.domain.ledger import LINES
from kpay_core.domain.payouts import FAILURES
from kpay_core.domain.sandbox_clock import MAX_ADVANCE_SECONDS
from tests.docs.pages import API, PAGES, Shell, code, lines_to_paste
from tests.docs.test_pages import rows, section
from tests.docs.test_receive_webhooks import ok, secret_key_in
from tests.servers import Installation

RECONCILE = "docs/how-to/reconcile-a-payout.md"
REFUND = "docs/how-to/test-a-refund-that-fails.md"
TIME = "docs/how-to/make-time-pass.md"
CONTRACT, SETTINGS = "docs/reference/api.md", "docs/reference/settings.md"


def assert_alike(shown: Any, came: Any) -> None:
    """Compare what a page shows with what came; `…` in a text stands for anything."""
    if isinstance(shown, dict):
        assert list(shown) == list(came)
        for name in shown:
            assert_alike(shown[name], came[name])
    elif isinstance(shown, list):
        assert len(shown) == len(came)
        for one, other in zip(shown, came, strict=True):
            assert_alike(one, other)
    elif isinstance(shown, str):
        assert re.fullmatch(re.escape(shown).replace("…", ".+"), came), (shown, came)
    else:
        assert shown == came


def shown(page: str) -> list[Any]:
    return [json.loads(block) for block in code(page, "json")]


@pytest.fixture
def shell(tmp_path: Path) -> Any:
    with Installation(tmp_path, f"sqlite:///{tmp_path}/kpay.db") as installation:
        server = installation.start("dev").wait_until_up()
        yield Shell(api=server.url, KEY=secret_key_in(server.log))


def test_a_payout_is_made_and_reconciled_as_the_page_says(shell: Shell, tmp_path: Path) -> None:
    charge, refund, clock, payouts, payout, balance = lines_to_paste(RECONCILE, "curl")
    shell.variables["CHARGE"] = ok(shell.curl(charge), 201)["id"]
    # The shell ends one quotation and begins another around the variable.
    ok(shell.curl(refund.replace("'$CHARGE'", shell.variables["CHARGE"])), 201)
    ok(shell.curl(clock))
    shell.variables["PAYOUT"] = ok(shell.curl(payouts))["data"][0]["id"]
    a_payout, a_balance = shown(RECONCILE)
    assert_alike(a_payout, ok(shell.curl(payout)))
    assert_alike(a_balance, ok(shell.curl(balance)))

    (program,) = code(RECONCILE, "python")
    ran = subprocess.run(
        [sys.executable, "-c", program.replace(API, shell.api), shell.variables["PAYOUT"]],
        env={**os.environ, "KEY": shell.variables["KEY"]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    *lines, total = ran.stdout.splitlines()
    assert [line.split()[1:3] for line in lines] == [["refund", "-1000"], ["charge", "4999"], ["fee", "-175"]]
    assert total.startswith("paid on ")
    assert total.endswith(": 3824")


def test_a_refund_fails_as_the_page_says(shell: Shell) -> None:
    charge, refund, clock, get_refund, get_charge = lines_to_paste(REFUND, "curl")
    shell.variables["CHARGE"] = ok(shell.curl(charge), 201)["id"]
    made = ok(shell.curl(refund.replace("'$CHARGE'", shell.variables["CHARGE"])), 201)
    assert made["status"] == "succeeded"
    shell.variables["REFUND"] = made["id"]
    ok(shell.curl(clock))
    assert_alike(shown(REFUND)[0], ok(shell.curl(get_refund)))
    assert ok(shell.curl(get_charge))["amount_refunded"] == 0


def test_each_card_that_the_page_names_does_what_it_says(shell: Shell) -> None:
    charge, refund, clock, get_refund, _ = lines_to_paste(REFUND, "curl")
    for number, what in rows(section(REFUND, "Test a refund that fails")):
        before, after = re.findall("pending|succeed|fail", what)
        shell.variables["CHARGE"] = ok(shell.curl(charge.replace("4000000000005126", number)), 201)["id"]
        made = ok(shell.curl(refund.replace("'$CHARGE'", shell.variables["CHARGE"])), 201)
        shell.variables["REFUND"] = made["id"]
        ok(shell.curl(clock))
        statuses = made["status"], ok(shell.curl(get_refund))["status"]
        assert all(status.startswith(word) for status, word in zip(statuses, (before, after), strict=True))


def test_time_passes_as_the_page_says(shell: Shell) -> None:
    look, turn = lines_to_paste(TIME, "curl")
    before = ok(shell.curl(look))
    turned = ok(shell.curl(turn))
    for answer in (before, turned):
        assert_alike(shown(TIME)[0], answer)
    assert turned["now"] > before["now"]


def test_time_passes_in_ones_own_process_as_the_page_says(tmp_path: Path) -> None:
    (program,) = code(TIME, "python")
    (output,) = code(TIME, "text")
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ran.stdout == output


def test_every_type_of_line_is_explained() -> None:
    explained = {name.strip("`") for name, *_ in rows(section(RECONCILE, "Look at it"))}
    assert explained == {*LINES.values(), "adjustment"}
    for name in explained:
        assert f"`{name}`" in PAGES[CONTRACT]


def test_every_reason_for_which_a_payout_fails_is_named() -> None:
    for name in FAILURES:
        assert f"`{name}`" in section(RECONCILE, "When a payout fails")
        assert f"`{name}`" in PAGES[CONTRACT]


def test_the_limit_of_the_clock_is_that_of_the_code() -> None:
    days = MAX_ADVANCE_SECONDS // 86_400
    assert f"{MAX_ADVANCE_SECONDS:,} ({days} days)" in PAGES[CONTRACT]
    for page in (TIME, SETTINGS):
        assert f"{days} days" in PAGES[page]
