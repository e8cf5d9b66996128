"""
Lanes: each endpoint has one, and whoever holds it is alone in sending there.

          hold
    free ──────▶ held by a worker ◀─┐
      ▲              │              │ hold: by the same, or by another once the lease has lapsed
      └──────────────┴──────────────┘
          release

A lane is written whenever something is started or has ended, and with every change of its endpoint. So its version is
the fence of a worker that was stopped and wakes too late, and what tells the one at work that the endpoint changed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from kpay_core.commit import Record, bump
from kpay_core.domain.posts import MAX_IN_FLIGHT

# Longer than an attempt (15 s) and the patience with a database that is away (20 s), so that no live attempt is made
# a second time; short, because after a crash this is how long those that were on their way stand still.
LEASE = timedelta(seconds=45)

# An attempt starts this long after it was written down, or not at all: by then, a change of the endpoint that was
# acknowledged in between is known to hold.
START_WITHIN = timedelta(seconds=1)

# A delivery whose worker dies every time may be what kills them; after so often it counts as a failed attempt.
MAX_LOST = 5

# How long a lane with a backlog is worked on before others get their turn.
TURN = timedelta(seconds=20)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that is being attempted, since when, and how often its worker died before."""

    delivery: str
    since: datetime
    lost: int = 0


class Lane(Record, frozen=True, kw_only=True):
    """
    Who sends to an endpoint, and what is on its way there; its id is the endpoint's.

    `due_at` is when somebody must look: when the next retry is due, or when the lease lapses. It is None where there
    is nothing to wait for; deliveries that are fresh are found by themselves.
    """

    version: int = 1
    holder: str | None = None
    due_at: datetime | None = None
    sending: tuple[Claim, ...] = ()


def is_due(lane: Lane, *, now: datetime) -> bool:
    """Tell whether it is time for somebody to look."""
    return lane.due_at is not None and lane.due_at <= now


def is_held(lane: Lane, *, now: datetime) -> bool:
    """Tell whether somebody holds it, whose lease has not lapsed."""
    return lane.holder is not None and not is_due(lane, now=now)


def may_hold(lane: Lane, *, holder: str, now: datetime) -> bool:
    """Tell whether a worker may hold it: it is his already, or nobody's."""
    return lane.holder == holder or not is_held(lane, now=now)


def lost(lane: Lane) -> Mapping[str, int]:
    """Tell how often each of the deliveries that were on their way when a lease lapsed has been lost by now."""
    return {claim.delivery: claim.lost + 1 for claim in lane.sending}


def hold(lane: Lane, sending: Sequence[Claim], *, holder: str, now: datetime) -> Lane:
    """Write down what is on its way, and hold the lane for a lease from now on."""
    assert may_hold(lane, holder=holder, now=now), "a lane is held by one"
    assert len(sending) <= MAX_IN_FLIGHT, "one endpoint gets so many at a time"
    return bump(lane, holder=holder, due_at=now + LEASE, sending=tuple(sending))


def release(lane: Lane, *, due_at: datetime | None) -> Lane:
    """Let go of a lane, until something is due again."""
    return bump(lane, holder=None, due_at=due_at, sending=())


def differ(one: Lane, other: Lane) -> bool:
    """Tell whether two versions of a lane say different things."""
    return (one.holder, one.due_at, one.sending) != (other.holder, other.due_at, other.sending)


def call(lane: Lane, *, now: datetime) -> Lane:
    """Note that the endpoint has changed: whoever holds the lane learns of it, else somebody is to look now."""
    return bump(lane) if is_held(lane, now=now) else bump(lane, due_at=now)
