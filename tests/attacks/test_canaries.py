"""Card numbers and cvcs are written nowhere: canaries go through everything, and then every byte is searched."""

import json
import re
import socket
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from pprint import pformat
from typing import cast

import httpx
import msgspec
import pytest
import structlog

from kpay_adapters.testing import START, make_kpay
from kpay_core.domain import charges
from kpay_core.domain.cards import Card
from kpay_core.domain.errors import Invalid
from kpay_core.domain.scope import Scope
from kpay_core.domain.validation import read
from kpay_core.flows.once import ticket
from kpay_core.ports import Processor
from tests.attacks.canaries import AMEX, AMEX_CVC, GOOD, LATE, body, hostile_sources, requests, search
from tests.cli.test_webhook_commands import Hooks, hooks
from tests.http.world import World
from tests.servers import Installation, Server, rows_of

# A fixture of the command line's: a merchant's server on this machine.
__all__ = ["hooks"]

# Thousands of requests, servers that are killed and started, and three days that pass.
LONG = [pytest.mark.heavy, pytest.mark.timeout(600)]


def charge_late_and_kill(server: Server, key: str) -> None:
    """Send a card whose answer takes 3 s, and kill the server meanwhile."""
    sent = json.dumps(body(LATE)).encode()
    head = (
        f"POST /v1/charges HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        client.sendall(head.encode() + sent)
        listing = {"Authorization": f"Bearer {key}"}
        give_up = time.monotonic() + 5
        while time.monotonic() < give_up:
            found = httpx.get(f"{server.url}/v1/charges?status=processing", headers=listing).json()["data"]
            if found:
                break
        else:
            raise AssertionError("the charge was not begun")
        server.kill()


def send_everything(server: Server, key: str, *, hostile: int) -> Iterator[bytes]:
    """Send all requests to all that takes cards, and yield everything that comes back."""
    seen: set[int] = set()
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}) as client:
        for path in ("/v1/charges", "/v1/refunds"):
            for content, headers in requests(hostile=hostile):
                answer = client.post(path, content=content, headers=headers, timeout=30)
                seen.add(answer.status_code)
                yield answer.content + str(answer.headers).encode()
        paid = client.get("/v1/charges?status=succeeded").json()["data"][0]["id"]
        assert client.post("/v1/refunds", json={"charge": paid, "amount": 1}).status_code == 201
        if hostile:
            # Disputes open, and payouts go out.
            turned = client.post("/v1/test_clock", json={"advance_seconds": 259_200}, timeout=60)
            assert turned.status_code == 200
        for path in (
            *("/metrics", "/openapi.json", "/docs", "/readyz", "/v1/charges/" + AMEX),
            *("/v1/charges?limit=100", "/v1/events?limit=100", "/v1/disputes", "/v1/payouts", "/v1/balance"),
            *(
                "/v1/refunds?charge=" + GOOD[0],
                "/v1/charges?starting_after=" + GOOD[1],
                "/v1/charges?" + GOOD[2],
            ),
        ):
            yield client.get(path).content
    assert {201, 202, 400, 402, 413} <= seen


def outputs_of_commands(installation: Installation, merchant: str) -> Iterator[str]:
    """What every command that shows data prints."""
    for words in (
        ("merchants", "list"),
        ("keys", "list", "--merchant", merchant),
        ("events", "list", "--merchant", merchant),
        ("audit",),
    ):
        for options in ((), ("--json",)):
            done = installation.command(*words, *options, KPAY_TEST_CLOCK="1")
            assert done.exit_code == 0, done.output
            yield done.output


def dump(url: str) -> bytes:
    """Every row of every table of a PostgreSQL database as text, and what its server shows of our statements."""
    tables = [name for (name,) in rows_of(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    assert {"charges", "events", "idempotency_keys", "sandbox_journal"} <= set(tables)
    rows = [row for name in tables for (row,) in rows_of(url, f'SELECT t::text FROM "{name}" t')]
    assert len(rows) > 100
    activity = rows_of(url, "SELECT query FROM pg_stat_activity WHERE datname = current_database()")
    return "\n".join([*rows, *(query for (query,) in activity)]).encode()


@pytest.mark.parametrize(
    ("database", "formats", "hostile"),
    [
        ("SQLite", ["json"], 0),
        pytest.param("SQLite", ["json", "console"], 1000, marks=LONG),
        pytest.param("PostgreSQL", ["json", "console"], 1000, marks=LONG),
    ],
    ids=["SQLite, in short", "SQLite", "PostgreSQL"],
)
def test_no_byte_of_a_card_is_left_anywhere(
    database: str,
    formats: list[str],
    hostile: int,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    hooks: Hooks,
) -> None:
    on_sqlite = database == "SQLite"
    url = f"sqlite:///{tmp_path}/kpay.db" if on_sqlite else request.getfixturevalue("fresh_postgres")()
    settings = {"KPAY_TEST_CLOCK": "1", "KPAY_ALLOW_LOCAL_WEBHOOKS": "1"}
    with Installation(tmp_path, url, **settings) as installation:
        merchant = installation.migrate().merchant()
        key = merchant["keys"]["test"]["secret"]
        for log_format in formats:
            server = installation.serve(KPAY_LOG_FORMAT=log_format)
            headers = {"Authorization": f"Bearer {key}"}
            endpoint = httpx.post(
                f"{server.url}/v1/webhook_endpoints", json={"url": hooks.url}, headers=headers
            )
            assert endpoint.status_code == 201
            for answer in send_everything(server, key, hostile=hostile):
                search(answer, "an answer")
            charge_late_and_kill(server, key)
            if on_sqlite:
                assert (tmp_path / "kpay.db-wal").stat().st_size, "the WAL is there after a kill"
            assert "request" in server.log.read_text()
            search_all(tmp_path, url)
        # What comes after a crash finishes the charge, and must not know the card either.
        assert installation.serve().stop() == 0
        search_all(tmp_path, url)
        if hostile:
            for output in outputs_of_commands(installation, merchant["id"]):
                search(output.encode(), "a command's output")
    assert {"charge.succeeded", "charge.failed", "refund.created"} <= set(hooks.types())
    assert "dispute.created" in hooks.types() or not hostile
    for headers, posted in hooks.got:
        search(posted + str(headers).encode(), "a webhook")


def search_all(folder: Path, url: str) -> None:
    """Search the files of an installation, logs and databases, and the database that is none of them."""
    names = {file.name for file in folder.iterdir()}
    if url.startswith("sqlite"):
        assert {"kpay.db", "kpay-sandbox.db"} <= names
    else:
        search(dump(url), "a table")
    for name in names:
        search((folder / name).read_bytes(), name)


class Buggy:
    """A processor with a bug, met with the card in its variables, and perhaps in its exceptions."""

    def __init__(self, *, talks: bool) -> None:
        self.talks = talks

    async def authorise(self, *, card: Card, **_: object) -> object:
        number, cvc = card.number, card.cvc
        told = f"{number} for {len(cvc)}" if self.talks else ""
        try:
            raise ValueError(f"no route for {told}")
        except ValueError as error:
            raise RuntimeError("a bug", {"told": told}) from error


@pytest.mark.parametrize("talks", [False, True], ids=["in variables", "in messages"])
def test_a_bug_shows_no_card_in_the_logs_of_whoever_embeds_us_and_configured_none(
    talks: bool, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    # As structlog comes, it writes for people and shows the values of variables in tracebacks.
    structlog.reset_defaults()
    caplog.set_level("DEBUG")
    with World(processor=cast("Processor", Buggy(talks=talks))) as world:
        client = world.client(world.merchant().test)
        answer = client.post("/v1/charges", body(AMEX, AMEX_CVC), key="k")
    assert answer.status_code == 500
    search(answer.content, "an answer")
    shown = capsys.readouterr()
    assert "request failed" in shown.out
    assert "RuntimeError" in shown.out
    search((shown.out + shown.err + caplog.text).encode(), "a log")


def test_the_search_finds_a_card_where_there_is_one() -> None:
    for leak in (
        GOOD[0],
        " ".join(re.findall("....", GOOD[0])),
        f'"{AMEX}"',
        json.dumps(body(AMEX, AMEX_CVC)),
    ):
        with pytest.raises(AssertionError):
            search(f"so {leak} it is".encode(), "here")
    with pytest.raises(AssertionError):
        search(json.dumps(json.dumps({"cvc": AMEX_CVC})).encode(), "here")


def test_nothing_in_the_core_shows_a_card_when_it_is_printed() -> None:
    sent = body(AMEX, AMEX_CVC)
    new = charges.read_new_charge(sent, now=START)
    kpay = make_kpay()
    scope = Scope("mer_1", livemode=False)
    ids = {"id": "1", "fingerprint": kpay.keyring.mac("card", AMEX.encode()), "idempotency_key": None}
    charge = charges.open_charge(new, scope=scope, fee=1, now=START, **ids)
    with pytest.raises(Invalid) as caught:
        charges.read_new_charge({**sent, "amount": AMEX, AMEX: AMEX_CVC, "currency": AMEX}, now=START)
    held = (
        *(new, [new], {"new": new}, charge, kpay, caught.value, caught.value.args, caught.value.details),
        read(charges.NewCharge, sent),
        ticket(kpay, scope, "createCharge", sent, "key"),
        traceback.TracebackException.from_exception(caught.value).stack,
    )
    for each in held:
        shown = f"{each!r} {each} {pformat(each)}"
        search(shown.encode(), type(each).__name__)
    search(msgspec.json.encode(charge), "a record")


def test_hostile_cards_are_of_many_kinds() -> None:
    assert len(set(hostile_sources(count=1000))) > 300
