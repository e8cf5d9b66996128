"""Those who deliver: the sender, the loop, and the broker that wakes it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog

from kpay_adapters.drain import Drain
from kpay_core.domain.posts import Reply
from kpay_core.ports import Couriers
from kpay_http.metrics import Metrics
from kpay_http.settings import Settings

# What only some processes need, and takes its time to import, is imported where it is opened.
if TYPE_CHECKING:
    from kpay_adapters.dramatiq_ import Kicked, Kicker
    from kpay_adapters.sender import Sender

log: Any = structlog.get_logger("kpay")


@asynccontextmanager
async def open_sender(*, local: bool, metrics: Metrics | None = None) -> "AsyncGenerator[Sender]":
    """Open what posts to merchants' servers; `local` admits the own machine."""
    from kpay_adapters.sender import Sender

    def count(reply: Reply) -> None:
        if metrics is not None:
            metrics.count_attempt(reply.failure or "arrived")

    async with Sender(local=local, on_reply=count) as sender:
        yield sender


class BrokerNews:
    """Logs when the broker goes away and when it is back, one line each. `on_failure` is called each time."""

    def __init__(self, *, on_failure: Callable[[], None] = lambda: None) -> None:
        self._on_failure = on_failure
        self._is_away = False

    def __call__(self, failure: Exception | None) -> None:
        if failure is not None:
            self._on_failure()
        if failure is not None and not self._is_away:
            log.warning(
                "the broker is away, so what is due is found by looking", reason=type(failure).__name__
            )
        if failure is None and self._is_away:
            log.info("the broker is back")
        self._is_away = failure is not None


@asynccontextmanager
async def open_drain(settings: Settings, metrics: Metrics, couriers: Couriers) -> AsyncGenerator[Drain]:
    """Open the loop that delivers, which with a broker is woken by kicks."""

    def note(failure: Exception) -> None:
        metrics.count_drain_failure()
        log.error("delivering was begun anew", reason=type(failure).__name__, text=str(failure))

    drain = Drain(couriers, on_failure=note)
    kicked: Kicked | None = None
    if settings.broker_url is not None:
        from kpay_adapters import dramatiq_

        kicked = dramatiq_.Kicked(
            dramatiq_.open_broker(settings.broker_url),
            drain.wake,
            loop=asyncio.get_running_loop(),
            on_contact=BrokerNews(),
        )
        kicked.start()
    try:
        yield drain
    finally:
        if kicked is not None:
            await asyncio.to_thread(kicked.stop)


@asynccontextmanager
async def open_kicker(broker_url: str, metrics: Metrics) -> "AsyncGenerator[Kicker]":
    """Open what tells the workers, through the broker, that there is something to deliver."""
    from kpay_adapters import dramatiq_

    kicker = dramatiq_.Kicker(
        dramatiq_.open_broker(broker_url), on_contact=BrokerNews(on_failure=metrics.count_kick_failure)
    )
    kicker.start()
    try:
        yield kicker
    finally:
        await asyncio.to_thread(kicker.stop)
