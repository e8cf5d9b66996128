"""
The laws of money, held against a world by other means than those of an audit: from what it keeps and what it told.

True at every moment, also right after a crash: nothing here waits for a sweeper.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from kpay_adapters.sandbox import Announcement, Case, Entry, Payment
from kpay_adapters.sandbox.journal import ripe, verdict_on
from kpay_core import Scope
from kpay_core.domain import charges, ledger, payout_views, payouts, views
from kpay_core.domain.charges import Charge
from kpay_core.domain.dispute_views import view_dispute
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.events import Event
from kpay_core.domain.ledger import LINES, POSTINGS, Account, Balance, Book, Kind, Sheet, Transfer
from kpay_core.domain.news import NewsKind
from kpay_core.domain.notices import Notice
from kpay_core.domain.payouts import Payout, Settlement
from kpay_core.domain.processing import Outcome
from kpay_core.domain.refunds import Refund
from kpay_core.query import Query
from tests.flows.world import World

AT_ONCE, REFUND_FAILING, FRAUDULENT, NOT_RECEIVED = (
    "4000000000000077",
    "4000000000005126",
    "4000000000000259",
    "4000000000002685",
)
GOOD_ACCOUNT, CLOSED_ACCOUNT = "000123456789", "000111111116"


class Told(msgspec.Struct):
    """What an event says."""

    type: str
    object: dict[str, Any]
    before: dict[str, Any] | None


async def check_money(world: World) -> None:
    """Hold every law of money that is true at every moment."""
    written = await world.all(Transfer)
    check_transfers(written)
    check_charges(
        await world.all(Charge), await world.all(Refund), await world.all(Dispute), await world.all(Notice)
    )
    await check_events(world, written)
    books = await world.all(Book)
    check_terms(books)
    for book in books:
        its = [transfer for transfer in written if transfer.scope == book.scope]
        sheets = [sheet for sheet in await world.all(Sheet) if sheet.id.startswith(f"{book.id}/")]
        check_sheets(book, sheets, its)
        await check_payouts(world, book.scope, its)
        assert await world.kpay.get_balance(book.scope) == await balance_by_objects(world, book.scope)


def check_terms(books: Sequence[Book]) -> None:
    """A merchant has the same terms in both modes."""
    terms = {(book.merchant, book.fee_basis_points, book.fee_cents) for book in books}
    assert 2 * len(terms) == len(books)


def check_transfers(written: Sequence[Transfer]) -> None:
    """Each kind is written once for a source, between its accounts, and all accounts come to nothing."""
    once = Counter((transfer.kind, transfer.source) for transfer in written)
    assert not [name for name, times in once.items() if times > 1], "a transfer twice"
    for transfer in written:
        assert (transfer.debit, transfer.credit) == POSTINGS[transfer.kind]
        assert transfer.amount > 0
    assert sum(ledger.add_up({}, written).values()) == 0


def check_charges(
    taken: Sequence[Charge], returned: Sequence[Refund], disputed: Sequence[Dispute], told: Sequence[Notice]
) -> None:
    """Refunds never exceed their charge; a charge counts its refunds and disputes; a notice says why it is kept."""
    for charge in taken:
        its = [refund for refund in returned if refund.charge == charge.id]
        done = sum(refund.amount for refund in its if refund.status == "succeeded")
        under_way = sum(refund.amount for refund in its if refund.look_at is not None)
        assert (charge.amount_refunded, charge.amount_refunding, charge.refunds) == (
            done,
            under_way,
            len(its),
        )
        assert done + under_way <= (charge.amount if charge.status == "succeeded" else 0)
        cases = [dispute for dispute in disputed if dispute.charge == charge.id]
        kept = sum(dispute.amount for dispute in cases if dispute.status != "won")
        assert (charge.amount_disputed, charge.disputes) == (kept, len(cases))
    for notice in told:
        assert (notice.look_at is None) == (notice.status not in ("waiting", "stray"))
        assert notice.reason is not None or notice.status not in ("waiting", "contradicting")


def check_sheets(book: Book, sheets: Sequence[Sheet], written: Sequence[Transfer]) -> None:
    """Totals were carried forward without a gap, and are those of all transfers up to the end of their sheet."""
    assert [sheet.number for sheet in sheets] == list(range(1, len(sheets) + 1))
    assert len(sheets) < book.sheet
    assert all(1 <= transfer.sheet <= book.sheet for transfer in written)
    for sheet in sheets:
        upto = [transfer for transfer in written if transfer.sheet <= sheet.number]
        assert sheet.transfers == len(upto)
        assert dict(sheet.totals) == ledger.add_up({}, upto)
        lines = [transfer for transfer in upto if transfer.kind in LINES]
        assert (sheet.lines, sheet.net) == (len(lines), ledger.net(lines))


async def check_payouts(world: World, scope: Scope, written: Sequence[Transfer]) -> None:
    """
    The payouts lead through the lines: each begins where the one before ended, and is the sum of its lines.

    Lines in between are whole runs that came to nothing or less, and carried. So none is in two payouts, or left out.
    """
    settlement = await world.store.get(Settlement, ledger.book_id(scope))
    assert settlement is not None
    lines = sorted(
        ((payouts.place_of(line), line) for line in written if line.kind in LINES), key=lambda each: each[0]
    )

    def between(after: str, upto: str) -> list[Transfer]:
        return [line for place, line in lines if after < place <= upto]

    ended = payouts.FIRST_PLACE
    for payout in sorted(await _of(world, Payout, scope), key=lambda payout: payout.upto):
        _, its = await world.kpay.get_payout(scope, payout.id)
        assert its == between(payout.after, payout.upto)
        shown = payout_views.view_payout_with_lines(payout, its).line_items
        assert sum(line.amount for line in shown) == payout.amount > 0
        assert len(its) == payout.lines
        assert len(shown) <= payouts.MAX_LINES
        check_carried(between(ended, payout.after), payout.carried)
        assert ended <= payout.after < payout.upto
        ended = payout.upto
    assert ended <= settlement.place
    check_carried(between(ended, settlement.place), settlement.carried)


def check_carried(skipped: Sequence[Transfer], carried: int) -> None:
    """What no payout lists is carried: less than nothing, and of so many lines that one payout could list no more."""
    assert ledger.net(skipped) == carried <= 0
    assert len(skipped) == 0 or len(skipped) >= payouts.MAX_LINES - 1


async def balance_by_objects(world: World, scope: Scope) -> Balance:
    """Work out what a merchant has without a look at the ledger."""
    pending = available = reserved = in_transit = 0
    for charge in await _of(world, Charge, scope):
        if charge.status == "succeeded" and charge.matures_at is None:
            available += charge.amount - charge.fee
        elif charge.status == "succeeded":
            pending += charge.amount - charge.fee
    for refund in await _of(world, Refund, scope):
        available -= refund.amount * (refund.status != "failed")
        reserved += refund.amount * (refund.look_at is not None)
    for dispute in await _of(world, Dispute, scope):
        available -= (dispute.amount + dispute.fee) * (dispute.status != "won")
        reserved += (dispute.amount + dispute.fee) * (dispute.status not in ("won", "lost"))
    for payout in await _of(world, Payout, scope):
        available -= payout.amount * (payout.status != "failed")
        in_transit += payout.amount * (payout.look_at is not None)
    return Balance(pending=pending, available=available, reserved=reserved, in_transit=in_transit)


async def check_events(world: World, written: Sequence[Transfer]) -> None:
    """
    Each change was told exactly once: the events of an object lead from its first look to how it looks now.

    Each says what the object looked like, and what of that had been otherwise; so one that is missing leaves a gap.
    """
    told: dict[tuple[str, str], list[Told]] = {}
    for event in sorted(await world.all(Event), key=lambda event: event.id):
        body = msgspec.json.decode(event.body)
        each = Told(event.type, body["data"]["object"], body["data"].get("previous_attributes"))
        kind = "refunds of charge" if event.type == "charge.refunded" else each.object["object"]
        told.setdefault((kind, each.object["id"]), []).append(each)
    went_out = {transfer.source for transfer in written if transfer.kind is Kind.REFUND_PAID}
    returned = await world.all(Refund)
    for charge in await world.all(Charge):
        ends = {"succeeded": ["charge.succeeded"], "failed": ["charge.failed"]}.get(charge.status, [])
        assert [each.type for each in told.pop(("charge", charge.id), [])] == ends
        its = told.pop(("refunds of charge", charge.id), [])
        paid = [refund for refund in returned if refund.charge == charge.id and refund.id in went_out]
        assert len(its) == len(paid), "charge.refunded is told of each refund that went out"
        assert all(_refunded(each) > 0 for each in its)
    for refund in returned:
        its = told.pop(("refund", refund.id), [])
        if refund.status in ("sending", "reversing"):
            assert its == [], "told of before the network has said anything"
            continue
        check_chain(its, views.view_refund(refund))
        assert ("succeeded" in [each.object["status"] for each in its]) == (refund.id in went_out)
        assert [each.type for each in its] == ["refund.created"] + ["refund.updated"] * (len(its) - 1)
    for dispute in await world.all(Dispute):
        its = told.pop(("dispute", dispute.id), [])
        check_chain(its, view_dispute(dispute))
        closing = ["dispute.closed"] * (dispute.status in ("won", "lost"))
        updates = ["dispute.updated"] * (len(its) - 1 - len(closing))
        assert [each.type for each in its] == ["dispute.created", *updates, *closing]
    for payout in await world.all(Payout):
        ends = {"paid": ["payout.paid"], "failed": ["payout.failed"]}.get(payout.status, [])
        its = told.pop(("payout", payout.id), [])
        assert [each.type for each in its] == ["payout.created", *ends]
        if ends:
            assert its[-1].object == msgspec.to_builtins(payout_views.view_payout(payout))
    assert not told, "told of something that is not there"


def check_chain(its: Sequence[Told], view: msgspec.Struct) -> None:
    """Check that events lead to how an object looks now, each from where the one before ended."""
    was: dict[str, Any] | None = None
    for each in its:
        assert was == (None if was is None else {**each.object, **(each.before or {})}), "a gap"
        assert was != each.object, "an event of nothing"
        was = each.object
    assert was == msgspec.to_builtins(view)


def _refunded(each: Told) -> int:
    return each.object["amount_refunded"] - (each.before or {})["amount_refunded"]


async def check_at_rest(world: World, *, lied_about: Collection[str] = ()) -> None:
    """
    Hold the books against the journal of the network and the bank, once nothing is on its way any more.

    What was captured, sent back, disputed and paid out there is so here, and the other way round; all news were heard.
    Refunds and cases that the network was made to lie about are left out.
    """
    now = world.clock.now()
    assert not await unfinished(world)
    entries = {entry.id: ripe(entry, now=now) for entry in await _noted(world, Entry)}
    stands = (Outcome.CAPTURED, Outcome.REFUNDED)
    moved = {id: entry.amount for id, entry in entries.items() if entry.outcome in stands}
    booked = [*await world.all(Charge), *await world.all(Refund)]
    ours = {each.id: each.amount for each in booked if each.status == "succeeded"}
    assert {id for id, _ in moved.items() ^ ours.items()} <= set(lied_about)
    assert entries.keys() <= {each.id for each in booked}
    there = {
        payment.id: (payment.amount, verdict_on(payment, now=now).outcome.value)
        for payment in await _noted(world, Payment)
    }
    assert there == {payout.id: (payout.amount, payout.status.value) for payout in await world.all(Payout)}
    await check_disputes_at_rest(world, lied_about)
    for book in await world.all(Book):
        balance = await world.kpay.get_balance(book.scope)
        assert (balance.pending, balance.in_transit) == (0, 0)
        assert balance.available <= 0, "what can be paid out was not"
    totals = ledger.add_up({}, await world.all(Transfer))
    assert totals[Account.SUSPENSE] == 0, "a stray was not sent back"


async def check_disputes_at_rest(world: World, lied_about: Collection[str]) -> None:
    """Each dispute ended as the network announced, and what was submitted in time got there."""
    announced = await _noted(world, Announcement)
    assert all(each.due_at is None for each in announced), "news that nobody took in"
    ends = {NewsKind.DISPUTE_WON: "won", NewsKind.DISPUTE_LOST: "lost"}
    # The network may have opened one a moment before a charge was undone there, of which nothing is left to dispute.
    undone = {charge.id for charge in await world.all(Charge) if charges.was_undone(charge)}
    closed = {
        each.dispute: (each.amount, ends[each.kind])
        for each in announced
        if each.kind in ends and each.told and each.reference not in undone
    }
    there = {case.id: case for case in await _noted(world, Case)}
    for dispute in await world.all(Dispute):
        if dispute.case in there and dispute.case not in lied_about:
            assert (dispute.amount, dispute.status.value) == closed.pop(dispute.case)
            in_time = dispute.submitted_at is not None
            assert there[dispute.case].answered == in_time, "evidence that did not get there"
    assert closed.keys() <= set(lied_about), "a dispute that is not known here"


async def unfinished(world: World) -> list[Any]:
    """Return all that is still on its way."""
    waiting = (Charge, Refund, Dispute, Payout)
    return [each for kind in waiting for each in await world.all(kind) if each.look_at is not None]


async def come_to_rest(world: World, *, days: int = 4) -> None:
    """Let time pass until nothing is on its way: days to mature, to be settled, to arrive, and to be disputed."""
    for merchant in {book.merchant for book in await world.all(Book)}:
        await world.kpay.update_merchant(merchant, {"bank_account": GOOD_ACCOUNT})
    for _ in range(days):
        world.clock.advance(timedelta(days=3))
        await world.kpay.run_due()


async def _of(world: World, kind: type[Any], scope: Scope) -> list[Any]:
    return [each for each in await world.all(kind) if each.scope == scope]


async def _noted(world: World, kind: type[Any]) -> list[Any]:
    return list(await world.journal.find(Query(kind=kind, limit=10_000)))
