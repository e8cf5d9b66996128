"""
The journal of the network and the bank: what was asked of them and what they did, in guarded records.

A record is durable before it is told of. The journal has its own database, apart from the books of K-Payments,
so that one can be held against the other. It knows no card and no account: only how each behaves.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, TypeVar

from msgspec import Meta

from kpay_adapters.sandbox.cards import REFUND_FAILS_WITH, Behaviour
from kpay_core.commit import CommitFailed, Conflict, Record, bump
from kpay_core.domain.banking import BankOutcome, BankVerdict
from kpay_core.domain.news import News, NewsKind
from kpay_core.domain.processing import Outcome
from kpay_core.ports import NoAnswer, Store
from kpay_core.query import Query

R = TypeVar("R", bound=Record)


class Entry(Record, frozen=True, kw_only=True):
    """
    What stands under a reference of the network's. `charge` is set for refunds: the reference of the authorisation.

    Before `known_at` the network cannot tell of it. From `due_at` on, a pending refund is refunded or refused, and one
    that was refunded has failed.
    """

    version: int = 1
    outcome: Outcome
    code: str | None = None
    amount: int = 0
    charge: str | None = None
    behaviour: Behaviour = Behaviour.ORDINARY
    heard_at: datetime
    known_at: datetime
    due_at: datetime | None = None


class Announcement(Record, frozen=True, kw_only=True):
    """
    A piece of news. It is planned, and may still change, until it is told; it is told until it is acknowledged.

    `due_at` is when it happens; it is None once it was acknowledged, or withdrawn before anybody heard of it.
    """

    version: int = 1
    kind: NewsKind
    reference: str
    dispute: str | None = None
    amount: int
    code: str | None = None
    evidence_due_by: datetime | None = None
    happened_at: datetime
    due_at: Annotated[datetime | None, Meta(extra={"index": True})]
    told: bool = False


class Case(Record, frozen=True, kw_only=True):
    """
    A dispute as the network knows it, from the capture on: what was `refunded`, and whether it was answered.

    Its beginning and its end are announcements.
    """

    version: int = 1
    refunded: int = 0
    answered: bool = False


class Payment(Record, frozen=True, kw_only=True):
    """A payout at the bank: from `due_at` on it has its `outcome`, and until then it is in transit."""

    version: int = 1
    amount: int
    outcome: BankOutcome
    code: str | None
    due_at: datetime


def ripe(entry: Entry, *, now: datetime) -> Entry:
    """Return an entry as it stands now: after what has become due."""
    if entry.due_at is None or now < entry.due_at:
        return entry
    if entry.outcome is Outcome.PENDING and entry.behaviour is not Behaviour.REFUND_PENDING_FAILS:
        return bump(entry, outcome=Outcome.REFUNDED, due_at=None)
    return bump(entry, outcome=Outcome.REFUSED, code=REFUND_FAILS_WITH, due_at=None)


def verdict_on(payment: Payment, *, now: datetime) -> BankVerdict:
    """Tell what has become of a payment by now."""
    if now < payment.due_at:
        return BankVerdict(BankOutcome.IN_TRANSIT)
    return BankVerdict(payment.outcome, payment.code)


def as_news(announcement: Announcement) -> News:
    """Put an announcement in the core's words."""
    return News(
        id=announcement.id,
        kind=announcement.kind,
        reference=announcement.reference,
        dispute=announcement.dispute,
        amount=announcement.amount,
        code=announcement.code,
        evidence_due_by=announcement.evidence_due_by,
        happened_at=announcement.happened_at,
    )


class Journal:
    """The store of the journal. Who cannot read or write it gives no answer: all but `Conflict` is `NoAnswer`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, kind: type[R], id: str) -> R | None:
        try:
            return await self._store.get(kind, id)
        except CommitFailed as failure:
            raise NoAnswer from failure

    async def find(self, query: Query[R]) -> Sequence[R]:
        try:
            return await self._store.find(query)
        except CommitFailed as failure:
            raise NoAnswer from failure

    async def commit(self, *records: Record) -> None:
        try:
            await self._store.commit(*records)
        except Conflict:
            raise
        except CommitFailed as failure:
            raise NoAnswer from failure
