"""
Simulates the packages that come first on the path, until a law is broken that somebody waits for.

    python simulating.py [--steps N] [--faults …] [LAW]

What breaks another law is passed over; where none is named, any will do. Prints JSON: the law and what it concerns,
the number of runs, how much of one core they took, and the law that was broken first of all.
"""

import argparse
import json
import sys
import time

from kpay_adapters.simulation import EVERY_FAULT, STEPS, Fault, Runner

FIRST_SEED = 1

# Steps of all runs together that one core makes in ten seconds, at its slowest. Not seconds, so that a slow day changes
# nothing.
ALL_STEPS = 180_000


def faults(given: str) -> tuple[Fault, ...]:
    """Read which faults there are."""
    return () if given == "none" else tuple(map(Fault, given.split(",")))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--faults", type=faults, default=EVERY_FAULT)
    parser.add_argument("law", nargs="?")
    given = parser.parse_args()
    runner = Runner(steps=given.steps, faults=given.faults)
    began, runs = time.process_time(), ALL_STEPS // given.steps
    law, what, first = None, "nothing", None
    for number in range(runs):
        failure = runner.run(FIRST_SEED + number)
        if failure is None:
            continue
        first = first or failure.law
        if given.law in (None, failure.law):
            law, what, runs = failure.law, failure.what, number + 1
            break
    told = {"law": law, "what": what, "runs": runs, "seconds": time.process_time() - began, "first": first}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
