"""Processes: charges by two server processes on one PostgreSQL, beside one, in alternating rounds."""

import os
from contextlib import ExitStack
from functools import partial

from benchmarks import servers
from benchmarks.load import Result
from benchmarks.parts import Findings, Setting, others_of
from benchmarks.rounds import Line, Measured, alternate, compare, median, rate, show_measured
from benchmarks.subjects import Subject, prepare

CLIENTS = 64
NAMES = ("charge postgres, one process", "charge postgres, two processes")
GOAL = "charge postgres, two processes / one"
LEAST = 1.5


def go(setting: Setting) -> Findings:
    """Measure one process and two, each on a database of its own."""
    if not setting.postgres or "postgres" not in setting.databases:
        return Findings()

    def charge(subject: Subject, clients: int) -> Result:
        return subject.charge(clients=clients, seconds=setting.seconds)

    with ExitStack() as stack:
        found: list[Line] = []
        for number, name in enumerate(NAMES, start=1):
            here = stack.enter_context(servers.installed(setting.postgres))
            subject = prepare(stack.enter_context(servers.serving(here, processes=number)))
            found.append(Line(name, partial(charge, subject)))
        measured = alternate(found, clients=(CLIENTS,), rounds=setting.rounds, tell=setting.tell)
    one, two = NAMES
    findings = Findings(
        results=measured, tables=[show_measured(measured)], others=others_of([it.result for it in measured])
    )
    room = room_for(measured, one)
    findings.tables.append(
        f"The cores of this machine are enough for {room:.2f} times what one process does, load and database included."
    )
    # Where the machine is full with one process and its load, two can show nothing, whatever they are good for.
    note = f"measured where there is room for {room:.2f} times one process" if room < LEAST else ""
    findings.note(GOAL, compare(measured, two, one, CLIENTS), note=note)
    return findings


def room_for(measured: list[Measured], name: str) -> float:
    """Return how many times the rate of one process this machine's cores could carry at the same cost of a charge."""
    results = [each.result for each in measured if each.name == name]
    costs = (
        median(results, take)
        for take in (lambda it: it.server_cpu_us, lambda it: it.postgres_cpu_us, lambda it: it.load_cpu_us)
    )
    each_us = sum(cost or 0.0 for cost in costs)
    return (os.cpu_count() or 1) * 1e6 / each_us / (median(results, rate) or 1.0)
