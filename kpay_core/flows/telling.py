"""Telling of what happens: the events of a change, and the deliveries they need, to be committed with it."""

from collections.abc import Sequence
from datetime import datetime

from kpay_core.domain import endpoints, happenings
from kpay_core.domain.deliveries import Delivery, deliver
from kpay_core.domain.endpoints import Subscriptions
from kpay_core.domain.events import Event, Origin
from kpay_core.domain.happenings import Happening
from kpay_core.domain.names import prefixed
from kpay_core.domain.scope import Scope
from kpay_core.ports import Ports


async def make_events(
    ports: Ports, told: Sequence[Happening], *, scope: Scope, origin: Origin, now: datetime
) -> tuple[Sequence[Event], Sequence[Delivery]]:
    """
    Make the events of a change and a delivery of each for every endpoint that wants it.

    `now` was taken before the subscribers are read. So every endpoint whose enabling was acknowledged by then is
    among them.
    """
    if not told:
        return (), ()
    events = [
        happenings.write_down(
            happening, id=prefixed("evt", ports.ids.uuid7(now)), scope=scope, origin=origin, now=now
        )
        for happening in told
    ]
    held = await ports.store.get(Subscriptions, endpoints.subscriptions_id(scope))
    deliveries = [
        make_delivery(ports, event, endpoint, now=now)
        for event in events
        for endpoint in endpoints.subscribed(held, event.type)
    ]
    return events, deliveries


def make_delivery(ports: Ports, event: Event, endpoint: str, *, now: datetime) -> Delivery:
    """Send an event on its way to one endpoint."""
    return deliver(event, endpoint, id=prefixed("dlv", ports.ids.uuid7(now)), now=now)


def wake(ports: Ports, deliveries: Sequence[Delivery]) -> None:
    """Hint at new deliveries, once they are committed."""
    if deliveries:
        ports.wake(tuple({delivery.endpoint: None for delivery in deliveries}))
