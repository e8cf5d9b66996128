"""The command line of the benchmarks."""

import argparse
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import audit, databases, deliveries, growth, ledger, memory, ratios, report
from benchmarks.processes import Failed
from tests.backends import Missing, postgres, redis


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="How fast K-Payments is.")
    parser.add_argument(
        "what",
        nargs="?",
        choices=["ratios", "growth", "memory", "deliveries", "ledger", "audit"],
        default="ratios",
    )
    parser.add_argument("--database", choices=["sqlite", "postgres", "both"], default="both")
    parser.add_argument(
        "--clients", type=numbers, default=[1, 16, 64], metavar="N,N", help="for ratios: 1,16,64"
    )
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="for ratios and ledger: of each measurement (4)"
    )
    parser.add_argument("--rounds", type=int, help="ratios and deliveries 3, ledger 5, growth 7")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single result there, too")
    parser.add_argument(
        "--quick", action="store_true", help="see that it works; the figures are worth little"
    )
    return parser.parse_args(arguments)


def tell(line: str) -> None:
    """Say how far it is, apart from the result."""
    print(f"  {line}", file=sys.stderr, flush=True)


def main() -> None:
    options = read_arguments(sys.argv[1:])
    # A terminated program leaves its blocks as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    began = time.monotonic()
    with ExitStack() as stack:
        names = ["sqlite", "postgres"] if options.database == "both" else [options.database]
        server: str | None = None
        try:
            server = stack.enter_context(postgres()) if "postgres" in names else None
        except Missing as missing:
            tell(f"without PostgreSQL: {missing}")
            names.remove("postgres")
        about = report.environment(databases.version_of(server) if server else None)
        found, text = measure(options, names, server)
    print(f"\n{text}\n\n{report.show_environment(about)}; {time.monotonic() - began:,.0f} s in all")
    if options.json:
        everything = {"environment": about, options.what: found}
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(everything), indent=1))


def measure(options: argparse.Namespace, names: list[str], server: str | None) -> tuple[Any, str]:
    """Measure what was asked for; return the results, and the text that tells them."""
    quick: bool = options.quick
    where = [(name, server if name == "postgres" else None) for name in names]
    match options.what:
        case "growth":
            sizes = (1_000, 2_000) if quick else (1_000, 50_000)
            rounds = options.rounds or (1 if quick else 7)
            grown = [
                each
                for name, url in where
                for each in growth.go(name, url, sizes=sizes, rounds=rounds, tell=tell)
            ]
            others = report.show_others([result for each in grown for result in (each.small, each.large)])
            return grown, f"{report.show_growth(grown, sizes)}\n\n{others}"
        case "memory":
            charges = 10_000 if quick else 100_000
            held = [memory.go(name, url, charges=charges, tell=tell) for name, url in where]
            return held, report.show_memory(held)
        case "deliveries":
            with ExitStack() as stack:
                try:
                    broker = stack.enter_context(redis())
                except Missing as missing:
                    tell(f"without Redis: {missing}")
                    broker = None
                told = deliveries.go(
                    server, broker, quick=quick, rounds=options.rounds or (1 if quick else 3), tell=tell
                )
            return told, report.show_deliveries(told)
        case "ledger":
            rounds = options.rounds or (1 if quick else 5)
            seconds = 1.0 if quick else options.seconds
            booked = ledger.go(where, quick=quick, rounds=rounds, seconds=seconds, tell=tell)
            others = report.show_others(
                [result for each in booked.costs for result in (each.ledger, each.bookless)]
            )
            return booked, f"{report.show_ledger(booked)}\n\n{others}"
        case "audit":
            sizes = (10_000, 40_000) if quick else (250_000, 1_000_000)
            audited = [each for name, url in where for each in audit.go(name, url, sizes=sizes, tell=tell)]
            return audited, report.show_audit(audited)
        case _:
            rounds = options.rounds or (1 if quick else 3)
            with ratios.line_up(names, server, 1.0 if quick else options.seconds) as lines:
                found = ratios.go(lines, clients=options.clients, rounds=rounds, tell=tell)
            # pgbench has no meter of its own, so the rounds' other results tell.
            others = report.show_others([each.result for each in found if each.name != "pgbench"])
            text = (report.show_ratios(found, options.clients), report.show_figures(found), others)
            return found, "\n\n".join(text)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(str(failure))
    except KeyboardInterrupt:
        sys.exit(130)
