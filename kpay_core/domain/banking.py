"""What a bank says of a payout that was sent to it."""

from enum import StrEnum

import msgspec


class BankOutcome(StrEnum):
    """The words a bank has for a transfer to a merchant's account."""

    # The bank has taken it on; what becomes of it, it will tell when asked again.
    IN_TRANSIT = "in_transit"
    PAID = "paid"
    FAILED = "failed"


class BankVerdict(msgspec.Struct, frozen=True):
    """An outcome, with the bank's reason where it failed."""

    outcome: BankOutcome
    code: str | None = None
