"""`kpay check`: what it finds, what it says, and what it refuses."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import Result

from kpay_adapters.testing.merchant.laws import Law
from kpay_core.domain import keys
from tests.kit.proxies import Answer, passing
from tests.servers import Installation, Server

NOBODY = "http://127.0.0.1:9"
UNKNOWN_KEY = keys.make_key("secret", "test", bytes(32))


class Site:
    """A server with two merchants, and the command that checks it."""

    def __init__(self, installation: Installation, server: Server) -> None:
        self.installation = installation
        self.server = server
        self.keys = installation.merchant()["keys"]
        self.key: str = self.keys["test"]["secret"]
        self.other_key: str = installation.merchant("Globex")["keys"]["test"]["secret"]

    def check(self, url: str, *words: str, key: str | None = None) -> Result:
        return self.installation.command("check", url, *words, KPAY_TEST_KEY=self.key if key is None else key)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("checked")
    with Installation(folder, f"sqlite:///{folder}/kpay.db", KPAY_TEST_CLOCK="1") as installation:
        yield Site(installation, installation.migrate().serve())


def test_a_server_that_keeps_all_laws_ends_with_0_and_says_what_was_checked(site: Site) -> None:
    done = site.check(
        site.server.url, "--examples", "4", "--steps", "15", "--seed", "1", "--other-key", site.other_key
    )
    assert done.exit_code == 0, done.output
    assert f"Checked {site.server.url} with seed 1: " in done.stdout
    assert "a_key_has_one_answer" in done.stdout
    assert done.stdout.endswith("Everything holds.\n")
    assert site.key not in done.output
    assert site.other_key not in done.output


def test_nothing_is_left_behind_but_charges_and_refunds(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert site.check(site.server.url, "--examples", "3", "--steps", "10").exit_code == 0
    endpoints = httpx.get(
        f"{site.server.url}/v1/webhook_endpoints", headers={"Authorization": f"Bearer {site.key}"}
    )
    assert endpoints.json()["data"] == []
    assert list(tmp_path.iterdir()) == []


def test_machines_are_told_the_same(site: Site) -> None:
    done = site.check(site.server.url, "--examples", "2", "--steps", "5", "--keep-time", "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["holds"], told["finding"], told["days_passed"]) == (0, True, None, 0)
    assert told["held"].keys() == told["laws"].keys() == {law.value for law in Law}
    assert told["held"]["requests_are_answered"] == told["requests"] > 0
    assert told["command"].endswith(f"--seed {told['seed']} --examples 2 --steps 5 --keep-time")


def told_wrong(answer: Answer) -> Answer:
    status, headers, body = answer
    return status, headers, body.replace(b'"amount":50,', b'"amount":51,')


def history_of(done: Result, site: Site, command: str) -> list[str]:
    """Return the history that was told, and check how it was told."""
    assert done.exit_code == 1, done.output
    assert done.stdout.endswith(f"\n\nAgain: KPAY_TEST_KEY=sk_test_… kpay check {command}\n")
    assert site.key not in done.output
    assert "4242424242424242" not in done.output
    _, _, told = done.stdout.partition("The shortest history that shows it:\n")
    return re.findall(r"^ +\d+\. (.*)$", told, re.MULTILINE)


def test_a_server_that_breaks_a_law_ends_with_1_and_tells_how_to_see_it_again(site: Site) -> None:
    with passing(site.server.url, told_wrong) as url:
        done = site.check(url, "--examples", "30", "--steps", "2", "--seed", "7", "--keep-time")
    assert "BROKEN: what_was_sent_comes_back: " in done.stdout
    assert "Seen: amount was 50, and is 51\n" in done.stdout
    history = history_of(done, site, f"{url} --seed 7 --examples 30 --steps 2 --keep-time")
    assert history == ["charge 50 on a good card: created"]


@pytest.mark.heavy
def test_the_shortest_history_is_told_that_shows_that_keys_are_lost(site: Site) -> None:
    with passing(site.server.url, leave_out="idempotency-key") as url:
        done = site.check(url, "--examples", "100", "--steps", "10", "--seed", "1")
    assert "BROKEN: a_key_" in done.stdout
    first, *_, last = history = history_of(done, site, f"{url} --seed 1 --examples 100 --steps 10")
    assert re.match(r"charge \d+ on a good card: created", first)
    assert re.search(r", key [abc]: created$", last)
    assert 3 <= len(history) <= 8


@pytest.mark.heavy
@pytest.mark.parametrize("settings", [{"KPAY_TEST_CLOCK": "1"}, {"KPAY_RATE_LIMIT": "50"}], ids=str)
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_servers_of_every_kind_keep_all_laws(
    database: str, settings: dict[str, str], tmp_path: Path, fresh_postgres: Callable[[], str]
) -> None:
    url = f"sqlite:///{tmp_path}/kpay.db" if database == "sqlite" else fresh_postgres()
    with Installation(tmp_path, url, **settings) as installation:
        site = Site(installation, installation.migrate().serve())
        done = site.check(
            site.server.url, "--examples", "30", "--steps", "40", "--other-key", site.other_key, "--json"
        )
    told = json.loads(done.stdout)
    assert (done.exit_code, told["finding"]) == (0, None)
    assert told["passed_over"] == {}


@pytest.mark.parametrize("mode", ["live", "test"])
@pytest.mark.parametrize("kind", ["secret", "publishable"])
def test_only_a_secret_test_key_is_taken_and_it_is_not_told(site: Site, kind: str, mode: str) -> None:
    if (kind, mode) == ("secret", "test"):
        return
    key = site.keys[mode][kind]
    done = site.check(NOBODY, key=key)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "give a secret test key" in done.stderr
    assert key not in done.output


def test_what_cannot_be_done_ends_with_2_and_one_line(site: Site) -> None:
    for url, key, told in (
        (NOBODY, None, "cannot be reached"),
        ("pay.example", None, "must be like"),
        (site.server.url, UNKNOWN_KEY, "does not know the key"),
        (f"{site.server.url}/elsewhere", None, "does not answer as K-Payments does: 404"),
    ):
        done = site.check(url, key=key)
        assert (done.exit_code, done.stdout) == (2, "")
        assert told in done.stderr
        assert done.stderr.count("\n") == 1
    assert site.installation.command("check", site.server.url).exit_code == 2


def test_without_hypothesis_one_line_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['hypothesis'] = None; from kpay_http.cli import main; "
        f"sys.argv = ['kpay', 'check', '{NOBODY}', '--key', '{UNKNOWN_KEY}']; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: This needs hypothesis: pip install 'k-payments[testing]'\n"
