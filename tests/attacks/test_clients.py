"""Two thousand slow clients at a real server: whoever is honest is answered, and in the end all of them are closed."""

import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from kpay_adapters.testing import CHARGE
from kpay_http import body
from kpay_http.deadlines import DeadlineProtocol
from tests.attacks.crowds import Crowd, Habit
from tests.attacks.memory import MIB, resident_bytes
from tests.attacks.target import NO_ANSWER
from tests.attacks.wire import JSON
from tests.servers import Installation, Server

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]

CLIENTS = 2000

# On both sides of each socket; the rest is files and libraries.
FILES = CLIENTS + 500

# The longest that anybody is waited for: a body, and then the rest of it after it was refused.
LONGEST_SECONDS = body.DEADLINE_SECONDS + DeadlineProtocol.head_seconds
# What the server may be behind with two thousand sockets, on a machine that does other things too.
LATE_SECONDS = 30

# What may wait for a client in the server's memory: as much as a request may have, and no answer of its own.
MAX_BYTES_EACH = 64 * 1024

LARGE = "/docs/swagger-ui-bundle.js"


def habits(key: str) -> list[Habit]:
    bearer = b"Authorization: Bearer " + key.encode() + b"\r\n"
    charge = b"POST /v1/charges HTTP/1.1\r\n" + JSON + bearer + b"Content-Length: 60000\r\n\r\n{"
    chunked = charge.removesuffix(b"{").replace(b"Content-Length: 60000", b"Transfer-Encoding: chunked")
    large = b"GET " + LARGE.encode() + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    return [
        Habit(name="says nothing"),
        Habit(name="drips headers", first=b"POST /v1/charges HTTP/1.1\r\nHost: a\r\n", drip=b"X: a\r\n"),
        Habit(name="drips one header", first=b"GET /v1/charges HTTP/1.1\r\nHost: ", drip=b"a"),
        Habit(name="drips empty lines", drip=b"\r\n"),
        Habit(name="drips a body", first=charge, drip=b" "),
        Habit(name="drips chunks", first=chunked, drip=b"1\r\n \r\n"),
        Habit(name="drips a body nobody waits for", first=charge.replace(b"sk_test", b"sk_tesk"), drip=b" "),
        Habit(name="is half open", first=charge, half_closes=True),
        Habit(name="stays after its answer", first=b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"),
        Habit(name="reads no answer", first=large * 8, reads=False),
    ]


class Honest(threading.Thread):
    """Charges and lists all the while, and notes what came of it and how long it took."""

    def __init__(self, server: Server, key: str) -> None:
        super().__init__()
        self._server, self._key = server, key
        self._enough = threading.Event()
        self.statuses: list[int] = []
        self.slowest_seconds = 0.0

    def run(self) -> None:
        headers = {"Authorization": f"Bearer {self._key}"}
        with httpx.Client(base_url=self._server.url, headers=headers, timeout=30) as client:
            while not self._enough.wait(0.1):
                started = time.monotonic()
                try:
                    self.statuses.append(client.post("/v1/charges", json=CHARGE).status_code)
                    self.statuses.append(client.get("/v1/charges?limit=1").status_code)
                except httpx.TransportError:
                    self.statuses.append(NO_ANSWER)
                self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - started)

    def stop(self) -> None:
        self._enough.set()
        self.join()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Server, str]]:
    """A server of its own, since its memory is measured."""
    with enough_files(), Installation(tmp_path, f"sqlite:///{tmp_path}/kpay.db") as installation:
        key = installation.migrate().merchant()["keys"]["test"]["secret"]
        yield installation.serve(), key


@contextmanager
def enough_files() -> Iterator[None]:
    """Let this process and its children open as many files as it takes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        pytest.skip(f"only {hard} files may be open here")
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_two_thousand_slow_clients_keep_nobody_waiting_and_are_closed(
    server: tuple[Server, str], tell: Callable[[str], None]
) -> None:
    running, key = server
    each = habits(key)
    size = len(httpx.get(running.url + LARGE).content)
    before = most = resident_bytes(running.process.pid)
    honest = Honest(running, key)
    with Crowd(running.port) as crowd:
        for habit in each:
            crowd.join(habit, count=CLIENTS // len(each))
        honest.start()
        for left in crowd.seconds(LONGEST_SECONDS + LATE_SECONDS):
            most = max(most, resident_bytes(running.process.pid))
            if left == CLIENTS // len(each):
                # Those who do not read do not learn that they were closed, and those who wait learn it last.
                break
        honest.stop()
        for client in crowd.clients:
            if not client.is_closed:
                client.read_to_the_end(seconds=LATE_SECONDS)
        open_still = {client.habit.name for client in crowd.clients if not client.is_closed}
        taken = max(len(client.received) for client in crowd.clients if not client.habit.reads)
    growth = most - before
    tell(
        f"{CLIENTS:,} slow clients: memory grew by {growth / MIB:.0f} MiB; {len(honest.statuses)} honest requests,"
        f" the slowest two in {honest.slowest_seconds:.2f} s"
    )
    assert not open_still
    assert taken < 8 * size, "whoever reads nothing must not be served to the end"
    assert set(honest.statuses) == {200, 201}
    assert len(honest.statuses) > 20
    assert growth < CLIENTS * MAX_BYTES_EACH
    assert httpx.get(running.url + "/readyz").status_code == 200
    assert "Traceback" not in running.log.read_text()
