"""Payouts: what a run of lines comes to, and what becomes of it."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from kpay_core.domain import payouts
from kpay_core.domain.banking import BankOutcome, BankVerdict
from kpay_core.domain.payouts import MAX_LINES, Run, Settlement, Status
from tests.domain.samples import NOW, SCOPE

MIDNIGHT = datetime(2026, 1, 2, tzinfo=UTC)
SETTLEMENT = payouts.open_settlement(SCOPE, now=NOW)


def run(net: int, *, lines: int = 3, full: bool = False) -> Run:
    return Run(lines=lines, net=net, upto="0000000001/txn_9", full=full)


def settle(settlement: Settlement, run: Run) -> tuple[Settlement, payouts.Payout | None]:
    return payouts.settle(settlement, run, id="po_1", account="000123456789", now=MIDNIGHT)


def a_payout() -> payouts.Payout:
    _, payout = settle(SETTLEMENT, run(500))
    assert payout is not None
    return payout


def test_the_first_payouts_are_due_at_the_end_of_the_day() -> None:
    assert SETTLEMENT.due_at == MIDNIGHT
    assert not payouts.is_due(SETTLEMENT, now=MIDNIGHT - timedelta(milliseconds=1))
    assert payouts.is_due(SETTLEMENT, now=MIDNIGHT)
    assert payouts.next_midnight(MIDNIGHT) == MIDNIGHT + timedelta(days=1)


def test_lines_that_come_to_something_are_paid_out() -> None:
    moved, payout = settle(SETTLEMENT, run(500))
    assert payout is not None
    assert (payout.amount, payout.lines, payout.after, payout.upto) == (500, 3, "", "0000000001/txn_9")
    assert (payout.status, payout.look_at, payout.account) == (Status.PENDING, MIDNIGHT, "000123456789")
    assert (moved.place, moved.carried, moved.due_at) == (payout.upto, 0, MIDNIGHT + timedelta(days=1))


@pytest.mark.parametrize("net", [0, -1, -500])
def test_lines_that_come_to_nothing_wait_for_more(net: int) -> None:
    moved, payout = settle(SETTLEMENT, run(net))
    assert payout is None
    assert moved == replace(SETTLEMENT, version=2, due_at=MIDNIGHT + timedelta(days=1))


def test_as_many_lines_as_a_payout_may_list_that_come_to_nothing_are_carried_forward() -> None:
    moved, payout = settle(SETTLEMENT, run(-500, lines=MAX_LINES, full=True))
    assert payout is None
    assert (moved.place, moved.carried, moved.due_at) == ("0000000001/txn_9", -500, MIDNIGHT)
    assert payouts.room(moved) == MAX_LINES - 1
    again, payout = settle(moved, run(800))
    assert payout is not None
    assert (payout.amount, payout.carried, payout.after) == (300, -500, moved.place)
    assert again.carried == 0


def test_after_a_full_payout_the_same_day_goes_on() -> None:
    moved, payout = settle(SETTLEMENT, run(500, lines=MAX_LINES, full=True))
    assert payout is not None
    assert moved.due_at == MIDNIGHT


def test_a_failed_payout_says_why_in_words_of_ours() -> None:
    failed = payouts.note(a_payout(), BankVerdict(BankOutcome.FAILED, "account_closed"))
    assert (failed.failure_code, failed.look_at) == ("account_closed", None)
    strange = payouts.note(a_payout(), BankVerdict(BankOutcome.FAILED, "<whatever a bank says>"))
    assert strange.failure_code == "could_not_process"
    assert strange.failure_message == payouts.FAILURES["could_not_process"]


def test_a_payout_on_its_way_is_looked_at_when_it_should_have_arrived() -> None:
    under_way = payouts.note(a_payout(), BankVerdict(BankOutcome.IN_TRANSIT))
    assert under_way.look_at == under_way.arrives_at == MIDNIGHT + timedelta(days=1)
    assert not payouts.moves(under_way, BankVerdict(BankOutcome.IN_TRANSIT))
    assert payouts.note(under_way, BankVerdict(BankOutcome.PAID)).look_at is None


def test_places_sort_as_the_book_is_written() -> None:
    places = [payouts.FIRST_PLACE, "0000000002/txn_1", "0000000002/txn_2", "0000000010/txn_0"]
    assert places == sorted(places)
    assert [payouts.read_place(place) for place in places] == [
        (0, ""),
        (2, "txn_1"),
        (2, "txn_2"),
        (10, "txn_0"),
    ]
