"""When somebody looks at an unfinished charge or refund, until it has its outcome."""

from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from kpay_core.commit import Guarded, bump
from kpay_core.domain.processing import LEASE

# When an unfinished charge or refund is looked at again. The first look is early: asking is harmless, and after a
# crash it is what tells the truth soonest. The last one repeats for ever: nothing is failed on a guess.
LOOK_AGAIN = tuple(timedelta(seconds=s) for s in (5, 15, 60, 300, 900, 3600))

# From here on an unresolved outcome deserves a person's attention.
OVERDUE = timedelta(minutes=15)


class Watched(Guarded, Protocol):
    """A record that is looked at until it has its outcome: `look_at` is None exactly from then on."""

    @property
    def look_at(self) -> datetime | None: ...

    @property
    def looks(self) -> int: ...


W = TypeVar("W", bound=Watched)


def look_again_after(tries: int) -> timedelta:
    """Return how long to wait after the given number of looks."""
    return LOOK_AGAIN[min(tries, len(LOOK_AGAIN) - 1)]


def lease(watched: W, *, now: datetime) -> W:
    """Take the next look at an unfinished record for oneself."""
    looks = watched.looks + 1
    return bump(watched, look_at=now + look_again_after(looks), looks=looks)


def is_settled(watched: Watched) -> bool:
    """Tell whether a record has its outcome."""
    return watched.look_at is None


assert LOOK_AGAIN[0] < LEASE, "a crash is found before its attempt must be over"
