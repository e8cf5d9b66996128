"""
Deliveries, held against their attempts, events, endpoints and lanes; and the lanes by themselves.

Only the holder of a lane writes its deliveries, each time together with the lane, and whoever changes an endpoint
writes its lane. So where neither the delivery nor the lane has moved, all that was read in between is of one moment.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from msgspec.structs import replace

from kpay_core.domain import deliveries
from kpay_core.domain.audit import Report
from kpay_core.domain.deliveries import Attempt, Delivery, Status
from kpay_core.domain.endpoints import Endpoint
from kpay_core.domain.events import Event
from kpay_core.domain.lanes import Lane
from kpay_core.domain.telling_laws import DeliveryCase, judge_delivery, lanes_are_held_by_one
from kpay_core.flows.audit_pages import LOOKS, look_up, page_after
from kpay_core.flows.streaming import PAGE, OnPage
from kpay_core.ports import Ports

# What somebody will look for within a minute is looked for: lanes are written by the clocks of other machines.
SOON = timedelta(minutes=1)


class DeliveryAudit:
    """The audit of deliveries and lanes. It notes what it finds in `report`."""

    def __init__(self, ports: Ports, report: Report, on_page: OnPage) -> None:
        self._ports = ports
        self._store = ports.store
        self._report = report
        self._on_page = on_page

    async def check(self) -> None:
        """Hold every delivery and every lane against its laws."""
        after: str | None = ""
        while after is not None:
            page, after = await page_after(self._store, Delivery, after, on_page=self._on_page)
            await self._check_page(page)
        after: str | None = ""
        while after is not None:
            lanes, after = await page_after(self._store, Lane, after, on_page=self._on_page)
            for lane in lanes:
                self._report.note(lanes_are_held_by_one.__name__, lane.id, *lanes_are_held_by_one(lane))
            self._report.checked[Lane.__name__] += len(lanes)

    async def _check_page(self, page: Sequence[Delivery]) -> None:
        attempts = await self._attempts_of(page)
        events = await look_up(self._store, Event, (each.event for each in page))
        endpoints = await look_up(self._store, Endpoint, (each.endpoint for each in page))
        lanes = await look_up(self._store, Lane, (each.endpoint for each in page))
        now = self._ports.clock.now() + SOON
        for delivery in page:
            case = DeliveryCase(
                now=now,
                delivery=delivery,
                attempts=_its(delivery, attempts),
                event=events.get(delivery.event),
                endpoint=endpoints.get(delivery.endpoint),
                lane=lanes.get(delivery.endpoint),
            )
            await self._check(case)

    async def _attempts_of(self, some: Sequence[Delivery]) -> Mapping[str, Attempt]:
        """Return attempts by their names, without their answers, which are long: those of each, and one too many."""
        names = [
            deliveries.attempt_id(delivery.id, number)
            for delivery in some
            for number in range(1, delivery.attempts + 2)
        ]
        found: dict[str, Attempt] = {}
        for start in range(0, len(names), PAGE):
            some_found = await look_up(self._store, Attempt, names[start : start + PAGE])
            self._on_page(len(some_found))
            found.update((id, replace(attempt, answer="")) for id, attempt in some_found.items())
        return found

    async def _check(self, case: DeliveryCase) -> None:
        """Judge a delivery, and where something disagrees the delivery as it is now."""
        broken = judge_delivery(case)
        if broken:
            fresh = await self._look_at(case.delivery.id)
            if fresh is None:
                self._report.moving += 1
                return
            case, broken = fresh, judge_delivery(fresh)
        self._report.checked[Delivery.__name__] += 1
        self._report.checked[Attempt.__name__] += len(case.attempts)
        self._report.open[Delivery.__name__] += case.delivery.status is Status.PENDING
        for law, difference in broken:
            self._report.note(law, case.delivery.id, difference)

    async def _look_at(self, id: str) -> DeliveryCase | None:
        """Read a delivery and all that it stands between as of one moment; None where it never holds still."""
        for _ in range(LOOKS):
            delivery = await self._store.get(Delivery, id)
            if delivery is None:
                return None
            lane = await self._store.get(Lane, delivery.endpoint)
            case = DeliveryCase(
                now=self._ports.clock.now() + SOON,
                delivery=delivery,
                attempts=_its(delivery, await self._attempts_of([delivery])),
                event=await self._store.get(Event, delivery.event),
                endpoint=await self._store.get(Endpoint, delivery.endpoint),
                lane=lane,
            )
            still = await self._store.get(Lane, delivery.endpoint) == lane
            if still and await self._store.get(Delivery, id) == delivery:
                return case
        return None


def _its(delivery: Delivery, attempts: Mapping[str, Attempt]) -> Sequence[Attempt]:
    """Return the attempts of a delivery, oldest first."""
    names = (deliveries.attempt_id(delivery.id, number) for number in range(1, delivery.attempts + 2))
    return [attempts[name] for name in names if name in attempts]
