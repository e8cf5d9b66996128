"""`kpay audit` from the outside: what it prints, how it ends, and that it finds damage in a real database."""

import json
import sqlite3
import sys
from contextlib import closing
from io import StringIO
from typing import Any

import httpx
import pytest

from kpay_adapters.testing import CHARGE
from kpay_core.commit import Record, Unavailable
from kpay_core.domain.ledger import Transfer
from kpay_http.cli.audit import progress
from tests.backends import execute
from tests.servers import Installation, free_port


def charge_something(installation: Installation, *, refund: int = 500) -> dict[str, Any]:
    """Make a charge and a refund of it through a server, which goes on running."""
    server = installation.migrate().serve()
    merchant = installation.merchant()
    headers = {"Authorization": f"Bearer {merchant['keys']['test']['secret']}"}
    with httpx.Client(base_url=server.url, headers=headers) as client:
        charge = client.post("/v1/charges", json=CHARGE).json()
        refunded = client.post("/v1/refunds", json={"charge": charge["id"], "amount": refund})
        assert refunded.status_code == 201
    return charge


def damage(installation: Installation, statement: str) -> None:
    """Run a statement past everything that would refuse it."""
    url = installation.database_url
    if url.startswith("postgresql"):
        execute(url, f"SET session_replication_role = replica; {statement}")
        return
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(statement)


def test_an_empty_installation_and_one_that_works_agree_beside_a_running_server(
    installation: Installation,
) -> None:
    assert installation.migrate().command("audit").exit_code == 0
    charge_something(installation)
    done = installation.command("audit")
    assert done.exit_code == 0, done.output
    assert "1 charges, 3 transfers, 1 refunds" in done.stdout.replace("4 transfers", "3 transfers")
    assert done.stdout.splitlines()[-2:] == ["Held against the sandbox's journal.", "Everything agrees."]
    without = installation.command("audit", "--no-journal")
    assert (without.exit_code, without.stdout.splitlines()[-2]) == (
        0,
        "Not held against the sandbox's journal.",
    )
    report = installation.json("audit")
    assert (report["clean"], report["journal"], report["disagreements"]) == (True, True, [])
    assert report["checked"]["Charge"] == 1
    assert sum(report["totals"]["test"].values()) == 0


def test_damage_in_the_database_is_found_and_named(installation: Installation) -> None:
    charge = charge_something(installation)
    damage(installation, "UPDATE transfers SET amount = amount + 7 WHERE kind = 'fee'")
    damage(installation, "UPDATE charges SET amount_refunded = amount_refunded - 1")
    done = installation.command("audit")
    assert done.exit_code == 1
    assert f"{charge['id']}  charges_are_booked: transfer fee is 182, should be 175 (+7)" in done.stdout
    assert (
        f"{charge['id']}  charges_count_their_refunds: amount_refunded is 499, should be 500 (-1)"
        in done.stdout
    )
    assert done.stdout.splitlines()[-1] == "3 DISAGREE."
    report = installation.command("audit", "--json")
    assert report.exit_code == 1
    found = {(each["law"], each["difference"]) for each in json.loads(report.stdout)["disagreements"]}
    assert found == {
        ("charges_are_booked", 7),
        ("charges_count_their_refunds", -1),
        ("balances_follow_from_the_objects", -7),
    }


def test_a_key_that_leads_astray_and_an_event_that_is_gone_are_found_and_named(
    installation: Installation,
) -> None:
    server = installation.migrate().serve()
    merchant = installation.merchant()
    headers = {"Authorization": f"Bearer {merchant['keys']['test']['secret']}", "Idempotency-Key": "order-1"}
    with httpx.Client(base_url=server.url, headers=headers) as client:
        charge = client.post("/v1/charges", json=CHARGE).json()
    done = installation.command("audit")
    assert done.exit_code == 0, done.output
    assert "1 keys, 1 events" in done.stdout
    damage(installation, "DELETE FROM events")
    damage(installation, "UPDATE idempotency_keys SET subject = 're_1'")
    done = installation.command("audit")
    assert done.exit_code == 1
    book = f"{merchant['id']}/test"
    twice = "effects under one key within 24 hours"
    assert sorted(done.stdout.splitlines()[:3]) == [
        f"{book}  what_happens_once_is_told_once: charge.succeeded events is 0, should be 1 (-1)",
        f"{book}/order-1  a_key_leads_to_what_was_made_under_it: subject is nothing, should be re_1",
        f"{book}/order-1  a_key_makes_one_effect: {twice} is re_1, should be {charge['id']}",
    ]
    assert done.stdout.splitlines()[-1] == "3 DISAGREE."


@pytest.mark.heavy
def test_what_the_sandbox_has_no_record_of_is_found(sqlite: Installation) -> None:
    charge = charge_something(sqlite)
    journal = sqlite.folder / "kpay-sandbox.db"
    with closing(sqlite3.connect(journal)) as connection, connection:
        connection.execute("UPDATE sandbox_journal SET amount = 5 WHERE id = ?", [charge["id"]])
    (found,) = json.loads(sqlite.command("audit", "--json").stdout)["disagreements"]
    assert (found["law"], found["id"]) == ("money_moved_as_witnessed", charge["id"])
    assert found["difference"] == charge["amount"] - 5
    assert sqlite.command("audit", "--no-journal").exit_code == 0


@pytest.mark.parametrize("words", [(), ("--no-journal",)])
def test_a_database_without_its_journal_is_audited_by_itself_and_nothing_made(
    sqlite: Installation, words: tuple[str, ...]
) -> None:
    """As one that was restored from a backup."""
    sqlite.migrate()
    sqlite.merchant()
    journal = sqlite.folder / "kpay-sandbox.db"
    for file in sqlite.folder.glob("kpay-sandbox.db*"):
        file.unlink()
    done = sqlite.command("audit", *words)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-2:] == ["Not held against the sandbox's journal.", "Everything agrees."]
    assert not journal.exists()


def test_where_time_was_turned_an_audit_lives_in_the_time_of_the_sandbox(sqlite: Installation) -> None:
    server = sqlite.migrate().serve(KPAY_TEST_CLOCK="1")
    merchant = sqlite.merchant()
    sqlite.command("merchants", "update", merchant["id"], "--bank-account", "000111111116")
    headers = {"Authorization": f"Bearer {merchant['keys']['test']['secret']}"}
    with httpx.Client(base_url=server.url, headers=headers) as client:
        assert client.post("/v1/charges", json=CHARGE).status_code == 201
        assert client.post("/v1/test_clock", json={"advance_seconds": 5 * 86_400}).status_code == 200
        statuses = {payout["status"] for payout in client.get("/v1/payouts").json()["data"]}
        assert "failed" in statuses
    done = sqlite.command("audit")
    assert done.exit_code == 0, done.output


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.anyio
async def test_a_terminal_is_shown_how_much_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    async def count(kind: type[Record]) -> int:
        return 100 if kind is Transfer else 0

    async with progress(count, witnessed=True) as tell:
        tell(50)
        tell(150)
    assert "25%" in terminal.getvalue()
    assert "100%" in terminal.getvalue()


@pytest.mark.anyio
@pytest.mark.parametrize("seen", [True, False])
async def test_where_nobody_looks_or_counting_takes_too_long_nothing_is_shown(
    seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal() if seen else StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)

    async def count(_: type[Record]) -> int:
        assert seen, "nobody looks, so nothing is counted"
        raise Unavailable("the database took too long")

    async with progress(count, witnessed=False) as tell:
        tell(1)
    assert terminal.getvalue() == ""


def test_an_audit_that_cannot_be_done_ends_with_2(sqlite: Installation) -> None:
    away = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    for settings in ({}, {"KPAY_DATABASE_URL": away}, {"KPAY_DATABASE_URL": "nonsense"}):
        done = sqlite.command("audit", **settings)
        assert (done.exit_code, done.stdout) == (2, ""), done.output
        (line,) = done.stderr.splitlines()
        assert line.startswith("Error: ")
    assert not list(sqlite.folder.iterdir()), "looking makes nothing"


def test_a_database_that_is_not_migrated_is_said(postgres: Installation) -> None:
    done = postgres.command("audit")
    assert (done.exit_code, done.stderr) == (
        2,
        "Error: The database is not up to date: run `kpay migrate`.\n",
    )
