"""
Events: what happened, told once and for ever (contract, section 8).

An event is committed together with the change it tells of, so one exists exactly if the other does. Its body is
written down once, byte for byte: what is shown, delivered and delivered again is always that.
"""

from datetime import datetime
from typing import Literal, get_args

import msgspec

from kpay_core.commit import Record
from kpay_core.domain.pages import PageParams
from kpay_core.domain.scope import Scope
from kpay_core.query import Condition

EventType = Literal[
    "charge.succeeded",
    "charge.failed",
    "charge.refunded",
    "refund.created",
    "refund.updated",
    "payout.created",
    "payout.paid",
    "payout.failed",
    "dispute.created",
    "dispute.updated",
    "dispute.closed",
]

EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)


class Event(Record, frozen=True, kw_only=True):
    """Something that happened. `body` is the JSON that everybody gets to see."""

    merchant: str
    livemode: bool
    type: EventType
    body: str
    created_at: datetime

    @property
    def scope(self) -> Scope:
        return Scope(self.merchant, self.livemode)


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The request that made something happen. What happens by itself has no id; its key may still be known."""

    request_id: str | None = None
    idempotency_key: str | None = None


class EventListParams(PageParams, frozen=True, kw_only=True):
    """What the list of events takes."""

    type: EventType | None = None

    @property
    def filters(self) -> tuple[Condition, ...]:
        return () if self.type is None else (("type", "=", self.type),)
