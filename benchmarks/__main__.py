"""The command line of the benchmarks."""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import msgspec

from benchmarks import databases, goals, plot, report
from benchmarks.figures import Figure
from benchmarks.parts import (
    Findings,
    Setting,
    audit,
    beside,
    deliveries,
    footprint,
    ledger,
    memory,
    peers,
    processes,
    ratios,
    rows,
    start,
)
from benchmarks.processes import Failed
from tests.backends import Missing, postgres, redis

Part = Callable[[Setting], Findings]

# What is measured when nothing is named: every path that the service as a whole is judged by.
USUAL: dict[str, Part] = {
    "ratios": ratios.go,
    "rows": rows.go,
    "processes": processes.go,
    "start": start.go,
    "memory": memory.go,
    "beside": beside.go,
    "peers": peers.go,
    "deliveries": deliveries.go,
}
PARTS: dict[str, Part] = {**USUAL, "ledger": ledger.go, "audit": audit.go, "footprint": footprint.go}

# Enough to see that everything works, and no more.
QUICK_SECONDS = 0.5


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    def numbers(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in text.split(","))

    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="How fast K-Payments is.")
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"{', '.join(PARTS)}, or all; without any: {', '.join(USUAL)}",
    )
    parser.add_argument("--database", choices=["sqlite", "postgres", "both"], default="both")
    parser.add_argument("--clients", type=numbers, metavar="N,N", help="for ratios (1,16,64)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement (4)")
    parser.add_argument("--rounds", type=int, default=5, help="of everything that is compared (5)")
    parser.add_argument("--charges", type=int, default=100_000, help="for memory (100,000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single result there, too")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the goals there")
    parser.add_argument(
        "--quick", action="store_true", help="see that it works; the figures are worth little"
    )
    options = parser.parse_args(arguments)
    chosen = list(PARTS) if "all" in options.parts else options.parts or list(USUAL)
    if unknown := [part for part in chosen if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]}; there are {', '.join(PARTS)}, and all")
    options.parts = chosen
    return options


def tell(line: str) -> None:
    """Say how far it is, apart from the result."""
    print(f"  {line}", file=sys.stderr, flush=True)


def found_or_not(stack: ExitStack, server: AbstractContextManager[str]) -> str | None:
    """Return the URL of a server that some parts need; say so where there is none."""
    try:
        return stack.enter_context(server)
    except Missing as missing:
        tell(f"left out: {missing}")
        return None


def setting_of(options: argparse.Namespace, stack: ExitStack) -> Setting:
    """Find the servers, and choose how thorough to be."""
    server = None if options.database == "sqlite" else found_or_not(stack, postgres())
    names = ("sqlite", "postgres") if options.database == "both" else (options.database,)
    quick: bool = options.quick
    return Setting(
        databases=tuple(name for name in names if name == "sqlite" or server),
        postgres=server,
        redis=found_or_not(stack, redis()),
        clients=options.clients or ((16, 64) if quick else (1, 16, 64)),
        seconds=QUICK_SECONDS if quick else options.seconds,
        rounds=1 if quick else options.rounds,
        charges=options.charges,
        quick=quick,
        tell=tell,
    )


def figures_of(found: Mapping[str, Findings], *, quick: bool) -> dict[str, Figure]:
    """Return the figures of all parts; those of a quick look prove nothing."""
    figures = {name: figure for each in found.values() for name, figure in each.figures.items()}
    note = "measured in one short round"
    return {
        name: msgspec.structs.replace(figure, note=figure.note or note) if quick else figure
        for name, figure in figures.items()
    }


def main() -> None:
    options = read_arguments(sys.argv[1:])
    # A terminated program leaves its blocks as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    began = time.monotonic()
    found: dict[str, Findings] = {}
    with ExitStack() as stack:
        setting = setting_of(options, stack)
        about = report.environment(databases.version_of(setting.postgres) if setting.postgres else None)
        for part in options.parts:
            began_part = time.monotonic()
            found[part] = PARTS[part](setting)
            tell(f"{part} took {time.monotonic() - began_part:.0f} s")
            for text in found[part].tables:
                print(f"\n{text}", flush=True)
    judged = goals.judge(figures_of(found, quick=options.quick), found)
    if judged:
        print(f"\n{goals.show_goals(judged)}")
    print(f"\n{report.show_others([share for each in found.values() for share in each.others])}")
    print(f"{report.show_environment(about)}; {time.monotonic() - began:,.0f} s in all")
    if options.json:
        options.json.write_bytes(report.as_json(about, found, judged))
    if options.plot:
        options.plot.write_text(plot.draw(judged, about))


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(str(failure))
    except KeyboardInterrupt:
        sys.exit(130)
