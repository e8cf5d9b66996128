"""
A deterministic simulation: the real core under a seeded scheduler, with every fault that has a name.

Two processes, three merchants' worlds, a network and a bank are driven call by call, without an event loop. Each run
is made by its seed alone; the laws are held against every commit, and against everything once it has come to rest.

    result = simulate(Campaign(seeds=1_000))
    if result.failure is not None:
        print(shorten(Runner(), result.failure))
"""

from kpay_adapters.simulation.campaigns import Campaign, Result, cores, simulate
from kpay_adapters.simulation.draws import History
from kpay_adapters.simulation.draws import read as read_history
from kpay_adapters.simulation.draws import write as write_history
from kpay_adapters.simulation.faults import EVERY_FAULT, Fault
from kpay_adapters.simulation.runs import STEPS, Failure, Runner
from kpay_adapters.simulation.shrinking import shorten

__all__ = [
    "EVERY_FAULT",
    "STEPS",
    "Campaign",
    "Failure",
    "Fault",
    "History",
    "Result",
    "Runner",
    "cores",
    "read_history",
    "shorten",
    "simulate",
    "write_history",
]
