"""
The ledger: every cent that moves is a transfer from one account to another, written once and never changed.

    what happened            debit                  credit                 line of a payout
    charge                   processor_receivable   pending
    fee                      pending                fees_revenue
    charge_matured           pending                available              charge            +
    fee_matured              available              pending                fee               -
    refund                   available              refunds_in_flight      refund            -
    refund_paid              refunds_in_flight      processor_receivable
    refund_returned          refunds_in_flight      available              refund_reversal   +
    refund_bounced           processor_receivable   available              refund_reversal   +
    dispute                  available              dispute_reserve        dispute           -
    dispute_fee              available              dispute_reserve        fee               -
    dispute_won              dispute_reserve        available              dispute_reversal  +
    dispute_fee_returned     dispute_reserve        available              dispute_reversal  +
    dispute_lost             dispute_reserve        processor_receivable
    dispute_fee_kept         dispute_reserve        fees_revenue
    payout                   available              payouts_in_transit
    payout_paid              payouts_in_transit     cash
    payout_failed            payouts_in_transit     available              payout_return     +
    stray_capture            processor_receivable   suspense
    stray_reversed           suspense               processor_receivable

A transfer takes from one account what it gives to the other, so the sum of all accounts is zero whatever is written.
The kind says which two, and is written once for each source. What is wrong is put right by another transfer.

The transfers of a merchant and mode make a book. It is written sheet by sheet, and a sheet that was turned never
gains a transfer: every transfer is committed holding the book. So the totals of turned sheets can be carried forward
and stand for all transfers before, and a balance is those totals and the few transfers since.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Literal
from zlib import crc32

import msgspec
from msgspec.structs import replace

from kpay_core.commit import Record, bump
from kpay_core.domain.scope import Scope


class Account(StrEnum):
    """Where money is. The first five are a merchant's, in one mode; the rest are ours, in one mode."""

    PENDING = "pending"
    AVAILABLE = "available"
    REFUNDS_IN_FLIGHT = "refunds_in_flight"
    DISPUTE_RESERVE = "dispute_reserve"
    PAYOUTS_IN_TRANSIT = "payouts_in_transit"
    PROCESSOR_RECEIVABLE = "processor_receivable"
    CASH = "cash"
    FEES_REVENUE = "fees_revenue"
    SUSPENSE = "suspense"


class Kind(StrEnum):
    """What a transfer is written for."""

    CHARGE = "charge"
    FEE = "fee"
    CHARGE_MATURED = "charge_matured"
    FEE_MATURED = "fee_matured"
    REFUND = "refund"
    REFUND_PAID = "refund_paid"
    REFUND_RETURNED = "refund_returned"
    REFUND_BOUNCED = "refund_bounced"
    DISPUTE = "dispute"
    DISPUTE_FEE = "dispute_fee"
    DISPUTE_WON = "dispute_won"
    DISPUTE_FEE_RETURNED = "dispute_fee_returned"
    DISPUTE_LOST = "dispute_lost"
    DISPUTE_FEE_KEPT = "dispute_fee_kept"
    PAYOUT = "payout"
    PAYOUT_PAID = "payout_paid"
    PAYOUT_FAILED = "payout_failed"
    STRAY_CAPTURE = "stray_capture"
    STRAY_REVERSED = "stray_reversed"


# The accounts of each kind: debit, credit.
POSTINGS: Mapping[Kind, tuple[Account, Account]] = {
    Kind.CHARGE: (Account.PROCESSOR_RECEIVABLE, Account.PENDING),
    Kind.FEE: (Account.PENDING, Account.FEES_REVENUE),
    Kind.CHARGE_MATURED: (Account.PENDING, Account.AVAILABLE),
    Kind.FEE_MATURED: (Account.AVAILABLE, Account.PENDING),
    Kind.REFUND: (Account.AVAILABLE, Account.REFUNDS_IN_FLIGHT),
    Kind.REFUND_PAID: (Account.REFUNDS_IN_FLIGHT, Account.PROCESSOR_RECEIVABLE),
    Kind.REFUND_RETURNED: (Account.REFUNDS_IN_FLIGHT, Account.AVAILABLE),
    Kind.REFUND_BOUNCED: (Account.PROCESSOR_RECEIVABLE, Account.AVAILABLE),
    Kind.DISPUTE: (Account.AVAILABLE, Account.DISPUTE_RESERVE),
    Kind.DISPUTE_FEE: (Account.AVAILABLE, Account.DISPUTE_RESERVE),
    Kind.DISPUTE_WON: (Account.DISPUTE_RESERVE, Account.AVAILABLE),
    Kind.DISPUTE_FEE_RETURNED: (Account.DISPUTE_RESERVE, Account.AVAILABLE),
    Kind.DISPUTE_LOST: (Account.DISPUTE_RESERVE, Account.PROCESSOR_RECEIVABLE),
    Kind.DISPUTE_FEE_KEPT: (Account.DISPUTE_RESERVE, Account.FEES_REVENUE),
    Kind.PAYOUT: (Account.AVAILABLE, Account.PAYOUTS_IN_TRANSIT),
    Kind.PAYOUT_PAID: (Account.PAYOUTS_IN_TRANSIT, Account.CASH),
    Kind.PAYOUT_FAILED: (Account.PAYOUTS_IN_TRANSIT, Account.AVAILABLE),
    Kind.STRAY_CAPTURE: (Account.PROCESSOR_RECEIVABLE, Account.SUSPENSE),
    Kind.STRAY_REVERSED: (Account.SUSPENSE, Account.PROCESSOR_RECEIVABLE),
}

LineType = Literal[
    "charge",
    "refund",
    "fee",
    "dispute",
    "dispute_reversal",
    "refund_reversal",
    "payout_return",
    "adjustment",
]

# What moves funds that can be paid out, as the merchant's payout lists it. A payout itself is no line of one.
LINES: Mapping[Kind, LineType] = {
    Kind.CHARGE_MATURED: "charge",
    Kind.FEE_MATURED: "fee",
    Kind.REFUND: "refund",
    Kind.REFUND_RETURNED: "refund_reversal",
    Kind.REFUND_BOUNCED: "refund_reversal",
    Kind.DISPUTE: "dispute",
    Kind.DISPUTE_FEE: "fee",
    Kind.DISPUTE_WON: "dispute_reversal",
    Kind.DISPUTE_FEE_RETURNED: "dispute_reversal",
    Kind.PAYOUT_FAILED: "payout_return",
}

# About one transfer in so many is the last of its sheet: few enough sheets to keep, few enough transfers to add up.
SHEET_TRANSFERS = 1_024


class Entry(msgspec.Struct, frozen=True):
    """A transfer that is to be written: what happened, to which object, and how many cents it moves."""

    kind: Kind
    source: str
    amount: int


class Transfer(Record, frozen=True, kw_only=True):
    """Cents that moved from `debit` to `credit`, on account of an object, on a sheet of a merchant's book."""

    merchant: str
    livemode: bool
    sheet: int
    kind: Kind
    source: str
    debit: Account
    credit: Account
    amount: int
    created_at: datetime

    @property
    def scope(self) -> Scope:
        return Scope(self.merchant, self.livemode)


class Book(Record, frozen=True, kw_only=True):
    """
    Where a merchant's transfers in one mode are written: which sheet is open, and what a charge costs.

    Every commit with transfers holds it, and turning a sheet writes it, so that nothing is written on a sheet that was
    turned. New terms are for charges that are opened from then on.
    """

    version: int = 1
    merchant: str
    livemode: bool
    sheet: int = 1
    fee_basis_points: int
    fee_cents: int

    @property
    def scope(self) -> Scope:
        return Scope(self.merchant, self.livemode)


Totals = Mapping[Account, int]


class Sheet(Record, frozen=True, kw_only=True):
    """
    The totals of a book up to the end of a sheet that was turned.

    Cents by account, and how many transfers there are; how many of them are lines of payouts, and what these come to.
    """

    version: int = 1
    merchant: str
    livemode: bool
    number: int
    totals: dict[Account, int]
    transfers: int
    lines: int
    net: int


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """What a merchant has, in cents: not matured yet, to be paid out, kept back, and on its way to the bank."""

    pending: int
    available: int
    reserved: int
    in_transit: int


def book_id(scope: Scope) -> str:
    """Name the book of a merchant and mode."""
    return f"{scope.merchant}/{scope.mode}"


def open_book(scope: Scope, *, fee_basis_points: int, fee_cents: int) -> Book:
    """Begin a merchant's book in one mode."""
    return Book(
        id=book_id(scope),
        merchant=scope.merchant,
        livemode=scope.livemode,
        fee_basis_points=fee_basis_points,
        fee_cents=fee_cents,
    )


def change_terms(book: Book, fee_basis_points: int | None, fee_cents: int | None) -> Book:
    """Change what a charge costs; None stays as it is."""
    return bump(
        book,
        fee_basis_points=book.fee_basis_points if fee_basis_points is None else fee_basis_points,
        fee_cents=book.fee_cents if fee_cents is None else fee_cents,
    )


def fee(book: Book, amount: int) -> int:
    """Return what a charge of `amount` cents costs: a share, rounded half up, and a fixed part; never more than it."""
    share = (amount * book.fee_basis_points + 5_000) // 10_000
    return min(share + book.fee_cents, amount)


def write_down(entry: Entry, book: Book, *, id: str, now: datetime) -> Transfer:
    """Make the transfer of an entry, on the open sheet."""
    debit, credit = POSTINGS[entry.kind]
    return Transfer(
        id=id,
        merchant=book.merchant,
        livemode=book.livemode,
        sheet=book.sheet,
        kind=entry.kind,
        source=entry.source,
        debit=debit,
        credit=credit,
        amount=entry.amount,
        created_at=now,
    )


def ends_sheet(transfer: Transfer) -> bool:
    """
    Tell whether a transfer is to be the last of its sheet.

    Its name decides, like a coin that was tossed: so sheets stay short, and nobody counts.
    """
    return crc32(transfer.id.encode()) % SHEET_TRANSFERS == 0


def turn(book: Book) -> Book:
    """Turn the open sheet: from here on nothing is written on it."""
    return bump(book, sheet=book.sheet + 1)


def add_up(totals: Totals, transfers: Iterable[Transfer]) -> dict[Account, int]:
    """Add transfers to totals: what an account was credited, less what it was debited."""
    sums = Counter(totals)
    for transfer in transfers:
        sums[transfer.debit] -= transfer.amount
        sums[transfer.credit] += transfer.amount
    return {account: sums[account] for account in Account}


def sheet_id(book: str, number: int) -> str:
    """Name a sheet, so that names sort as numbers do."""
    return f"{book}/{number:010}"


def next_sheet(book: Book, before: Sheet | None) -> Sheet:
    """Begin the totals of the sheet after `before`, the first where there is none, with what is carried forward."""
    number = before.number + 1 if before else 1
    assert number < book.sheet, "an open sheet has no totals yet"
    return Sheet(
        id=sheet_id(book.id, number),
        merchant=book.merchant,
        livemode=book.livemode,
        number=number,
        totals=add_up(before.totals if before else {}, ()),
        transfers=before.transfers if before else 0,
        lines=before.lines if before else 0,
        net=before.net if before else 0,
    )


def carry_forward(sheet: Sheet, transfers: Sequence[Transfer]) -> Sheet:
    """Add transfers of a sheet to its totals."""
    lines = [transfer for transfer in transfers if transfer.kind in LINES]
    return replace(
        sheet,
        totals=add_up(sheet.totals, transfers),
        transfers=sheet.transfers + len(transfers),
        lines=sheet.lines + len(lines),
        net=sheet.net + net(lines),
    )


def balance(totals: Totals) -> Balance:
    """Read a merchant's balance off the totals of its accounts."""
    return Balance(
        pending=totals.get(Account.PENDING, 0),
        available=totals.get(Account.AVAILABLE, 0),
        reserved=totals.get(Account.REFUNDS_IN_FLIGHT, 0) + totals.get(Account.DISPUTE_RESERVE, 0),
        in_transit=totals.get(Account.PAYOUTS_IN_TRANSIT, 0),
    )


def lines_since(sheet: Sheet, before: Sheet | None) -> int:
    """Return how many lines there are between the ends of two sheets; None is the beginning of the book."""
    return sheet.lines - (before.lines if before else 0)


def net_since(sheet: Sheet, before: Sheet | None) -> int:
    """Return what the lines between the ends of two sheets come to, in cents."""
    return sheet.net - (before.net if before else 0)


def line_amount(transfer: Transfer) -> int:
    """Return what a line adds to the payout that lists it, in cents."""
    return transfer.amount if transfer.credit is Account.AVAILABLE else -transfer.amount


def net(lines: Sequence[Transfer]) -> int:
    """Return what lines come to, in cents."""
    return sum(line_amount(line) for line in lines)
