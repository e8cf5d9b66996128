"""Maturing and payouts: what can be paid out goes out once a day, each line once, whoever settles."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from kpay_core.commit import Conflict, Unknown
from kpay_core.domain import payouts
from kpay_core.domain.charges import Charge
from kpay_core.domain.events import Event
from kpay_core.domain.ledger import Account, Balance, Entry, Kind, Sheet, Transfer, line_amount
from kpay_core.domain.payouts import Payout, Settlement, Status
from kpay_core.flows import booking
from kpay_core.ports import NoAnswer
from tests.flows.test_store_outcomes import Moody
from tests.flows.world import Interleaved, SharedClock, World, drive, run

pytestmark = pytest.mark.anyio

AT_ONCE = "4000000000000077"
FAILING_ACCOUNT = "000111111116"


def day(number: int) -> datetime:
    """Return the beginning of a day in January 2026; the world begins at noon of the first."""
    return datetime(2026, 1, number, tzinfo=UTC)


async def until(world: World, moment: datetime) -> None:
    await world.kpay.pass_time(moment, turn_to=world.clock.turn_to)


async def balance(world: World) -> Balance:
    return await world.kpay.get_balance(world.scope)


async def settlement(world: World) -> Settlement:
    found = await world.all(Settlement)
    return next(each for each in found if each.scope == world.scope)


async def transfers(world: World) -> list[tuple[Kind, int]]:
    return [(each.kind, each.amount) for each in await world.all(Transfer)]


async def test_a_charge_is_pending_for_two_days_and_then_paid_out_less_its_fee() -> None:
    world = await World().open()
    await world.charge(amount=4999)
    assert await balance(world) == Balance(pending=4824, available=0, reserved=0, in_transit=0)
    # To the millisecond: funds mature two days after the charge.
    world.advance(days=2, milliseconds=-1)
    await world.kpay.run_due()
    assert (await balance(world)).available == 0
    world.advance(milliseconds=1)
    await world.kpay.run_due()
    assert await balance(world) == Balance(pending=0, available=4824, reserved=0, in_transit=0)
    await until(world, day(4))
    assert await balance(world) == Balance(pending=0, available=0, reserved=0, in_transit=4824)
    (payout,) = await world.all(Payout)
    assert (payout.amount, payout.status, payout.created_at) == (4824, Status.IN_TRANSIT, day(4))
    await until(world, day(5))
    assert await balance(world) == Balance(pending=0, available=0, reserved=0, in_transit=0)
    assert [event.type for event in await world.all(Event)][-2:] == ["payout.created", "payout.paid"]
    assert (await world.kpay.get_payout(world.scope, payout.id))[0].status is Status.PAID


async def test_funds_that_need_not_mature_are_available_with_the_charge() -> None:
    world = await World().open()
    await world.charge(AT_ONCE, amount=1000)
    assert await balance(world) == Balance(pending=0, available=941, reserved=0, in_transit=0)


async def test_a_payouts_lines_come_to_its_amount() -> None:
    world = await World().open()
    first = (await world.charge(AT_ONCE, amount=5000)).value["id"]
    await world.charge(AT_ONCE, amount=2000)
    await world.refund(str(first), amount=1500)
    await until(world, day(2))
    (payout,) = await world.all(Payout)
    _, lines = await world.kpay.get_payout(world.scope, payout.id)
    assert [line.kind for line in lines] == [
        Kind.CHARGE_MATURED,
        Kind.FEE_MATURED,
        Kind.CHARGE_MATURED,
        Kind.FEE_MATURED,
        Kind.REFUND,
    ]
    assert payout.amount == 5000 - 175 + 2000 - 88 - 1500
    assert payout.lines == 5


async def test_what_comes_to_less_than_nothing_waits_for_more() -> None:
    world = await World().open()
    charge = (await world.charge(AT_ONCE, amount=5000)).value["id"]
    await until(world, day(2))
    await world.refund(str(charge), amount=3000)
    await until(world, day(3))
    assert len(await world.all(Payout)) == 1
    assert (await balance(world)).available == -3000
    await world.charge(AT_ONCE, amount=4000)
    await until(world, day(4))
    *_, second = await world.all(Payout)
    assert second.amount == 4000 - 146 - 3000
    assert (await balance(world)).available == 0


async def test_days_that_were_missed_are_made_up_for_by_one_payout() -> None:
    world = await World().open()
    for _ in range(3):
        await world.charge(AT_ONCE, amount=1000)
        world.advance(days=1)
    await world.kpay.run_due()
    (payout,) = await world.all(Payout)
    assert payout.amount == 3 * 941
    assert (await settlement(world)).due_at == day(5)


async def test_a_payout_that_the_bank_refuses_comes_back_and_goes_out_again() -> None:
    world = await World().open()
    await world.kpay.update_merchant(world.scope.merchant, {"bank_account": FAILING_ACCOUNT})
    await world.charge(AT_ONCE, amount=1000)
    await until(world, day(2))
    await world.kpay.update_merchant(world.scope.merchant, {"bank_account": "000123456789"})
    await until(world, day(3))
    failed, again = await world.all(Payout)
    assert (failed.status, failed.failure_code, again.amount) == (Status.FAILED, "account_closed", 941)
    _, lines = await world.kpay.get_payout(world.scope, again.id)
    assert [(line.kind, line.source) for line in lines] == [(Kind.PAYOUT_FAILED, failed.id)]
    assert [event.type for event in await world.all(Event)].count("payout.failed") == 1


async def test_a_bank_that_is_away_holds_nobody_up_and_is_asked_again() -> None:
    world = await World().open()
    bank = world.kpay.rails["test"]

    class Away:
        async def send(self, **_: object) -> Any:
            raise NoAnswer

    world.kpay.rails = {"test": Away()}
    await world.charge(AT_ONCE, amount=1000)
    await until(world, day(2) + timedelta(hours=2))
    (payout,) = await world.all(Payout)
    assert payout.status is Status.PENDING
    assert payouts.is_overdue(payout, now=world.clock.now())
    world.kpay.rails = {"test": bank}
    await until(world, day(4))
    assert (await world.all(Payout))[0].status is Status.PAID


async def test_a_mode_without_a_bank_pays_nothing_out() -> None:
    world = await World().open()
    world.kpay.rails = {}
    await world.charge(AT_ONCE, amount=1000)
    await until(world, day(3))
    assert await world.all(Payout) == []
    assert (await balance(world)).available == 941


async def test_more_lines_than_a_payout_may_list_make_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payouts, "MAX_LINES", 4)
    monkeypatch.setattr("kpay_core.flows.payouts.PAGE", 3)
    world = await World().open()
    for _ in range(5):
        await world.charge(AT_ONCE, amount=1000)
    await until(world, day(2))
    made = await world.all(Payout)
    assert [(payout.lines, payout.amount) for payout in made] == [(4, 1882), (4, 1882), (2, 941)]
    listed = [line.id for payout in made for line in (await world.kpay.get_payout(world.scope, payout.id))[1]]
    assert len(listed) == len(set(listed)) == 10


@pytest.mark.parametrize("most", [3, 4, 7, 10, 1000])
@pytest.mark.parametrize("transfers", [1, 3, 8])
async def test_whole_sheets_are_added_up_as_their_lines_would_be(
    most: int, transfers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payouts, "MAX_LINES", most)
    monkeypatch.setattr("kpay_core.domain.ledger.SHEET_TRANSFERS", transfers)
    monkeypatch.setattr("kpay_core.flows.payouts.MANY_SHEETS", 2)
    monkeypatch.setattr("kpay_core.flows.payouts.PAGE", 3)
    world = await World().open()
    for number in range(11):
        charge = (await world.charge(AT_ONCE, amount=1000 + number)).value["id"]
        if number % 3 == 0:
            await world.refund(str(charge), amount=100)
    await until(world, day(2))
    made = await world.all(Payout)
    assert [payout.lines for payout in made[:-1]] == [most] * (len(made) - 1)
    for payout in made:
        _, lines = await world.kpay.get_payout(world.scope, payout.id)
        assert payout.amount == sum(line_amount(line) for line in lines) + payout.carried
        assert payout.upto == payouts.place_of(lines[-1])
    assert sum(payout.lines for payout in made) == 26
    assert (await balance(world)).available == 0


async def test_many_lines_that_come_to_nothing_are_one_line_of_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await World().open()
    charge = str((await world.charge(AT_ONCE, amount=9000)).value["id"])
    await until(world, day(2))
    for _ in range(5):
        await world.refund(charge, amount=200)
    await world.charge(AT_ONCE, amount=5000)
    monkeypatch.setattr(payouts, "MAX_LINES", 3)
    await until(world, day(3))
    _, payout = await world.all(Payout)
    # Three refunds are carried forward; beside that there is room for two lines, which are refunds, too.
    assert (payout.carried, payout.lines, payout.amount) == (-1000, 2, 5000 - 175 - 1000)
    assert (await balance(world)).available == 0
    assert (await settlement(world)).carried == 0


async def test_new_terms_hold_for_charges_from_then_on() -> None:
    world = await World().open()
    await world.charge(amount=1000)
    await world.kpay.update_merchant(world.scope.merchant, {"fee_basis_points": 100, "fee_cents": 0})
    await world.charge(amount=1000)
    assert [charge.fee for charge in await world.all(Charge)] == [59, 10]
    assert (Kind.FEE, 10) in await transfers(world)


@pytest.mark.parametrize("written", [True, False])
async def test_terms_that_were_told_to_hold_do_also_where_two_set_them_at_once(written: bool) -> None:
    """The connection of one is lost, and the merchant's record is the same whatever its terms, which the book has."""
    world = await World().open()
    other = World(store=world.store, journal=world.journal, clock=world.clock)

    async def somebody_sets_others() -> None:
        await other.kpay.update_merchant(world.scope.merchant, {"fee_basis_points": 200, "fee_cents": 0})

    world.kpay.store = Moody(world.store, 1, Unknown, written=written, then=somebody_sets_others)
    await world.kpay.update_merchant(world.scope.merchant, {"fee_basis_points": 100, "fee_cents": 0})
    await world.charge(amount=1000)
    assert [charge.fee for charge in await world.all(Charge)] == [10]


async def test_what_costs_nothing_makes_no_transfer() -> None:
    world = await World().open()
    await world.kpay.update_merchant(world.scope.merchant, {"fee_basis_points": 0, "fee_cents": 0})
    await world.charge(AT_ONCE, amount=1000)
    assert await transfers(world) == [(Kind.CHARGE, 1000), (Kind.CHARGE_MATURED, 1000)]


@pytest.mark.parametrize("seed", range(5))
def test_of_many_who_settle_and_mature_each_line_is_paid_out_once(seed: int) -> None:
    world = run(World(clock=SharedClock()).open())
    for _ in range(4):
        run(world.charge(amount=1000))
    world.clock.move_to(day(4))
    world.kpay.store = Interleaved(world.store)  # pyright: ignore[reportAttributeAccessIssue]
    work = [world.kpay.mature, world.kpay.settle, world.kpay.sweep, world.kpay.run_due]
    for result in drive(world.clock, Random(seed), *(each() for each in work * 3)):
        assert not isinstance(result, Exception), repr(result)
    drive(world.clock, Random(seed), world.kpay.run_due())
    world.clock.move_to(day(5))
    drive(world.clock, Random(seed), *(world.kpay.run_due() for _ in range(3)))
    made = run(world.all(Payout))
    assert sum(payout.amount for payout in made) == 4 * 941
    listed = [line.id for each in made for line in run(world.kpay.get_payout(world.scope, each.id))[1]]
    assert len(listed) == len(set(listed)) == 8
    assert run(balance(world)).available == 0


@pytest.mark.parametrize("seed", range(10))
def test_a_sheet_that_was_turned_gains_no_transfer_whoever_writes(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kpay_core.domain.ledger.SHEET_TRANSFERS", 3)
    world = run(World(clock=SharedClock()).open())
    world.kpay.store = Interleaved(world.store)  # pyright: ignore[reportAttributeAccessIssue]
    work = [world.charge(AT_ONCE, amount=1000) for _ in range(12)]
    reads = [world.kpay.get_balance(world.scope) for _ in range(12)]
    turns = [booking.turn_sheet(world.kpay, world.scope) for _ in range(3)]
    results = drive(world.clock, Random(seed), *work, *reads, *turns)
    assert not [result for result in results if isinstance(result, Exception)]
    assert all(found.available % 941 == 0 for found in results[12:24]), "a balance is of one moment"
    run(booking.turn_sheet(world.kpay, world.scope))
    sheets = run(world.all(Sheet))
    written = run(world.all(Transfer))
    for sheet in sheets:
        upto = [transfer for transfer in written if transfer.sheet <= sheet.number]
        assert sheet.transfers == len(upto)
        expected = sum(
            transfer.amount * ((transfer.credit == Account.AVAILABLE) - (transfer.debit == Account.AVAILABLE))
            for transfer in upto
        )
        assert sheet.totals[Account.AVAILABLE] == expected
    assert sheets[-1].transfers == len(written) == 48
    assert run(balance(world)).available == 12 * 941


async def test_a_transfer_on_a_sheet_that_was_turned_conflicts() -> None:
    world = await World().open()
    book = await booking.book_of(world.kpay, world.scope)
    await booking.turn_sheet(world.kpay, world.scope)
    late = booking.make_transfers(world.kpay, [Entry(Kind.CHARGE, "x", 100)], book, now=world.clock.now())
    with pytest.raises(Conflict):
        await world.store.commit(*late, held=[book])


async def test_a_balance_of_many_transfers_adds_up_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(booking, "MANY_TRANSFERS", 10)
    monkeypatch.setattr(booking, "PAGE", 7)
    world = await World().open()
    for _ in range(20):
        await world.charge(amount=1000)
    assert (await balance(world)).pending == 20 * 941
    (sheet,) = await world.all(Sheet)
    assert sheet.transfers == 40
    await world.charge(amount=1000)
    assert (await balance(world)).pending == 21 * 941
    assert len(await world.all(Sheet)) == 1
