"""Settling: funds mature, and what has matured is paid out once a day, through a bank that may not answer."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec

from kpay_core.commit import CommitFailed, Conflict
from kpay_core.domain import charges, happenings, ledger, looks, payouts, postings
from kpay_core.domain.banking import BankVerdict
from kpay_core.domain.charges import Charge
from kpay_core.domain.errors import KpayError
from kpay_core.domain.ledger import LINES, Book, Sheet, Transfer
from kpay_core.domain.merchants import Merchant
from kpay_core.domain.names import prefixed
from kpay_core.domain.pages import Page, PageParams, read_params
from kpay_core.domain.payouts import Payout, Place, Run, Settlement
from kpay_core.domain.scope import Scope
from kpay_core.flows.asking import ask
from kpay_core.flows.booking import PAGE, book_of, carry_forward, turn_sheet
from kpay_core.flows.durably import Turns, commit
from kpay_core.flows.reading import list_page, own
from kpay_core.flows.recording import record
from kpay_core.ports import Ports
from kpay_core.query import Condition, Query

# Charges whose funds mature in one round, and in one commit: few enough that a refund in between costs little.
MATURING_ROUND = 500
MATURING_UNIT = 50

# Merchants settled with in one round.
SETTLING_ROUND = 100

# Sheets read at a time: as many as the longest payout takes, where sheets are of their usual length.
MANY_SHEETS = 50

LINE_KINDS = tuple(LINES)


class Matured(msgspec.Struct, kw_only=True):
    """
    What a round of maturing did: of how many charges, and for which books it failed.

    `more` says that another round may find more: this one found some, matured by it or by somebody beside it.
    """

    charges: int = 0
    more: bool = False
    failed: list[str] = msgspec.field(default_factory=list[str])


async def mature(ports: Ports) -> Matured:
    """
    Let funds be paid out whose time has come, of up to 500 charges.

    Any number may do so at once: each charge is matured by one commit, and who comes second conflicts. What fails for
    one merchant holds nobody else of the round up; it is still due in the next.
    """
    matured = Matured()
    by_scope: dict[Scope, list[Charge]] = {}
    for charge in await _due_to_mature(ports):
        by_scope.setdefault(charge.scope, []).append(charge)
    for scope, its in by_scope.items():
        try:
            for start in range(0, len(its), MATURING_UNIT):
                matured.charges += await _mature(ports, scope, its[start : start + MATURING_UNIT])
                matured.more = True
        except (CommitFailed, KpayError):
            matured.failed.append(ledger.book_id(scope))
    return matured


async def _due_to_mature(ports: Ports) -> Sequence[Charge]:
    """Return charges whose funds are to mature, those that are due longest first, as many as a round takes."""
    due: tuple[Condition, ...] = (("matures_at", "<=", ports.clock.now()),)
    return await ports.store.find(Query(kind=Charge, where=due, order="matures_at", limit=MATURING_ROUND))


async def _mature(ports: Ports, scope: Scope, due: Sequence[Charge]) -> int:
    """
    Mature charges of one merchant in one commit, or one by one where any of them has moved; return how many.

    One that was refunded meanwhile is due all the same: it must not miss today's payout.
    """
    turns = Turns(ports)
    while due:
        booked = [entry for charge in due for entry in postings.of_maturing(charge)]
        try:
            await record(ports, *(charges.mature(charge) for charge in due), scope=scope, booked=booked)
            return len(due)
        except Conflict:
            if len(due) > 1:
                return sum([await _mature(ports, scope, [charge]) for charge in due])
        await turns.wait()
        due = await _still_due(ports, due)
    return 0


async def _still_due(ports: Ports, due: Sequence[Charge]) -> Sequence[Charge]:
    """Return charges as they are by now, without those that somebody else has matured."""
    found = [await ports.store.get(Charge, charge.id) for charge in due]
    return [charge for charge in found if charge is not None and charge.matures_at is not None]


class Settled(msgspec.Struct, kw_only=True):
    """What a round of settling did: with how many merchants, by how many payouts, who has to wait, and what failed."""

    merchants: int = 0
    payouts: int = 0
    waiting: list[str] = msgspec.field(default_factory=list[str])
    failed: list[str] = msgspec.field(default_factory=list[str])


async def settle(ports: Ports) -> Settled:
    """
    Make the payouts that are due, of up to 100 merchants.

    Any number may do so at once: a payout moves the settlement of its merchant forward, and who comes second
    conflicts. Days that were missed are made up for by one payout. What fails for one holds nobody else up. Who has
    funds that should have matured by the last midnight waits for somebody to `mature` them: a payout without them
    would keep them back for a day.
    """
    settled = Settled()
    now = ports.clock.now()
    due: tuple[Condition, ...] = (("due_at", "<=", now),)
    found = await ports.store.find(Query(kind=Settlement, where=due, order="due_at", limit=SETTLING_ROUND))
    if not found:
        return settled
    # Backwards, so that of each merchant the first stays. Those of a whole round tell of enough: they are due longest.
    midnight = payouts.last_midnight(now)
    first = {charge.scope: charge.matures_at for charge in reversed(await _due_to_mature(ports))}
    for settlement in found:
        matures_at = first.get(settlement.scope)
        if matures_at is not None and matures_at <= midnight:
            settled.waiting.append(settlement.id)
            continue
        try:
            settled.payouts += await settle_with(ports, settlement.scope)
            settled.merchants += 1
        except (CommitFailed, KpayError):
            settled.failed.append(settlement.id)
    return settled


async def settle_with(ports: Ports, scope: Scope) -> int:
    """Make the payouts of one merchant that are due, and return how many."""
    made = 0
    turns = Turns(ports)
    while True:
        settlement = await ports.store.get(Settlement, ledger.book_id(scope))
        now = ports.clock.now()
        if settlement is None or not payouts.is_due(settlement, now=now):
            return made
        try:
            if settlement.carried or await _has_lines(ports, settlement):
                book = await _turned_book(ports, settlement)
                made += await _pay_out(ports, settlement, book)
            else:
                await commit(ports, payouts.wait(settlement, now=now))
        except Conflict:
            await turns.wait()


async def _has_lines(ports: Ports, settlement: Settlement) -> bool:
    """Tell whether anything is to be paid out or carried on; most merchants have days without, which cost little."""
    sheet, last = payouts.read_place(settlement.place)
    rest = await _lines(ports, settlement.scope, ("sheet", "=", sheet), ("id", ">", last), limit=1)
    return bool(rest or await _lines(ports, settlement.scope, ("sheet", ">", sheet), limit=1))


async def _turned_book(ports: Ports, settlement: Settlement) -> Book:
    """Return the book with all its lines on turned sheets, so that what follows reads what no longer changes."""
    book = await book_of(ports, settlement.scope)
    lines = await _lines(ports, settlement.scope, ("sheet", "=", book.sheet), limit=1)
    return await turn_sheet(ports, settlement.scope) if lines else book


async def _pay_out(ports: Ports, settlement: Settlement, book: Book) -> int:
    """Make the next payout of a merchant, if the lines come to one, and move the settlement forward."""
    scope = settlement.scope
    if scope.mode not in ports.rails:
        run = Run(lines=0, net=0, upto=settlement.place, full=False)
    else:
        run = await _read_run(ports, settlement, book)
    merchant = await ports.store.get(Merchant, settlement.merchant)
    assert merchant is not None, "who has a book is a merchant"
    now = ports.clock.now()
    moved, payout = payouts.settle(
        settlement, run, id=prefixed("po", ports.ids.uuid7(now)), account=merchant.bank_account, now=now
    )
    if payout is None:
        await commit(ports, moved)
        return 0
    await record(
        ports,
        *(moved, payout),
        scope=scope,
        told=happenings.of_payout(payout),
        booked=postings.of_new_payout(payout),
        book=book,
    )
    return 1


async def _read_run(ports: Ports, settlement: Settlement, book: Book) -> Run:
    """
    Add up the lines that follow the settlement on turned sheets, as many as a payout may have.

    Whole sheets by their totals, what is left of the first and the beginning of the last line by line.
    """
    await carry_forward(ports, book)
    scope, room = settlement.scope, payouts.room(settlement)
    begun, _ = payouts.read_place(settlement.place)
    run = Run(lines=0, net=0, upto=settlement.place, full=False)
    run = await _add_lines(ports, scope, run, room=room, before_sheet=begun + 1)
    passed = await ports.store.get(Sheet, ledger.sheet_id(book.id, begun))
    while not run.full:
        ahead = await _sheets_after(ports, scope, passed.number if passed else 0)
        fitting = [sheet for sheet in ahead if run.lines + ledger.lines_since(sheet, passed) <= room]
        if fitting:
            last = await _last_line(ports, scope, passed, fitting)
            run = payouts.add_sheets(run, passed, fitting[-1], last=last, room=room)
            passed = fitting[-1]
        if len(fitting) < len(ahead):
            return await _add_lines(ports, scope, run, room=room, before_sheet=book.sheet)
        if len(ahead) < MANY_SHEETS:
            break
    return run


async def _add_lines(ports: Ports, scope: Scope, run: Run, *, room: int, before_sheet: int) -> Run:
    """Add the lines that follow a run before a sheet, one by one, up to the room there is."""
    while not run.full:
        wanted = min(PAGE, room - run.lines)
        page = await lines_after(ports, scope, run.upto, before_sheet=before_sheet, limit=wanted)
        run = payouts.add_lines(run, page, room=room)
        if len(page) < wanted:
            break
    return run


async def _sheets_after(ports: Ports, scope: Scope, number: int) -> Sequence[Sheet]:
    where: tuple[Condition, ...] = (*scope.conditions, ("number", ">", number))
    return await ports.store.find(Query(kind=Sheet, where=where, order="number", limit=MANY_SHEETS))


async def _last_line(
    ports: Ports, scope: Scope, passed: Sheet | None, sheets: Sequence[Sheet]
) -> Transfer | None:
    """Return the last line of sheets that follow one; None where they have no line."""
    for before, sheet in reversed([*pairwise([passed, *sheets])]):
        assert sheet is not None, "only the first may be the beginning of the book"
        if ledger.lines_since(sheet, before):
            where: tuple[Condition, ...] = (("sheet", "=", sheet.number), ("kind", "in", LINE_KINDS))
            (last,) = await ports.store.find(
                Query(kind=Transfer, where=(*scope.conditions, *where), descending=True, limit=1)
            )
            return last
    return None


async def lines_after(
    ports: Ports, scope: Scope, place: Place, *, before_sheet: int, limit: int
) -> Sequence[Transfer]:
    """Return up to `limit` lines that follow a place, in the order of the book, before a sheet."""
    sheet, last = payouts.read_place(place)
    rest = await _lines(ports, scope, ("sheet", "=", sheet), ("id", ">", last), limit=limit) if sheet else ()
    if len(rest) == limit:
        return rest
    between: tuple[Condition, ...] = (("sheet", ">", sheet), ("sheet", "<", before_sheet))
    return [*rest, *await _lines(ports, scope, *between, limit=limit - len(rest))]


async def _lines(ports: Ports, scope: Scope, *where: Condition, limit: int) -> Sequence[Transfer]:
    of_lines: Condition = ("kind", "in", LINE_KINDS)
    order = "id" if where[0][:2] == ("sheet", "=") else "sheet"
    return await ports.store.find(
        Query(kind=Transfer, where=(*scope.conditions, *where, of_lines), order=order, limit=limit)
    )


async def resolve_payout(ports: Ports, id: str) -> Payout:
    """
    Send a payout to the bank when its time has come, or ask what has become of it.

    Safe to call for any payout, by anybody, at any time: the look is leased, the bank does a thing once.
    """
    payout = await ports.store.get(Payout, id)
    assert payout is not None, "a payout is never deleted"
    now = ports.clock.now()
    if payout.look_at is None or now < payout.look_at:
        return payout
    leased = looks.lease(payout, now=now)
    try:
        await commit(ports, leased)
        verdict = await _send(ports, leased)
        if verdict is None or not payouts.moves(leased, verdict):
            return leased
        return await _note(ports, leased, verdict)
    except Conflict:
        return await own(ports, payout.scope, Payout, payout.id)


async def _send(ports: Ports, payout: Payout) -> BankVerdict | None:
    rail = ports.rails.get(payout.scope.mode)
    if rail is None:
        return None
    return await ask(
        rail.send(reference=payout.id, amount=payout.amount, currency=payout.currency, account=payout.account)
    )


async def _note(ports: Ports, payout: Payout, verdict: BankVerdict) -> Payout:
    """Record what the bank said."""
    moved = payouts.note(payout, verdict)
    await record(
        ports,
        moved,
        scope=payout.scope,
        told=happenings.of_payout(moved),
        booked=postings.of_payout(moved),
    )
    return moved


async def get_payout(ports: Ports, scope: Scope, id: str) -> tuple[Payout, Sequence[Transfer]]:
    """Return a payout with its lines, in the order of the book; raises `NotFound`."""
    payout = await own(ports, scope, Payout, id)
    last, _ = payouts.read_place(payout.upto)
    lines: list[Transfer] = []
    place = payout.after
    while len(lines) < payout.lines:
        wanted = min(PAGE, payout.lines - len(lines))
        page = await lines_after(ports, scope, place, before_sheet=last + 1, limit=wanted)
        assert page, "the lines of a payout never go away"
        lines.extend(page)
        place = payouts.place_of(page[-1])
    return payout, lines


async def list_payouts(ports: Ports, scope: Scope, params: Mapping[str, object]) -> Page[Payout]:
    """
    Return a page of payouts, newest first.

    Takes `limit`, `starting_after` and `ending_before` as in a query string. Raises `Invalid`.
    """
    return await list_page(ports, scope, Payout, read_params(PageParams, params))
