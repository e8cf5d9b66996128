"""
Sweeping, in a process of its own: what is unfinished is looked at, round after round until nothing is due.

    python -m benchmarks.programs.sweeping
"""

import asyncio

import uvloop

from kpay_core import Kpay
from kpay_http import compose
from kpay_http.settings import read_settings
from kpay_http.working import SWEEPERS


async def sweep(kpay: Kpay) -> None:
    while (await kpay.sweep()).looked_at:
        pass


async def run() -> None:
    settings = read_settings()
    secret = compose.secret_of(settings, make=False)
    async with compose.open_kpay(settings, secret) as opened:
        await asyncio.gather(*(sweep(opened.kpay) for _ in range(SWEEPERS)))


if __name__ == "__main__":
    uvloop.run(run())
