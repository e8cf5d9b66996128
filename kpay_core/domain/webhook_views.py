"""The wire shapes of events, endpoints and deliveries, beside those of `views`."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from kpay_core.domain.deliveries import Attempt, Delivery
from kpay_core.domain.endpoints import Endpoint, EventName
from kpay_core.domain.events import Event, EventType
from kpay_core.domain.pages import Page
from kpay_core.domain.posts import Failure
from kpay_core.domain.times import rfc3339 as time
from kpay_core.domain.views import ListView, Time


class EventData(msgspec.Struct, kw_only=True):
    """The object that an event is about, as it was then, and what it was before where that is of interest."""

    object: Annotated[Any, Meta(extra_json_schema={"type": "object"})]
    previous_attributes: dict[str, Any] | UnsetType = UNSET


class RequestView(msgspec.Struct, kw_only=True):
    """The request that made something happen; its id is null for what happens by itself."""

    id: Annotated[str, Meta(description="The `Request-Id` of the request.")] | None
    idempotency_key: str | None


class EventView(msgspec.Struct, kw_only=True):
    """Something that happened; the same bytes wherever it is shown or delivered."""

    id: Annotated[str, Meta(examples=["evt_01941f297c0070008000000000000001"])]
    object: Literal["event"] = "event"
    api_version: Literal["v1"] = "v1"
    type: EventType
    livemode: bool
    created_at: Time
    data: EventData
    request: RequestView


class EndpointView(msgspec.Struct, kw_only=True):
    """A webhook endpoint."""

    id: Annotated[str, Meta(examples=["we_01941f297c0070008000000000000001"])]
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    url: str
    enabled_events: list[EventName]
    description: str | None
    status: Literal["enabled", "disabled"]
    livemode: bool
    created_at: Time


class EndpointWithSecret(EndpointView, kw_only=True):
    """A webhook endpoint and its signing secret, which is told once."""

    signing_secret: Annotated[str, Meta(pattern="^whsec_[A-Za-z0-9_-]{43}$")]


class AttemptView(msgspec.Struct, kw_only=True):
    """One attempt to deliver: the status that was answered, or why there is none."""

    number: Annotated[int, Meta(ge=1)]
    started_at: Time
    duration_ms: Annotated[int, Meta(ge=0)]
    status: Annotated[int, Meta(description="The HTTP status, where one came.")] | None
    error: Annotated[Failure, Meta(description="Why the attempt failed; null for a success.")] | None
    answer: Annotated[str, Meta(description="The first 16 KiB of the answer.")]


class DeliveryView(msgspec.Struct, kw_only=True):
    """An event on its way to an endpoint."""

    id: Annotated[str, Meta(examples=["dlv_01941f297c0070008000000000000001"])]
    object: Literal["webhook_delivery"] = "webhook_delivery"
    event: str
    event_type: EventType
    endpoint: str
    status: Literal["pending", "succeeded", "abandoned"]
    abandoned_because: Literal["exhausted", "expired", "endpoint_deleted"] | None
    next_attempt_at: Time | None
    attempts: list[AttemptView]
    livemode: bool
    created_at: Time


class DeletedView(msgspec.Struct, kw_only=True):
    """An object that is no more."""

    id: str
    object: Literal["webhook_endpoint"]
    deleted: Literal[True] = True


def view_event(event: Event) -> msgspec.Raw:
    """Show an event as it was written down."""
    return msgspec.Raw(event.body.encode())


def view_events(page: Page[Event]) -> ListView[Any]:
    """Show a page of events."""
    return ListView(url="/v1/events", data=[view_event(e) for e in page.data], has_more=page.has_more)


def _endpoint_fields(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "enabled_events": list(endpoint.enabled_events),
        "description": endpoint.description,
        "status": endpoint.status.value,
        "livemode": endpoint.livemode,
        "created_at": time(endpoint.created_at),
    }


def view_endpoint(endpoint: Endpoint) -> EndpointView:
    """Show an endpoint, without its secret."""
    return EndpointView(**_endpoint_fields(endpoint))


def view_endpoint_with_secret(endpoint: Endpoint, secret: str) -> EndpointWithSecret:
    """Show an endpoint to the one who has just made it, or given it a new secret."""
    return EndpointWithSecret(**_endpoint_fields(endpoint), signing_secret=secret)


def view_endpoints(page: Page[Endpoint]) -> ListView[EndpointView]:
    """Show a page of endpoints."""
    data = [view_endpoint(endpoint) for endpoint in page.data]
    return ListView(url="/v1/webhook_endpoints", data=data, has_more=page.has_more)


def view_deleted(endpoint: Endpoint) -> DeletedView:
    """Say that an endpoint is no more."""
    return DeletedView(id=endpoint.id, object="webhook_endpoint")


def view_delivery(delivery: Delivery, attempts: Sequence[Attempt]) -> DeliveryView:
    """Show a delivery with its attempts, in the order in which they were made."""
    return DeliveryView(
        id=delivery.id,
        event=delivery.event,
        event_type=delivery.event_type,
        endpoint=delivery.endpoint,
        status=delivery.status.value,
        abandoned_because=delivery.reason.value if delivery.reason else None,  # pyright: ignore[reportArgumentType]
        next_attempt_at=time(delivery.next_attempt_at) if delivery.next_attempt_at else None,
        attempts=[
            AttemptView(
                number=attempt.number,
                started_at=time(attempt.started_at),
                duration_ms=attempt.milliseconds,
                status=attempt.status,
                error=attempt.failure,
                answer=attempt.answer,
            )
            for attempt in attempts
        ],
        livemode=delivery.livemode,
        created_at=time(delivery.created_at),
    )


def view_deliveries(
    endpoint: str, page: Page[Delivery], attempts: Mapping[str, Sequence[Attempt]]
) -> ListView[DeliveryView]:
    """Show a page of an endpoint's deliveries; `attempts` are by delivery."""
    data = [view_delivery(delivery, attempts.get(delivery.id, ())) for delivery in page.data]
    return ListView(url=f"/v1/webhook_endpoints/{endpoint}/deliveries", data=data, has_more=page.has_more)


def view_resent(event: str, deliveries: Sequence[Delivery]) -> ListView[DeliveryView]:
    """Show the deliveries that an event has just been given, all of them."""
    data = [view_delivery(delivery, ()) for delivery in deliveries]
    return ListView(url=f"/v1/events/{event}/resend", data=data, has_more=False)
