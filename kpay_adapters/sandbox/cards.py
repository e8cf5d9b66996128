"""The magic cards of test mode. The numbers that payment developers know, and four of our own."""

from datetime import timedelta
from enum import StrEnum

from kpay_core.domain.news import NewsKind


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
    # Refunds are pending at first, and then fail.
    REFUND_PENDING_FAILS = "refund_pending_fails"
    # Refunds succeed, and fail later.
    REFUND_FAILING = "refund_failing"
    # The cardholder disputes what was captured.
    DISPUTED = "disputed"
    # What was captured need not mature.
    AT_ONCE = "at_once"


DECLINED = {
    "4000000000000002": "generic_decline",
    "4000000000009995": "insufficient_funds",
    "4000000000009987": "lost_card",
    "4000000000009979": "stolen_card",
    "4000000000000069": "expired_card",
    "4000000000000127": "incorrect_cvc",
    "4000000000000119": "processing_error",
}

# Why the cardholder disputes.
REASONS = {
    "4000000000000259": "fraudulent",
    "4000000000002685": "product_not_received",
}

BEHAVING = {
    "4000000000009805": Behaviour.LATE,
    "4000000000009813": Behaviour.LOST,
    "4000000000009821": Behaviour.DOWN,
    "4000000000007726": Behaviour.REFUND_PENDING,
    "4000000000009839": Behaviour.REFUND_PENDING_FAILS,
    "4000000000005126": Behaviour.REFUND_FAILING,
    "4000000000000077": Behaviour.AT_ONCE,
    **dict.fromkeys(REASONS, Behaviour.DISPUTED),
}

# Long enough to notice, short enough to wait for.
LATE_SECONDS = 3

# How long the network tells nothing of a charge.
SILENT_FOR = {
    # After the first look of the sweeper (5 s): a 202 that succeeds at one of the next, within half a minute.
    Behaviour.LOST: timedelta(seconds=10),
    # The charge is undone once the settle window of 120 s has passed; the network is back well before.
    Behaviour.DOWN: timedelta(seconds=30),
}

# "Pending refunds settle or fail within three days" (contract, section 9); these are for the impatient.
REFUND_PENDING_FOR = timedelta(seconds=30)

# Long enough to see the refund succeeded, short enough to wait for.
REFUND_FAILS_AFTER = timedelta(seconds=60)
REFUND_FAILS_WITH = "expired_or_canceled_card"

# "Disputes open within a day of the charge" (contract, section 9); time enough to refund the charge before.
DISPUTE_OPENS_AFTER = timedelta(seconds=60)

# As networks have it: a week to look for papers.
EVIDENCE_WITHIN = timedelta(days=7)

# How a dispute ends, and how long after its evidence came, by the evidence.
VERDICTS = {
    "winning_evidence": (NewsKind.DISPUTE_WON, timedelta(minutes=1)),
    "losing_evidence": (NewsKind.DISPUTE_LOST, timedelta(minutes=1)),
}

# "Within ten days of submitting" (contract, section 9), and nobody is convinced by just any text.
OTHER_VERDICT = (NewsKind.DISPUTE_LOST, timedelta(days=10))
