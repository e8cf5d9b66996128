"""When somebody looks at an unfinished charge, refund, dispute, payout or notice, until it has its outcome."""

from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from kpay_core.commit import Guarded, bump
from kpay_core.domain.processing import LEASE, SETTLE_WINDOW

# How long to wait for the next look, by the looks there were. For a minute they are close together: asking is harmless,
# after a crash it is what tells the truth soonest, and a crash in the middle of a look costs no more than the wait for
# the next. The last wait repeats for ever: nothing is failed on a guess.
LOOK_AGAIN = tuple(timedelta(seconds=s) for s in (*(5,) * 12, 60, 120, 300, 900, 3600))

# The ages at which more can be decided than before: what was cut off can be undone, then what was never seen.
# However late the looks before came, none is planned past either of them.
TURNS = (LEASE, SETTLE_WINDOW)

# From here on an unresolved outcome deserves a person's attention.
OVERDUE = timedelta(minutes=15)


class Watched(Guarded, Protocol):
    """A record that is looked at until it has its outcome: `look_at` is None exactly from then on."""

    @property
    def created_at(self) -> datetime: ...

    @property
    def look_at(self) -> datetime | None: ...

    @property
    def looks(self) -> int: ...


W = TypeVar("W", bound=Watched)


def next_look(*, created_at: datetime, looks: int, now: datetime) -> datetime:
    """Plan the next look at what was created then and looked at so often: ever later, but at each turn on time."""
    planned = now + LOOK_AGAIN[min(looks, len(LOOK_AGAIN) - 1)]
    ahead = (created_at + age for age in TURNS if created_at + age > now)
    return min([planned, *ahead])


def lease(watched: W, *, now: datetime) -> W:
    """Take the next look at an unfinished record for oneself."""
    looks = watched.looks + 1
    look_at = next_look(created_at=watched.created_at, looks=looks, now=now)
    return bump(watched, look_at=look_at, looks=looks)


def is_settled(watched: Watched) -> bool:
    """Tell whether a record has its outcome."""
    return watched.look_at is None


assert LOOK_AGAIN[0] < LEASE, "a crash is found before its attempt must be over"
assert (sum(LOOK_AGAIN[:12], timedelta()), sum(LOOK_AGAIN[:13], timedelta())) == TURNS, (
    "looks in time meet the turns"
)
