"""What a processor says of one of our references."""

from datetime import timedelta
from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """The words a processor has for an authorisation or a refund."""

    CAPTURED = "captured"
    DECLINED = "declined"
    REFUNDED = "refunded"
    PENDING = "pending"
    REFUSED = "refused"
    # Nothing stands under the reference, and nothing ever will.
    REVERSED = "reversed"
    IN_FLIGHT = "in_flight"
    NOT_FOUND = "not_found"


class Verdict(msgspec.Struct, frozen=True):
    """An outcome, with the network's reason where it declined or refused."""

    outcome: Outcome
    code: str | None = None


# The processor port answers within 30 s, so after this a live attempt is over, with time to commit its outcome.
LEASE = timedelta(seconds=60)

# A request may still reach the network after we gave up on it. What it does not know by now was lost on the way;
# the reversal leaves a tombstone all the same.
SETTLE_WINDOW = timedelta(seconds=120)

# When an unfinished charge or refund is looked at again. The first look is early: asking is harmless, and after a
# crash it is what tells the truth soonest. The last one repeats for ever: nothing is failed on a guess.
LOOK_AGAIN = tuple(timedelta(seconds=s) for s in (5, 15, 60, 300, 900, 3600))

# From here on an unresolved outcome deserves a person's attention.
OVERDUE = timedelta(minutes=15)


def look_again_after(tries: int) -> timedelta:
    """Return how long to wait after the given number of looks."""
    return LOOK_AGAIN[min(tries, len(LOOK_AGAIN) - 1)]


assert LOOK_AGAIN[0] < LEASE < SETTLE_WINDOW, "an attempt is over before it is undone"
