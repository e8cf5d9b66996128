"""
Disputes at the network: planned with the capture, opened and closed by the time, unless something comes between.

Both announcements are planned from the start, so that nothing but the clock is needed for either. Whoever changes the
plan writes them too, and whoever tells of one writes it first: what was told does not change.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from kpay_adapters.sandbox.cards import DISPUTE_OPENS_AFTER, EVIDENCE_WITHIN, OTHER_VERDICT, VERDICTS
from kpay_adapters.sandbox.journal import Announcement, Case, Entry
from kpay_core.commit import Record, bump
from kpay_core.domain.news import NewsKind


class Dispute(NamedTuple):
    """A case with the news of its beginning and of its end."""

    case: Case
    opening: Announcement
    closing: Announcement


def case_id(charge: str) -> str:
    """Name the case of a charge; the same for ever, as there is one at most."""
    return f"case_{charge}"


# Numbered, because news of one moment is told in the order of its ids.
def opening_id(case: str) -> str:
    return f"news_1_{case}"


def closing_id(case: str) -> str:
    return f"news_2_{case}"


def plan(charge: Entry, reason: str) -> Dispute:
    """Plan the dispute of what was just captured: lost, unless there is evidence."""
    case = Case(id=case_id(charge.id))
    opens_at = charge.heard_at + DISPUTE_OPENS_AFTER
    due_by = opens_at + EVIDENCE_WITHIN
    opening = Announcement(
        id=opening_id(case.id),
        kind=NewsKind.DISPUTE_OPENED,
        reference=charge.id,
        dispute=case.id,
        amount=charge.amount,
        code=reason,
        evidence_due_by=due_by,
        happened_at=opens_at,
        due_at=opens_at,
    )
    closing = Announcement(
        id=closing_id(case.id),
        kind=NewsKind.DISPUTE_LOST,
        reference=charge.id,
        dispute=case.id,
        amount=charge.amount,
        happened_at=due_by,
        due_at=due_by,
    )
    return Dispute(case, opening, closing)


def is_open(dispute: Dispute, *, now: datetime) -> bool:
    """Tell whether a dispute has been opened; it may be closed since."""
    return has_come(dispute.opening, now=now)


def is_closed(dispute: Dispute, *, now: datetime) -> bool:
    return has_come(dispute.closing, now=now)


def has_come(announcement: Announcement, *, now: datetime) -> bool:
    """Tell whether what is announced has happened; nothing that was told is undone by a clock that is behind."""
    return announcement.told or (announcement.due_at is not None and announcement.due_at <= now)


def after_refund(dispute: Dispute, amount: int, *, now: datetime) -> Sequence[Record]:
    """Count a refund. One that comes before the dispute lowers it, and leaves none where nothing is left."""
    case = bump(dispute.case, refunded=dispute.case.refunded + amount)
    if is_open(dispute, now=now):
        return [case]
    left = dispute.opening.amount - amount
    changes = {"amount": left} if left else {"amount": 0, "due_at": None}
    return [case, bump(dispute.opening, **changes), bump(dispute.closing, **changes)]


def after_reversal(dispute: Dispute, *, now: datetime) -> Sequence[Record]:
    """Drop the dispute of a charge that is undone. One that was told of already is closed, and takes no money."""
    _, opening, closing = dispute
    if not opening.told:
        return [bump(opening, due_at=None), bump(closing, due_at=None)]
    if is_closed(dispute, now=now):
        return []
    at = max(now, opening.happened_at)
    return [bump(closing, kind=NewsKind.DISPUTE_WON, happened_at=at, due_at=at)]


def after_evidence(dispute: Dispute, evidence: str, *, now: datetime) -> Sequence[Record]:
    """Take the evidence against an open dispute, and plan the verdict on it."""
    kind, delay = VERDICTS.get(evidence.strip(), OTHER_VERDICT)
    at = now + delay
    return [
        bump(dispute.case, answered=True),
        bump(dispute.closing, kind=kind, happened_at=at, due_at=at),
    ]
