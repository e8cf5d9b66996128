"""
Settling, in a process of its own: the payouts that are due are made, round after round until none is.

    python -m benchmarks.programs.settling

It prints how long that took, and what it held in memory.
"""

import os
import sys
import time

import msgspec
import uvloop

from benchmarks.processes import memory_mib
from kpay_core import Kpay
from kpay_core.domain.ledger import Book
from kpay_core.flows import booking
from kpay_core.query import Query
from kpay_http import compose
from kpay_http.settings import read_settings


class Settled(msgspec.Struct, kw_only=True):
    """What was done, and its cost: seconds of the clock and of this process's processor, and memory."""

    payouts: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    before_mib: float = 0.0
    most_mib: float = 0.0


async def carry_forward(kpay: Kpay) -> None:
    """Write the totals of all turned sheets, as those do who turn them."""
    last = ""
    while books := await kpay.store.find(Query(kind=Book, where=(("id", ">", last),), limit=1_000)):
        for book in books:
            await booking.carry_forward(kpay, book)
        last = books[-1].id


async def settle(kpay: Kpay) -> Settled:
    done = Settled(before_mib=memory_mib(os.getpid()))
    began, used = time.perf_counter(), time.process_time()
    while (round := await kpay.settle()).merchants or round.failed:
        if round.failed:
            sys.exit(f"settling failed for {', '.join(round.failed[:3])}")
        done.payouts += round.payouts
    done.seconds, done.cpu_seconds = time.perf_counter() - began, time.process_time() - used
    done.most_mib = memory_mib(os.getpid(), "VmHWM")
    return done


async def run() -> Settled:
    settings = read_settings()
    secret = compose.secret_of(settings, make=False)
    async with compose.open_kpay(settings, secret) as opened:
        await carry_forward(opened.kpay)
        return await settle(opened.kpay)


if __name__ == "__main__":
    print(msgspec.json.encode(uvloop.run(run())).decode())
