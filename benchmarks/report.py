"""What was measured, as plain text: ratios first, then the figures they come from."""

import math
import os
import platform
import sqlite3
import statistics
from collections.abc import Callable, Sequence
from importlib.metadata import version

from benchmarks import audit, deliveries, growth, ledger, memory, ratios
from benchmarks.audit import Audited
from benchmarks.deliveries import Drained, Found
from benchmarks.growth import Grown
from benchmarks.ledger import Cost, Reading, Settling
from benchmarks.load import Result
from benchmarks.memory import Memory
from benchmarks.ratios import TARGET_CLIENTS, TARGETS, Measured

LIBRARIES = ("litestar", "uvicorn", "uvloop", "httptools", "msgspec", "asyncpg", "aiosqlite", "sqlalchemy")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Set a table; the first column is text, the others are numbers."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]).rstrip()

    return "\n".join([line(heads), line(["-" * width for width in widths]), *map(line, rows)])


def environment(postgres: str | None) -> dict[str, str]:
    """Name what the figures depend on."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        **({"PostgreSQL": postgres} if postgres else {}),
        **{name: version(name) for name in LIBRARIES},
    }


def show_environment(facts: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" if name != "machine" else value for name, value in facts.items())


def show_ratios(measured: Sequence[Measured], clients: Sequence[int]) -> str:
    """
    Set the ratios of requests a second, and what one server process's time would allow at 64 clients.

    The latter is the ratio to expect where nothing but the server's own core is short.
    """
    rows: list[list[str]] = []
    for target in TARGETS:
        found = {many: ratios.ratio(measured, target, many, lambda it: it.rate) for many in clients}
        if not any(found.values()):
            continue
        at_target = found.get(TARGET_CLIENTS)
        by_time = ratios.ratio(measured, target, TARGET_CLIENTS, speed)
        verdict = "" if at_target is None else "reached" if at_target >= target.least else "FALLS SHORT"
        cells = [f"{value:.2f}" if value else "-" for value in (*found.values(), by_time)]
        rows.append(
            [f"{target.operation} {target.name} / {target.peer}", *cells, f"{target.least:.2f}", verdict]
        )
    heads = ["requests a second, ratio", *map(plural, clients), f"by server time at {TARGET_CLIENTS}"]
    return table([*heads, f"least at {TARGET_CLIENTS}", ""], rows)


def speed(result: Result) -> float | None:
    """Return the requests that a second of the server's processor time is good for."""
    return 1e6 / result.server_cpu_us if result.server_cpu_us else None


def plural(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"


def show_figures(measured: Sequence[Measured]) -> str:
    """Set the medians over the rounds. Processor time is in microseconds per request."""
    groups: dict[tuple[str, str, int], list[Result]] = {}
    for each in measured:
        groups.setdefault((each.operation, each.name, each.clients), []).append(each.result)
    rows = [
        [
            f"{operation} {name}",
            str(clients),
            f"{median(results, lambda it: it.rate):,.0f}",
            f"{median(results, lambda it: it.p50_ms):.2f}",
            f"{median(results, lambda it: it.p99_ms):.2f}",
            whole(median(results, lambda it: it.server_cpu_us)),
            whole(median(results, lambda it: it.postgres_cpu_us)),
            whole(median(results, lambda it: it.load_cpu_us)),
        ]
        for (operation, name, clients), results in groups.items()
    ]
    heads = ["", "clients", "a second", "p50 ms", "p99 ms", "server µs", "postgres µs", "load µs"]
    return table(heads, rows)


def show_others(results: Sequence[Result]) -> str:
    """Tell how much of the machine others used. Where that is more than a few percent, the figures say little."""
    shares = [result.others for result in results]
    return f"Other processes used {statistics.median(shares):.0%} of the machine (median), {max(shares):.0%} at most."


def median(results: Sequence[Result], take: Callable[[Result], float | None]) -> float:
    """Return the median of what was measured; NaN where nothing was."""
    values = [value for each in results if (value := take(each)) is not None]
    return statistics.median(values) if values else float("nan")


def whole(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:,.0f}"


def cpu(result: Result) -> float:
    """Return the processor time of the server and of its database together."""
    return (result.server_cpu_us or 0.0) + (result.postgres_cpu_us or 0.0)


def show_growth(grown: Sequence[Grown], sizes: tuple[int, int]) -> str:
    rows: list[list[str]] = []
    groups: dict[tuple[str, str], list[Grown]] = {}
    for each in grown:
        groups.setdefault((each.database, each.what), []).append(each)
    for (database, what), rounds in groups.items():
        times = growth.growth(rounds, lambda it: it.p50_ms)
        rows.append(
            [
                f"{what} {database}",
                *(f"{median([it.small for it in rounds], lambda it: it.p50_ms):.2f}",),
                *(f"{median([it.large for it in rounds], lambda it: it.p50_ms):.2f}",),
                f"{times:.2f}",
                f"{growth.growth(rounds, cpu):.2f}",
                "reached" if times <= growth.MOST else "FALLS SHORT",
            ]
        )
    small, large = (f"p50 ms at {size:,}" for size in sizes)
    return table(["", small, large, "ratio", "ratio of processor time", f"at most {growth.MOST}"], rows)


def show_deliveries(found: Found) -> str:
    """Set what was measured of deliveries: by wall clock, and by processor time, which is what a core carries."""
    groups: dict[str, list[Drained]] = {}
    for each in found.drained:
        groups.setdefault(each.name, []).append(each)
    drained: list[list[str]] = []
    for name, rounds in groups.items():
        by_time = statistics.median(it.bare.cpu_us / it.cpu_us for it in rounds if it.bare)
        cells = [
            f"{statistics.median(it.rate for it in rounds):,.0f}",
            f"{statistics.median(it.rate / it.bare.rate for it in rounds if it.bare):.2f}",
            f"{statistics.median(it.cpu_us for it in rounds):,.0f}",
            f"{statistics.median(it.bare.cpu_us for it in rounds if it.bare):,.0f}",
            f"{by_time:.2f}",
            f"{max(it.memory_mib for it in rounds):.0f}",
        ]
        verdict = "reached" if by_time >= deliveries.LEAST_RATIO else "FALLS SHORT"
        drained.append([name, *cells, f"{deliveries.LEAST_RATIO:.2f}", verdict])
    heads = [
        "deliveries",
        "a second",
        "of bare",
        "worker µs",
        "bare µs",
        "by worker time",
        "MiB",
        "least",
        "",
    ]
    parts = [table(heads, drained)]
    late = [
        [
            each.name,
            f"{each.rate:,.0f}",
            f"{each.events:,}",
            f"{each.p50_ms:,.0f}",
            f"{each.p99_ms:,.0f}",
            f"{deliveries.most_p99(each.name):,.0f}",
            "reached" if each.p99_ms <= deliveries.most_p99(each.name) else "FALLS SHORT",
        ]
        for each in found.delays
    ]
    parts.append(table(["commit to receipt", "a second", "events", "p50 ms", "p99 ms", "most", ""], late))
    dear = [
        [
            each.name,
            f"{each.without_us:,.0f}",
            f"{each.with_us:,.0f}",
            f"{each.with_us / each.without_us:.2f}",
            f"{deliveries.MOST_COST:.2f}",
            "reached" if each.with_us <= each.without_us * deliveries.MOST_COST else "FALLS SHORT",
        ]
        for each in found.costs
    ]
    heads = ["server µs of a charge", "no endpoint", "an endpoint", "ratio", "most", ""]
    parts += [table(heads, dear)] if dear else []
    if found.backlogs:
        first = found.backlogs[0].drained.rate
        rows = [
            [
                f"{each.waiting:,} waiting",
                f"{each.drained.rate:,.0f}",
                f"{each.drained.rate / first:.2f}",
                "reached" if each.drained.rate >= first * deliveries.LEAST_OF_SMALL else "FALLS SHORT",
            ]
            for each in found.backlogs
        ]
        parts.append(table(["backlog", "a second", f"least {deliveries.LEAST_OF_SMALL:.2f}", ""], rows))
    return "\n\n".join(parts)


def show_ledger(found: ledger.Found) -> str:
    """Set what was measured of the ledger, each figure beside what was promised of it."""
    return "\n\n".join(
        [
            _show_costs(found.costs),
            _show_settlings(found.settlings),
            _show_readings(
                "GET /v1/payouts/{id}", found.payouts, ledger.MOST_PAYOUT_MS, ledger.MOST_PAYOUT_MIB
            ),
            _show_readings("GET /v1/balance", found.balances, ledger.MOST_BALANCE_MS, None),
        ]
    )


def _show_costs(costs: Sequence[Cost]) -> str:
    groups: dict[tuple[str, int], list[Cost]] = {}
    for each in costs:
        groups.setdefault((each.database, each.clients), []).append(each)
    rows: list[list[str]] = []
    for (database, clients), rounds in groups.items():
        kept, bare = [it.ledger for it in rounds], [it.bookless for it in rounds]
        cells = [
            f"{median(results, take):,.0f}"
            for take in (lambda it: it.server_cpu_us, lambda it: it.postgres_cpu_us, lambda it: it.rate)
            for results in (bare, kept)
        ]
        rows.append(
            [
                f"{database}, {plural(clients)}",
                *(cell.replace("nan", "-") for cell in cells),
                f"{min(map(ledger.ratio_of, rounds)):.2f}-{max(map(ledger.ratio_of, rounds)):.2f}",
                f"{ledger.ratio(rounds):.2f}",
                f"{ledger.MOST_COST:.2f}",
                verdict(ledger.ratio(rounds) <= ledger.MOST_COST),
            ]
        )
    heads = ["server µs of a charge", "no ledger", "ledger", "postgres µs", "ledger", "a second", "ledger"]
    return table([*heads, "range", "ratio", "most", ""], rows)


def _show_settlings(settlings: Sequence[Settling]) -> str:
    least: dict[str, float] = {}
    rows: list[list[str]] = []
    for each in settlings:
        done = each.settled
        least.setdefault(each.database, done.most_mib)
        share = each.statement_seconds / done.seconds
        fits = done.most_mib <= least[each.database] * ledger.MOST_GROWTH
        rows.append(
            [
                f"{each.database}, {each.lines:,} lines",
                f"{done.payouts:,}",
                f"{done.seconds:.1f}",
                f"{done.cpu_seconds:.1f}",
                f"{each.lines / done.seconds:,.0f}",
                f"{each.lines / each.statement_seconds:,.0f}",
                f"{share:.2f}",
                f"{ledger.LEAST_OF_STATEMENT:.2f}",
                verdict(share >= ledger.LEAST_OF_STATEMENT),
                f"{done.before_mib:.0f}",
                f"{done.most_mib:.0f}",
                "flat" if fits else "GROWS",
            ]
        )
    heads = [
        "settling",
        "payouts",
        "s",
        "of processor",
        "lines/s",
        "statement's rows/s",
        "ratio",
        "least",
        "",
    ]
    return table([*heads, "MiB at start", "most", ""], rows)


def _show_readings(what: str, readings: Sequence[Reading], most_ms: float, most_mib: float | None) -> str:
    rows: list[list[str]] = []
    for each in readings:
        result, grown = each.result, each.after_mib - each.before_mib
        promised = result.requests > 1
        kept = result.p99_ms <= most_ms and (most_mib is None or grown <= most_mib)
        rows.append(
            [
                f"{each.database}, {each.what}",
                f"{result.requests}",
                f"{result.p50_ms:.1f}",
                f"{result.p99_ms:.1f}",
                f"{most_ms:.0f}" if promised else "-",
                f"{(result.server_cpu_us or 0) / 1000:.1f}",
                f"{each.before_mib:.0f}",
                f"{grown:+.0f}",
                f"{most_mib:.0f}" if most_mib else "-",
                f"{each.most_mib:.0f}",
                verdict(kept) if promised else "",
            ]
        )
    heads = [what, "requests", "p50 ms", "p99 ms", "most", "server ms"]
    return table([*heads, "MiB before", "grown by", "most", "peak", ""], rows)


def verdict(reached: bool) -> str:
    return "reached" if reached else "FALLS SHORT"


def show_memory(measured: Sequence[Memory]) -> str:
    heads = [
        "MiB",
        "start",
        *(f"{(number + 1) * 100 // memory.STEPS} %" for number in range(memory.STEPS)),
        "most",
        "",
    ]
    rows = [
        [
            f"{each.database}, {each.charges:,} charges",
            f"{each.before_mib:.0f}",
            *(f"{value:.0f}" for value in each.after_mib),
            f"{each.most_mib:.0f}",
            "reached" if each.most_mib < memory.MOST_MIB else "FALLS SHORT",
        ]
        for each in measured
    ]
    return table(heads, rows)


def show_audit(measured: Sequence[Audited]) -> str:
    """Set the audits of each database, the small one first; processor time is that of the command."""
    rows: list[list[str]] = []
    for small, large in zip(measured[::2], measured[1::2], strict=True):
        is_flat = large.most_mib <= small.most_mib * audit.MOST_GROWTH
        verdict = "reached" if is_flat and large.seconds <= audit.MOST_SECONDS else "FALLS SHORT"
        rows += [audit_row(small, ""), audit_row(large, verdict)]
    return table(["audit", "seconds", "processor seconds", "most MiB", ""], rows)


def audit_row(each: Audited, verdict: str) -> list[str]:
    name = f"{each.database}, {each.transfers:,} transfers"
    return [name, f"{each.seconds:.1f}", f"{each.cpu_seconds:.1f}", f"{each.most_mib:.0f}", verdict]
