"""
Webhook endpoints: where a merchant wants to hear of what happens, and of what (contract, section 8).

             disable                       delete
    enabled ─────────▶ disabled      any ─────────▶ deleted
            ◀─────────
             enable

A deleted endpoint leaves its record behind, without its secrets, so that whoever still works for it finds out.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta

from kpay_core.commit import Record, bump
from kpay_core.domain.addresses import MAX_URL_LENGTH, check_url
from kpay_core.domain.errors import Invalid
from kpay_core.domain.events import EventType
from kpay_core.domain.machine import step
from kpay_core.domain.pages import PageParams
from kpay_core.domain.scope import Scope
from kpay_core.domain.validation import Reading, read
from kpay_core.query import Condition

# The public document: "Up to 50 event types", and "up to 200 chars".
MAX_EVENTS = 50
MAX_DESCRIPTION_LENGTH = 200

# Each event is written down once more for each endpoint; nobody who sends to more has fewer than a message broker.
MAX_ENDPOINTS = 100

# How long a rotated secret goes on signing beside the new one.
ROTATION = timedelta(hours=24)

# Secrets that sign beside the newest. More than one only where a merchant rotates again within 24 hours, perhaps
# because the answer to the first rotation was lost.
MAX_RETIRED = 9

SECRET_PREFIX = "whsec_"  # noqa: S105 what a secret begins with
SECRET_BYTES = 32

ALL: Literal["*"] = "*"


class Status(StrEnum):
    ENABLED = "enabled"
    DISABLED = "disabled"
    DELETED = "deleted"


class Step(StrEnum):
    ENABLE = "enable"
    DISABLE = "disable"
    DELETE = "delete"


TRANSITIONS = {
    (Status.ENABLED, Step.ENABLE): Status.ENABLED,
    (Status.ENABLED, Step.DISABLE): Status.DISABLED,
    (Status.ENABLED, Step.DELETE): Status.DELETED,
    (Status.DISABLED, Step.ENABLE): Status.ENABLED,
    (Status.DISABLED, Step.DISABLE): Status.DISABLED,
    (Status.DISABLED, Step.DELETE): Status.DELETED,
}

# What a merchant asks for, as a step.
WANTED: dict[str, Step] = {"enabled": Step.ENABLE, "disabled": Step.DISABLE}

EventName = Literal["*", EventType]

Url = Annotated[
    str,
    Meta(
        max_length=MAX_URL_LENGTH,
        description="HTTPS URL of a public host.",
        examples=["https://example.com/hooks"],
    ),
]
EnabledEvents = Annotated[
    list[EventName],
    Meta(
        min_length=1,
        max_length=MAX_EVENTS,
        description='Event types; ["*"] is all, also those to come.',
        examples=[["charge.succeeded", "refund.created"]],
    ),
]
Description = Annotated[str, Meta(max_length=MAX_DESCRIPTION_LENGTH)]


class NewEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What a merchant sends to register an endpoint."""

    url: Url
    enabled_events: EnabledEvents | None = None
    description: Description | None = None


class EndpointChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What a merchant sends to change an endpoint. What is left out stays; a description of null is cleared."""

    url: Url | None = None
    enabled_events: EnabledEvents | None = None
    description: Description | None = None
    status: Literal["enabled", "disabled"] | None = None


class Resend(msgspec.Struct, frozen=True, kw_only=True):
    """What a merchant sends to have an event delivered again."""

    endpoint: Annotated[str, Meta(description="Deliver to this endpoint only.")] | None = None


class EndpointListParams(PageParams, frozen=True, kw_only=True):
    """
    What the list of endpoints takes. Those that were deleted are in no list.

    Without a limit it is all there are: the public document says "all", and knows no parameter.
    """

    limit: Annotated[int, Meta(ge=1, le=100, description="How many to return.")] = MAX_ENDPOINTS

    @property
    def filters(self) -> tuple[Condition, ...]:
        return (("status", "in", (Status.ENABLED, Status.DISABLED)),)


class Retired(msgspec.Struct, frozen=True, kw_only=True):
    """A secret that was replaced, sealed, and until when it signs."""

    secret: str
    until: datetime


class Endpoint(Record, frozen=True, kw_only=True):
    """
    Where events go. `secret` is sealed, like those before it, which sign too for a while; the newest is first.

    A deleted endpoint has none any more: its `secret` is empty.
    """

    version: int = 1
    merchant: str
    livemode: bool
    url: str
    enabled_events: tuple[str, ...]
    description: str | None
    status: Status = Status.ENABLED
    secret: str
    retired: tuple[Retired, ...] = ()
    created_at: datetime

    @property
    def scope(self) -> Scope:
        return Scope(self.merchant, self.livemode)


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint, as whoever tells of an event must know it. `events` is None while it is disabled."""

    endpoint: str
    events: tuple[str, ...] | None


class Subscriptions(Record, frozen=True, kw_only=True):
    """
    All endpoints of a merchant and mode in one record, which is written with each change of any of them.

    Whoever tells of an event reads this alone.
    """

    version: int = 1
    entries: tuple[Subscription, ...] = ()


def read_new_endpoint(body: object, *, local: bool) -> NewEndpoint:
    """Read a request, or raise `Invalid` with every error of it; `local` admits the own machine."""
    return _check_url(read(NewEndpoint, body), local=local).finish(NewEndpoint)


def read_changes(body: object, *, local: bool) -> dict[str, Any]:
    """Read what is to change, by field, or raise `Invalid` with every error of it."""
    reading = _check_url(read(EndpointChanges, body), local=local)
    reading.finish(EndpointChanges)
    given = cast(dict[str, Any], body)
    cleared = {"description": None} if "description" in given and given["description"] is None else {}
    return {**reading.values, **cleared}


def _check_url(reading: Reading, *, local: bool) -> Reading:
    url = reading.values.get("url")
    if url is not None and (wrong := check_url(url, local=local)):
        reading.blame("url", wrong)
    return reading


def open_endpoint(new: NewEndpoint, *, id: str, scope: Scope, secret: str, now: datetime) -> Endpoint:
    """Register an endpoint; `secret` is sealed."""
    return Endpoint(
        id=id,
        merchant=scope.merchant,
        livemode=scope.livemode,
        url=new.url,
        enabled_events=fold(new.enabled_events or [ALL]),
        description=new.description,
        secret=secret,
        created_at=now,
    )


def fold(names: Sequence[str]) -> tuple[str, ...]:
    """Keep each name once, in the order in which they were given."""
    return tuple(dict.fromkeys(names))


def change(endpoint: Endpoint, changes: dict[str, Any]) -> Endpoint:
    """Apply what `read_changes` read."""
    changed = dict(changes)
    if "enabled_events" in changed:
        changed["enabled_events"] = fold(changed["enabled_events"])
    if "status" in changed:
        changed["status"] = step(TRANSITIONS, endpoint.status, WANTED[changed["status"]])
    return bump(endpoint, **changed)


def delete(endpoint: Endpoint) -> Endpoint:
    """Delete an endpoint, and forget its secrets."""
    status = step(TRANSITIONS, endpoint.status, Step.DELETE)
    return bump(endpoint, status=status, secret="", retired=())


def rotate(endpoint: Endpoint, *, secret: str, now: datetime) -> Endpoint:
    """
    Sign with a new secret from now on, and for 24 hours with the one before it too. Twice is as once.

    One that was retired before keeps its own 24 hours: whoever rotates again, having missed an answer, still
    verifies with it.
    """
    if endpoint.secret == secret:
        # It was written after all, although the connection was lost, and somebody has changed something else since.
        return bump(endpoint)
    retired = (Retired(secret=endpoint.secret, until=now + ROTATION), *still_signing(endpoint, now=now))
    return bump(endpoint, secret=secret, retired=retired[:MAX_RETIRED])


def secrets_in_force(endpoint: Endpoint, *, now: datetime) -> tuple[str, ...]:
    """Return the sealed secrets that sign at a time, the newest first."""
    return (endpoint.secret, *(each.secret for each in still_signing(endpoint, now=now)))


def still_signing(endpoint: Endpoint, *, now: datetime) -> tuple[Retired, ...]:
    """Return the secrets that were replaced less than 24 hours ago."""
    return tuple(each for each in endpoint.retired if now < each.until)


def sealed(endpoint: Endpoint) -> tuple[str, ...]:
    """Return every sealed secret that an endpoint has."""
    return tuple(
        secret for secret in (endpoint.secret, *(each.secret for each in endpoint.retired)) if secret
    )


def reseal(endpoint: Endpoint, again: Callable[[str], str]) -> Endpoint:
    """Seal every secret of an endpoint anew."""
    retired = tuple(Retired(secret=again(each.secret), until=each.until) for each in endpoint.retired)
    return bump(endpoint, secret=again(endpoint.secret), retired=retired)


def subscriptions_id(scope: Scope) -> str:
    """Name the one record of a merchant and mode."""
    return f"{scope.merchant}/{scope.mode}"


def enter(held: Subscriptions | None, endpoint: Endpoint) -> Subscriptions:
    """
    Bring an endpoint into the record of its scope, as it is now. Raises `Invalid` when there is no room for a new one.

    The two may be of different moments, when somebody else changes them: what this makes then conflicts.
    """
    entries = {} if held is None else {entry.endpoint: entry for entry in held.entries}
    if endpoint.status is Status.DELETED:
        entries.pop(endpoint.id, None)
    else:
        events = endpoint.enabled_events if endpoint.status is Status.ENABLED else None
        entries[endpoint.id] = Subscription(endpoint=endpoint.id, events=events)
    if endpoint.version == 1 and len(entries) > MAX_ENDPOINTS:
        raise Invalid({"url": [f"at most {MAX_ENDPOINTS} endpoints"]}, code="too_many_endpoints")
    if held is None:
        return Subscriptions(id=subscriptions_id(endpoint.scope), entries=tuple(entries.values()))
    return bump(held, entries=tuple(entries.values()))


def subscribed(held: Subscriptions | None, type: EventType) -> list[str]:
    """Return the endpoints that are enabled for a type of event."""
    if held is None:
        return []
    wanted = {ALL, type}
    return [entry.endpoint for entry in held.entries if entry.events and not wanted.isdisjoint(entry.events)]
