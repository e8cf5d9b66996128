"""
What people would use instead, as it is installed by its own package manager: localstripe and stripe-stateful-mock.

They are no part of this project: they are installed at run time, into a folder of the benchmarks' own, and where they
cannot be had there, they are left out.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import quote

import msgspec

from benchmarks.databases import folder
from benchmarks.load import Result
from benchmarks.processes import ROOT, running
from benchmarks.samples import KEY
from benchmarks.servers import Server, free_port, wait_for
from benchmarks.subjects import Subject

# Beside the environments of the checks, which are no part of the tree either.
HOME = ROOT / ".nox" / "peers"

LOCALSTRIPE = "localstripe==1.15.10"
STATEFUL_MOCK = "stripe-stateful-mock@0.0.16"

# Forty packages come over the network, or none: a client that hangs is no client.
INSTALL_SECONDS = 240

SECRET_KEY = "sk_test_" + "b" * 24
FIELDS = {"amount": "4999", "currency": "usd", "description": "Order #1024", "metadata[order_id]": "1024"}


class NotToBeHad(Exception):
    """A peer that cannot be installed or started here."""


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """A peer that runs, and how its charge is made."""

    subject: Subject
    charge_request: str

    def charge(self, *, clients: int, seconds: float = 0.0, count: int = 0) -> Result:
        """Make charges with a test card, each under an idempotency key of its own, whether that is looked at or not."""
        self.subject.runs += 1
        return self.subject.send(
            [self.charge_request],
            clients=clients,
            seconds=seconds,
            count=count,
            key_prefix=f"new-{self.subject.runs}-",
        )

    def page(self, *, clients: int, seconds: float, limit: int) -> Result:
        """Read the first page of all charges."""
        return self.subject.page(f"/v1/charges?limit={limit}", clients=clients, seconds=seconds)


def form_request(path: str, fields: Mapping[str, str]) -> str:
    """Write a request as these peers take it; its key is left open."""
    body = "&".join(f"{quote(name)}={quote(value)}" for name, value in fields.items())
    return (
        f"POST {path} HTTP/1.1\r\n"
        "Host: 127.0.0.1\r\n"
        f"Authorization: Bearer {SECRET_KEY}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Idempotency-Key: {KEY}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
        f"{body}"
    )


@contextmanager
def localstripe(charges: int = 0) -> Iterator[Peer]:
    """Run localstripe with so many charges in it."""
    python = install_localstripe()
    program = ROOT / "benchmarks" / "programs" / "localstripe_at.py"
    with (
        folder() as where,
        serving("localstripe", [python, program, where / "store"], [str(charges)]) as server,
    ):
        subject = Subject(server=server, charges=[])
        (answer,) = subject.page("/v1/customers", clients=1, count=1, collect=True).answers
        customer = msgspec.json.decode(answer)["data"][0]["id"]
        request = form_request("/v1/charges", {**FIELDS, "customer": customer})
        yield Peer(subject=subject, charge_request=request)


@contextmanager
def stateful_mock() -> Iterator[Peer]:
    """Run stripe-stateful-mock, which keeps everything in memory. It logs requests only where it is asked to."""
    node, program = install_stateful_mock()
    with serving("stripe-stateful-mock", [node, program]) as server:
        request = form_request("/v1/charges", {**FIELDS, "source": "tok_visa"})
        yield Peer(subject=Subject(server=server, charges=[]), charge_request=request)


@contextmanager
def serving(name: str, command: Sequence[str | Path], after: Sequence[str] = ()) -> Iterator[Server]:
    """Run a peer at a free port, which it is told as an argument before the others, and in its environment."""
    port = free_port()
    words = [*map(str, command), str(port), *after]
    with running(words, environment={"PORT": str(port)}) as process:
        wait_for(port, process)
        yield Server(name=name, ports=(port,), pids=(process.pid,), secret_key=SECRET_KEY)


@cache
def install_localstripe() -> Path:
    """Return the Python of an environment with localstripe; raises `NotToBeHad`."""
    home = HOME / "localstripe"
    python = home / "bin" / "python"
    if not is_made(home, LOCALSTRIPE):
        call(sys.executable, "-m", "venv", "--clear", home)
        call(python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", LOCALSTRIPE)
        make_stamp(home, LOCALSTRIPE)
    return python


@cache
def install_stateful_mock() -> tuple[str, Path]:
    """Return Node.js, and the program of stripe-stateful-mock; raises `NotToBeHad`."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NotToBeHad("Node.js and npm are not installed")
    home = HOME / "stripe-stateful-mock"
    if not is_made(home, STATEFUL_MOCK):
        home.mkdir(parents=True, exist_ok=True)
        call(npm, "install", "--silent", "--no-fund", "--no-audit", "--prefix", home, STATEFUL_MOCK)
        make_stamp(home, STATEFUL_MOCK)
    return node, home / "node_modules" / "stripe-stateful-mock" / "dist" / "cli.js"


def is_made(home: Path, what: str) -> bool:
    """Tell whether an installation of exactly this was finished."""
    stamp = home / "installed"
    return stamp.exists() and stamp.read_text() == what


def make_stamp(home: Path, what: str) -> None:
    """Note what was installed; done last, so that a broken installation is made again."""
    (home / "installed").write_text(what)


def call(*command: str | Path) -> None:
    """Run an installation; raises `NotToBeHad`."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=INSTALL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise NotToBeHad(str(failure)) from failure
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise NotToBeHad(said[-1] if said else f"{command[0]} ended with {done.returncode}")
