"""Card numbers and cvcs are written nowhere: canaries go through everything, and then every byte is searched."""

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import structlog

from kpay_adapters.testing import CHARGE
from kpay_core.domain.cards import Card, passes_luhn
from kpay_core.ports import Processor
from tests.http.world import World, merged
from tests.servers import Installation, Server


def canary(stem: str) -> str:
    """Complete 15 digits to a valid number that nobody else uses."""
    return next(stem + digit for digit in "0123456789" if passes_luhn(stem + digit))


GOOD = [canary("471688502937148"), canary("548712093366159"), canary("60115839274460271")]
AMEX = canary("37449182660351")
# Three digits stand in every file by chance; what may be searched for is the pair, and the cvc of an amex.
AMEX_CVC = "8302"
# Never valid, but digits of a card all the same.
MISTYPED = GOOD[0][:-1] + str((int(GOOD[0][-1]) + 1) % 10)
LATE = "4000000000009805"
DECLINED = "4000000000009995"
NUMBERS = [*GOOD, AMEX, MISTYPED, LATE, DECLINED]


def written(number: str) -> re.Pattern[bytes]:
    """The digits with anything short between them: spaces, dashes, quotes, commas."""
    return re.compile(rb"[ \-_.,\"'\\]{0,2}".join(digit.encode() for digit in number))


PATTERNS = [written(number) for number in NUMBERS]


def forms_of_cvc(cvc: str) -> list[bytes]:
    """How a cvc would stand beside its name: in JSON, in a repr, in a query string, in a form."""
    names = (b'"cvc":', b"'cvc': ", b'"cvc": ', b"cvc=", b'\\"cvc\\":', b'\\"cvc\\": ')
    values = (b'"%s"', b"'%s'", b"%s", b'\\"%s\\"')
    return [name + value % cvc.encode() for name in names for value in values]


CVCS = ["907", AMEX_CVC]


def body(number: str, cvc: str = "907", **changes: Any) -> dict[str, Any]:
    return merged(merged(CHARGE, {"source": {"number": number, "cvc": cvc}}), changes)


def requests() -> Iterator[tuple[bytes, dict[str, str]]]:
    """Every way in which a card is sent: right, wrong, declined, broken, and with a key used twice."""
    as_json = {"Content-Type": "application/json"}

    def sent(body: Any, **headers: str) -> tuple[bytes, dict[str, str]]:
        return json.dumps(body).encode(), as_json | {n.replace("_", "-"): v for n, v in headers.items()}

    for number in GOOD:
        yield sent(body(number))
        yield sent(body(number), Idempotency_Key=f"order-{GOOD.index(number)}")
        yield sent(body(number, amount=60), Idempotency_Key=f"order-{GOOD.index(number)}")
    yield sent(body(AMEX, AMEX_CVC), Idempotency_Key="amex")
    yield sent(body(DECLINED), Idempotency_Key="declined")
    for wrong in (
        body(MISTYPED),
        body(GOOD[0], AMEX_CVC),
        body(GOOD[0], amount=1),
        body(" ".join(re.findall("....", GOOD[0]))),
        merged(body(GOOD[0]), {"source": {"exp_year": 2001}}),
        merged(body(GOOD[0]), {"source": {"name": "x"}}),
        merged(body(GOOD[0]), {"source": {"number": int(GOOD[0]), "cvc": 907}}),
        merged(body(GOOD[0]), {"source": {"number": [GOOD[0]], "cvc": {"is": AMEX_CVC}}}),
        {**body(GOOD[0]), "source": f"{GOOD[0]} {AMEX_CVC}"},
        {"amount": GOOD[0], "currency": GOOD[1], "source": None, "billing_address": GOOD[2]},
        {"charge": GOOD[0], "amount": int(GOOD[0])},
    ):
        yield sent(wrong)
        yield sent(wrong, Idempotency_Key="wrong")
    whole = json.dumps(body(GOOD[0], AMEX_CVC)).encode()
    yield whole[:-1], as_json
    yield whole + whole, as_json
    yield whole.replace(b'"cvc"', b'"cvc": 1, "cvc"'), as_json
    yield b"\xff" + whole, as_json
    yield whole, {"Content-Type": "text/plain"}
    yield whole + b" " * 70_000, as_json


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


def search(what: bytes, where: str) -> None:
    for pattern in PATTERNS:
        assert not pattern.search(what), f"a card number in {where}"
    for cvc in CVCS:
        for form in forms_of_cvc(cvc):
            assert form not in what, f"a cvc in {where}"


def send_everything(server: Server, key: str) -> Iterator[bytes]:
    """Send all requests to all that takes cards, and yield everything that comes back."""
    seen: set[int] = set()
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}) as client:
        for path in ("/v1/charges", "/v1/refunds"):
            for content, headers in requests():
                answer = client.post(path, content=content, headers=headers)
                seen.add(answer.status_code)
                yield answer.content + str(answer.headers).encode()
        for path in (
            "/metrics",
            "/v1/charges?limit=100",
            "/v1/refunds?charge=" + GOOD[0],
            "/v1/charges/" + AMEX,
        ):
            yield client.get(path).content
    assert {201, 400, 402, 413} <= seen


def test_no_byte_of_a_card_is_left_anywhere(tmp_path: Path) -> None:
    with Installation(tmp_path, f"sqlite:///{tmp_path}/kpay.db") as installation:
        key = installation.migrate().merchant()["keys"]["test"]["secret"]
        for log_format in ("json", "console"):
            server = installation.serve(KPAY_LOG_FORMAT=log_format)
            for answer in send_everything(server, key):
                search(answer, "an answer")
            charge_late_and_kill(server, key)
            assert (tmp_path / "kpay.db-wal").stat().st_size, "the WAL is there after a kill"
            assert "request" in server.log.read_text()
            search_all(tmp_path)
        # What comes after a crash finishes the charge, and must not know the card either.
        assert installation.serve().stop() == 0
        search_all(tmp_path)


def search_all(folder: Path) -> None:
    names = {file.name for file in folder.iterdir()}
    assert {"kpay.db", "kpay-sandbox.db"} <= names
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
