"""
What goes on without a request, beside the API in one process or in workers of its own.

    sweep      unfinished charges, refunds, disputes, payouts and notices are looked at
    settle     news of the network are taken in, funds mature, payouts are made
    deliver    events go to their endpoints
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from kpay_core.commit import CommitFailed
from kpay_http.system import System

# What is due is found within a second of its time.
PAUSE_SECONDS = 1.0

# A network that hangs holds each look for up to 30 s, so one sweeper alone would fall behind.
SWEEPERS = 8

log: Any = structlog.get_logger("kpay.working")


async def work_for_ever(system: System) -> None:
    """Work until cancelled; what is on its way to a merchant's server then is seen to its end."""
    async with asyncio.TaskGroup() as work:
        work.create_task(sweep_for_ever(system))
        work.create_task(keep_on("settling", lambda: settle_once(system)))
        if system.deliver is not None:
            work.create_task(system.deliver())


async def sweep_for_ever(system: System) -> None:
    """Sweep once a second until cancelled, with several sweepers: each look is taken by one of them."""
    async with asyncio.TaskGroup() as sweepers:
        for _ in range(SWEEPERS):
            sweepers.create_task(keep_on("sweeping", lambda: sweep_once(system)))
            # Spread over the second, so that something that is due is found sooner, and by one.
            await asyncio.sleep(PAUSE_SECONDS / SWEEPERS)


async def keep_on(what: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do a round of work once a second. Nothing that a round runs into ends it."""
    while True:
        try:
            await work()
        except CommitFailed as failure:
            log.warning("put off", what=what, reason=str(failure))
        except Exception:
            log.exception("failed", what=what)
        await asyncio.sleep(PAUSE_SECONDS)


async def sweep_once(system: System) -> None:
    """Sweep one round, to its end also when cancelled; count it, and say which need a person."""
    swept = await system.finish(system.kpay.sweep())
    system.metrics.count_sweep(swept.finished, len(swept.overdue))
    if swept.finished:
        log.info("swept", looked_at=swept.looked_at, finished=swept.finished)
    for id in swept.overdue:
        log.warning("needs a person", id=id)


async def settle_once(system: System) -> None:
    """
    Take in news, let all funds mature that are due, and make the payouts that are due.

    Each round of it is seen to its end also when cancelled; those who must change something else get their turn in
    between.
    """
    collected = await system.finish(system.kpay.collect_news())
    charges = payouts = 0
    while (matured := await system.finish(system.kpay.mature())).more:
        charges += matured.charges
    charges += matured.charges
    while (settled := await system.finish(system.kpay.settle())).merchants:
        payouts += settled.payouts
    system.metrics.count_settling(collected.taken, charges, payouts)
    if collected.taken or charges or payouts:
        log.info("settled", news=collected.taken, matured=charges, payouts=payouts)
    for notice in collected.contradicting:
        log.warning("news that contradict what is settled here", notice=notice)
    for book in matured.failed:
        log.warning("maturing put off", book=book)
    for book in settled.waiting:
        log.warning("payouts wait for funds to mature", book=book)
    for book in settled.failed:
        log.warning("payouts put off", book=book)
