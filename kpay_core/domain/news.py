"""What a card network tells by itself, long after it was asked: disputes, and outcomes that changed."""

from datetime import datetime
from enum import StrEnum

import msgspec


class NewsKind(StrEnum):
    """What may have happened."""

    CAPTURED = "captured"
    DECLINED = "declined"
    REFUNDED = "refunded"
    REFUND_FAILED = "refund_failed"
    DISPUTE_OPENED = "dispute_opened"
    DISPUTE_WON = "dispute_won"
    DISPUTE_LOST = "dispute_lost"


class News(msgspec.Struct, frozen=True, kw_only=True):
    """
    Something that happened at the network, under an id of the network's own. It may come twice, late and out of order.

    `reference` is ours: of the charge that was captured, declined or disputed, or of the refund. `dispute` is the
    network's name for a dispute. `code` is why a refund failed or a cardholder disputes; `evidence_due_by` is told
    when a dispute opens.
    """

    id: str
    kind: NewsKind
    reference: str
    dispute: str | None = None
    amount: int
    code: str | None = None
    evidence_due_by: datetime | None = None
    happened_at: datetime


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """News that nobody has acknowledged, oldest first, and when there will be more, where that is known."""

    news: tuple[News, ...] = ()
    next_at: datetime | None = None


class Testimony(msgspec.Struct, frozen=True, kw_only=True):
    """What a network or a bank has on record under one of our references: whether money moved, and how much."""

    reference: str
    moved: bool
    amount: int
