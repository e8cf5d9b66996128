"""Telling of what happens: the events of a change, and the deliveries they need, to be committed with it."""

from collections.abc import Sequence
from datetime import datetime

from kpay_core.commit import Record
from kpay_core.domain import endpoints, happenings
from kpay_core.domain.deliveries import Delivery, deliver
from kpay_core.domain.endpoints import Subscriptions
from kpay_core.domain.events import Event, Origin
from kpay_core.domain.happenings import Happening
from kpay_core.domain.names import prefixed
from kpay_core.domain.scope import Scope
from kpay_core.flows.durably import commit
from kpay_core.ports import Ports


async def commit_and_tell(
    ports: Ports, *records: Record, scope: Scope, told: Sequence[Happening], origin: Origin
) -> None:
    """
    Commit records with the events they give rise to, and wake whoever delivers. Raises as `commit` does.

    The time of an event is taken before its subscribers are read. So every endpoint whose enabling was acknowledged
    by then is among them.
    """
    if not told:
        await commit(ports, *records)
        return
    now = ports.clock.now()
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
    await commit(ports, *records, *events, *deliveries)
    wake(ports, deliveries)


def make_delivery(ports: Ports, event: Event, endpoint: str, *, now: datetime) -> Delivery:
    """Send an event on its way to one endpoint."""
    return deliver(event, endpoint, id=prefixed("dlv", ports.ids.uuid7(now)), now=now)


def wake(ports: Ports, deliveries: Sequence[Delivery]) -> None:
    """Hint at new deliveries, once they are committed."""
    if deliveries:
        ports.wake(tuple({delivery.endpoint: None for delivery in deliveries}))
