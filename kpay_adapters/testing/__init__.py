"""
The kit for tests: a clock that stands still, names that repeat from a seed, ports that crash on purpose.

These are shipped adapters like any other, for our tests and yours. None of them needs an event loop.
"""

from kpay_adapters.testing.clocks import START, FrozenClock, step_aside
from kpay_adapters.testing.couriers import Receiver, ScriptedCourier, accept, answer, break_off, miss
from kpay_adapters.testing.crashes import Crash, Crashing, CrashPoint
from kpay_adapters.testing.ids import SeededIds
from kpay_adapters.testing.making import CHARGE, make_kpay
from kpay_adapters.testing.networks import NewsDesk, ScriptedNetwork, news
from kpay_adapters.testing.shop import Shop, open_shop

__all__ = [
    "CHARGE",
    "START",
    "Crash",
    "CrashPoint",
    "Crashing",
    "FrozenClock",
    "NewsDesk",
    "Receiver",
    "ScriptedCourier",
    "ScriptedNetwork",
    "SeededIds",
    "Shop",
    "accept",
    "answer",
    "break_off",
    "make_kpay",
    "miss",
    "news",
    "open_shop",
    "step_aside",
]
