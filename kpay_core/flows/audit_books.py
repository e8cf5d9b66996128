"""
Books, walked through from the first transfer to the last: sheets, payouts, settlements.

Each is read so that what is compared no longer changes: the settlement first and then the book, for all lines that a
settlement has passed are on sheets that the book has turned, and a turned sheet never gains a transfer. What was
committed since shows as something past the settlement or past the open sheet; then these are read once more.
"""

from collections.abc import Mapping

from kpay_core.domain import audit as audits
from kpay_core.domain import book_laws, ledger, payouts
from kpay_core.domain.audit import Report
from kpay_core.domain.book_laws import Holdings, Stretch, Tally
from kpay_core.domain.laws import Difference
from kpay_core.domain.ledger import Book, Sheet, Transfer
from kpay_core.domain.payouts import FIRST_PLACE, Payout, Place, Settlement
from kpay_core.domain.scope import Scope
from kpay_core.flows.streaming import OnPage, Stream, records
from kpay_core.ports import Ports
from kpay_core.query import Condition, Query


async def check_books(ports: Ports, report: Report, held: Mapping[Scope, Holdings], on_page: OnPage) -> None:
    """Hold every book, its settlement and its payouts against their laws."""
    settlements = await records(ports.store, Settlement, on_page=on_page)
    books = await records(ports.store, Book, on_page=on_page)
    while books.head is not None:
        book = await books.next()
        while settlements.is_behind(book.id):
            await settlements.next()
        report.checked[Book.__name__] += 1
        settlement = await settlements.next() if settlements.key == book.id else None
        if settlement is None or settlement.place or book.sheet > 1 or book.scope in held:
            await _check_book(ports, report, book.id, on_page)


async def _check_book(ports: Ports, report: Report, id: str, on_page: OnPage) -> None:
    settlement = await ports.store.get(Settlement, id)
    book = await ports.store.get(Book, id)
    if book is None or settlement is None:
        report.note(audits.NO_SETTLEMENT, id, Difference("settlement", id, None))
        return
    walk = Walk(ports, report, book, on_page)
    await walk.open()
    await _check_payouts(ports, report, walk, settlement, on_page)
    await walk.to_the_end()
    await _check_open_sheet(ports, report, book, walk)


async def _check_payouts(
    ports: Ports, report: Report, walk: "Walk", settlement: Settlement, on_page: OnPage
) -> None:
    """Go from payout to payout, up to where the settlement stands."""
    made = await records(ports.store, Payout, *settlement.scope.conditions, by="after", on_page=on_page)
    upto = FIRST_PLACE
    while made.head is not None and made.key < settlement.place:
        payout = await made.next()
        skipped = await walk.to(payout.after)
        law = book_laws.payouts_begin_where_the_last_ended
        report.note(law.__name__, payout.id, *law(payout, upto, skipped))
        run = await walk.to(payout.upto)
        sums = book_laws.payouts_are_the_sum_of_their_lines
        report.note(sums.__name__, payout.id, *sums(payout, run))
        upto = payout.upto
    skipped = await walk.to(settlement.place)
    stands = book_laws.settlements_stand_where_the_last_payout_ended
    report.note(stands.__name__, settlement.id, *stands(settlement, upto, skipped))
    if made.head is not None:
        now = await ports.store.get(Settlement, settlement.id)
        if now is not None and now.place == settlement.place:
            report.note(stands.__name__, settlement.id, Difference("place", made.head.upto, now.place))


async def _check_open_sheet(ports: Ports, report: Report, book: Book, walk: "Walk") -> None:
    """Look for what is past the open sheet; where there is something, the book may have turned since."""
    first = ledger.sheet_id(book.id, book.sheet)
    written = await ports.store.find(
        Query(kind=Sheet, where=(("id", ">=", first), ("id", "<", f"{book.id}0")), descending=True, limit=1)
    )
    last = max([walk.tally.sheet, *(sheet.number + 1 for sheet in written)])
    if last > book.sheet:
        now = await ports.store.get(Book, book.id) or book
        law = book_laws.nothing_is_past_the_open_sheet
        report.note(law.__name__, book.id, *law(now, last))


class Walk:
    """A walk through a book, that adds up what it passes and looks at the totals of every sheet at its end."""

    def __init__(self, ports: Ports, report: Report, book: Book, on_page: OnPage) -> None:
        self._store = ports.store
        self._report = report
        self._book = book
        self._on_page = on_page
        self._transfers: Stream[Transfer]
        self._sheets: Stream[Sheet]
        self._last_sheet = 0
        self.tally = Tally()

    async def open(self) -> None:
        """Begin before the first transfer."""
        book = self._book
        turned: tuple[Condition, ...] = (
            ("id", ">", f"{book.id}/"),
            ("id", "<", ledger.sheet_id(book.id, book.sheet)),
        )
        self._sheets = await records(self._store, Sheet, *turned, on_page=self._on_page)
        self._transfers = await records(
            self._store, Transfer, *book.scope.conditions, by="sheet", on_page=self._on_page
        )

    async def to(self, place: Place) -> Stretch:
        """Go on to a place, unless it lies behind, and return the lines that were passed."""
        lines, net = self.tally.lines, self.tally.net
        end = payouts.read_place(place)
        while (ahead := self._transfers.head) is not None and (ahead.sheet, ahead.id) <= end:
            await self._pass()
        return Stretch(self.tally.lines - lines, self.tally.net - net, self.tally.place)

    async def to_the_end(self) -> None:
        """Go through what is left."""
        while self._transfers.head is not None:
            await self._pass()
        while self._sheets.head is not None:
            await self._close_sheet()

    async def _pass(self) -> None:
        transfer = await self._transfers.next()
        while (sheet := self._sheets.head) is not None and sheet.number < transfer.sheet:
            await self._close_sheet()
        self.tally.add(transfer)

    async def _close_sheet(self) -> None:
        sheet = await self._sheets.next()
        self._report.checked[Sheet.__name__] += 1
        follows = book_laws.sheets_follow_each_other
        self._report.note(follows.__name__, sheet.id, *follows(sheet, self._last_sheet))
        self._last_sheet = sheet.number
        carries = book_laws.sheets_carry_all_before
        self._report.note(carries.__name__, sheet.id, *carries(sheet, self.tally))
