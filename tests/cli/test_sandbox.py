"""`kpay sandbox`: a network that outlives the servers and workers, and the database, of an installation."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from kpay_adapters.testing import CHARGE
from kpay_http.settings import BadSetting, read_settings
from tests.servers import Installation, Server, rows_of

DAY_SECONDS = 24 * 3600


@pytest.mark.parametrize(
    ("url", "is_taken"),
    [
        ("http://127.0.0.1:8100", True),
        ("http://localhost:8100/", True),
        ("http://[::1]:8100", True),
        ("https://sandbox.example/network", True),
        ("http://sandbox.example:8100", False),
        ("http://127.0.0.1.example:8100", False),
        ("http://10.0.0.1:8100", False),
        ("http://127.0.0.1@sandbox.example", False),
        ("ftp://127.0.0.1", False),
        ("https:///nowhere", False),
        ("http://127.0.0.1:8100/?to=there", False),
        ("8100", False),
    ],
)
def test_cards_go_to_a_sandbox_on_this_machine_or_encrypted(url: str, is_taken: bool) -> None:
    if is_taken:
        assert read_settings({"KPAY_SANDBOX_URL": url}).sandbox_url == url
        return
    with pytest.raises(BadSetting, match="KPAY_SANDBOX_URL takes https"):
        read_settings({"KPAY_SANDBOX_URL": url})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--journal", "mysql://x/y"), "a journal is sqlite:///file.db or postgresql"),
        (("--host", "nonexistent.invalid"), "cannot be listened at"),
    ],
)
def test_a_sandbox_that_cannot_be_started_says_so_in_one_line(
    sqlite: Installation, words: tuple[str, ...], told: str
) -> None:
    done = sqlite.command("sandbox", "--port", "0", *words)
    assert done.exit_code != 0
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_keys_are_listed_and_revoked_also_while_the_sandbox_is_away(sqlite: Installation) -> None:
    merchant = sqlite.migrate().merchant()
    sqlite.settings |= {"KPAY_SANDBOX_URL": "http://127.0.0.1:1"}
    listed = sqlite.json("keys", "list", "--merchant", merchant["id"])
    revoked = sqlite.json("keys", "revoke", "--merchant", merchant["id"], listed[0]["id"])
    assert revoked["revoked_at"]
    assert "revoked" in sqlite.command("keys", "list", "--merchant", merchant["id"]).stdout


@pytest.fixture
def sandbox(sqlite: Installation) -> Server:
    return sqlite.start("sandbox", "--journal", "sqlite:///network.db").wait_until_up()


@pytest.fixture
def apart(sqlite: Installation, sandbox: Server) -> Installation:
    """An installation whose network is another process."""
    sqlite.settings |= {"KPAY_SANDBOX_URL": sandbox.url, "KPAY_TEST_CLOCK": "1"}
    return sqlite.migrate()


@pytest.fixture
def client(apart: Installation) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {apart.merchant()['keys']['test']['secret']}"}
    with httpx.Client(base_url=apart.serve().url, headers=headers, timeout=30) as client:
        yield client


def entries(apart: Installation) -> set[tuple[Any, ...]]:
    journal = f"sqlite:///{apart.folder}/network.db"
    return set(rows_of(journal, "SELECT id, outcome, amount FROM sandbox_journal"))


def test_the_network_has_a_journal_of_its_own_and_its_time_is_everybodys(
    apart: Installation, sandbox: Server, client: httpx.Client
) -> None:
    id = client.post("/v1/charges", json=CHARGE).json()["id"]
    assert entries(apart) == {(id, "captured", CHARGE["amount"])}
    assert not (apart.folder / "kpay-sandbox.db").exists()
    log = sandbox.log.read_text()
    assert log.count('"event":"authorise"') == 1
    assert CHARGE["source"]["number"] not in log

    # The bank lives by the same time: what matured is paid out, and arrives.
    client.post("/v1/test_clock", json={"advance_seconds": 4 * DAY_SECONDS})
    (payout,) = client.get("/v1/payouts").json()["data"]
    assert payout["status"] == "paid"


@pytest.mark.heavy
def test_an_audit_asks_the_network_which_testifies_also_of_what_the_database_has_lost(
    apart: Installation, sandbox: Server, client: httpx.Client
) -> None:
    client.post("/v1/charges", json=CHARGE)
    alone = apart.json("audit")
    assert (alone["clean"], alone["journal"]) == (True, True)
    lost = apart.command("migrate", KPAY_DATABASE_URL=f"sqlite:///{apart.folder}/restored.db")
    assert lost.exit_code == 0
    told = apart.command("audit", KPAY_DATABASE_URL=f"sqlite:///{apart.folder}/restored.db")
    assert (told.exit_code, "what_moved_is_known" in told.stdout) == (1, True)
    sandbox.stop()
    away = apart.command("audit")
    assert (away.exit_code, "sandbox" in away.stderr) == (2, True)


@pytest.mark.heavy
def test_a_charge_waits_for_a_network_that_is_away_and_comes_to_its_end_when_it_is_back(
    apart: Installation, sandbox: Server, client: httpx.Client
) -> None:
    sandbox.kill()
    answer = client.post("/v1/charges", json=CHARGE)
    assert (answer.status_code, answer.json()["status"]) == (202, "processing")
    apart.start("sandbox", "--journal", "sqlite:///network.db", port=sandbox.port).wait_until_up()
    client.post("/v1/test_clock", json={"advance_seconds": 300})
    (charge,) = client.get("/v1/charges").json()["data"]
    assert (charge["status"], charge["failure_code"]) == ("failed", "not_processed")
    assert entries(apart) == {(charge["id"], "reversed", 0)}
