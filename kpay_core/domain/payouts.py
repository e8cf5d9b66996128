"""
Payouts: once a day what can be paid out goes to the merchant's bank account, line by line of the ledger.

             taken on                 paid
    pending ──────────▶ in_transit ────────▶ paid
      │ │                   │                 ▲
      │ └───────────────────┼─────────────────┘ paid
      │  failed             │ failed
      └─────────────────────┴────────────────▶ failed

A settlement stands for how far a merchant's book is paid out: at a place in it, which only ever moves forward. A
payout lists the lines between the place before and the place after it, so that no line is in two payouts.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from kpay_core.commit import Record, bump
from kpay_core.domain import ledger
from kpay_core.domain.banking import BankOutcome, BankVerdict
from kpay_core.domain.ledger import Sheet, Transfer
from kpay_core.domain.looks import OVERDUE
from kpay_core.domain.machine import step
from kpay_core.domain.money import DEFAULT_CURRENCY
from kpay_core.domain.scope import Scope

# Contract, section 7: "at most 10,000 lines each".
MAX_LINES = 10_000

# Contract, section 7: "once a day (UTC)".
DAY = timedelta(days=1)

# Banks book overnight.
ARRIVES_AFTER = timedelta(days=1)


class Status(StrEnum):
    PENDING = "pending"
    IN_TRANSIT = "in_transit"
    PAID = "paid"
    FAILED = "failed"


TRANSITIONS = {
    (Status.PENDING, BankOutcome.IN_TRANSIT): Status.IN_TRANSIT,
    (Status.PENDING, BankOutcome.PAID): Status.PAID,
    (Status.PENDING, BankOutcome.FAILED): Status.FAILED,
    (Status.IN_TRANSIT, BankOutcome.PAID): Status.PAID,
    (Status.IN_TRANSIT, BankOutcome.FAILED): Status.FAILED,
}

# What the bank says and a merchant may be told, by its code; any other code reads as a refusal.
FAILURES = {
    "account_closed": "The bank account has been closed.",
    "no_account": "The bank account could not be found.",
    "could_not_process": "The bank could not process the payout.",
}


# A place in a book: right after a transfer on a sheet, written so that places sort. The first is before all of them.
Place = str
FIRST_PLACE: Place = ""


class Payout(Record, frozen=True, kw_only=True):
    """
    Money on its way to a merchant's bank account. Its id is also the reference under which the bank knows it.

    `after` and `upto` are the places in the book between which its lines are; `lines` is how many there are, and
    `carried` what older lines that no payout lists came to: never more than nothing. `arrives_at` is when it should
    be there. `look_at` is when somebody must ask the bank; it is None exactly when there is an outcome.
    """

    version: int = 1
    merchant: str
    livemode: bool
    amount: int
    currency: str
    status: Status = Status.PENDING
    account: str
    after: Place
    upto: Place
    lines: int
    carried: int
    failure_code: str | None = None
    failure_message: str | None = None
    arrives_at: datetime
    created_at: datetime
    look_at: datetime | None
    looks: int = 0

    @property
    def scope(self) -> Scope:
        return Scope(self.merchant, self.livemode)


class Settlement(Record, frozen=True, kw_only=True):
    """
    How far a merchant's book is paid out; its id is the book's.

    `carried` is what the lines up to `place` came to that no payout lists, never more than nothing. `due_at` is when
    the next payouts are to be made.
    """

    version: int = 1
    merchant: str
    livemode: bool
    place: Place = FIRST_PLACE
    carried: int = 0
    due_at: datetime

    @property
    def scope(self) -> Scope:
        return Scope(self.merchant, self.livemode)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Lines that follow a place in a book, added up; `full` says that there may be more than a payout can list."""

    lines: int
    net: int
    upto: Place
    full: bool


def open_settlement(scope: Scope, *, now: datetime) -> Settlement:
    """Begin to settle with a merchant, in one mode: for the first time at the end of the day."""
    return Settlement(
        id=ledger.book_id(scope),
        merchant=scope.merchant,
        livemode=scope.livemode,
        due_at=next_midnight(now),
    )


def last_midnight(now: datetime) -> datetime:
    """Return when the day began, in UTC."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def next_midnight(now: datetime) -> datetime:
    """Return when the next day begins, in UTC."""
    return last_midnight(now) + DAY


def is_due(settlement: Settlement, *, now: datetime) -> bool:
    """Tell whether it is time for payouts."""
    return settlement.due_at <= now


def place_of(transfer: Transfer) -> Place:
    """Return the place right after a transfer."""
    return f"{transfer.sheet:010}/{transfer.id}"


def read_place(place: Place) -> tuple[int, str]:
    """Return the sheet of a place and the transfer that it is after."""
    sheet, _, transfer = place.partition("/")
    return int(sheet or 0), transfer


def room(settlement: Settlement) -> int:
    """Return how many lines the next payout may have, beside the one that says what was carried forward."""
    return MAX_LINES - 1 if settlement.carried else MAX_LINES


def add_lines(run: Run, lines: Sequence[Transfer], *, room: int) -> Run:
    """Add the lines that follow a run."""
    return Run(
        lines=run.lines + len(lines),
        net=run.net + ledger.net(lines),
        upto=place_of(lines[-1]) if lines else run.upto,
        full=run.lines + len(lines) == room,
    )


def add_sheets(run: Run, after: Sheet | None, upto: Sheet, *, last: Transfer | None, room: int) -> Run:
    """Add all lines of the sheets after one and up to another, by their totals; `last` is the last of these lines."""
    lines = run.lines + ledger.lines_since(upto, after)
    return Run(
        lines=lines,
        net=run.net + ledger.net_since(upto, after),
        upto=place_of(last) if last else run.upto,
        full=lines == room,
    )


def settle(
    settlement: Settlement, run: Run, *, id: str, account: str, now: datetime
) -> tuple[Settlement, Payout | None]:
    """
    Decide what becomes of the lines that follow: a payout where they come to more than nothing.

    Where they do not, they wait for lines to come; and where there are as many of them as a payout may list, what
    they came to is carried forward, to be one line of the next. A day's last run moves the settlement to the next day.
    """
    amount = settlement.carried + run.net
    due_at = settlement.due_at if run.full else next_midnight(now)
    if amount > 0:
        payout = Payout(
            id=id,
            merchant=settlement.merchant,
            livemode=settlement.livemode,
            amount=amount,
            currency=DEFAULT_CURRENCY,
            account=account,
            after=settlement.place,
            upto=run.upto,
            lines=run.lines,
            carried=settlement.carried,
            arrives_at=now + ARRIVES_AFTER,
            created_at=now,
            look_at=now,
        )
        return bump(settlement, place=run.upto, carried=0, due_at=due_at), payout
    if run.full:
        return bump(settlement, place=run.upto, carried=amount), None
    return wait(settlement, now=now), None


def wait(settlement: Settlement, *, now: datetime) -> Settlement:
    """Move a settlement on to the next day: nothing has come in."""
    return bump(settlement, due_at=next_midnight(now))


def note(payout: Payout, verdict: BankVerdict) -> Payout:
    """Move a payout as the bank says. One that is on its way is looked at when it should have arrived."""
    status = step(TRANSITIONS, payout.status, verdict.outcome)
    if status is Status.IN_TRANSIT:
        return bump(payout, status=status, look_at=payout.arrives_at)
    code = message = None
    if status is Status.FAILED:
        code = verdict.code if verdict.code in FAILURES else "could_not_process"
        message = FAILURES[code]
    return bump(payout, status=status, failure_code=code, failure_message=message, look_at=None)


def moves(payout: Payout, verdict: BankVerdict) -> bool:
    """Tell whether a verdict changes anything."""
    return (payout.status, verdict.outcome) in TRANSITIONS


def is_overdue(payout: Payout, *, now: datetime) -> bool:
    """Tell whether a payout deserves a person's attention: not taken by the bank, or not there when it should be."""
    expected_at = payout.arrives_at if payout.status is Status.IN_TRANSIT else payout.created_at
    return payout.look_at is not None and now - expected_at >= OVERDUE


def carried_id(payout: Payout) -> str:
    """Name the line of a payout that says what was carried forward."""
    return payout.id.replace("po_", "adj_", 1)
