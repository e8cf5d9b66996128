"""The ledger: what each kind moves, what a charge costs, what a balance is made of."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kpay_core.domain import ledger
from kpay_core.domain.ledger import LINES, POSTINGS, Account, Book, Entry, Kind, Transfer
from tests.domain.samples import NOW, SCOPE

BOOK = ledger.open_book(SCOPE, fee_basis_points=290, fee_cents=30)

MERCHANTS = {
    Account.PENDING,
    Account.AVAILABLE,
    Account.REFUNDS_IN_FLIGHT,
    Account.DISPUTE_RESERVE,
    Account.PAYOUTS_IN_TRANSIT,
}


def transfer(kind: Kind, amount: int = 100, *, book: Book = BOOK, id: str = "txn_1") -> Transfer:
    return ledger.write_down(Entry(kind, "source", amount), book, id=id, now=NOW)


def test_the_drawn_table_is_the_table() -> None:
    drawn = re.findall(
        r"^    (\w+) +([a-z_]+) +([a-z_]+)(?: +(\w+) +([+-]))?$", ledger.__doc__ or "", re.MULTILINE
    )
    said = [(kind, debit, credit, line, sign) for kind, debit, credit, line, sign in drawn]
    assert said == [
        (
            kind.value,
            debit.value,
            credit.value,
            LINES.get(kind, ""),
            "" if kind not in LINES else "+" if credit is Account.AVAILABLE else "-",
        )
        for kind, (debit, credit) in POSTINGS.items()
    ]


def test_every_kind_has_its_accounts_and_they_differ() -> None:
    assert set(POSTINGS) == set(Kind)
    assert all(debit is not credit for debit, credit in POSTINGS.values())


def test_a_line_is_whatever_moves_available_funds_but_the_payout_itself() -> None:
    moving = {kind for kind, accounts in POSTINGS.items() if Account.AVAILABLE in accounts}
    assert set(LINES) == moving - {Kind.PAYOUT}


@pytest.mark.parametrize(
    ("amount", "costs"),
    # 4999 x 2.9 % = 144.971; 50 x 2.9 % = 1.45; 500 x 2.9 % = 14.5, half up.
    [(4999, 175), (50, 31), (500, 45), (499, 44), (10_000_000, 290_030)],
)
def test_a_charge_costs_its_share_rounded_half_up_and_a_fixed_part(amount: int, costs: int) -> None:
    assert ledger.fee(BOOK, amount) == costs


def test_a_charge_never_costs_more_than_it_brings() -> None:
    dear = ledger.change_terms(BOOK, 10_000, 500)
    assert ledger.fee(dear, 50) == 50
    assert ledger.fee(ledger.change_terms(BOOK, 0, 0), 50) == 0


def test_new_terms_leave_out_what_stays() -> None:
    assert ledger.change_terms(BOOK, None, 10) == replace(BOOK, version=2, fee_cents=10)
    assert ledger.change_terms(BOOK, 100, None) == replace(BOOK, version=2, fee_basis_points=100)


def test_a_transfer_is_written_on_the_open_sheet() -> None:
    turned = ledger.turn(BOOK)
    written = transfer(Kind.REFUND, book=turned)
    assert (written.sheet, written.debit, written.credit) == (2, "available", "refunds_in_flight")


@given(st.lists(st.tuples(st.sampled_from(Kind), st.integers(1, 10**9))))
def test_whatever_is_written_all_accounts_sum_to_zero(moved: list[tuple[Kind, int]]) -> None:
    totals = ledger.add_up({}, [transfer(kind, amount) for kind, amount in moved])
    assert sum(totals.values()) == 0


@given(st.lists(st.tuples(st.sampled_from(list(LINES)), st.integers(1, 10**9))))
def test_lines_come_to_what_they_add_to_the_available_funds(moved: list[tuple[Kind, int]]) -> None:
    lines = [transfer(kind, amount) for kind, amount in moved]
    assert ledger.net(lines) == ledger.add_up({}, lines)[Account.AVAILABLE]


def test_totals_are_carried_from_sheet_to_sheet() -> None:
    book = ledger.turn(ledger.turn(BOOK))
    first = ledger.carry_forward(ledger.next_sheet(book, None), [transfer(Kind.CHARGE, 500)])
    second = ledger.next_sheet(book, first)
    for moved in (transfer(Kind.FEE, 45), transfer(Kind.REFUND, 30), transfer(Kind.REFUND_PAID, 30)):
        second = ledger.carry_forward(second, [moved])
    assert ledger.balance(second.totals) == ledger.Balance(
        pending=455, available=-30, reserved=0, in_transit=0
    )
    assert (second.number, second.transfers, second.lines, second.net) == (2, 4, 1, -30)
    assert (ledger.lines_since(second, first), ledger.net_since(second, first)) == (1, -30)
    assert (ledger.lines_since(second, None), ledger.net_since(second, None)) == (1, -30)
    assert first.id < second.id


def test_a_balance_adds_what_is_kept_back_for_refunds_and_disputes() -> None:
    totals = ledger.add_up(
        {},
        [
            transfer(Kind.CHARGE, 900),
            transfer(Kind.REFUND, 100),
            transfer(Kind.DISPUTE, 20),
            transfer(Kind.PAYOUT, 3),
        ],
    )
    assert ledger.balance(totals) == ledger.Balance(pending=900, available=-123, reserved=120, in_transit=3)
    # What is the merchant's: less than all that was charged by nothing yet.
    assert sum(totals[account] for account in MERCHANTS) == 900


def test_about_one_transfer_in_a_thousand_ends_its_sheet() -> None:
    ends = sum(ledger.ends_sheet(transfer(Kind.CHARGE, id=f"txn_{n}")) for n in range(100_000))
    assert 60 < ends < 140
