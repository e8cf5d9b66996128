"""
What the operator keeps secret is in no output and no log: passwords in URLs, the secret key, sealing keys, signing
secrets, and API keys once they were told. Every command is tried, where all is well and where nothing is.
"""

import re
import signal
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import click
import httpx
import pytest

from kpay_adapters.testing import CHARGE
from kpay_core.domain.keys import key_hash
from kpay_http import compose
from kpay_http.cli.keys import SHORT_ID
from kpay_http.cli.main import commands
from kpay_http.settings import read_settings, shown_url
from tests.servers import START_SECONDS, Installation, Process, free_port

PASSWORD = "pa55word-of-nobody-else"
# What has to be written in another way in a URL, and may be shown in either.
ODD_PASSWORD = "pa55/w?rd#of@nobody:else"
SEALING = [b64encode(bytes([n]) * 32).decode() for n in (7, 8)]
SECRET = b64encode(bytes(range(100, 132))).decode()

# How each command is called. What serves is not ended by itself, and tried as a process.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "merchants create": ("--name", "Initech", "--approve"),
    "merchants approve": ("{merchant}",),
    "merchants update": ("{merchant}", "--fee-cents", "31"),
    "merchants list": (),
    "keys list": ("--merchant", "{merchant}"),
    "keys rotate": ("--merchant", "{merchant}"),
    "keys revoke": ("--merchant", "{merchant}", "0123456789ab"),
    "keys reseal": (),
    "events list": ("--merchant", "{merchant}"),
    "events show": ("{event}", "--merchant", "{merchant}"),
    "events resend": ("{event}", "--merchant", "{merchant}"),
    "migrate": (),
    "audit": (),
    "openapi": (),
}
SERVING: dict[str, tuple[str, ...]] = {
    "serve": ("--port", "{port}"),
    "dev": ("--port", "{port}"),
    "worker": (),
    "listen": ("--forward-to", "http://localhost:{port}/", "--merchant", "{merchant}"),
}

# Those that run beside a server.
OTHERS = ("worker", "listen", "dev")

# Ways to write a database's URL with a password that lead nowhere. The last ones are wrong, as people write them.
NOWHERE = {
    "a closed port": f"postgresql://kpay:{PASSWORD}@127.0.0.1:{{port}}/kpay",
    "an unknown name": f"postgresql://kpay:{PASSWORD}@no-such-host.invalid/kpay",
    "in its query": f"postgresql://127.0.0.1:{{port}}/kpay?user=kpay&password={PASSWORD}",
    "on a socket": f"postgresql:///kpay?host=/nowhere&password={PASSWORD}",
    "TLS that is missing": f"postgresql://k:{PASSWORD}@127.0.0.1:{{port}}/k?sslmode=verify-full&sslrootcert=/nowhere",
    "an option nobody knows": f"postgresql://k:{PASSWORD}@127.0.0.1:{{port}}/k?sslmode={PASSWORD}",
    "percent-encoded": f"postgresql://kpay:{quote(ODD_PASSWORD, safe='')}@127.0.0.1:{{port}}/kpay",
    "a slash": f"postgresql://kpay:{PASSWORD}/x@127.0.0.1:{{port}}/kpay",
    "digits and a slash": f"postgresql://kpay:55/{PASSWORD}@127.0.0.1:{{port}}/kpay",
    "a question mark": f"postgresql://kpay:{PASSWORD}?x@127.0.0.1:{{port}}/kpay",
    "a hash": f"postgresql://kpay:{PASSWORD}#x@127.0.0.1:{{port}}/kpay",
    "an at": f"postgresql://kpay:{PASSWORD}@x@127.0.0.1:{{port}}/kpay",
    "a colon": f"postgresql://kpay:{PASSWORD}:x@127.0.0.1:{{port}}/kpay",
    "a bracket": f"postgresql://kpay:{PASSWORD}[@127.0.0.1:{{port}}/kpay",
    "a per cent": f"postgresql://kpay:{PASSWORD}%zz@127.0.0.1:{{port}}/kpay",
    "a space": f"postgresql://kpay:{PASSWORD} x@127.0.0.1:{{port}}/kpay",
    "a port that is none": f"postgresql://kpay:{PASSWORD}@127.0.0.1:x/kpay",
    "a scheme nobody knows": f"mysql://kpay:{PASSWORD}@127.0.0.1:{{port}}/kpay",
}

# What the quick tests try, of each kind one.
TYPICAL = {"a closed port", "in its query", "a slash"}


def leaves(command: click.Command = commands, path: tuple[str, ...] = ()) -> Iterator[str]:
    if not isinstance(command, click.Group):
        yield " ".join(path)
        return
    for name, inner in command.commands.items():
        yield from leaves(inner, (*path, name))


ALL = {**ARGUMENTS, **SERVING}


# They read neither the database of the settings nor its secrets. The key that `check` is given has tests beside it.
ELSEWHERE = {"check", "sandbox", "simulate"}


def test_every_command_is_tried() -> None:
    assert set(leaves()) == ALL.keys() | ELSEWHERE


def filled_in(arguments: tuple[str, ...], **facts: Any) -> list[str]:
    return [argument.format(**facts) for argument in arguments]


def find_none_of(secrets: list[str], text: str) -> None:
    for secret in secrets:
        # A part of one is a secret, too; and what is cut out of a longer one is seldom cut at its ends.
        for part in (secret, secret[:12], secret[-12:]):
            assert part not in text, f"{part} in {text[-2000:]}"


@pytest.mark.parametrize(
    "way", [way if way in TYPICAL else pytest.param(way, marks=pytest.mark.heavy) for way in NOWHERE]
)
@pytest.mark.parametrize("command", sorted(ALL))
def test_a_database_that_cannot_be_used_is_one_line_without_its_password(
    tmp_path: Path, way: str, command: str
) -> None:
    port = free_port()
    facts = {"merchant": "mer_x", "event": "evt_x", "port": free_port()}
    settings = {"KPAY_SECRET_KEY": SECRET, "KPAY_SEALING_KEYS": ",".join(SEALING)}
    with Installation(tmp_path, NOWHERE[way].format(port=port), **settings) as installation:
        done = installation.command(*command.split(), *filled_in(ALL[command], **facts))
    find_none_of([PASSWORD, SECRET, *SEALING], done.output + done.stderr + repr(done.exception))
    for part in re.split("[/?#@:]", ODD_PASSWORD):
        assert len(part) < 3 or part not in done.stderr
    if command != "openapi":
        assert isinstance(done.exception, SystemExit), done.exception
        assert len(done.stderr.splitlines()) == 1
        assert done.exit_code in (1, 2)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////var/lib/kpay/kpay.db", "sqlite:////var/lib/kpay/kpay.db"),
        ("postgresql://user@host/db", "postgresql://host/db"),
        (f"postgresql://user:{PASSWORD}@host:5433/db", "postgresql://host:5433/db"),
        (f"postgresql://user:{PASSWORD}@[::1]:5433/db?sslmode=require", "postgresql://[::1]:5433/db"),
        (f"postgresql://u:{PASSWORD}@one:1,two:2/db?sslpassword={PASSWORD}", "postgresql://one:1,two:2/db"),
        (f"postgresql:///db?host=/run/postgresql&password={PASSWORD}", "postgresql:///db"),
        (f"postgresql://u:{quote(ODD_PASSWORD, safe='')}@host/db", "postgresql://host/db"),
    ],
)
def test_a_url_is_taken_and_shown_without_what_opens_it(url: str, shown: str) -> None:
    settings = read_settings({"KPAY_DATABASE_URL": url})
    assert settings.database_url == url
    assert shown_url(url) == shown
    find_none_of([PASSWORD, ODD_PASSWORD], repr(settings))


class Operating:
    """An installation in use: a merchant with keys, an endpoint with a secret, and what must not be seen of them."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        made = installation.migrate().json("merchants", "create", "--name", "Acme", "--approve")
        self.merchant: str = made["id"]
        self.key: str = made["keys"]["test"]["secret"]
        keys = [key for pair in made["keys"].values() for key in pair.values()]
        self.secrets = [
            *(key[8:] for key in keys),
            *(key_hash(key)[SHORT_ID:] for key in keys),
            SECRET,
            *SEALING,
            PASSWORD,
        ]

    def use(self, url: str) -> str:
        """Register an endpoint and make a charge; return the id of an event."""
        with httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {self.key}"}, timeout=30
        ) as client:
            endpoint = client.post(
                "/v1/webhook_endpoints", json={"url": "https://hooks.invalid/x?token=of-mine-alone"}
            )
            self.secrets += [endpoint.json()["signing_secret"][6:], "of-mine-alone"]
            rotated = client.post(f"/v1/webhook_endpoints/{endpoint.json()['id']}/rotate_secret")
            self.secrets.append(rotated.json()["signing_secret"][6:])
            assert client.post("/v1/charges", json=CHARGE).status_code == 201
            # What a merchant gets wrong is not written down either.
            client.get("/v1/charges", headers={"Authorization": f"Basic {self.key}"})
            client.get("/v1/charges", params={"key": self.key})
            client.post("/v1/charges", json={**CHARGE, "key": self.key, self.key: 1})
            return client.get("/v1/events").json()["data"][0]["id"]


def with_password(url: str) -> str:
    """Put a password into the URL of a server that asks for none."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at or ":" in user or parts.scheme != "postgresql":
        pytest.skip("this database has a password of its own, or takes none")
    return parts._replace(netloc=f"{user}:{PASSWORD}@{host}").geturl()


@pytest.mark.heavy
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_secret_is_in_what_commands_print_and_processes_log(
    log_format: str, tmp_path: Path, fresh_postgres: Callable[[], str]
) -> None:
    settings = {
        "KPAY_SECRET_KEY": SECRET,
        "KPAY_SEALING_KEYS": ",".join(SEALING),
        "KPAY_LOG_FORMAT": log_format,
        # A broker that is away, with a password.
        "KPAY_BROKER_URL": f"amqp://kpay:{PASSWORD}@127.0.0.1:{free_port()}/",
    }
    with Installation(tmp_path, with_password(fresh_postgres()), **settings) as installation:
        operating = Operating(installation)
        server = installation.serve()
        facts = {"merchant": operating.merchant, "event": operating.use(server.url)}
        others = {command: start(installation, command, **facts, port=free_port()) for command in OTHERS}
        for command in others:
            wait_for_output(tmp_path / f"{command}.log")
        # Attempts to deliver, to reach the broker, and to forward.
        time.sleep(3)
        printed = "".join(
            installation.command(*command.split(), *filled_in(arguments, **facts), *options).output
            for command, arguments in ARGUMENTS.items()
            for options in ((), ("--json",))
            if options == () or command not in ("migrate", "openapi")
        )
        assert "Initech" in printed
        for process in others.values():
            process.send_signal(signal.SIGTERM)
        for process in others.values():
            process.wait(4 * START_SECONDS)
        server.stop()
    find_none_of(operating.secrets, printed)
    for log in (*(tmp_path / f"{command}.log" for command in others), server.log):
        find_none_of(operating.secrets, log.read_text())


def start(installation: Installation, command: str, **facts: Any) -> Process:
    with (installation.folder / f"{command}.log").open("wb") as output:
        return installation.process(command, *filled_in(SERVING[command], **facts), output=output)


def wait_for_output(log: Path) -> None:
    give_up = time.monotonic() + START_SECONDS
    while not log.read_text():
        assert time.monotonic() < give_up, f"nothing is in {log.name}"
        time.sleep(0.05)


def test_nothing_that_holds_a_secret_shows_it_when_it_is_printed(tmp_path: Path) -> None:
    environment = {
        "KPAY_DATABASE_URL": f"postgresql://kpay:{PASSWORD}@127.0.0.1/kpay",
        "KPAY_BROKER_URL": f"redis://:{PASSWORD}@127.0.0.1/0",
        "KPAY_SECRET_KEY": SECRET,
        "KPAY_SEALING_KEYS": ",".join(SEALING),
    }
    settings = read_settings(environment)
    secret = compose.secret_of(settings, make=False)
    keyring = compose.keyring_of(settings, secret)
    shown = " ".join(map(repr, (settings, keyring))) + f"{settings} {keyring}"
    find_none_of([PASSWORD, SECRET, *SEALING, repr(secret)[2:-1]], shown)
