"""The core on its adapters, and all that a process serves or works with."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

from kpay_adapters import ratelimit
from kpay_adapters.drain import Drain
from kpay_adapters.sql.store import SqlStore
from kpay_adapters.system import SystemClock, SystemIds
from kpay_core import Kpay
from kpay_core.commit import CommitFailed
from kpay_core.ports import Wake, wake_nobody
from kpay_http.compose.databases import keyring_of
from kpay_http.compose.deliverers import open_drain, open_kicker, open_sender
from kpay_http.compose.sandboxes import AnyClock, open_sandbox
from kpay_http.metrics import Metrics
from kpay_http.sandbox_time import SandboxTime
from kpay_http.settings import BadSetting, Settings
from kpay_http.system import Limiter, System
from kpay_http.turnstile import Turnstile
from kpay_http.working import keep_on

if TYPE_CHECKING:
    from kpay_adapters.sender import Sender

# Of the contract: 100 requests a second, burst 200.
BURST_FACTOR = 2


class Opened(NamedTuple):
    """The core, with what its owner may want to reach of what it is made of."""

    kpay: Kpay
    store: SqlStore
    clock: AnyClock


@asynccontextmanager
async def open_kpay(settings: Settings, secret: bytes, *, wake: Wake = wake_nobody) -> AsyncGenerator[Opened]:
    """Open the core on its database, with the sandbox as the processor and the bank of test mode."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(SqlStore(settings.database_url))
        network, bank, clock = await stack.enter_async_context(open_sandbox(settings))
        kpay = Kpay(
            store=store,
            processors={"test": network},
            rails={"test": bank},
            clock=clock,
            ids=SystemIds(),
            keyring=keyring_of(settings, secret),
            wake=wake,
            local_webhooks=settings.allow_local_webhooks,
        )
        yield Opened(kpay, store, clock)


def limiter_of(settings: Settings, metrics: Metrics) -> Limiter | None:
    """Choose who counts requests: nobody, this process, or a Redis for all of them."""
    if settings.rate_limit == 0:
        return None
    bucket = ratelimit.TokenBucket(rate=settings.rate_limit, burst=settings.rate_limit * BURST_FACTOR)
    if settings.redis_url is None:
        return ratelimit.MemoryLimiter(bucket)
    try:
        return ratelimit.RedisLimiter(
            settings.redis_url, bucket, on_failure=lambda _: metrics.count_limiter_failure()
        )
    except ValueError as error:
        raise BadSetting("KPAY_BROKER_URL", f"what Redis's client takes: {error}") from None


@asynccontextmanager
async def open_system(settings: Settings, secret: bytes, *, working: bool) -> AsyncGenerator[System]:
    """
    Open everything that a process serves or works with; closing waits for the work that was begun.

    One that is not `working` leaves delivering to workers, whom it kicks through the broker.
    """
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        drain: Drain | None = None
        sender: Sender | None = None
        wake: Wake = wake_nobody
        if working or settings.test_clock:
            sender = await stack.enter_async_context(
                open_sender(local=settings.allow_local_webhooks, metrics=metrics)
            )
        if working and sender is not None:
            drain = await stack.enter_async_context(open_drain(settings, metrics, sender))
            wake = drain.wake
        elif settings.broker_url is not None:
            wake = await stack.enter_async_context(open_kicker(settings.broker_url, metrics))
        kpay, store, clock = await stack.enter_async_context(open_kpay(settings, secret, wake=wake))

        async def ready() -> bool:
            try:
                await store.ready()
            except CommitFailed:
                return False
            return True

        limiter = limiter_of(settings, metrics)
        turnstile = Turnstile()
        sandbox_time: SandboxTime | None = None
        if not isinstance(clock, SystemClock) and sender is not None:
            pause = nullcontext if drain is None else drain.paused
            sandbox_time = SandboxTime(kpay, clock, sender, turnstile=turnstile, pause=pause)
            following = asyncio.create_task(keep_on("following the time", clock.follow))
            stack.callback(following.cancel)
        system = System(
            kpay=kpay,
            metrics=metrics,
            ready=ready,
            limiter=limiter,
            deliver=None if drain is None else lambda: drain.run(kpay),
            turnstile=turnstile,
            sandbox_time=sandbox_time,
        )
        try:
            yield system
        finally:
            await system.until_done()
            if limiter is not None:
                await limiter.close()
