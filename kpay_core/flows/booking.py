"""The books: transfers are written on the open sheet, sheets are turned, their totals carried forward."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from kpay_core.commit import CommitFailed, Conflict
from kpay_core.domain import ledger
from kpay_core.domain.errors import Contention, NotFound
from kpay_core.domain.ledger import Balance, Book, Entry, Sheet, Transfer
from kpay_core.domain.names import prefixed
from kpay_core.domain.scope import Scope
from kpay_core.flows.durably import Turns, commit
from kpay_core.ports import Ports
from kpay_core.query import Condition, Query

# Transfers that a balance adds up itself. Where there are more since the last sheet with totals, a sheet is turned.
MANY_TRANSFERS = 2_500

# Transfers read at a time, so that others get their turn in between.
PAGE = 1_000


async def book_of(ports: Ports, scope: Scope) -> Book:
    """Return the book of a merchant and mode; raises `NotFound` for a merchant who never applied."""
    book = await ports.store.get(Book, ledger.book_id(scope))
    if book is None:
        raise NotFound
    return book


def make_transfers(ports: Ports, entries: Sequence[Entry], book: Book, *, now: datetime) -> list[Transfer]:
    """Write entries down on the open sheet. They are to be committed holding the book."""
    return [
        ledger.write_down(entry, book, id=prefixed("txn", ports.ids.uuid7(now)), now=now) for entry in entries
    ]


async def turn_if_full(ports: Ports, transfers: Sequence[Transfer]) -> None:
    """Turn the sheet of transfers that were just committed, if one of them ends it; it can be done later as well."""
    if any(ledger.ends_sheet(transfer) for transfer in transfers):
        with suppress(CommitFailed, Contention):
            await turn_sheet(ports, transfers[0].scope)


async def turn_sheet(ports: Ports, scope: Scope) -> Book:
    """
    Turn the open sheet and carry the totals forward; return the book as it then is.

    Whoever else turns it at the same moment has done it for both. Raises `CommitFailed` and `Contention`.
    """
    book = await book_of(ports, scope)
    before, turns = book.sheet, Turns(ports)
    while book.sheet == before:
        turned = ledger.turn(book)
        try:
            await commit(ports, turned)
            book = turned
        except Conflict:
            await turns.wait()
            book = await book_of(ports, scope)
    await carry_forward(ports, book)
    return book


async def carry_forward(ports: Ports, book: Book) -> None:
    """
    Write the totals of every turned sheet that has none yet.

    Safe for anybody at any time: a turned sheet never changes, so all who add it up write the same. Raises
    `CommitFailed` and `Contention`.
    """
    before, turns = await _last_sheet(ports, book.scope), Turns(ports)
    while (before.number if before else 0) + 1 < book.sheet:
        sheet, last, page = ledger.next_sheet(book, before), "", None
        while page is None or len(page) == PAGE:
            page = await _transfers(ports, book.scope, sheet=sheet.number, after=last)
            sheet, last = ledger.carry_forward(sheet, page), page[-1].id if page else last
        try:
            await commit(ports, sheet)
            before = sheet
        except Conflict:
            # Another has written it. Where nobody has it is written now, since none may be left out.
            await turns.wait()
            before = await _last_sheet(ports, book.scope)


async def _transfers(ports: Ports, scope: Scope, *, sheet: int, after: str) -> Sequence[Transfer]:
    where: tuple[Condition, ...] = (*scope.conditions, ("sheet", "=", sheet), ("id", ">", after))
    return await ports.store.find(Query(kind=Transfer, where=where, limit=PAGE))


async def _last_sheet(ports: Ports, scope: Scope) -> Sheet | None:
    found = await ports.store.find(
        Query(kind=Sheet, where=scope.conditions, order="number", descending=True, limit=1)
    )
    return found[0] if found else None


async def get_balance(ports: Ports, scope: Scope) -> Balance:
    """
    Return what a merchant has in one mode: all transfers as of one moment, added up.

    The totals that were carried forward stand for most of them. Raises `Contention` where transfers come faster than
    they can be added up.
    """
    turns = Turns(ports)
    while True:
        last = await _last_sheet(ports, scope)
        where: tuple[Condition, ...] = (*scope.conditions, ("sheet", ">", last.number if last else 0))
        since = await ports.store.find(
            Query(kind=Transfer, where=where, order="sheet", limit=MANY_TRANSFERS + 1)
        )
        if len(since) <= MANY_TRANSFERS:
            return ledger.balance(ledger.add_up(last.totals if last else {}, since))
        await turn_sheet(ports, scope)
        await turns.wait()
