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
    """
    An outcome, with the network's reason where it declined or refused.

    `at_once` is said of a capture whose funds need not mature.
    """

    outcome: Outcome
    code: str | None = None
    at_once: bool = False


# The processor port answers within 30 s, so after this a live attempt is over, with time to commit its outcome.
LEASE = timedelta(seconds=60)

# A request may still reach the network after we gave up on it. What it does not know by now was lost on the way;
# the reversal leaves a tombstone all the same.
SETTLE_WINDOW = timedelta(seconds=120)

assert LEASE < SETTLE_WINDOW, "an attempt is over before it is undone"
