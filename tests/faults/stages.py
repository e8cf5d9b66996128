"""A core on a real database, with merchants, endpoints and as many deliveries as a proof needs."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from kpay_adapters.drain import Couriers, Drain
from kpay_adapters.sql.store import SqlStore
from kpay_core import Kpay, Scope
from kpay_core.commit import Record
from kpay_core.domain import deliveries
from kpay_core.domain.deliveries import Attempt, Delivery
from kpay_core.domain.endpoints import Endpoint
from kpay_core.domain.events import Event
from kpay_core.domain.lanes import Lane
from kpay_core.ports import Wake, wake_nobody
from kpay_core.query import Condition, Query
from kpay_http import compose
from kpay_http.settings import Settings
from tests.faults.receivers import Merchants
from tests.servers import SECRET

R = TypeVar("R", bound=Record)

# Records in one commit: a second's work for a database at most.
TOGETHER = 400

# Endpoints of one merchant.
EACH = 100


def settings_for(url: str, **settings: Any) -> Settings:
    given: dict[str, Any] = {"secret_key": SECRET, "allow_local_webhooks": True, "rate_limit": 0, **settings}
    return Settings(database_url=url, **given)


async def migrated(url: str) -> str:
    """Bring a database and the sandbox's journal up to date, and return its URL."""
    await compose.migrate_all(settings_for(url))
    return url


class Stage:
    """One process's view: a core, and its store."""

    def __init__(self, kpay: Kpay, store: SqlStore) -> None:
        self.kpay = kpay
        self.store = store

    async def merchant(self) -> Scope:
        merchant = await self.kpay.apply(name="Acme")
        await self.kpay.approve(merchant.id)
        return Scope(merchant.id, livemode=False)

    async def endpoints(self, merchants: Merchants, paths: Sequence[str]) -> list[Endpoint]:
        """Register endpoints, for so many merchants as it takes."""
        made: list[Endpoint] = []
        for start in range(0, len(paths), EACH):
            scope = await self.merchant()
            for path in paths[start : start + EACH]:
                body = {"url": merchants.url(path), "enabled_events": ["charge.succeeded"]}
                made.append((await self.kpay.create_endpoint(scope, body)).endpoint)
        return made

    def happen(self, endpoints: Sequence[Endpoint]) -> list[Record]:
        """Make an event for each endpoint, and its delivery."""
        now, ids = self.kpay.clock.now(), self.kpay.ids
        records: list[Record] = []
        for endpoint in endpoints:
            event = Event(
                id=f"evt_{ids.uuid7(now)}",
                merchant=endpoint.merchant,
                livemode=endpoint.livemode,
                type="charge.succeeded",
                body='{"object":"event"}',
                created_at=now,
            )
            records += [
                event,
                deliveries.deliver(event, endpoint.id, id=f"whd_{ids.uuid7(now)}", now=now),
            ]
        return records

    async def send(self, endpoints: Sequence[Endpoint], count: int = 1) -> None:
        """Let `count` events happen for each of the endpoints, without a hint to anybody."""
        due = [endpoint for _ in range(count) for endpoint in endpoints]
        for start in range(0, len(due), TOGETHER // 2):
            await self.store.commit(*self.happen(due[start : start + TOGETHER // 2]))

    async def all(self, kind: type[R]) -> list[R]:
        return list(await self.store.find(Query(kind=kind, limit=1_000_000)))

    async def pending(self) -> int:
        where: tuple[Condition, ...] = (("status", "=", "pending"),)
        return len(await self.store.find(Query(kind=Delivery, where=where, limit=1_000_000)))

    async def until_delivered(self, *, seconds: float) -> None:
        """Wait until every delivery is in a final state."""
        give_up = time.monotonic() + seconds
        while left := await self.pending():
            assert time.monotonic() < give_up, f"{left} deliveries are still pending"
            await asyncio.sleep(0.2)

    async def dump(self) -> list[Record]:
        """Return all that a worker writes."""
        return [*await self.all(Delivery), *await self.all(Attempt), *await self.all(Lane)]


@asynccontextmanager
async def open_stage(url: str, *, wake: Wake = wake_nobody) -> AsyncIterator[Stage]:
    settings = settings_for(url)
    async with compose.open_kpay(settings, compose.secret_of(settings, make=False), wake=wake) as opened:
        yield Stage(opened.kpay, opened.store)


@asynccontextmanager
async def draining(
    kpay: Kpay, couriers: Couriers, *, failures: list[Exception] | None = None, **options: Any
) -> AsyncIterator[Drain]:
    """Run a drain loop; what keeps it from its work fails the test, unless it is asked for."""
    noted: list[Exception] = []
    drain = Drain(couriers, on_failure=(noted if failures is None else failures).append, **options)
    task = asyncio.create_task(drain.run(kpay))
    try:
        yield drain
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert noted == []


async def until(happens: Callable[[], Any], *, seconds: float = 10) -> float:
    """Wait until something is so, and return how long that took."""
    started = time.monotonic()
    while not happens():
        assert time.monotonic() - started < seconds, "it does not happen"
        await asyncio.sleep(0.005)
    return time.monotonic() - started
