"""What the page on receiving webhooks shows is what happens: its receivers are started, its lines pasted."""

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from kpay_core.domain import signing
from tests.docs.pages import Shell, code, lines_to_paste, until
from tests.docs.receivers import JAVASCRIPT, PAGE, PYTHON, Receiver
from tests.servers import Installation

SECRET, OLD_SECRET, OTHER_SECRET = (f"whsec_{letter * 43}" for letter in "abc")
BODY = '{"id":"evt_1","type":"charge.succeeded","data":{"object":{"description":"Café"}}}'.encode()

RESEND = lines_to_paste(PAGE, "curl -X POST")[0]


def signed(*secrets: str, ago: float = 0) -> str:
    return signing.sign(BODY, secrets=secrets, now=datetime.now(UTC) - timedelta(seconds=ago))


# What a header or a body may be, and whether the post is to be taken.
CASES = {
    "good": (BODY, lambda: signed(SECRET), True),
    "good, late but not too late": (BODY, lambda: signed(SECRET, ago=280), True),
    "two v1, ours first": (BODY, lambda: signed(SECRET, OLD_SECRET), True),
    "two v1, ours second": (BODY, lambda: signed(OTHER_SECRET, SECRET), True),
    "parts of later versions": (BODY, lambda: signed(SECRET).replace(",", ",v2=new,"), True),
    "wrong secret": (BODY, lambda: signed(OTHER_SECRET), False),
    "two v1, neither ours": (BODY, lambda: signed(OLD_SECRET, OTHER_SECRET), False),
    "changed body": (BODY.replace(b"Caf", b"caf"), lambda: signed(SECRET), False),
    "too old": (BODY, lambda: signed(SECRET, ago=310), False),
    "from the future": (BODY, lambda: signed(SECRET, ago=-310), False),
    "a later time over an old signature": (
        BODY,
        lambda: f"t={int(datetime.now(UTC).timestamp())},v1={signed(SECRET, ago=310)[-64:]}",
        False,
    ),
    "two times": (BODY, lambda: "t=1," + signed(SECRET), False),
    "no time": (BODY, lambda: signed(SECRET).partition(",")[2], False),
    "no signature": (BODY, lambda: signed(SECRET).partition(",")[0], False),
    "no header": (BODY, lambda: "", False),
}


@pytest.fixture(scope="module", params=[PYTHON, JAVASCRIPT])
def receiver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    folder = tmp_path_factory.mktemp("receiver")
    with Receiver(request.param, folder, secret=SECRET) as running:
        yield running


@pytest.mark.parametrize("case", CASES)
def test_a_receiver_takes_what_we_signed_for_it_now_and_nothing_else(receiver: Receiver, case: str) -> None:
    body, header, taken = CASES[case]
    headers = {signing.HEADER: header()} if header() else {}
    answer = httpx.post(receiver.url, content=body, headers=headers)
    assert answer.status_code == (204 if taken else 400)


def test_a_receiver_works_on_an_event_once_however_often_it_comes(receiver: Receiver) -> None:
    for _ in range(3):
        assert httpx.post(receiver.url, content=BODY, headers={signing.HEADER: signed(SECRET)}).is_success
    assert until(receiver.told) == ["charge.succeeded evt_1"]


@pytest.mark.parametrize("case", CASES)
def test_the_librarys_own_function_takes_the_same(case: str) -> None:
    (text,) = (block for block in code(PAGE, "python") if block.startswith("# verified.py"))
    shown: dict[str, Any] = {}
    exec(text, shown)
    body, header, taken = CASES[case]
    assert shown["is_genuine"](body, header(), SECRET) is taken


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
@pytest.mark.parametrize(
    "case", ["good", "two v1, ours first", "two v1, ours second", "wrong secret", "changed body", "too old"]
)
def test_openssl_finds_by_hand_what_the_header_says(case: str, tmp_path: Path) -> None:
    (script,) = code(PAGE, "sh")
    body, header, taken = CASES[case]
    (tmp_path / "body.json").write_bytes(body)
    value = header()
    environment = {**os.environ, "HEADER": value, "WEBHOOK_SECRET": SECRET}
    ran = subprocess.run(
        ["sh", "-ec", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    (age,) = re.findall(r"^signed (\d+) seconds ago$", ran.stdout, re.MULTILINE)
    matches = f"v1={ran.stdout.split()[-1]}" in value.split(",")
    assert (matches and int(age) <= signing.TOLERANCE_SECONDS) is taken


def test_the_page_works_from_top_to_bottom(tmp_path: Path) -> None:
    lines = iter(lines_to_paste(PAGE, "curl"))
    settings = {"KPAY_ALLOW_LOCAL_WEBHOOKS": "1"}
    with Installation(tmp_path, f"sqlite:///{tmp_path}/kpay.db", **settings) as installation:
        server = installation.start("dev").wait_until_up()
        shell = Shell(api=server.url, KEY=secret_key_in(server.log))
        receiver = Receiver(PYTHON, tmp_path / "receiver", secret="")
        shell.hooks = receiver.url

        endpoint = ok(shell.curl(next(lines)), 201)
        shell.variables["ENDPOINT"] = endpoint["id"]
        receiver = Receiver(
            PYTHON, tmp_path / "receiver", secret=endpoint["signing_secret"], port=receiver.port
        )
        with receiver:
            ok(shell.curl(next(lines)), 201)
            (told,) = until(receiver.told)
            shell.variables["EVENT"] = told.removeprefix("charge.succeeded ")

            deliveries_line = next(lines)

            def deliveries(count: int) -> list[Any]:
                """Return the deliveries once there are so many, and all have arrived."""

                def look() -> list[Any]:
                    found = ok(shell.curl(deliveries_line))["data"]
                    arrived = [each for each in found if each["status"] == "succeeded"]
                    return arrived if len(arrived) == len(found) == count else []

                return until(look)

            (delivery,) = deliveries(1)
            assert delivery["event"] == shell.variables["EVENT"]
            assert [attempt["status"] for attempt in delivery["attempts"]] == [204]

            (event,) = ok(shell.curl(next(lines)))["data"]
            assert event["id"] == shell.variables["EVENT"]
            assert next(lines) == RESEND
            assert len(ok(shell.curl(RESEND))["data"]) == 1
            assert len(ok(shell.curl(next(lines)))["data"]) == 1
            deliveries(3)

            rotated = ok(shell.curl(next(lines)))
            assert rotated["signing_secret"] != endpoint["signing_secret"]
            ok(shell.curl(RESEND))
            deliveries(4)
            assert receiver.told() == [told], "the receiver knows the event, whatever comes again"

            assert ok(shell.curl(next(lines)))["status"] == "disabled"
            assert ok(shell.curl(next(lines)))["status"] == "enabled"
            assert ok(shell.curl(next(lines)))["deleted"] is True
            assert shell.curl(deliveries_line).status_code == 404
        assert list(lines) == []

        (query,) = code("docs/how-to/run-workers.md", "sql")
        with closing(sqlite3.connect(tmp_path / "kpay.db")) as database:
            assert database.execute(query).fetchall() == []


def test_kpay_listen_forwards_to_the_receiver_without_an_endpoint(tmp_path: Path) -> None:
    (line,) = lines_to_paste(PAGE, "kpay listen")
    (charge,) = (line for line in lines_to_paste(PAGE, "curl") if "/v1/charges" in line)
    with Installation(tmp_path, f"sqlite:///{tmp_path}/kpay.db") as installation:
        server = installation.start("dev").wait_until_up()
        receiver = Receiver(PYTHON, tmp_path / "receiver", secret="")
        log = tmp_path / "listen.log"
        with log.open("wb") as output:
            words = line.replace("http://localhost:3000", receiver.url).split()[1:]
            listening = installation.process(*words, output=output)
        try:
            (secret,) = until(lambda: re.findall(r"whsec_\S+", log.read_text()))
            with Receiver(PYTHON, tmp_path / "receiver", secret=secret, port=receiver.port) as receiver:
                ok(Shell(api=server.url, KEY=secret_key_in(server.log)).curl(charge), 201)
                (told,) = until(receiver.told)
                assert told.startswith("charge.succeeded evt_")
                assert until(lambda: re.findall(r"charge.succeeded +evt_\w+ +204", log.read_text()))
        finally:
            listening.terminate()
            listening.wait(20)


def secret_key_in(log: Path) -> str:
    # A server answers a moment before it has told its keys.
    (key,) = until(lambda: set(re.findall(r"sk_test_\w{36}", log.read_text())))
    return key


def ok(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()
