"""
Deliveries: one event on its way to one endpoint, attempted until it arrives or is abandoned for a stated reason.

                 arrived
    pending ─────────────────────▶ succeeded
     │    ▲ │
     │    │ │ missed
     │    └─┘
     │ exhausted, expired, endpoint deleted
     └───────────────────────────▶ abandoned

The database is the schedule: `next_attempt_at` says when the next attempt is due, and is None exactly when there will
not be one.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from zlib import crc32

from msgspec.structs import replace

from kpay_core.commit import Record, bump
from kpay_core.domain.events import Event, EventType
from kpay_core.domain.machine import step
from kpay_core.domain.posts import Failure, Reply
from kpay_core.domain.scope import Scope

# The public document: "retried with exponential backoff (1m, 5m, 30m, 2h, 6h, 12h, 24h)". The last one repeats
# while it still falls within the life of the delivery, so the ninth attempt, 68 h 36 m after the first, is the last.
DELAYS = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=6),
    timedelta(hours=12),
    timedelta(hours=24),
)

# The public document: "for up to 72 hours, then abandoned", from the first attempt on.
LIFE = timedelta(hours=72)

# Contract, section 8: endpoints that went away together are not all called at the same moment when they are back.
JITTER_SHARE = 0.1
MAX_JITTER = timedelta(minutes=15)

MILLISECOND = timedelta(milliseconds=1)


class Status(StrEnum):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    ABANDONED = "abandoned"


class Step(StrEnum):
    ARRIVED = "arrived"
    MISSED = "missed"
    # No further attempt falls within the delivery's life.
    EXHAUSTED = "exhausted"
    # Its life ended while the endpoint was disabled, or nobody was there to make the next attempt.
    EXPIRED = "expired"
    ENDPOINT_DELETED = "endpoint_deleted"


TRANSITIONS = {
    (Status.PENDING, Step.ARRIVED): Status.SUCCEEDED,
    (Status.PENDING, Step.MISSED): Status.PENDING,
    (Status.PENDING, Step.EXHAUSTED): Status.ABANDONED,
    (Status.PENDING, Step.EXPIRED): Status.ABANDONED,
    (Status.PENDING, Step.ENDPOINT_DELETED): Status.ABANDONED,
}

# Why a delivery was abandoned, as its merchant is told.
REASONS = (Step.EXHAUSTED, Step.EXPIRED, Step.ENDPOINT_DELETED)


class Delivery(Record, frozen=True, kw_only=True):
    """
    An event on its way to an endpoint.

    `fresh_at` is when it came, until it is first written again: by it, work that nobody has noticed is found.
    `expires_at` is when its life ends: 72 hours after it came, and from the first attempt on, after that.
    """

    version: int = 1
    merchant: str
    livemode: bool
    event: str
    event_type: EventType
    endpoint: str
    status: Status = Status.PENDING
    reason: Step | None = None
    attempts: int = 0
    next_attempt_at: datetime | None
    expires_at: datetime
    fresh_at: datetime | None
    created_at: datetime

    @property
    def scope(self) -> Scope:
        return Scope(self.merchant, self.livemode)


class Attempt(Record, frozen=True, kw_only=True):
    """One attempt, as its merchant may read of it: what was answered, or why nothing was."""

    delivery: str
    number: int
    started_at: datetime
    milliseconds: int
    status: int | None
    failure: Failure | None
    answer: str


def deliver(event: Event, endpoint: str, *, id: str, now: datetime) -> Delivery:
    """Send an event on its way."""
    return Delivery(
        id=id,
        merchant=event.merchant,
        livemode=event.livemode,
        event=event.id,
        event_type=event.type,
        endpoint=endpoint,
        next_attempt_at=now,
        expires_at=now + LIFE,
        fresh_at=now,
        created_at=now,
    )


def note(delivery: Delivery, reply: Reply, *, started_at: datetime) -> tuple[Delivery, Attempt]:
    """Write down what came of an attempt: the delivery has arrived, is due again later, or is given up."""
    attempt = Attempt(
        id=attempt_id(delivery.id, delivery.attempts + 1),
        delivery=delivery.id,
        number=delivery.attempts + 1,
        started_at=started_at,
        milliseconds=reply.milliseconds,
        status=reply.status,
        failure=reply.failure,
        answer=reply.answer,
    )
    first = delivery.attempts == 0
    tried = bump(
        delivery,
        attempts=delivery.attempts + 1,
        expires_at=started_at + LIFE if first else delivery.expires_at,
        fresh_at=None,
    )
    if reply.failure is None:
        return _finish(tried, Step.ARRIVED), attempt
    again = due_again(tried, started_at=started_at)
    if again >= tried.expires_at:
        return _finish(tried, Step.EXHAUSTED), attempt
    status = step(TRANSITIONS, tried.status, Step.MISSED)
    return replace(tried, status=status, next_attempt_at=again), attempt


def abandon(delivery: Delivery, reason: Step) -> Delivery:
    """Give a delivery up without another attempt."""
    return _finish(bump(delivery, fresh_at=None), reason)


def due_again(delivery: Delivery, *, started_at: datetime) -> datetime:
    """
    Tell when a delivery that has just missed is due again: by the table from its first attempt on.

    An attempt that came late (nobody was there to make it) is followed by a whole delay all the same.
    """
    first_at = delivery.expires_at - LIFE
    delay = delay_after(delivery.attempts)
    by_table = first_at + offset_of(delivery.attempts + 1) + jitter(delivery.id, delay)
    return max(by_table, started_at + delay)


def delay_after(attempts: int) -> timedelta:
    """Return how long to wait after the given number of attempts."""
    return DELAYS[min(attempts, len(DELAYS)) - 1]


def offset_of(number: int) -> timedelta:
    """Return when an attempt falls, counted from the first, before jitter: 0, 1 m, 6 m, 36 m, …, 68 h 36 m."""
    return sum((delay_after(attempts) for attempts in range(1, number)), timedelta(0))


def jitter(delivery: str, delay: timedelta) -> timedelta:
    """
    Spread a delay by at most a tenth and 15 minutes.

    Each delivery has its own share of it, the same for all its attempts, so that no pause gets shorter than its delay.
    In whole milliseconds, as all times here are.
    """
    most = min(delay * JITTER_SHARE, MAX_JITTER) // MILLISECOND
    return most * crc32(delivery.encode()) // 0xFFFFFFFF * MILLISECOND


def is_expired(delivery: Delivery, *, now: datetime) -> bool:
    """Tell whether a delivery's life is over."""
    return now >= delivery.expires_at


def attempt_id(delivery: str, number: int) -> str:
    """Name an attempt; there are nine at most, so names sort as numbers do."""
    return f"{delivery}/{number}"


def attempt_ids(delivery: Delivery) -> tuple[str, ...]:
    """Name all attempts of a delivery."""
    return tuple(attempt_id(delivery.id, number) for number in range(1, delivery.attempts + 1))


def _finish(delivery: Delivery, by: Step) -> Delivery:
    status = step(TRANSITIONS, delivery.status, by)
    reason = by if status is Status.ABANDONED else None
    return replace(delivery, status=status, reason=reason, next_attempt_at=None)
