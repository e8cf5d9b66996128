"""Processes that serve: how they refuse to start, start and stop (contract, section 11)."""

import errno
import re
import shlex
import signal
import socket
import threading
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import httpx
import pytest

from kpay_adapters.testing import CHARGE
from kpay_http.server import _blamed, until_signalled
from kpay_http.settings import Settings
from tests.http.world import LATE, merged
from tests.servers import START_SECONDS, Installation, Server, free_port

WRONG = {
    "KPAY_DATABASE_URL": "mysql://root@localhost/kpay",
    "KPAY_PORT": "http",
    "KPAY_BROKER_URL": "kafka://localhost",
    "KPAY_SECRET_KEY": "c2hvcnQ=",
    "KPAY_RATE_LIMIT": "-1",
    "KPAY_LOG_FORMAT": "xml",
    "KPAY_ALLOW_LOCAL_WEBHOOKS": "yes",
    "KPAY_TEST_CLOCK": "on",
    "KPAY_SEALING_KEYS": "c2hvcnQ=,c2hvcnQ=",
    "KPAY_SANDBOX_URL": "http://sandbox.example:8100",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_setting_that_is_wrong_stops_the_start_with_one_line_that_names_it(
    sqlite: Installation, name: str
) -> None:
    for command in ("serve", "dev", "worker"):
        done = sqlite.command(command, **{name: WRONG[name]})
        assert done.exit_code == 1
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"Error: {name} takes ")
        assert WRONG[name] not in line


@pytest.mark.parametrize("secret", [None, "", "   ", "nonsense!", b64encode(bytes(31)).decode()])
def test_serve_refuses_to_start_without_a_secret_key(sqlite: Installation, secret: str | None) -> None:
    done = sqlite.migrate().command("serve", KPAY_SECRET_KEY=secret)
    assert (done.exit_code, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "KPAY_SECRET_KEY" in line
    assert "32 bytes" in line


def test_serve_and_worker_refuse_a_database_that_is_not_migrated(installation: Installation) -> None:
    for command in ("serve", "worker"):
        done = installation.command(command)
        assert done.exit_code == 1
        assert done.stderr.splitlines()[-1] == "Error: The database is not up to date: run `kpay migrate`."


def test_a_database_that_cannot_be_reached_is_one_line(sqlite: Installation) -> None:
    away = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    for words in (("serve",), ("migrate",), ("merchants", "list")):
        done = sqlite.command(*words, KPAY_DATABASE_URL=away)
        assert done.exit_code == 1, words
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith("Error: ")


NO_ADDRESS = "KPAY_HOST takes an address of this machine, or a name of one (also --host)"


@pytest.mark.parametrize("command", ["serve", "dev"])
# The second is of a net that is kept for documents (RFC 5737).
@pytest.mark.parametrize("host", ["nope.invalid", "192.0.2.1"])
def test_a_host_that_is_not_this_machine_is_one_line_that_names_its_setting(
    sqlite: Installation, command: str, host: str
) -> None:
    done = sqlite.migrate().command(command, KPAY_HOST=host, KPAY_PORT="0")
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", f"Error: {NO_ADDRESS}\n")


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_a_port_that_is_taken_is_one_line_that_names_its_setting(sqlite: Installation, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = sqlite.migrate().command(command, KPAY_PORT=port)
    told = f"KPAY_PORT takes a port that is free, 0 for any (also --port): {port} is taken"
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", f"Error: {told}\n")


def test_a_port_that_only_root_may_listen_at_is_the_ports_fault() -> None:
    # Which ports those are differs from machine to machine.
    wrong = _blamed(Settings(port=80), PermissionError(errno.EACCES, "Permission denied"))
    told = "KPAY_PORT takes a port that this process may listen at (also --port): 80 is not"
    assert str(wrong) == told


def test_migrating_twice_is_fine(installation: Installation) -> None:
    installation.migrate()
    installation.migrate()


def wait_for_output(server: Server, wanted: str) -> str:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        if wanted in (printed := server.log.read_text()):
            return printed
        time.sleep(0.02)
    raise AssertionError(server.log.read_text())


def keys_in(printed: str) -> list[str]:
    return re.findall(r"[sp]k_(?:test|live)_[0-9A-Za-z]{36}", printed)


def test_dev_makes_everything_and_prints_a_line_that_works_and_the_same_keys_twice(
    sqlite: Installation, tmp_path: Path
) -> None:
    shown: list[list[str]] = []
    for _ in range(2):
        server = sqlite.start("dev", KPAY_SECRET_KEY=None, KPAY_DATABASE_URL=None)
        server.wait_until_up()
        printed = wait_for_output(server, "Idempotency-Key")
        shown.append(keys_in(printed))
        assert {key[:7] for key in shown[0]} == {"sk_test", "pk_test", "sk_live", "pk_live"}
        assert (tmp_path / "kpay.db").exists()
        pasted = re.search(r"^curl .*?\}'$", printed, re.DOTALL | re.MULTILINE)
        assert pasted
        made = send(pasted[0])
        assert (made.status_code, made.json()["status"]) == (201, "succeeded")
        assert server.stop() == 0
    assert shown[0] == shown[1]
    assert made.headers["idempotent-replayed"] == "true"
    (secret,) = tmp_path.glob("*.secret")
    assert secret.stat().st_mode & 0o077 == 0


def send(line: str) -> httpx.Response:
    """Send a curl line as a shell would read it."""
    _, url, *rest = shlex.split(line.replace("\\\n", " "))
    options = list(zip(rest[::2], rest[1::2], strict=True))
    headers = [tuple(value.split(": ", 1)) for name, value in options if name == "-H"]
    (body,) = (value for name, value in options if name == "-d")
    return httpx.post(url, headers=headers, content=body)  # type: ignore[arg-type]


def charge_late(server: Server, key: str, told: list[Any]) -> threading.Thread:
    """Send a charge whose answer takes 3 s, and wait until it has begun."""

    def charge() -> None:
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "late"}
        body = merged(CHARGE, {"source": {"number": LATE}})
        told.append(httpx.post(f"{server.url}/v1/charges", headers=headers, json=body, timeout=30))

    thread = threading.Thread(target=charge)
    thread.start()
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        headers = {"Authorization": f"Bearer {key}"}
        if httpx.get(f"{server.url}/v1/charges", headers=headers).json()["data"]:
            return thread
    raise AssertionError("the charge was not begun")


def test_sigterm_lets_the_request_in_flight_finish_and_exits_0(sqlite: Installation) -> None:
    server = sqlite.migrate().serve()
    assert httpx.get(f"{server.url}/readyz").json() == {"status": "ready"}
    key = sqlite.merchant()["keys"]["test"]["secret"]
    told: list[httpx.Response] = []
    thread = charge_late(server, key, told)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(START_SECONDS) == 0
    thread.join(START_SECONDS)
    (answer,) = told
    assert (answer.status_code, answer.json()["status"]) == (201, "succeeded")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{server.url}/healthz")


def test_the_own_machine_is_admitted_for_webhooks_where_the_command_line_says_so(
    sqlite: Installation,
) -> None:
    key = sqlite.migrate().merchant()["keys"]["test"]["secret"]
    statuses: list[int] = []
    for options in ((), ("--allow-local-webhooks",)):
        server = sqlite.serve(*options)
        headers = {"Authorization": f"Bearer {key}"}
        body = {"url": "http://127.0.0.1:3000/hooks"}
        statuses.append(
            httpx.post(f"{server.url}/v1/webhook_endpoints", headers=headers, json=body).status_code
        )
    assert statuses == [400, 201]


def start_worker(installation: Installation, *arguments: str) -> tuple[Any, Path]:
    """Start a worker, and wait until it works."""
    log = installation.migrate().folder / "worker.log"
    with log.open("wb") as output:
        worker = installation.process("worker", *arguments, output=output)
    give_up = time.monotonic() + START_SECONDS
    while "working" not in log.read_text() and time.monotonic() < give_up:
        assert worker.poll() is None, log.read_text()
        time.sleep(0.02)
    return worker, log


def test_a_worker_stops_when_told_to_as_from_a_keyboard(sqlite: Installation) -> None:
    worker, log = start_worker(sqlite)
    worker.send_signal(signal.SIGINT)
    assert worker.wait(START_SECONDS) == 0
    assert "Traceback" not in log.read_text()


def test_a_worker_tells_what_it_counts_where_it_is_asked_to(sqlite: Installation) -> None:
    port = free_port()
    worker, log = start_worker(sqlite, "--metrics-port", str(port))
    assert "kpay_drain_failures_total 0.0" in httpx.get(f"http://127.0.0.1:{port}/metrics").text
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(START_SECONDS) == 0
    assert "Traceback" not in log.read_text()


@pytest.mark.anyio
async def test_work_that_fails_ends_its_process_instead_of_leaving_it_idle() -> None:
    async def work() -> None:
        raise RuntimeError("a bug of ours")

    with pytest.raises(RuntimeError, match="a bug of ours"):
        await until_signalled(work())
