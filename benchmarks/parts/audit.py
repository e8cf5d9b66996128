"""Audit: how long `kpay audit` takes over a million transfers, and what it holds in memory meanwhile."""

import os
import resource
import time
from collections.abc import Mapping, Sequence

import msgspec

from benchmarks import databases, history, servers
from benchmarks.figures import over_rounds
from benchmarks.parts import Findings, Setting
from benchmarks.processes import Failed, running
from benchmarks.tables import table

SIZES, QUICK_SIZES = (250_000, 1_000_000), (10_000, 40_000)


class Audited(msgspec.Struct, kw_only=True):
    """An audit of so many transfers: how long it took from the command line on, and the most it held."""

    database: str
    transfers: int
    seconds: float
    cpu_seconds: float
    most_mib: float


def run_audit(environment: Mapping[str, str]) -> tuple[float, resource.struct_rusage]:
    """Run the command to its end; return its seconds, and what its process used."""
    began = time.monotonic()
    with running([*servers.KPAY, "audit"], environment=environment) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise Failed(f"kpay audit ended with {process.returncode}")
    return time.monotonic() - began, usage


def measure(setting: Setting, sizes: Sequence[int]) -> list[Audited]:
    """Fill databases with so many transfers, and audit each."""
    audited: list[Audited] = []
    for name, url in setting.places():
        for transfers in sizes:
            with databases.fresh(url) as database:
                environment = servers.settings(database)
                merchant, _ = servers.make_merchant(environment)
                history.fill(database, merchant, charges=transfers // len(history.KINDS))
                setting.tell(f"{name} holds {transfers:,} transfers")
                seconds, usage = run_audit(environment)
            audited.append(
                Audited(
                    database=name,
                    transfers=transfers,
                    seconds=seconds,
                    cpu_seconds=usage.ru_utime + usage.ru_stime,
                    most_mib=usage.ru_maxrss / 1024,
                )
            )
            setting.tell(f"audited in {seconds:.1f} s, {audited[-1].most_mib:.0f} MiB")
    return audited


def go(setting: Setting) -> Findings:
    """Audit a small history and a large one on each database."""
    sizes = QUICK_SIZES if setting.quick else SIZES
    found = measure(setting, sizes)
    findings = Findings(results=found, tables=[show(found)])
    note = "" if sizes == SIZES else f"measured with {sizes[0]:,} and {sizes[1]:,} transfers"
    for small, large in zip(found[::2], found[1::2], strict=True):
        seconds, growth = over_rounds([large.seconds]), over_rounds([large.most_mib / small.most_mib])
        findings.note(f"audit of 1,000,000 transfers {large.database}", seconds, note=note)
        findings.note(
            f"memory of an audit {large.database}, 1,000,000 / 250,000 transfers", growth, note=note
        )
    return findings


def show(found: Sequence[Audited]) -> str:
    """Set the audits; processor time is that of the command."""
    rows = [
        [
            f"{each.database}, {each.transfers:,} transfers",
            *(f"{value:.1f}" for value in (each.seconds, each.cpu_seconds)),
            f"{each.most_mib:.0f}",
        ]
        for each in found
    ]
    return table(["audit", "seconds", "processor seconds", "most MiB"], rows)
