"""What goes on without a request, beside the API in one process or in workers of its own: sweeping and delivering."""

import asyncio
from typing import Any

import structlog

from kpay_core.commit import CommitFailed
from kpay_http.system import System

# An unfinished charge is looked at within a second of its time.
PAUSE_SECONDS = 1.0

log: Any = structlog.get_logger("kpay.sweeper")


# A network that hangs holds each look for up to 30 s, so one sweeper alone would fall behind.
SWEEPERS = 8


async def work_for_ever(system: System) -> None:
    """Sweep and deliver until cancelled; what is on its way to a merchant's server then is seen to its end."""
    async with asyncio.TaskGroup() as work:
        work.create_task(sweep_for_ever(system))
        if system.deliver is not None:
            work.create_task(system.deliver())


async def sweep_for_ever(system: System) -> None:
    """Sweep once a second until cancelled, with several sweepers: each look is taken by one of them."""
    async with asyncio.TaskGroup() as sweepers:
        for _ in range(SWEEPERS):
            sweepers.create_task(keep_sweeping(system))
            # Spread over the second, so that something that is due is found sooner, and by one.
            await asyncio.sleep(PAUSE_SECONDS / SWEEPERS)


async def keep_sweeping(system: System) -> None:
    """Sweep round after round. Nothing that a round runs into ends it."""
    while True:
        try:
            await sweep_once(system)
        except CommitFailed as failure:
            log.warning("sweep put off", reason=str(failure))
        except Exception:
            log.exception("sweep failed")
        await asyncio.sleep(PAUSE_SECONDS)


async def sweep_once(system: System) -> None:
    """Sweep one round, to its end also when cancelled; count it, and say which need a person."""
    swept = await system.finish(system.kpay.sweep())
    system.metrics.count_sweep(swept.finished, len(swept.overdue))
    if swept.finished:
        log.info("swept", looked_at=swept.looked_at, finished=swept.finished)
    for id in swept.overdue:
        log.warning("no outcome for 15 minutes", id=id)
