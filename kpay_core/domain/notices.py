"""
Notices: the network's news as they were taken in, each kept under its id for ever, with what came of it.

      wait                apply
     ┌────┐   ┌─────────────────────▶ applied
     ▼    │   │  repeat
    waiting ──┼─────────────────────▶ known
              │  contradict
              ├─────────────────────▶ contradicting
              │  stray                  returned
              └─────────────────────▶ stray ────────▶ returned

Waiting is what is told of an object that we do not know yet, or that has no outcome yet; it is looked at again, for
ever. What contradicts an outcome moves nothing and is kept for a person to read; a capture that stands against a
failed charge is booked as a stray, and reversed at the network.

News may be of any shape. What cannot be kept as it was told is mended: an id that no store holds becomes its hash, a
code is cut, a time is brought to UTC and milliseconds. What then names nothing of ours, or no possible amount,
contradicts: it could wait for ever.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec

from kpay_core.commit import Record, bump
from kpay_core.domain import charges, disputes, looks, refunds
from kpay_core.domain.charges import Charge
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.machine import step
from kpay_core.domain.news import News, NewsKind
from kpay_core.domain.refunds import Refund
from kpay_core.domain.scope import Mode
from kpay_core.domain.text import is_plain
from kpay_core.domain.times import cut_to_milliseconds

# Ours have 36 characters, and those of networks hardly more.
MAX_NAME_LENGTH = 255

# What a database keeps as a number.
MAX_AMOUNT = 2**63 - 1

# News that are out of order find their place within minutes. What is still of nothing that we know needs a person.
WAITS_AT_MOST = timedelta(days=1)


class Status(StrEnum):
    WAITING = "waiting"
    # It changed something here.
    APPLIED = "applied"
    # It says what was known already.
    KNOWN = "known"
    # It says other than what is settled, and changed nothing.
    CONTRADICTING = "contradicting"
    # Money that was captured for a charge which is failed here: in suspense, until it is reversed.
    STRAY = "stray"
    RETURNED = "returned"


class Finding(StrEnum):
    """What a notice comes to."""

    WAIT = "wait"
    APPLY = "apply"
    REPEAT = "repeat"
    CONTRADICT = "contradict"
    STRAY = "stray"
    RETURNED = "returned"


TRANSITIONS: dict[tuple[Status, Finding], Status] = {
    (Status.WAITING, Finding.WAIT): Status.WAITING,
    (Status.WAITING, Finding.APPLY): Status.APPLIED,
    (Status.WAITING, Finding.REPEAT): Status.KNOWN,
    (Status.WAITING, Finding.CONTRADICT): Status.CONTRADICTING,
    (Status.WAITING, Finding.STRAY): Status.STRAY,
    (Status.STRAY, Finding.RETURNED): Status.RETURNED,
}


class Notice(Record, frozen=True, kw_only=True):
    """
    A piece of news, kept. Its id is the mode and the network's id for it; version 0 is not kept yet.

    `told` counts how often it came. `reason` says in words why it waits or what it contradicts. `look_at` is when
    somebody must look at it again; it is None exactly when that is over.
    """

    version: int = 1
    livemode: bool
    kind: NewsKind
    reference: str
    dispute: str | None
    amount: int
    code: str | None
    evidence_due_by: datetime | None
    happened_at: datetime
    status: Status = Status.WAITING
    reason: str | None = None
    told: int = 1
    created_at: datetime
    look_at: datetime | None
    looks: int = 0


class Decision(msgspec.Struct, frozen=True):
    """What a notice comes to, and why, where somebody may have to read it."""

    finding: Finding
    reason: str | None = None


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """
    What we hold of the subject of a notice.

    The charge is that of its reference, or of the refund which that names; the dispute is that of its case.
    `strayed` says that a capture of the charge was booked as a stray before.
    """

    charge: Charge | None = None
    refund: Refund | None = None
    dispute: Dispute | None = None
    strayed: bool = False

    @property
    def of_charge(self) -> Charge:
        """The charge that something is to be changed of."""
        assert self.charge is not None, "what is applied is of a charge"
        return self.charge


APPLY, REPEAT, STRAY = Decision(Finding.APPLY), Decision(Finding.REPEAT), Decision(Finding.STRAY)


def wait(reason: str) -> Decision:
    return Decision(Finding.WAIT, reason)


def contradict(reason: str) -> Decision:
    return Decision(Finding.CONTRADICT, reason)


OTHER_AMOUNT = contradict("the amount is not the one we have")
MALFORMED = contradict("it names nothing that can be ours, or no possible amount")


def notice_id(mode: Mode, news: str) -> str:
    """Name the notice of a piece of news; one whose id no store can hold is named after its hash."""
    if is_plain(news) and len(news) <= MAX_NAME_LENGTH:
        return f"{mode}/{news}"
    return f"{mode}/sha256:{hashlib.sha256(news.encode(errors='surrogatepass')).hexdigest()}"


def take_in(news: News, mode: Mode, *, now: datetime) -> Notice:
    """
    Make a notice of a piece of news, mended so that every store can hold it.

    Version 0, which is not kept yet, waits to be decided about; what is malformed is final.
    """
    notice = Notice(
        id=notice_id(mode, news.id),
        version=0,
        livemode=mode == "live",
        kind=news.kind,
        reference=_mended(news.reference),
        dispute=None if news.dispute is None else _mended(news.dispute),
        amount=max(-MAX_AMOUNT, min(news.amount, MAX_AMOUNT)),
        code=None if news.code is None else _mended(news.code),
        evidence_due_by=None if news.evidence_due_by is None else _moment(news.evidence_due_by),
        happened_at=_moment(news.happened_at) or now,
        created_at=now,
        look_at=looks.next_look(created_at=now, looks=0, now=now),
    )
    told = (news.reference, news.dispute, news.amount)
    if (notice.reference, notice.dispute, notice.amount) == told:
        return notice
    return conclude(notice, MALFORMED, now=now)


def _mended(text: str) -> str:
    cut = text[:MAX_NAME_LENGTH]
    return cut if is_plain(cut) else "".join(each if is_plain(each) else "\ufffd" for each in cut)


def _moment(told: datetime) -> datetime | None:
    """Bring a time to UTC, as which one without an offset is read, and cut it to milliseconds; None past all times."""
    try:
        moment = told.replace(tzinfo=UTC) if told.utcoffset() is None else told.astimezone(UTC)
    except OverflowError:
        return None
    return cut_to_milliseconds(moment)


def tell_again(notice: Notice) -> Notice:
    """Note that the news came once more."""
    return bump(notice, told=notice.told + 1)


def decide(notice: Notice, held: Held) -> Decision:
    """Decide what a notice comes to, given what we hold of its subject."""
    return RULES[notice.kind](notice, held)


def _of_capture(notice: Notice, held: Held) -> Decision:
    charge = held.charge
    if charge is None:
        return wait("the charge is not known")
    match charge.status:
        case charges.Status.SUCCEEDED:
            return REPEAT if notice.amount == charge.amount else OTHER_AMOUNT
        case charges.Status.FAILED if held.strayed:
            return REPEAT
        case charges.Status.FAILED:
            return STRAY if notice.amount > 0 else contradict("a capture of nothing")
        case _:
            return wait("the charge has no outcome yet")


def _of_decline(_: Notice, held: Held) -> Decision:
    if held.charge is None:
        return wait("the charge is not known")
    match held.charge.status:
        case charges.Status.FAILED:
            return REPEAT
        case charges.Status.SUCCEEDED:
            return contradict("the charge has succeeded")
        case _:
            return wait("the charge has no outcome yet")


def _of_refund(notice: Notice, held: Held) -> Decision:
    refund = held.refund
    if refund is None:
        return wait("the refund is not known")
    if refund.status in (refunds.Status.SENDING, refunds.Status.REVERSING):
        return wait("the refund has no outcome yet")
    if notice.amount != refund.amount:
        return OTHER_AMOUNT
    if refund.status is refunds.Status.PENDING:
        return APPLY
    succeeded = refund.status is refunds.Status.SUCCEEDED
    if notice.kind is NewsKind.REFUNDED:
        return REPEAT if succeeded else contradict("the refund has failed")
    return APPLY if succeeded else REPEAT


def _of_dispute_opened(notice: Notice, held: Held) -> Decision:
    charge, dispute = held.charge, held.dispute
    if notice.dispute is None:
        return contradict("the dispute has no name")
    if dispute is not None:
        return (
            REPEAT if dispute.charge == notice.reference else contradict("the dispute is of another charge")
        )
    if charge is None:
        return wait("the charge is not known")
    if not looks.is_settled(charge):
        return wait("the charge has no outcome yet")
    if charge.status is charges.Status.FAILED:
        return contradict("the charge has failed")
    return APPLY if 0 < notice.amount <= charge.amount else contradict("more than the charge, or nothing")


def _of_dispute_closed(notice: Notice, held: Held) -> Decision:
    dispute = held.dispute
    if notice.dispute is None:
        return contradict("the dispute has no name")
    if dispute is None:
        failed = held.charge is not None and held.charge.status is charges.Status.FAILED
        # Nothing is disputed of it here, and nothing ever will be.
        return contradict("the charge has failed") if failed else wait("the dispute is not known")
    if dispute.charge != notice.reference:
        return contradict("the dispute is of another charge")
    if notice.amount != dispute.amount:
        return OTHER_AMOUNT
    if not disputes.is_closed(dispute):
        return APPLY
    won = notice.kind is NewsKind.DISPUTE_WON
    return (
        REPEAT
        if (dispute.status is disputes.Status.WON) == won
        else contradict("it was closed the other way")
    )


RULES: Mapping[NewsKind, Callable[[Notice, Held], Decision]] = {
    NewsKind.CAPTURED: _of_capture,
    NewsKind.DECLINED: _of_decline,
    NewsKind.REFUNDED: _of_refund,
    NewsKind.REFUND_FAILED: _of_refund,
    NewsKind.DISPUTE_OPENED: _of_dispute_opened,
    NewsKind.DISPUTE_WON: _of_dispute_closed,
    NewsKind.DISPUTE_LOST: _of_dispute_closed,
}


def conclude(notice: Notice, decision: Decision, *, now: datetime) -> Notice:
    """Write down what a notice comes to. A stray is to be sent back at once."""
    status = step(TRANSITIONS, notice.status, decision.finding)
    match status:
        case Status.WAITING:
            return bump(notice, reason=decision.reason)
        case Status.STRAY:
            return bump(notice, status=status, reason=None, look_at=now, looks=0)
        case _:
            return bump(notice, status=status, reason=decision.reason, look_at=None)


def is_overdue(notice: Notice, *, now: datetime) -> bool:
    """
    Tell whether a notice deserves a person's attention.

    What contradicts does, and a stray that is not sent back, and after a day what is of nothing that we know.
    """
    match notice.status:
        case Status.CONTRADICTING:
            return True
        case Status.STRAY:
            return now - notice.created_at >= looks.OVERDUE
        case Status.WAITING:
            return now - notice.created_at >= WAITS_AT_MOST
        case _:
            return False
