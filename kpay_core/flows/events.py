"""Events, as their merchant sees them: read, listed, and sent once more."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from kpay_core.commit import Conflict
from kpay_core.domain import endpoints
from kpay_core.domain.deliveries import Delivery
from kpay_core.domain.endpoints import Resend, Subscriptions
from kpay_core.domain.errors import Invalid
from kpay_core.domain.events import Event, EventListParams
from kpay_core.domain.pages import Page, read_params
from kpay_core.domain.scope import Scope
from kpay_core.domain.validation import read
from kpay_core.flows.durably import commit
from kpay_core.flows.endpoints import own_endpoint
from kpay_core.flows.reading import list_page, own
from kpay_core.flows.telling import make_delivery, wake
from kpay_core.ports import Ports


async def get_event(ports: Ports, scope: Scope, id: str) -> Event:
    """Return an event; raises `NotFound`."""
    return await own(ports, scope, Event, id)


async def list_events(ports: Ports, scope: Scope, params: Mapping[str, object]) -> Page[Event]:
    """
    Return a page of events, newest first.

    Takes `limit`, `starting_after`, `ending_before` and `type` as in a query string. Raises `Invalid`.
    """
    return await list_page(ports, scope, Event, read_params(EventListParams, params))


async def resend_event(ports: Ports, scope: Scope, id: str, body: object) -> Sequence[Delivery]:
    """
    Deliver an event again, with attempts and a life of its own: to one endpoint, or to all that want its type now.

    `body` is `{}` or `{"endpoint": "we_…"}`. Raises `NotFound`, also for an unknown endpoint, and `Invalid` for one
    that is disabled.
    """
    event = await own(ports, scope, Event, id)
    named = read(Resend, body).finish(Resend).endpoint
    held = await ports.store.get(Subscriptions, endpoints.subscriptions_id(scope))
    if named is None:
        wanted = endpoints.subscribed(held, event.type)
    else:
        endpoint = await own_endpoint(ports, scope, named)
        if endpoint.status is not endpoints.Status.ENABLED:
            raise Invalid({"endpoint": ["disabled"]}, code="endpoint_disabled")
        wanted = [endpoint.id]
    now = ports.clock.now()
    deliveries = [make_delivery(ports, event, endpoint, now=now) for endpoint in wanted]
    if deliveries:
        # Nobody else makes these ids. So a conflict says that they were written after all, and are being delivered.
        with suppress(Conflict):
            await commit(ports, *deliveries)
        wake(ports, deliveries)
    return deliveries
