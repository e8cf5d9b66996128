"""Deliveries, as their merchant sees them: every attempt, and what came of it."""

from collections.abc import Mapping, Sequence

from kpay_core.domain import deliveries
from kpay_core.domain.deliveries import Attempt, Delivery
from kpay_core.domain.pages import Page, PageParams, read_params
from kpay_core.domain.scope import Scope
from kpay_core.flows.endpoints import own_endpoint
from kpay_core.flows.reading import list_page
from kpay_core.ports import Ports
from kpay_core.query import Query

# By delivery, in the order in which they were made; one that was never attempted has no entry.
Attempts = Mapping[str, Sequence[Attempt]]


async def list_deliveries(
    ports: Ports, scope: Scope, endpoint: str, params: Mapping[str, object]
) -> tuple[Page[Delivery], Attempts]:
    """
    Return a page of what went or is to go to an endpoint, newest first, with all attempts.

    Takes `limit`, `starting_after` and `ending_before` as in a query string. Raises `NotFound` and `Invalid`.
    """
    await own_endpoint(ports, scope, endpoint)
    params_read = read_params(PageParams, params)
    page = await list_page(ports, scope, Delivery, params_read, ("endpoint", "=", endpoint))
    return page, await attempts_of(ports, page.data)


async def attempts_of(ports: Ports, of: Sequence[Delivery]) -> Attempts:
    """Return every attempt of some deliveries."""
    ids = tuple(id for delivery in of for id in deliveries.attempt_ids(delivery))
    found: Sequence[Attempt] = ()
    if ids:
        found = await ports.store.find(Query(kind=Attempt, where=(("id", "in", ids),), limit=len(ids)))
    by_delivery: dict[str, list[Attempt]] = {}
    for attempt in found:
        by_delivery.setdefault(attempt.delivery, []).append(attempt)
    return by_delivery
