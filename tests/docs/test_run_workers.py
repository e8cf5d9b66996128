"""The page on workers says what happens to those who follow it."""

import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from kpay_adapters.keyring import read_secret
from kpay_core.domain.examples import CHARGE
from tests.docs.pages import lines_to_paste, until
from tests.docs.receivers import PYTHON, Receiver
from tests.docs.test_receive_webhooks import ok
from tests.servers import Installation, Server

PAGE = "docs/how-to/run-workers.md"

OTHER_SECRET_KEY = "A" * 43 + "="


def new_sealing_keys(old: str) -> str:
    """Paste the line that puts a new key before the old ones."""
    (line,) = lines_to_paste(PAGE, "export KPAY_SEALING_KEYS=")
    script = f'{line}\nprintf %s "$KPAY_SEALING_KEYS"'
    ran = subprocess.run(
        ["sh", "-ec", script], env={"KPAY_SEALING_KEYS": old}, capture_output=True, text=True, check=True
    )
    return ran.stdout


def charge(server: Server, key: str) -> None:
    answer = httpx.post(
        f"{server.url}/v1/charges", json=CHARGE, headers={"Authorization": f"Bearer {key}"}, timeout=20
    )
    ok(answer, 201)


@pytest.mark.heavy
def test_sealing_keys_replace_each_other_and_the_one_of_the_secret_key(tmp_path: Path) -> None:
    (reseal,) = lines_to_paste(PAGE, "kpay keys reseal")
    receiver = Receiver(PYTHON, tmp_path / "receiver", secret="")
    database = f"sqlite:///{tmp_path}/kpay.db"
    with Installation(tmp_path, database, KPAY_ALLOW_LOCAL_WEBHOOKS="1").migrate() as installation:
        key: str = installation.merchant()["keys"]["test"]["secret"]
        server = installation.serve()
        made: dict[str, Any] = ok(
            httpx.post(
                f"{server.url}/v1/webhook_endpoints",
                json={"url": receiver.url},
                headers={"Authorization": f"Bearer {key}"},
            ),
            201,
        )
        assert server.stop() == 0

        first = new_sealing_keys("").rstrip(",")
        both = new_sealing_keys(first)
        assert both.endswith(f",{first}")
        second = both.removesuffix(f",{first}")
        for each in (first, second):
            read_secret(each)
        for keys in (first, both):
            done = installation.command(*reseal.split()[1:], KPAY_SEALING_KEYS=keys)
            assert (done.exit_code, done.stdout.split()[-1]) == (0, "1.")

        with Receiver(
            PYTHON, tmp_path / "receiver", secret=made["signing_secret"], port=receiver.port
        ) as receiver:
            without = installation.serve(KPAY_SEALING_KEYS=first)
            charge(without, key)
            until(lambda: "CannotUnseal" in without.log.read_text())
            assert "delivering was begun anew" in without.log.read_text()
            assert without.stop() == 0
            assert receiver.told() == []

            settings = {"KPAY_SEALING_KEYS": second, "KPAY_SECRET_KEY": OTHER_SECRET_KEY}
            installation.serve(**settings)
            (told,) = until(receiver.told)
            assert told.startswith("charge.succeeded evt_")
