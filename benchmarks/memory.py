"""Memory: what one server process holds while 100,000 charges go through it."""

from collections.abc import Callable

import msgspec

from benchmarks import servers, subjects
from benchmarks.processes import memory_mib
from benchmarks.subjects import FILLING_CLIENTS

STEPS = 10

# The promise.
MOST_MIB = 200


class Memory(msgspec.Struct, kw_only=True):
    """How much a server held before the first charge, after each tenth of them, and at most."""

    database: str
    charges: int
    before_mib: float
    after_mib: list[float]
    most_mib: float


def go(database: str, postgres: str | None, *, charges: int, tell: Callable[[str], None]) -> Memory:
    """Make charges by 64 clients, and look at the server's memory."""
    step = charges // STEPS
    after: list[float] = []
    with servers.kpay(postgres) as server:
        before = memory_mib(server.pid)
        subject = subjects.prepare(server)
        for number in range(1, STEPS + 1):
            subject.measure("charge", clients=FILLING_CLIENTS, count=step)
            after.append(memory_mib(server.pid))
            tell(f"{database} after {number * step:,} charges: {after[-1]:.0f} MiB")
        return Memory(
            database=database,
            charges=charges,
            before_mib=before,
            after_mib=after,
            most_mib=memory_mib(server.pid, "VmHWM"),
        )
