"""The bare synchronous loop on SQLite, on a database that one real charge was made in."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from benchmarks import servers, subjects
from benchmarks.load import Result
from benchmarks.processes import finish
from kpay_adapters.sql.engines import sqlite_path


class Loop(msgspec.Struct, kw_only=True):
    """A migrated database file, and the charge that is copied in it."""

    file: str
    charge: str
    # Counted up, so that no two runs make the same ids.
    written: int = 0

    def run(self, *, seconds: float) -> Result:
        """Write charges for a while, in a process of its own."""
        program = [sys.executable, "-m", "benchmarks.programs.sqlite_loop"]
        told = finish([*program, self.file, self.charge, str(self.written), str(seconds)])
        result = msgspec.json.decode(told, type=Result)
        self.written += result.requests
        return result


@contextmanager
def ready() -> Iterator[Loop]:
    """Make the database."""
    with servers.installed(None) as here:
        with servers.serving(here) as server:
            (charge,) = subjects.prepare(server, kept=1).charges
        file = sqlite_path(here.database_url)
        assert file is not None, "a database without a server is a file"
        yield Loop(file=file, charge=json.loads(charge)["id"])
