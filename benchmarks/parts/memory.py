"""Memory: what one server process holds while a million charges go through it."""

from collections.abc import Callable, Sequence

import msgspec

from benchmarks import servers, subjects
from benchmarks.figures import over_rounds
from benchmarks.parts import Findings, Setting
from benchmarks.processes import memory_mib
from benchmarks.subjects import FILLING_CLIENTS
from benchmarks.tables import table

STEPS = 10

# What is aimed at is told of so many; it takes half an hour, so `--charges` decides how many are made.
CHARGES = 1_000_000
MOST_MIB = 150
QUICK_CHARGES = 5_000


class Memory(msgspec.Struct, kw_only=True):
    """How much a server held before the first charge, after each tenth of them, and at most."""

    database: str
    charges: int
    before_mib: float
    after_mib: list[float]
    most_mib: float


def watch(database: str, postgres: str | None, *, charges: int, tell: Callable[[str], None]) -> Memory:
    """Make charges by 64 clients, and look at the server's memory."""
    step = charges // STEPS
    after: list[float] = []
    with servers.kpay(postgres) as server:
        before = memory_mib(server.pid)
        subject = subjects.prepare(server)
        for number in range(1, STEPS + 1):
            subject.charge(clients=FILLING_CLIENTS, count=step)
            after.append(memory_mib(server.pid))
            tell(f"{database} after {number * step:,} charges: {after[-1]:.0f} MiB")
        return Memory(
            database=database,
            charges=charges,
            before_mib=before,
            after_mib=after,
            most_mib=memory_mib(server.pid, "VmHWM"),
        )


def go(setting: Setting) -> Findings:
    """Watch a server on each database."""
    charges = QUICK_CHARGES if setting.quick else setting.charges
    found = [watch(name, url, charges=charges, tell=setting.tell) for name, url in setting.places()]
    findings = Findings(results=found, tables=[show(found)])
    for each in found:
        # Memory that is too much after fewer charges is too much.
        enough = charges >= CHARGES or each.most_mib > MOST_MIB
        note = "" if enough else f"measured with {charges:,} charges"
        # The most it ever held: a peak that nobody saw counts, too.
        figure = over_rounds([each.most_mib])
        findings.note(f"memory after {CHARGES:,} charges, {each.database}", figure, note=note)
    return findings


def show(found: Sequence[Memory]) -> str:
    steps = [f"{(number + 1) * 100 // STEPS} %" for number in range(STEPS)]
    rows = [
        [
            f"{each.database}, {each.charges:,} charges",
            *(f"{value:.0f}" for value in (each.before_mib, *each.after_mib, each.most_mib)),
        ]
        for each in found
    ]
    return table(["MiB", "start", *steps, "most"], rows)
