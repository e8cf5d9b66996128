"""The magic cards of test mode. The numbers that payment developers know, and three of our own."""

from datetime import timedelta
from enum import StrEnum


class Behaviour(StrEnum):
    """What the network does with a card that it does not decline."""

    ORDINARY = "ordinary"
    # Captured at once, answered late.
    LATE = "late"
    # Captured at once, but the answer is lost and the network knows of it only later.
    LOST = "lost"
    # The network is away: nothing is captured and nothing is answered, for a while.
    DOWN = "down"
    # Refunds are pending at first.
    REFUND_PENDING = "refund_pending"


DECLINED = {
    "4000000000000002": "generic_decline",
    "4000000000009995": "insufficient_funds",
    "4000000000009987": "lost_card",
    "4000000000009979": "stolen_card",
    "4000000000000069": "expired_card",
    "4000000000000127": "incorrect_cvc",
    "4000000000000119": "processing_error",
}

BEHAVING = {
    "4000000000009805": Behaviour.LATE,
    "4000000000009813": Behaviour.LOST,
    "4000000000009821": Behaviour.DOWN,
    "4000000000007726": Behaviour.REFUND_PENDING,
}

# Long enough to notice, short enough to wait for.
LATE_SECONDS = 3

# How long the network tells nothing of a charge.
SILENT_FOR = {
    # After the first look of the sweeper (5 s), before its second (20 s): a 202 that succeeds within half a minute.
    Behaviour.LOST: timedelta(seconds=10),
    # The charge is undone once the settle window of 120 s has passed; the network is back well before.
    Behaviour.DOWN: timedelta(seconds=30),
}

# "Pending refunds settle or fail within three days" (contract, section 9); this one is for the impatient.
REFUND_PENDING_FOR = timedelta(seconds=30)
