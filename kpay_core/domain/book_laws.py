"""
The laws of a book: its sheets, the payouts that lead through it line by line, and what a merchant has.

They judge totals and stretches of lines; who reads the book adds them up, transfer by transfer.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from kpay_core.domain import charges, disputes, ledger, payouts, refunds
from kpay_core.domain.charges import Charge
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.laws import Broken, Difference, Differences, Source, compare
from kpay_core.domain.ledger import LINES, Account, Balance, Book, Sheet, Transfer
from kpay_core.domain.payouts import FIRST_PLACE, Payout, Place, Settlement
from kpay_core.domain.refunds import Refund

ACCOUNTS = tuple(Account)


class Tally(msgspec.Struct):
    """The transfers of a book up to a place, added up: by account, how many, and how many are lines of payouts."""

    totals: Counter[Account] = msgspec.field(default_factory=Counter[Account])
    transfers: int = 0
    lines: int = 0
    net: int = 0
    sheet: int = 0
    last_line: Transfer | None = None

    def add(self, transfer: Transfer) -> None:
        """Add the transfer that follows."""
        self.totals[transfer.debit] -= transfer.amount
        self.totals[transfer.credit] += transfer.amount
        self.transfers += 1
        self.sheet = transfer.sheet
        if transfer.kind in LINES:
            self.lines += 1
            self.net += ledger.line_amount(transfer)
            self.last_line = transfer

    @property
    def place(self) -> Place:
        """The place after the last line."""
        return FIRST_PLACE if self.last_line is None else payouts.place_of(self.last_line)


class Stretch(msgspec.Struct, frozen=True):
    """The lines between two places of a book: how many, what they come to, and where the last of them ends."""

    lines: int
    net: int
    upto: Place


# Sheets


def sheets_carry_all_before(sheet: Sheet, tally: Tally) -> Differences:
    """The totals of a sheet are the sums of all transfers of its book up to its end, and of those that are lines."""
    found = compare("transfers", tally.transfers, sheet.transfers)
    found += compare("lines", tally.lines, sheet.lines) + compare("net", tally.net, sheet.net)
    return found + tuple(
        Difference(f"total of {account}", tally.totals[account], sheet.totals.get(account, 0))
        for account in ACCOUNTS
        if tally.totals.get(account, 0) != sheet.totals.get(account, 0)
    )


def sheets_follow_each_other(sheet: Sheet, before: int) -> Differences:
    """Every sheet below one with totals has totals: those that lack theirs are the last."""
    return compare("number", before + 1, sheet.number)


def nothing_is_past_the_open_sheet(book: Book, last: int) -> Differences:
    """Nothing is written past the open sheet of a book, and no totals of it or past it."""
    return compare("open sheet", max(last, book.sheet), book.sheet)


# Payouts


def payouts_begin_where_the_last_ended(payout: Payout, upto: Place, skipped: Stretch) -> Differences:
    """
    A payout begins where the one before it ended, or after full runs that came to nothing or less.

    What those came to is what it carries. So no line is in two payouts, and none is left out.
    """
    return _carried_on("after", payout.after, payout.carried, upto, skipped)


def payouts_are_the_sum_of_their_lines(payout: Payout, run: Stretch) -> Differences:
    """A payout's amount is the sum of its lines and of what it carries; they are as many as it says, and end there."""
    return (
        compare("amount", run.net + payout.carried, payout.amount)
        + compare("lines", run.lines, payout.lines)
        + compare("upto", run.upto, payout.upto)
        + compare("lines at most", payouts.MAX_LINES, max(listed(payout), payouts.MAX_LINES))
    )


def listed(payout: Payout) -> int:
    """Return how many lines a merchant sees: what was carried forward is one."""
    return payout.lines + (1 if payout.carried else 0)


def settlements_stand_where_the_last_payout_ended(
    settlement: Settlement, upto: Place, skipped: Stretch
) -> Differences:
    """A settlement stands where the last payout ended, or after full runs of nothing or less, which it carries."""
    return _carried_on("place", settlement.place, settlement.carried, upto, skipped)


def _carried_on(what: str, place: Place, carried: int, upto: Place, skipped: Stretch) -> Differences:
    if not skipped.lines:
        return compare(what, upto, place) + compare("carried", 0, carried)
    found = compare(what, skipped.upto, place) + compare("carried", skipped.net, carried)
    if skipped.lines < payouts.MAX_LINES - 1:
        found += (Difference("lines left out", 0, skipped.lines),)
    if skipped.net > 0:
        found += (Difference("carried at most", 0, skipped.net),)
    return found


# Balances


class Holdings(msgspec.Struct):
    """What the objects of a merchant and mode say, added up; beside it `accounts`, the transfers written for them."""

    charges_pending: int = 0
    charge_fees_pending: int = 0
    charges_matured: int = 0
    charge_fees_matured: int = 0
    refunds_under_way: int = 0
    refunds_paid: int = 0
    disputes_open: int = 0
    dispute_fees_open: int = 0
    disputes_lost: int = 0
    dispute_fees_lost: int = 0
    payouts_in_transit: int = 0
    payouts_paid: int = 0
    accounts: Counter[Account] = msgspec.field(default_factory=Counter[Account])

    def add(self, source: Source) -> None:
        """Add what an object says."""
        match source:
            case Charge():
                _add_charge(self, source)
            case Refund():
                _add_refund(self, source)
            case Dispute():
                _add_dispute(self, source)
            case Payout():
                _add_payout(self, source)

    def add_transfer(self, transfer: Transfer) -> None:
        """Add a transfer to the accounts."""
        self.accounts[transfer.debit] -= transfer.amount
        self.accounts[transfer.credit] += transfer.amount


def _add_charge(held: Holdings, charge: Charge) -> None:
    if charge.status is not charges.Status.SUCCEEDED:
        return
    if charge.matures_at is None:
        held.charges_matured += charge.amount
        held.charge_fees_matured += charge.fee
    else:
        held.charges_pending += charge.amount
        held.charge_fees_pending += charge.fee


def _add_refund(held: Holdings, refund: Refund) -> None:
    if refund.status is refunds.Status.SUCCEEDED:
        held.refunds_paid += refund.amount
    elif refund.status is not refunds.Status.FAILED:
        held.refunds_under_way += refund.amount


def _add_dispute(held: Holdings, dispute: Dispute) -> None:
    if dispute.status is disputes.Status.LOST:
        held.disputes_lost += dispute.amount
        held.dispute_fees_lost += dispute.fee
    elif dispute.status is not disputes.Status.WON:
        held.disputes_open += dispute.amount
        held.dispute_fees_open += dispute.fee


def _add_payout(held: Holdings, payout: Payout) -> None:
    if payout.status is payouts.Status.PAID:
        held.payouts_paid += payout.amount
    elif payout.status is not payouts.Status.FAILED:
        held.payouts_in_transit += payout.amount


def balance_by_objects(held: Holdings) -> Balance:
    """
    Work out what a merchant has from charges, refunds, disputes and payouts alone.

    What failed or was won has moved nothing in the end: a refund that failed, a dispute that was won, a payout that
    came back.
    """
    earned = held.charges_matured - held.charge_fees_matured
    refunded = held.refunds_under_way + held.refunds_paid
    disputed = held.disputes_open + held.dispute_fees_open + held.disputes_lost + held.dispute_fees_lost
    paid_out = held.payouts_in_transit + held.payouts_paid
    return Balance(
        pending=held.charges_pending - held.charge_fees_pending,
        available=earned - refunded - disputed - paid_out,
        reserved=held.refunds_under_way + held.disputes_open + held.dispute_fees_open,
        in_transit=held.payouts_in_transit,
    )


def balances_follow_from_the_objects(held: Holdings) -> Differences:
    """What a merchant has by the transfers is what charges, refunds, disputes and payouts say."""
    expected, found = balance_by_objects(held), ledger.balance(held.accounts)
    if expected == found:
        return ()
    return (
        compare("pending", expected.pending, found.pending)
        + compare("available", expected.available, found.available)
        + compare("reserved", expected.reserved, found.reserved)
        + compare("in_transit", expected.in_transit, found.in_transit)
    )


class BookCase(msgspec.Struct):
    """All that there is of one book, each in the order of its names; payouts in the order of their lines."""

    book: Book
    settlement: Settlement
    transfers: Sequence[Transfer] = ()
    sheets: Sequence[Sheet] = ()
    payouts: Sequence[Payout] = ()


class _Walk:
    """A walk through the transfers of a book, from the first to the last."""

    def __init__(self, case: BookCase) -> None:
        self.ahead = sorted(case.transfers, key=lambda each: (each.sheet, each.id), reverse=True)
        self.tally = Tally()

    def to(self, place: Place) -> Stretch:
        """Go on to a place, and return the lines that were passed."""
        end = payouts.read_place(place)
        return self._pass_while(lambda transfer: (transfer.sheet, transfer.id) <= end)

    def to_end_of(self, sheet: int) -> Stretch:
        """Go on to the end of a sheet."""
        return self._pass_while(lambda transfer: transfer.sheet <= sheet)

    def _pass_while(self, is_before: Callable[[Transfer], bool]) -> Stretch:
        tally = self.tally
        lines, net = tally.lines, tally.net
        while self.ahead and is_before(self.ahead[-1]):
            tally.add(self.ahead.pop())
        return Stretch(tally.lines - lines, tally.net - net, tally.place)


def judge_book(case: BookCase) -> Sequence[Broken]:
    """Hold a book, its sheets, its payouts and its settlement against every law of books, as of one moment."""
    last = max([case.book.sheet, *(each.sheet for each in case.transfers)])
    found = [
        Broken(nothing_is_past_the_open_sheet.__name__, each)
        for each in nothing_is_past_the_open_sheet(case.book, last)
    ]
    return [*found, *_judge_sheets(case), *_judge_payouts(case)]


def _judge_sheets(case: BookCase) -> Sequence[Broken]:
    walk, before, found = _Walk(case), 0, list[Broken]()
    for sheet in case.sheets:
        found += [
            Broken(sheets_follow_each_other.__name__, each)
            for each in sheets_follow_each_other(sheet, before)
        ]
        before = sheet.number
        walk.to_end_of(sheet.number)
        found += [
            Broken(sheets_carry_all_before.__name__, each)
            for each in sheets_carry_all_before(sheet, walk.tally)
        ]
    return found


def _judge_payouts(case: BookCase) -> Sequence[Broken]:
    walk, upto, found = _Walk(case), FIRST_PLACE, list[Broken]()
    for payout in case.payouts:
        skipped = walk.to(payout.after)
        begins = payouts_begin_where_the_last_ended
        found += [Broken(begins.__name__, each) for each in begins(payout, upto, skipped)]
        sums = payouts_are_the_sum_of_their_lines
        found += [Broken(sums.__name__, each) for each in sums(payout, walk.to(payout.upto))]
        upto = payout.upto
    stands = settlements_stand_where_the_last_payout_ended
    skipped = walk.to(case.settlement.place)
    return [*found, *(Broken(stands.__name__, each) for each in stands(case.settlement, upto, skipped))]
