"""
Endpoints: registered, changed, rotated, deleted.

Each change is one commit of three records: the endpoint; the subscriptions of its scope, by which events find it; and
its lane, by which whoever is sending there learns of the change before anything more is started.
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial

import msgspec

from kpay_core.commit import Conflict
from kpay_core.domain import endpoints, lanes
from kpay_core.domain.endpoints import Endpoint, EndpointListParams, Status, Subscriptions
from kpay_core.domain.errors import NotFound
from kpay_core.domain.lanes import Lane
from kpay_core.domain.names import prefixed
from kpay_core.domain.pages import Page, read_params
from kpay_core.domain.scope import Scope
from kpay_core.flows.durably import Turns, commit
from kpay_core.flows.reading import list_page, own
from kpay_core.ports import Ports
from kpay_core.query import Query

# Endpoints sealed again between two looks into the database.
RESEAL_PAGE = 100

Change = Callable[[Endpoint, datetime], Endpoint]


class NewSecret(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint and its signing secret in the clear, which is told once."""

    endpoint: Endpoint
    secret: str

    def __repr__(self) -> str:
        return f"<NewSecret of {self.endpoint.id}>"


async def create_endpoint(ports: Ports, scope: Scope, body: object) -> NewSecret:
    """
    Register an endpoint; every event from now on that it is enabled for reaches it, or is abandoned for a reason.

    Raises `Invalid`, also when the scope has 100 endpoints already.
    """
    new = endpoints.read_new_endpoint(body, local=ports.local_webhooks)
    turns = Turns(ports)
    while True:
        held = await ports.store.get(Subscriptions, endpoints.subscriptions_id(scope))
        now = ports.clock.now()
        id = prefixed("we", ports.ids.uuid7(now))
        secret = _make_secret(ports)
        endpoint = endpoints.open_endpoint(new, id=id, scope=scope, secret=seal(ports, id, secret), now=now)
        try:
            await commit(ports, endpoint, Lane(id=id), endpoints.enter(held, endpoint))
            return NewSecret(endpoint=endpoint, secret=secret)
        except Conflict:
            await turns.wait()


async def update_endpoint(ports: Ports, scope: Scope, id: str, body: object) -> Endpoint:
    """
    Change an endpoint's url, events, description or status; raises `NotFound` and `Invalid`.

    Deliveries of a disabled endpoint stand still until it is enabled again, or their 72 hours are over.
    """
    await own_endpoint(ports, scope, id)
    changes = endpoints.read_changes(body, local=ports.local_webhooks)
    return await _change(ports, scope, id, lambda endpoint, _: endpoints.change(endpoint, changes))


async def delete_endpoint(ports: Ports, scope: Scope, id: str) -> Endpoint:
    """
    Delete an endpoint for good; raises `NotFound`. No attempt starts after this has returned.

    What is on its way at this moment may still arrive; everything else is abandoned.
    """
    await own_endpoint(ports, scope, id)
    try:
        return await _change(ports, scope, id, lambda endpoint, _: endpoints.delete(endpoint))
    except NotFound:
        # It was there a moment ago. Whether it was we who deleted it, through a connection that was lost, or another:
        # it is as it was asked to be.
        lane = await ports.store.get(Lane, id)
        assert lane is not None, "every endpoint has a lane"
        await _until_settled(ports, lane)
        return await own(ports, scope, Endpoint, id)


async def rotate_endpoint_secret(ports: Ports, scope: Scope, id: str) -> NewSecret:
    """Give an endpoint a new signing secret; for 24 hours the one before it signs too. Raises `NotFound`."""
    # Before anything is sealed for it: what is asked for may be any text, also one for which nothing can be sealed.
    await own_endpoint(ports, scope, id)
    secret = _make_secret(ports)
    sealed = seal(ports, id, secret)
    endpoint = await _change(
        ports, scope, id, lambda endpoint, now: endpoints.rotate(endpoint, secret=sealed, now=now)
    )
    return NewSecret(endpoint=endpoint, secret=secret)


async def _change(ports: Ports, scope: Scope, id: str, change: Change) -> Endpoint:
    turns = Turns(ports)
    while True:
        endpoint = await own_endpoint(ports, scope, id)
        held = await ports.store.get(Subscriptions, endpoints.subscriptions_id(scope))
        lane = await ports.store.get(Lane, id)
        assert lane is not None, "every endpoint has a lane"
        now = ports.clock.now()
        changed = change(endpoint, now)
        try:
            await commit(ports, changed, endpoints.enter(held, changed), lanes.call(lane, now=now))
        except Conflict:
            await turns.wait()
            continue
        if changed.status is not Status.ENABLED or changed.url != endpoint.url:
            await _until_settled(ports, lane)
        return changed


async def _until_settled(ports: Ports, lane: Lane) -> None:
    """
    Wait until what was written down on a lane to be started has started, or never will.

    Since when is known by the clock of whoever wrote it, which need not be ours. It was written before this change.
    """
    if lane.sending:
        await ports.clock.sleep(lanes.START_WITHIN.total_seconds())


async def get_endpoint(ports: Ports, scope: Scope, id: str) -> Endpoint:
    """Return an endpoint; raises `NotFound`."""
    return await own_endpoint(ports, scope, id)


async def list_endpoints(ports: Ports, scope: Scope, params: Mapping[str, object]) -> Page[Endpoint]:
    """
    Return a page of endpoints, newest first.

    Takes `limit`, `starting_after` and `ending_before` as in a query string. Raises `Invalid`.
    """
    return await list_page(ports, scope, Endpoint, read_params(EndpointListParams, params))


async def own_endpoint(ports: Ports, scope: Scope, id: str) -> Endpoint:
    """Return an endpoint of this scope that is not deleted, or raise `NotFound`."""
    endpoint = await own(ports, scope, Endpoint, id)
    if endpoint.status is Status.DELETED:
        raise NotFound
    return endpoint


async def reseal_endpoints(ports: Ports) -> int:
    """
    Seal every secret with the key that seals now, and return how many endpoints had another one.

    Safe beside running servers, which must know both keys by then.
    """
    resealed = 0
    after = ""
    while page := await ports.store.find(
        Query(kind=Endpoint, where=(("id", ">", after),), limit=RESEAL_PAGE)
    ):
        for endpoint in page:
            after = endpoint.id
            resealed += await _reseal(ports, endpoint)
    return resealed


def _seal_again(ports: Ports, endpoint: str, sealed: str) -> str:
    return seal(ports, endpoint, unseal(ports, endpoint, sealed))


async def _reseal(ports: Ports, endpoint: Endpoint) -> bool:
    turns = Turns(ports)
    while True:
        if all(ports.keyring.is_current(sealed) for sealed in endpoints.sealed(endpoint)):
            return False
        try:
            await commit(ports, endpoints.reseal(endpoint, partial(_seal_again, ports, endpoint.id)))
            return True
        except Conflict:
            await turns.wait()
            endpoint = await own(ports, endpoint.scope, Endpoint, endpoint.id)


def _make_secret(ports: Ports) -> str:
    return write_secret(ports.ids.random_bytes(endpoints.SECRET_BYTES))


def write_secret(raw: bytes) -> str:
    """Write 32 bytes as a signing secret."""
    return endpoints.SECRET_PREFIX + urlsafe_b64encode(raw).decode().rstrip("=")


def seal(ports: Ports, endpoint: str, secret: str) -> str:
    """Encrypt a secret, for its endpoint only."""
    return ports.keyring.seal(f"endpoint/{endpoint}", secret)


def unseal(ports: Ports, endpoint: str, sealed: str) -> str:
    """Decrypt a secret; raises `CannotUnseal`."""
    return ports.keyring.unseal(f"endpoint/{endpoint}", sealed)
