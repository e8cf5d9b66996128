"""The audit finds what is wrong, names it, says by how much, and never cries wolf."""

from collections.abc import Callable
from copy import copy
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from kpay_adapters.memory import MemoryStore, _keep
from kpay_adapters.sandbox import SandboxBank, Witnesses
from kpay_adapters.sandbox.journal import Payment
from kpay_adapters.testing import FrozenClock
from kpay_core.commit import Record, bump
from kpay_core.domain import charges, disputes, payouts, refunds
from kpay_core.domain.audit import Report
from kpay_core.domain.charges import Charge
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.events import Event
from kpay_core.domain.ledger import Account, Book, Kind, Sheet, Transfer, book_id
from kpay_core.domain.news import NewsKind
from kpay_core.domain.notices import Notice, Status
from kpay_core.domain.payouts import Payout, Settlement
from kpay_core.domain.processing import Outcome
from kpay_core.domain.refunds import Refund
from kpay_core.domain.telling_laws import read_told
from kpay_core.flows.booking import turn_sheet
from kpay_core.query import Query
from tests.flows.world import DECLINED, REFUND_PENDING, Entry, World, run

DISPUTED, REFUND_FAILING, AT_ONCE = "4000000000000259", "4000000000005126", "4000000000000077"
ACCOUNT_CLOSED = "000111111116"


def turn_to(world: World) -> Callable[..., Any]:
    async def turn(moment: Any) -> None:
        world.clock.advance(moment - world.clock.now())

    return turn


async def pass_days(world: World, days: int) -> None:
    for _ in range(days):
        until = world.clock.now() + timedelta(days=1)
        await world.kpay.pass_time(until, turn_to=turn_to(world))


async def live_through() -> World:
    """Let happen whatever can happen to money: refunds and disputes of all kinds, payouts that arrive and come back."""
    world = await World().open()
    ids: list[str] = []
    for number, amount in (
        (DISPUTED, 5_000),
        (DISPUTED, 7_000),
        (REFUND_PENDING, 4_000),
        (REFUND_FAILING, 6_000),
    ):
        ids.append(str((await world.charge(number, amount=amount)).value["id"]))
    ids += [str((await world.charge(amount=amount)).value["id"]) for amount in range(2_000, 2_010)]
    await world.charge(DECLINED)
    await world.charge(AT_ONCE, amount=9_000)
    for id in ids[2:6]:
        await world.refund(id, amount=500)
    called_back = await world.refund(str((await world.charge(REFUND_PENDING, amount=4_100)).value["id"]))
    await world.network.reverse(reference=str(called_back.value["id"]))
    await pass_days(world, 3)
    won, _ = await world.all(Dispute)
    evidence = {"evidence": {"uncategorized_text": "winning_evidence"}, "submit": True}
    await world.kpay.update_dispute(world.scope, won.id, evidence)
    await pass_days(world, 3)
    await world.kpay.update_merchant(world.scope.merchant, {"bank_account": ACCOUNT_CLOSED})
    await world.charge(AT_ONCE, amount=3_000)
    await pass_days(world, 2)
    await world.kpay.update_merchant(world.scope.merchant, {"bank_account": "000123456789"})
    await pass_days(world, 12)
    await turn_sheet(world.kpay, world.scope)
    # What is still open.
    charge = await world.charge(amount=8_000)
    await world.charge(DISPUTED, amount=5_500)
    await world.charge(REFUND_PENDING, amount=5_600)
    await world.refund(str((await world.charge(REFUND_PENDING, amount=5_700)).value["id"]), amount=100)
    await world.refund(str(charge.value["id"]), amount=1_000)
    return world


LIVED = run(live_through())


def a_world(lived: World = LIVED) -> World:
    """Make a copy of a world that was lived through, to do damage to."""
    world = copy(lived)
    world.clock = FrozenClock(lived.clock.now())
    for name in ("store", "journal"):
        its = MemoryStore()
        its._kept = {kind: dict(kept) for kind, kept in getattr(lived, name)._kept.items()}
        setattr(world, name, its)
    world.network = type(lived.network)(journal=world.journal, clock=world.clock)
    bank = SandboxBank(journal=world.journal, clock=world.clock)
    world.kpay = replace(
        lived.kpay,
        store=world.store,
        clock=world.clock,
        processors={"test": world.network},
        rails={"test": bank},
    )
    return world


def audited(world: World) -> Report:
    bank = SandboxBank(journal=world.journal, clock=world.clock)
    return run(world.kpay.audit(witnesses={"test": Witnesses(world.network, bank)}))


def found(report: Report) -> set[tuple[str, str, str, int | None]]:
    return {(each.law, each.id, each.what, each.difference) for each in report.disagreements}


def put(world: World, record: Record, **changes: Any) -> None:
    """Write a record over, past every guard."""
    kept: Any = world.store
    kept._kept.setdefault(type(record), {})[changes.get("id", record.id)] = _keep(replace(record, **changes))


def take_away(world: World, record: Record) -> None:
    kept: Any = world.store
    del kept._kept[type(record)][record.id]


def first(world: World, kind_: Any, /, **wanted: Any) -> Any:
    everything = run(world.all(kind_))
    return next(
        each for each in everything if all(getattr(each, name) == value for name, value in wanted.items())
    )


def transfer_of(world: World, source: Record, kind: Kind) -> Transfer:
    return first(world, Transfer, source=source.id, kind=kind)


def event_of(world: World, type: str, object: str) -> Event:
    """Return the last event of a type that tells of an object."""
    return [
        event
        for event in run(world.all(Event))
        if event.type == type and read_told(event).object["id"] == object
    ][-1]


def matured(world: World, **wanted: Any) -> Charge:
    return first(world, Charge, status=charges.Status.SUCCEEDED, matures_at=None, disputes=0, **wanted)


def test_a_world_in_which_everything_happened_is_clean() -> None:
    world = a_world()
    report = run(world.check_audit())
    assert (report.disagreeing, report.explained) == (0, [])
    assert report.checked == {
        "Charge": 22, "Refund": 7, "Dispute": 2, "Payout": len(run(world.all(Payout))),
        "Transfer": len(run(world.all(Transfer))), "Book": 2, "Sheet": len(run(world.all(Sheet))),
        "Event": len(run(world.all(Event))), "IdempotencyKey": 0, "Lane": 0,
    }  # fmt: skip
    assert report.open == {"Charge": 0, "Refund": 1, "Dispute": 0, "Payout": 0}
    kinds = {transfer.kind for transfer in run(world.all(Transfer))}
    assert kinds == set(Kind) - {Kind.STRAY_CAPTURE, Kind.STRAY_REVERSED}, "everything happened"


# What is wrong is done by hand; each returns what the audit must find.


def charge_lacks_its_fee(world: World) -> Any:
    charge = first(world, Charge, amount=5_600)
    take_away(world, transfer_of(world, charge, Kind.FEE))
    return {
        ("charges_are_booked", charge.id, "transfer fee", -charge.fee),
        ("balances_follow_from_the_objects", book_id(world.scope), "pending", charge.fee),
    }


def charge_is_booked_twice(world: World) -> Any:
    charge = first(world, Charge, amount=5_600)
    put(world, transfer_of(world, charge, Kind.CHARGE), id="txn_f")
    return {
        ("charges_are_booked", charge.id, "transfer charge", 5_600),
        ("balances_follow_from_the_objects", book_id(world.scope), "pending", 5_600),
    }


def charge_matured_and_not_booked(world: World) -> Any:
    charge = first(world, Charge, amount=5_600)
    put(world, charge, matures_at=None)
    book = book_id(world.scope)
    return {
        ("charges_mature_once", charge.id, "transfer charge_matured", -5_600),
        ("charges_mature_once", charge.id, "transfer fee_matured", -charge.fee),
        ("balances_follow_from_the_objects", book, "pending", 5_600 - charge.fee),
        ("balances_follow_from_the_objects", book, "available", charge.fee - 5_600),
    }


def failed_charge_is_booked(world: World) -> Any:
    charge = first(world, Charge, status=charges.Status.FAILED)
    entry = transfer_of(world, first(world, Charge, amount=5_600), Kind.CHARGE)
    put(world, entry, id="txn_f", source=charge.id, amount=77)
    return {
        ("charges_are_booked", charge.id, "transfer charge", 77),
        ("balances_follow_from_the_objects", book_id(world.scope), "pending", 77),
    }


def amount_refunded_is_off_by_one(world: World) -> Any:
    charge = matured(world, amount_refunded=500)
    put(world, charge, amount_refunded=501)
    return {("charges_count_their_refunds", charge.id, "amount_refunded", 1)}


def amount_refunding_is_left_over(world: World) -> Any:
    charge = matured(world)
    put(world, charge, amount_refunding=20)
    return {("charges_count_their_refunds", charge.id, "amount_refunding", 20)}


def refunds_are_miscounted(world: World) -> Any:
    charge = matured(world)
    put(world, charge, refunds=charge.refunds + 2)
    return {("charges_count_their_refunds", charge.id, "refunds", 2)}


def amount_disputed_is_forgotten(world: World) -> Any:
    lost = first(world, Dispute, status=disputes.Status.LOST)
    charge = first(world, Charge, id=lost.charge)
    put(world, charge, amount_disputed=0)
    return {("charges_count_their_disputes", charge.id, "amount_disputed", -lost.amount)}


def more_is_refunded_than_was_charged(world: World) -> Any:
    refund = first(world, Refund, amount=1_000)
    charge = first(world, Charge, id=refund.charge)
    put(world, refund, amount=8_001)
    put(world, transfer_of(world, refund, Kind.REFUND), amount=8_001)
    put(world, transfer_of(world, refund, Kind.REFUND_PAID), amount=8_001)
    put(world, charge, amount_refunded=8_001)
    created = event_of(world, "refund.created", refund.id)
    return {
        ("events_are_of_what_happened", created.id, "amount told", -7_001),
        ("refunds_never_exceed_their_charge", charge.id, "refunded at most", 1),
        ("money_moved_as_witnessed", refund.id, "cents that moved", 7_001),
    }


def refund_is_not_set_aside(world: World) -> Any:
    refund = first(world, Refund, status=refunds.Status.PENDING)
    take_away(world, transfer_of(world, refund, Kind.REFUND))
    book = book_id(world.scope)
    return {
        ("refunds_are_booked", refund.id, "transfer refund", -100),
        ("balances_follow_from_the_objects", book, "available", 100),
        ("balances_follow_from_the_objects", book, "reserved", -100),
    }


def refund_succeeded_and_is_not_booked(world: World) -> Any:
    refund = first(world, Refund, amount=1_000)
    take_away(world, transfer_of(world, refund, Kind.REFUND_PAID))
    return {
        ("refunds_are_booked", refund.id, "transfer refund_paid", -1_000),
        # By the transfers it never went out.
        ("what_happens_once_is_told_once", book_id(world.scope), "charge.refunded events", 1),
        ("balances_follow_from_the_objects", book_id(world.scope), "reserved", 1_000),
    }


def refund_failed_and_was_never_returned(world: World) -> Any:
    refund = first(world, Refund, status=refunds.Status.PENDING)
    charge = first(world, Charge, id=refund.charge)
    put(world, refund, status=refunds.Status.FAILED, look_at=None)
    put(world, charge, amount_refunding=0)
    book = book_id(world.scope)
    return {
        ("refunds_are_booked", refund.id, "transfer refund_returned", -100),
        ("balances_follow_from_the_objects", book, "available", -100),
        ("balances_follow_from_the_objects", book, "reserved", 100),
    }


def refund_is_of_another_merchant(world: World) -> Any:
    refund = first(world, Refund, amount=1_000)
    put(world, refund, livemode=True)
    report = found(audited(world))
    assert ("parts_are_in_the_book_of_their_charge", refund.charge, "refunds elsewhere", 1) in report
    return report


def refund_of_nothing(world: World) -> Any:
    refund = first(world, Refund, amount=1_000)
    charge = first(world, Charge, id=refund.charge)
    put(world, refund, charge="01941f29-7c00-7000-8000-0000000000ff")
    return {
        ("refunds_and_disputes_have_a_charge", refund.id, "charge", None),
        # As many as there should be, and one is of the charge that it was.
        ("what_happens_once_is_told_once", book_id(world.scope), "charge.refunded events", None),
        ("charges_count_their_refunds", charge.id, "refunds", 1),
        ("charges_count_their_refunds", charge.id, "amount_refunded", 1_000),
    }


def dispute_without_its_fee(world: World) -> Any:
    lost = first(world, Dispute, status=disputes.Status.LOST)
    put(world, lost, fee=lost.fee + 300)
    return {
        ("disputes_are_booked", lost.id, "transfer dispute_fee", -300),
        ("disputes_are_booked", lost.id, "transfer dispute_fee_kept", -300),
        ("balances_follow_from_the_objects", book_id(world.scope), "available", 300),
    }


def payout_failed_and_kept_the_money(world: World) -> Any:
    payout = first(world, Payout, status=payouts.Status.PAID)
    put(world, payout, status=payouts.Status.FAILED)
    book, paid = book_id(world.scope), event_of(world, "payout.paid", payout.id)
    return {
        ("events_are_of_what_happened", paid.id, "status of its object", None),
        ("what_happens_once_is_told_once", book, "payout.paid events", 1),
        ("what_happens_once_is_told_once", book, "payout.failed events", -1),
        ("payouts_are_booked", payout.id, "transfer payout_paid", payout.amount),
        ("payouts_are_booked", payout.id, "transfer payout_failed", -payout.amount),
        ("money_moved_as_witnessed", payout.id, "cents that moved", -payout.amount),
        ("balances_follow_from_the_objects", book_id(world.scope), "available", -payout.amount),
    }


def payout_pays_a_cent_more(world: World) -> Any:
    payout = run(world.all(Payout))[0]
    put(world, payout, amount=payout.amount + 1)
    report = found(audited(world))
    assert ("payouts_are_booked", payout.id, "transfer payout", -1) in report
    assert ("payouts_are_the_sum_of_their_lines", payout.id, "amount", 1) in report
    assert ("money_moved_as_witnessed", payout.id, "cents that moved", 1) in report
    return report


def payout_miscounts_its_lines(world: World) -> Any:
    payout = run(world.all(Payout))[0]
    put(world, payout, lines=payout.lines - 1)
    return {("payouts_are_the_sum_of_their_lines", payout.id, "lines", -1)}


def line_is_in_two_payouts(world: World) -> Any:
    one, two = run(world.all(Payout))[:2]
    put(world, two, after=one.after + "0")
    return {("payouts_begin_where_the_last_ended", two.id, "after", None)}


def lines_are_left_out(world: World) -> Any:
    one, two = run(world.all(Payout))[:2]
    take_away(world, one)
    report = found(audited(world))
    assert ("payouts_begin_where_the_last_ended", two.id, "lines left out", one.lines) in report
    assert ("payouts_begin_where_the_last_ended", two.id, "carried", -one.amount) in report
    return report


def payout_carries_what_is_not_there(world: World) -> Any:
    payout = run(world.all(Payout))[1]
    put(world, payout, carried=-5)
    return {
        ("payouts_begin_where_the_last_ended", payout.id, "carried", -5),
        ("payouts_are_the_sum_of_their_lines", payout.id, "amount", 5),
    }


def settlement_was_not_moved(world: World) -> Any:
    settlement = first(world, Settlement, livemode=False)
    last = run(world.all(Payout))[-1]
    put(world, settlement, place=last.after)
    return {("settlements_stand_where_the_last_payout_ended", settlement.id, "place", None)}


def settlement_carries_what_is_not_there(world: World) -> Any:
    settlement = first(world, Settlement, livemode=False)
    put(world, settlement, carried=-9)
    return {("settlements_stand_where_the_last_payout_ended", settlement.id, "carried", -9)}


def settlement_is_gone(world: World) -> Any:
    settlement = first(world, Settlement, livemode=False)
    take_away(world, settlement)
    return {("books_have_a_settlement", settlement.id, "settlement", None)}


def sheet_is_off_by_a_cent(world: World) -> Any:
    sheet = run(world.all(Sheet))[0]
    put(world, sheet, totals={**sheet.totals, Account.CASH: 3})
    return {("sheets_carry_all_before", sheet.id, "total of cash", 3 - sheet.totals[Account.CASH])}


def sheet_is_missing(world: World) -> Any:
    one, two = run(world.all(Sheet))[:2]
    take_away(world, one)
    return {("sheets_follow_each_other", two.id, "number", 1)}


def transfer_came_late_to_a_turned_sheet(world: World) -> Any:
    charge = first(world, Charge, amount=5_600)
    put(world, transfer_of(world, charge, Kind.CHARGE), sheet=1)
    report = found(audited(world))
    sheets = run(world.all(Sheet))
    assert {("sheets_carry_all_before", each.id, "transfers", -1) for each in sheets} < report
    return report


def transfer_is_past_the_open_sheet(world: World) -> Any:
    charge = first(world, Charge, amount=5_600)
    book = first(world, Book, livemode=False)
    put(world, transfer_of(world, charge, Kind.CHARGE), sheet=book.sheet + 1)
    return {("nothing_is_past_the_open_sheet", book.id, "open sheet", -1)}


def totals_of_the_open_sheet(world: World) -> Any:
    book, sheet = first(world, Book, livemode=False), run(world.all(Sheet))[-1]
    put(world, sheet, id=f"{book.id}/{book.sheet:010}", number=book.sheet)
    return {("nothing_is_past_the_open_sheet", book.id, "open sheet", -1)}


def transfer_runs_the_wrong_way(world: World) -> Any:
    transfer = transfer_of(world, first(world, Charge, amount=5_600), Kind.CHARGE)
    put(world, transfer, debit=transfer.credit, credit=transfer.debit)
    return {
        ("transfers_keep_to_their_kind", transfer.source, f"accounts of {transfer.id}", None),
        ("balances_follow_from_the_objects", book_id(world.scope), "pending", -11_200),
    }


def transfer_is_in_another_book(world: World) -> Any:
    transfer = transfer_of(world, first(world, Charge, amount=5_600), Kind.CHARGE)
    put(world, transfer, livemode=True)
    report = found(audited(world))
    assert (
        "transfers_are_in_the_book_of_their_source",
        transfer.source,
        f"book of {transfer.id}",
        None,
    ) in report
    return report


def transfer_of_nothing(world: World) -> Any:
    transfer = transfer_of(world, first(world, Charge, amount=5_600), Kind.CHARGE)
    put(world, transfer, id="txn_f", source="01941f29-7c00-7000-8000-0000000000ff", amount=5)
    return {
        ("transfers_have_a_source", "txn_f", "source", None),
        ("balances_follow_from_the_objects", book_id(world.scope), "pending", 5),
    }


def charge_was_never_captured(world: World) -> Any:
    charge = first(world, Charge, amount=5_600)
    journal: Any = world.journal
    del journal._kept[Entry][charge.id]
    return {("money_moved_as_witnessed", charge.id, "cents that moved", 5_600)}


def capture_is_of_another_amount(world: World) -> Any:
    charge = first(world, Charge, amount=5_600)
    journal: Any = world.journal
    entry = run(world.journal.get(Entry, charge.id))
    assert entry is not None
    journal._kept[Entry][charge.id] = _keep(replace(entry, amount=5_000))
    return {("money_moved_as_witnessed", charge.id, "cents that moved", 600)}


def capture_is_of_nothing_that_we_know(world: World) -> Any:
    journal: Any = world.journal
    entry = run(world.entries(Outcome.CAPTURED))[0]
    unknown = "01941f29-7c00-7000-8000-0000000000ff"
    journal._kept[Entry][unknown] = _keep(replace(entry, id=unknown, amount=44))
    return {("what_moved_is_known", unknown, "cents that moved", -44)}


def bank_paid_what_we_know_nothing_of(world: World) -> Any:
    journal: Any = world.journal
    payment = run(world.journal.find(Query(kind=Payment, limit=1)))[0]
    journal._kept[Payment]["po_f"] = _keep(replace(payment, id="po_f", amount=45))
    return {("what_moved_is_known", "po_f", "cents that moved", -45)}


DAMAGES: tuple[Callable[[World], Any], ...] = (
    charge_lacks_its_fee,
    charge_is_booked_twice,
    charge_matured_and_not_booked,
    failed_charge_is_booked,
    amount_refunded_is_off_by_one,
    amount_refunding_is_left_over,
    refunds_are_miscounted,
    amount_disputed_is_forgotten,
    more_is_refunded_than_was_charged,
    refund_is_not_set_aside,
    refund_succeeded_and_is_not_booked,
    refund_failed_and_was_never_returned,
    refund_is_of_another_merchant,
    refund_of_nothing,
    dispute_without_its_fee,
    payout_failed_and_kept_the_money,
    payout_pays_a_cent_more,
    payout_miscounts_its_lines,
    line_is_in_two_payouts,
    lines_are_left_out,
    payout_carries_what_is_not_there,
    settlement_was_not_moved,
    settlement_carries_what_is_not_there,
    settlement_is_gone,
    sheet_is_off_by_a_cent,
    sheet_is_missing,
    transfer_came_late_to_a_turned_sheet,
    transfer_is_past_the_open_sheet,
    totals_of_the_open_sheet,
    transfer_runs_the_wrong_way,
    transfer_is_in_another_book,
    transfer_of_nothing,
    charge_was_never_captured,
    capture_is_of_another_amount,
    capture_is_of_nothing_that_we_know,
    bank_paid_what_we_know_nothing_of,
)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_found_and_named_with_its_difference(damage: Callable[[World], Any]) -> None:
    world = a_world()
    expected = damage(world)
    report = audited(world)
    assert found(report) == expected
    assert not report.is_clean


# Beside a running system


class Busy:
    """A store in which something else is committed before each read of the one who looks through it."""

    def __init__(self, world: World, acts: list[Callable[[], Any]], *, begin: int) -> None:
        self._world = world
        self._acts = acts
        self._next = begin
        self.looks = 0
        self.reads = 0

    async def _act(self) -> None:
        act = self._acts[self._next % len(self._acts)]
        self._next += 1
        self.reads += 1
        await act()

    async def get(self, kind: Any, id: str) -> Any:
        await self._act()
        self.looks += 1
        return await self._world.store.get(kind, id)

    async def find(self, query: Query[Any]) -> Any:
        await self._act()
        return await self._world.store.find(query)


def test_what_moves_while_it_is_read_is_no_disagreement() -> None:
    looks = 0
    for begin in range(12):
        world = a_world()

        async def charge(world: World = world) -> None:
            await world.charge(AT_ONCE, amount=2_500)

        async def pending(world: World = world) -> None:
            await world.charge(DISPUTED, amount=2_600)

        async def refund(world: World = world) -> None:
            charge = [each for each in await world.all(Charge) if each.refundable >= 100][-1]
            await world.refund(charge.id, amount=100)

        async def refund_of_an_old_charge(world: World = world) -> None:
            charge = next(each for each in await world.all(Charge) if each.refundable >= 10)
            await world.refund(charge.id, amount=10)

        async def day(world: World = world) -> None:
            world.advance(days=1)
            await world.kpay.run_due()

        async def turn(world: World = world) -> None:
            await turn_sheet(world.kpay, world.scope)

        acts = [charge, refund, pending, day, refund_of_an_old_charge, turn, charge]
        busy = Busy(world, acts, begin=begin)
        bank = SandboxBank(journal=world.journal, clock=world.clock)
        beside = replace(world.kpay, store=busy)
        report = run(beside.audit(witnesses={"test": Witnesses(world.network, bank)}))
        assert report.disagreements == []
        assert report.totals
        looks += busy.looks
        run(world.check_audit())
    assert looks > 100, "what was read at different moments was looked at again"


def test_damage_is_found_beside_a_running_system() -> None:
    world = a_world()
    expected = amount_refunded_is_off_by_one(world)

    async def charge() -> None:
        await world.charge(AT_ONCE, amount=2_500)

    report = run(replace(world.kpay, store=Busy(world, [charge], begin=0)).audit())
    assert found(report) == expected


def test_what_never_holds_still_is_not_judged() -> None:
    world = a_world()
    wrong = matured(world)
    put(world, wrong, refunds=wrong.refunds + 1)

    async def move() -> None:
        await world.store.commit(bump(first(world, Charge, id=wrong.id)))

    report = run(replace(world.kpay, store=Busy(world, [move], begin=0)).audit())
    assert (report.disagreeing, report.moving) == (0, 1)


def test_a_refund_that_came_back_is_open_until_its_news_are_taken_in() -> None:
    world = run(World().open())
    charge = run(world.charge(REFUND_FAILING, amount=6_000))
    refund = run(world.refund(str(charge.value["id"]), amount=500))
    world.advance(days=4)
    report = audited(world)
    assert found(report) == {("money_moved_as_witnessed", refund.value["id"], "cents that moved", 500)}
    run(world.kpay.run_due())
    run(world.check_audit())


def test_notices_are_listed_with_their_reason_and_are_no_error() -> None:
    world = a_world()
    failed = first(world, Charge, status=charges.Status.FAILED)
    wrong = matured(world)
    fields = {"livemode": False, "dispute": None, "code": None, "evidence_due_by": None}
    now = world.clock.now()
    for id, kind, charge, status, reason in (
        ("test/1", NewsKind.CAPTURED, failed, Status.STRAY, None),
        ("test/2", NewsKind.DECLINED, wrong, Status.CONTRADICTING, "the charge succeeded"),
    ):
        look_at = now if status is Status.STRAY else None
        notice = Notice(
            id=id, kind=kind, reference=charge.id, amount=charge.amount, status=status, reason=reason,
            happened_at=now, created_at=now, look_at=look_at, **fields,
        )  # fmt: skip
        put(world, notice)
    journal: Any = world.journal
    entry = run(world.journal.get(Entry, failed.id))
    assert entry is not None
    journal._kept[Entry][failed.id] = _keep(replace(entry, outcome=Outcome.CAPTURED, code=None))
    report = audited(world)
    assert report.disagreements == []
    assert [(each.id, each.status, each.reason) for each in report.explained] == [
        ("test/1", "stray", None),
        ("test/2", "contradicting", "the charge succeeded"),
    ]


def test_without_a_witness_the_books_are_held_against_themselves() -> None:
    world = a_world()
    charge_was_never_captured(world)
    assert run(world.kpay.audit()).is_clean


def test_details_are_bounded_and_everything_is_counted() -> None:
    world = a_world()
    transfer = run(world.all(Transfer))[0]
    for number in range(1_200):
        put(world, transfer, id=f"txn_z{number:04}", source=f"z{number:04}")
    report = audited(world)
    assert len(report.disagreements) == 1_000
    assert report.disagreeing >= 1_200


def test_nothing_is_written() -> None:
    world = a_world()
    kept: Any = world.store
    before = {kind: dict(its) for kind, its in kept._kept.items()}
    audited(world)
    assert kept._kept == before
