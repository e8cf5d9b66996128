"""
Something that happens at a steady pace, in a process that delivers itself or leaves that to workers.

    python -m benchmarks.programs.telling RATE SECONDS MERCHANT embedded|kicking

The delay from the commit to its receipt is what counts, so nothing else is done: no request, no card network.
It prints when each event was committed.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from datetime import datetime

import msgspec
import uvloop

from kpay_core import Kpay, Scope
from kpay_core.domain.deliveries import Delivery, deliver
from kpay_core.domain.events import Event, Origin
from kpay_core.domain.examples import CHARGE
from kpay_core.domain.happenings import Happening, write_down
from kpay_core.domain.names import prefixed
from kpay_http import compose
from kpay_http.server import beside
from kpay_http.settings import read_settings
from kpay_http.working import work_for_ever

# What is committed last arrives in that time, or is late by any measure.
SETTLE_SECONDS = 3.0


async def tell(kpay: Kpay, scope: Scope, rate: float, seconds: float) -> dict[str, float]:
    """Let something happen `rate` times a second, each for one endpoint; return when it was committed, by event."""
    endpoints = [entry.id for entry in (await kpay.list_endpoints(scope, {"limit": "100"})).data]
    committed: dict[str, float] = {}

    async def one(number: int) -> None:
        event, delivery = make_unit(kpay, scope, endpoints, number)
        await kpay.store.commit(event, delivery)
        kpay.wake([delivery.endpoint])
        committed[event.id] = time.time()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            group.create_task(one(number))
    await asyncio.sleep(SETTLE_SECONDS)
    return committed


def make_unit(kpay: Kpay, scope: Scope, endpoints: Sequence[str], number: int) -> tuple[Event, Delivery]:
    """Make an event and its delivery to one of the endpoints."""
    now = kpay.clock.now()
    event = make_event(prefixed("evt", kpay.ids.uuid7(now)), scope, now)
    endpoint = endpoints[number % len(endpoints)]
    return event, deliver(event, endpoint, id=prefixed("dlv", kpay.ids.uuid7(now)), now=now)


def make_event(id: str, scope: Scope, now: datetime) -> Event:
    """Make an event of an ordinary size."""
    told = Happening(type="charge.succeeded", object={**CHARGE, "source": None})
    return write_down(told, id=id, scope=scope, origin=Origin(), now=now)


async def run(rate: float, seconds: float, merchant: str, *, working: bool) -> dict[str, float]:
    settings = read_settings()
    secret = compose.secret_of(settings, make=False)
    async with (
        compose.open_system(settings, secret, working=working) as system,
        beside(work_for_ever(system) if working else None),
    ):
        return await tell(system.kpay, Scope(merchant, livemode=False), rate, seconds)


def main() -> None:
    rate, seconds, merchant, how = sys.argv[1:]
    committed = uvloop.run(run(float(rate), float(seconds), merchant, working=how == "embedded"))
    with open(sys.stdout.fileno(), "wb", closefd=False) as output:
        output.write(msgspec.json.encode(committed))


if __name__ == "__main__":
    main()
