"""Start: how long a server takes from its command line to the first answer that comes out of its database."""

import json
import socket
import time
from collections.abc import Sequence

import msgspec

from benchmarks import servers
from benchmarks.figures import over_rounds
from benchmarks.parts import Findings, Setting
from benchmarks.processes import Failed, cpu_seconds, running
from benchmarks.samples import get_request
from benchmarks.servers import KPAY, START_SECONDS, Installation, free_port
from benchmarks.subjects import prepare
from benchmarks.tables import table

# How often it is tried to connect: a small part of what is measured.
PAUSE_SECONDS = 0.005


class Started(msgspec.Struct, kw_only=True):
    """One start: seconds of the clock until the first answer, and of the server's processor."""

    database: str
    round: int
    seconds: float
    cpu_seconds: float


def start(here: Installation, request: bytes, number: int) -> Started:
    """Start a server, ask it for a charge until it answers, and stop it."""
    port = free_port()
    began = time.perf_counter()
    with running([*KPAY, "serve", "--port", str(port)], environment=here.environment) as process:
        while not (answer := ask(port, request)):
            if process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                raise Failed("the server did not start")
            time.sleep(PAUSE_SECONDS)
        took, used = time.perf_counter() - began, cpu_seconds(process.pid)
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise Failed(f"the first answer was {answer[:60]!r}")
    return Started(database=here.name, round=number, seconds=took, cpu_seconds=used)


def ask(port: int, request: bytes) -> bytes:
    """Send a request, and return the beginning of its answer; nothing while nobody listens."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS) as connection:
            connection.sendall(request)
            return connection.recv(1024)
    except ConnectionRefusedError:
        return b""


def go(setting: Setting) -> Findings:
    """Start a server on each database, again and again; the first time, which reads from the disk, does not count."""
    found: list[Started] = []
    for name, url in setting.places():
        with servers.installed(url) as here:
            with servers.serving(here) as server:
                charge = json.loads(prepare(server, kept=1).charges[0])
                request = get_request(server.secret_key, f"/v1/charges/{charge['id']}").encode()
            for number in range(1, setting.rounds + 1):
                found.append(start(here, request, number))
                setting.tell(f"start on {name}, round {number}: {found[-1].seconds:.2f} s")
    findings = Findings(results=found, tables=[show(found)])
    for name in setting.databases:
        seconds = [each.seconds for each in found if each.database == name]
        findings.note(f"start to first answer, {name}", over_rounds(seconds))
    return findings


def show(found: Sequence[Started]) -> str:
    rows = [
        [f"{each.database}, round {each.round}", f"{each.seconds:.2f}", f"{each.cpu_seconds:.2f}"]
        for each in found
    ]
    return table(["start to first answer", "seconds", "of processor"], rows)
