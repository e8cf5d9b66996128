"""`kpay` from the outside: what it prints for people and machines (contract, section 11)."""

import asyncio
import json
import re
import sqlite3
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import httpx
import pytest

from kpay_adapters.testing import CHARGE
from kpay_http import compose
from kpay_http.cli.main import commands
from kpay_http.settings import Settings
from tests.servers import Installation, Server, rows_of

KEY = "[0-9A-Za-z]{36}"


def all_commands(command: click.Command = commands, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every command and group."""
    inner = command.commands if isinstance(command, click.Group) else {}
    return [path, *(words for name, each in inner.items() for words in all_commands(each, (*path, name)))]


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_every_command_has_help_that_says_what_it_does(sqlite: Installation, words: tuple[str, ...]) -> None:
    done = sqlite.command(*words, "--help", KPAY_DATABASE_URL="nonsense")
    assert done.exit_code == 0
    assert done.output.startswith(f"Usage: {' '.join(('kpay', *words))} ")
    _, _, text = done.output.partition("\n\n")
    assert re.match(r"  [A-Z]", text), "a sentence that says what it does"


def test_the_commands_of_the_contract_are_there(sqlite: Installation) -> None:
    there = {" ".join(words) for words in all_commands()}
    wanted = "dev, serve, worker, migrate, openapi, merchants create, merchants approve, merchants list"
    wanted += ", merchants update, keys list, keys rotate, keys revoke, keys reseal"
    wanted += ", events list, events show, events resend, listen"
    assert set(wanted.split(", ")) <= there
    assert "kpay, version " in sqlite.command("--version").output


def is_key(key: str, prefix: str) -> bool:
    return re.fullmatch(f"{prefix}_{KEY}", key) is not None


def is_key_set(keys: dict[str, Any]) -> bool:
    assert list(keys) == ["test", "live"]
    return all(
        list(pair) == ["secret", "publishable"]
        and is_key(pair["secret"], f"sk_{mode}")
        and is_key(pair["publishable"], f"pk_{mode}")
        for mode, pair in keys.items()
    )


def test_merchants_create_prints_exactly_what_the_contract_says(installation: Installation) -> None:
    words = ("merchants", "create", "--name", "Acme", "--approve", "--bank-account", "000123456789")
    made = installation.migrate().json(*words)
    assert list(made) == ["id", "name", "status", "keys"]
    assert re.fullmatch("mer_[0-9a-f]{32}", made["id"])
    assert (made["name"], made["status"]) == ("Acme", "approved")
    assert is_key_set(made["keys"])


def test_a_merchant_applies_is_approved_and_gets_its_keys_then(sqlite: Installation) -> None:
    applied = sqlite.json("merchants", "create", "--name", "Ünïcode 商店")
    assert applied == {"id": applied["id"], "name": "Ünïcode 商店", "status": "applied"}
    assert sqlite.json("keys", "list", "--merchant", applied["id"]) == []
    refused = sqlite.command("keys", "rotate", "--merchant", applied["id"])
    assert (refused.exit_code, refused.stderr) == (1, "Error: merchant: not approved yet\n")
    approved = sqlite.json("merchants", "approve", applied["id"])
    assert {**approved, "keys": None} == {**applied, "status": "approved", "keys": None}
    assert is_key_set(approved["keys"])
    again = sqlite.command("merchants", "approve", applied["id"])
    assert (again.exit_code, again.stderr) == (1, "Error: merchant: approved already\n")


def balance(server: Server, key: str) -> int:
    headers = {"Authorization": f"Bearer {key}"}
    made = httpx.post(f"{server.url}/v1/charges", json=CHARGE, headers=headers, timeout=20)
    assert made.status_code == 201
    return httpx.get(f"{server.url}/v1/balance", headers=headers).json()["pending"]


def test_what_a_merchants_charges_cost_is_told_at_the_beginning_and_changed_beside_a_running_server(
    installation: Installation,
) -> None:
    server = installation.migrate().serve()
    words = ("--approve", "--fee-basis-points", "100", "--fee-cents", "5")
    made = installation.json("merchants", "create", "--name", "Acme", *words)
    assert list(made) == ["id", "name", "status", "keys"]
    key = made["keys"]["test"]["secret"]
    first = 4999 - 50 - 5
    assert balance(server, key) == first

    updated = installation.json("merchants", "update", made["id"], "--fee-basis-points", "0")
    assert updated == {
        "id": made["id"],
        "name": "Acme",
        "status": "approved",
        "bank_account_last4": "6789",
        "fee_basis_points": 0,
        "fee_cents": 5,
    }
    assert balance(server, key) == first + 4999 - 5
    told = installation.command("merchants", "update", made["id"], "--bank-account", "000111111116")
    assert (told.exit_code, told.stdout.splitlines()) == (
        0,
        [
            f"{made['id']}  Acme  approved",
            "  payouts go to the account that ends in 1116",
            "  a charge costs 0 % and 5 cents",
        ],
    )
    # What is not given stays, and no account is told in full.
    assert installation.command("merchants", "update", made["id"]).stdout == told.stdout


@pytest.mark.parametrize("option", ["--fee-cents", "--fee-basis-points"])
@pytest.mark.parametrize("words", [("create", "--name", "A"), ("update", "mer_x")])
def test_a_fee_that_is_no_number_is_refused(
    sqlite: Installation, words: tuple[str, ...], option: str
) -> None:
    done = sqlite.command("merchants", *words, option, "2.9")
    assert (done.exit_code, done.stdout) == (2, "")
    error = f"Error: Invalid value for '{option}': '2.9' is not a valid integer."
    assert done.stderr.splitlines()[-1] == error


def test_merchants_list_shows_the_newest_first_and_no_keys(sqlite: Installation) -> None:
    made = [sqlite.merchant(name) for name in ("One", "Two", "Three")]
    listed = sqlite.json("merchants", "list")
    assert [each["name"] for each in listed] == ["Three", "Two", "One"]
    assert all(set(each) == {"id", "name", "status", "created_at"} for each in listed)
    assert [each["name"] for each in sqlite.json("merchants", "list", "--limit", "1")] == ["Three"]
    shown = sqlite.command("merchants", "list").output
    assert all(each["id"] in shown for each in made)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("merchants", "create", "--name", ""), "Error: name: at least 1 characters\n"),
        (
            ("merchants", "create", "--name", "A", "--bank-account", "12-34"),
            "Error: bank_account: 4 to 17 digits\n",
        ),
        (
            ("merchants", "create", "--name", "A", "--fee-basis-points", "10001", "--fee-cents", "-1"),
            "Error: fee_basis_points: max 10000; fee_cents: min 0\n",
        ),
        (("merchants", "approve", "mer_unknown"), "Error: No such object.\n"),
        (("merchants", "update", "mer_unknown", "--fee-cents", "1"), "Error: No such object.\n"),
        (
            ("merchants", "update", "mer_x", "--fee-cents", "10000001", "--bank-account", ""),
            "Error: bank_account: 4 to 17 digits; fee_cents: max 10000000\n",
        ),
        (("keys", "list", "--merchant", "mer_unknown"), "Error: No such object.\n"),
        (("keys", "rotate", "--merchant", "mer_unknown"), "Error: No such object.\n"),
        (
            ("events", "list"),
            "Error: --merchant: required, since there is no demo merchant here\n",
        ),
        (("events", "list", "--merchant", "mer_unknown"), "Error: --merchant: no such merchant\n"),
        (("events", "show", "evt_x", "--merchant", ""), "Error: --merchant: no such merchant\n"),
        (("events", "resend", "evt_x", "--merchant", "mer_unknown"), "Error: --merchant: no such merchant\n"),
    ],
)
def test_what_cannot_be_done_ends_with_one_line(
    sqlite: Installation, words: tuple[str, ...], error: str
) -> None:
    done = sqlite.command(*words)
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", error)


def test_openapi_prints_the_document(sqlite: Installation) -> None:
    done = sqlite.command("openapi", KPAY_SECRET_KEY=None)
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["openapi"].startswith("3.1")
    assert "/v1/charges" in document["paths"]


def lists_charges(server: Server, key: str) -> int:
    return httpx.get(f"{server.url}/v1/charges", headers={"Authorization": f"Bearer {key}"}).status_code


def test_keys_are_managed_beside_a_running_server(installation: Installation) -> None:
    server = installation.migrate().serve()
    merchant = installation.merchant()
    id, old = merchant["id"], merchant["keys"]["test"]["secret"]
    assert lists_charges(server, old) == 200

    rotated = installation.json("keys", "rotate", "--merchant", id, "--mode", "test")
    assert list(rotated) == ["key", "previous_expires_at"]
    assert is_key(rotated["key"], "sk_test")
    left = datetime.fromisoformat(rotated["previous_expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < left <= timedelta(hours=24)
    assert [lists_charges(server, key) for key in (old, rotated["key"])] == [200, 200]

    at_once = installation.json("keys", "rotate", "--merchant", id, "--now")
    assert datetime.fromisoformat(at_once["previous_expires_at"]) <= datetime.now(UTC)
    assert [lists_charges(server, key) for key in (old, rotated["key"], at_once["key"])] == [200, 401, 200]

    listed = installation.json("keys", "list", "--merchant", id)
    assert len(listed) == 6
    assert not any(key in json.dumps(listed) for key in (old, at_once["key"]))
    (current,) = (
        key for key in listed if (key["kind"], key["mode"], key["expires_at"]) == ("secret", "test", None)
    )
    assert current["hint"] == f"sk_test_…{at_once['key'][-4:]}"
    revoked = installation.json("keys", "revoke", "--merchant", id, current["id"])
    assert revoked["revoked_at"]
    assert lists_charges(server, at_once["key"]) == 401
    # Revoking ends one key, and no other: the first one still has its 24 hours.
    assert lists_charges(server, old) == 200

    publishable = installation.json(
        "keys", "rotate", "--merchant", id, "--mode", "live", "--kind", "publishable"
    )
    assert is_key(publishable["key"], "pk_live")
    assert lists_charges(server, merchant["keys"]["live"]["secret"]) == 200


def test_a_command_beside_a_server_that_writes_does_not_wait_for_the_turn_to(sqlite: Installation) -> None:
    merchant = sqlite.migrate().merchant()
    with ExitStack() as stack:
        for name in ("kpay.db", "kpay-sandbox.db"):
            writing = stack.enter_context(closing(sqlite3.connect(sqlite.folder / name)))
            writing.execute("BEGIN IMMEDIATE")
        assert len(sqlite.json("keys", "list", "--merchant", merchant["id"])) == 4


@pytest.mark.anyio
async def test_processes_that_start_together_on_a_fresh_file_all_find_it_made(sqlite: Installation) -> None:
    settings = Settings(database_url=sqlite.database_url)
    await asyncio.gather(*(compose.migrate_all(settings) for _ in range(4)))
    await compose.check_migrated(settings)
    assert rows_of(f"sqlite:///{sqlite.folder}/kpay-sandbox.db", "SELECT * FROM sandbox_journal") == []


def test_a_journal_that_is_lost_is_made_anew(sqlite: Installation) -> None:
    sqlite.migrate()
    (sqlite.folder / "kpay-sandbox.db").unlink()
    sqlite.command("merchants", "list")
    assert rows_of(f"sqlite:///{sqlite.folder}/kpay-sandbox.db", "SELECT * FROM sandbox_journal") == []


def standings(installation: Installation, merchant: str) -> list[str]:
    """What `kpay keys list` says of each key, sorted."""
    lines = installation.command("keys", "list", "--merchant", merchant).stdout.splitlines()
    return sorted(line.split("  ")[-1].strip() for line in lines)


def test_a_key_that_has_expired_is_said_to_have_by_the_time_that_testers_turned(
    sqlite: Installation,
) -> None:
    id = sqlite.migrate().merchant()["id"]
    rotated = sqlite.json("keys", "rotate", "--merchant", id)
    sqlite.json("keys", "rotate", "--merchant", id, "--now")
    listed = sqlite.json("keys", "list", "--merchant", id)
    (revoked_at,) = (key["revoked_at"] for key in listed if key["revoked_at"])
    ends = rotated["previous_expires_at"]
    others = ["current"] * 4
    assert standings(sqlite, id) == [*others, f"revoked {revoked_at}", f"until {ends}"]

    server = sqlite.serve(KPAY_TEST_CLOCK="1")
    key = sqlite.merchant("Another")["keys"]["test"]["secret"]
    turned = httpx.post(
        f"{server.url}/v1/test_clock",
        headers={"Authorization": f"Bearer {key}"},
        json={"advance_seconds": 24 * 3600},
    )
    assert turned.status_code == 200
    assert standings(sqlite, id) == [*others, f"expired {ends}", f"revoked {revoked_at}"]
    assert sqlite.json("keys", "list", "--merchant", id) == listed


def test_revoking_needs_enough_of_a_key_of_that_merchant(sqlite: Installation) -> None:
    one, two = sqlite.merchant("One"), sqlite.merchant("Two")
    others = sqlite.json("keys", "list", "--merchant", two["id"])[0]["id"]
    for id in ("", "0", others):
        done = sqlite.command("keys", "revoke", "--merchant", one["id"], id)
        assert (done.exit_code, done.stderr) == (1, "Error: KEY_ID: no such key of this merchant\n")
    assert not any(key["revoked_at"] for key in sqlite.json("keys", "list", "--merchant", two["id"]))
