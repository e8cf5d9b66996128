"""What an audit finds: what disagrees, what is still open, and what a person should read."""

from collections import Counter
from collections.abc import Mapping

import msgspec

from kpay_core.domain.laws import Difference, Value
from kpay_core.domain.ledger import Account
from kpay_core.domain.notices import Notice, Status
from kpay_core.domain.scope import Mode

# Disagreements and notices that are told one by one; all of them are counted.
MAX_DETAILS = 1_000

# Notices that are not done with, or never will be.
UNFINISHED = (Status.WAITING, Status.CONTRADICTING, Status.STRAY)

# The laws that concern what is missing altogether.
ORPHAN = "transfers_have_a_source"
UNKNOWN_TO_US = "what_moved_is_known"
PART_OF_NOTHING = "refunds_and_disputes_have_a_charge"
NO_SETTLEMENT = "books_have_a_settlement"
LOST_TO_ITS_KEY = "what_was_made_under_a_key_is_found_by_it"


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """A law that does not hold of an object. `difference` is what was found less what was expected, of numbers."""

    law: str
    id: str
    what: str
    expected: Value
    found: Value
    difference: int | None


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """A notice that is not done with, and why."""

    id: str
    reference: str
    status: str
    reason: str | None


class Report(msgspec.Struct, kw_only=True):
    """
    The outcome of an audit. It is clean when nothing disagrees.

    `checked` counts the records that were read, by kind, and `open` the objects without an outcome. `disagreements`
    and `explained` are the first thousand each; `disagreeing` and `explaining` count them all. `moving` counts objects,
    keys and deliveries that moved each time they were looked at and could not be judged, and books in which something
    was told each time. `totals` are the sums of all accounts, by mode: together they are nothing.
    """

    checked: Counter[str] = msgspec.field(default_factory=Counter[str])
    open: Counter[str] = msgspec.field(default_factory=Counter[str])
    moving: int = 0
    disagreeing: int = 0
    disagreements: list[Disagreement] = msgspec.field(default_factory=list[Disagreement])
    explaining: int = 0
    explained: list[Explained] = msgspec.field(default_factory=list[Explained])
    totals: dict[Mode, Counter[Account]] = msgspec.field(default_factory=dict[Mode, Counter[Account]])

    @property
    def is_clean(self) -> bool:
        return not self.disagreeing

    def note(self, law: str, id: str, *differences: Difference) -> None:
        """Write down how an object disagrees with a law."""
        for what, expected, found in differences:
            self.disagreeing += 1
            if len(self.disagreements) < MAX_DETAILS:
                self.disagreements.append(
                    Disagreement(
                        law=law,
                        id=id,
                        what=what,
                        expected=expected,
                        found=found,
                        difference=found - expected
                        if isinstance(found, int) and isinstance(expected, int)
                        else None,
                    )
                )

    def add_totals(self, mode: Mode, accounts: Mapping[Account, int]) -> None:
        """Add a merchant's accounts to those of all."""
        self.totals.setdefault(mode, Counter()).update(accounts)

    def explain(self, notice: Notice) -> None:
        """Write down a notice that a person may want to read."""
        self.explaining += 1
        if len(self.explained) < MAX_DETAILS:
            self.explained.append(
                Explained(
                    id=notice.id,
                    reference=notice.reference,
                    status=notice.status.value,
                    reason=notice.reason,
                )
            )
