"""The laws of the books, one by one: what holds, and what does not."""

import re
from datetime import UTC, datetime
from importlib import import_module
from inspect import isfunction
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from msgspec.structs import replace

from kpay_core.domain import audit, book_laws, charges, disputes, laws, news, payouts, refunds
from kpay_core.domain.book_laws import Holdings, Stretch, Tally
from kpay_core.domain.cards import CardSummary
from kpay_core.domain.charges import Charge
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.laws import Case, Parts, Source
from kpay_core.domain.ledger import POSTINGS, Account, Balance, Book, Kind, Sheet, Transfer
from kpay_core.domain.payouts import MAX_LINES, Payout, Settlement
from kpay_core.domain.postal import Address
from kpay_core.domain.refunds import Refund
from kpay_core.domain.telling_laws import TELLING_LAWS
from tests.docs.pages import PAGES

DOMAIN = Path(laws.__file__).parent

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WHOSE: dict[str, Any] = {"merchant": "mer_1", "livemode": False}

CHARGE = Charge(
    id="c",
    **WHOSE,
    amount=1_000,
    currency="USD",
    status=charges.Status.SUCCEEDED,
    source=CardSummary(brand="visa", last4="4242", exp_month=12, exp_year=2030, fingerprint="f"),
    billing_address=Address(line1="1", city="X", state="IL", postal_code="62701", country="US"),
    description=None,
    metadata={},
    fee=59,
    matures_at=None,
    idempotency_key=None,
    created_at=NOW,
    look_at=None,
)
REFUND = Refund(
    id="re_1",
    **WHOSE,
    charge="c",
    amount=300,
    currency="USD",
    status=refunds.Status.SUCCEEDED,
    reason=None,
    notes=None,
    idempotency_key=None,
    created_at=NOW,
    look_at=None,
)
DISPUTE = Dispute(
    id="dp_1",
    **WHOSE,
    charge="c",
    case="n",
    amount=1_000,
    fee=1_500,
    currency="USD",
    reason="general",
    evidence_due_by=NOW,
    created_at=NOW,
)
PAYOUT = Payout(
    id="po_1",
    **WHOSE,
    amount=641,
    currency="USD",
    status=payouts.Status.PAID,
    account="1",
    after="",
    upto="0000000001/t3",
    lines=3,
    carried=0,
    arrives_at=NOW,
    created_at=NOW,
    look_at=None,
)
FAILED = replace(CHARGE, status=charges.Status.FAILED, failure_code="x")
PENDING = replace(CHARGE, matures_at=NOW)


def moved(kind: Kind, amount: int, source: Source = CHARGE, **changes: Any) -> Transfer:
    debit, credit = POSTINGS[kind]
    fields: dict[str, Any] = {**WHOSE, "sheet": 1, "debit": debit, "credit": credit, **changes}
    return Transfer(id="t", kind=kind, source=source.id, amount=amount, created_at=NOW, **fields)


def case(source: Source, *booked: tuple[Kind, int], **known: Any) -> Case[Any]:
    return Case(source, [moved(kind, amount, source) for kind, amount in booked], **known)


BOOKED = ((Kind.CHARGE, 1_000), (Kind.FEE, 59))
MATURED = ((Kind.CHARGE_MATURED, 1_000), (Kind.FEE_MATURED, 59))
SET_ASIDE = (Kind.REFUND, 300)
KEPT = ((Kind.DISPUTE, 1_000), (Kind.DISPUTE_FEE, 1_500))
SENT = (Kind.PAYOUT, 641)


def status_of(source: Any, status: Any, **changes: Any) -> Any:
    return replace(source, status=status, **changes)


RETURNED = status_of(REFUND, refunds.Status.FAILED)
UNDER_WAY = status_of(REFUND, refunds.Status.PENDING, look_at=NOW)
WON, LOST = status_of(DISPUTE, disputes.Status.WON), status_of(DISPUTE, disputes.Status.LOST)

# Law, what keeps it, and what breaks it with how much is too much.
CASES: list[tuple[laws.Law, list[Case[Any]], list[tuple[Case[Any], list[int]]]]] = [
    (
        laws.charges_are_booked,
        [case(CHARGE, *BOOKED), case(FAILED), case(replace(CHARGE, fee=0), BOOKED[0])],
        [
            (case(CHARGE, BOOKED[0]), [-59]),
            (case(CHARGE, *BOOKED, BOOKED[0]), [1_000]),
            (case(FAILED, *BOOKED), [1_000, 59]),
            (case(CHARGE, BOOKED[0], (Kind.FEE, 60)), [1]),
        ],
    ),
    (
        laws.charges_mature_once,
        [case(CHARGE, *MATURED), case(PENDING), case(FAILED)],
        [(case(PENDING, *MATURED), [1_000, 59]), (case(CHARGE, MATURED[0]), [-59])],
    ),
    (
        laws.charges_count_their_refunds,
        [case(replace(CHARGE, refunds=3, amount_refunded=5, amount_refunding=6), refunds=Parts(3, 0, 5, 6))],
        [(case(replace(CHARGE, refunds=2, amount_refunded=5), refunds=Parts(1, 0, 3, 1)), [1, 2, -1])],
    ),
    (
        laws.charges_count_their_disputes,
        [case(replace(CHARGE, disputes=2, amount_disputed=7), disputes=Parts(2, 0, 3, 4))],
        [(case(replace(CHARGE, disputes=1, amount_disputed=4), disputes=Parts(2, 0, 3, 4)), [-1, -3])],
    ),
    (
        laws.parts_are_in_the_book_of_their_charge,
        [case(CHARGE, refunds=Parts(1))],
        [(case(CHARGE, refunds=Parts(2, 1), disputes=Parts(2, 2)), [1, 2])],
    ),
    (
        laws.refunds_never_exceed_their_charge,
        [case(CHARGE, refunds=Parts(2, 0, 600, 400)), case(FAILED)],
        [
            (case(CHARGE, refunds=Parts(2, 0, 600, 401)), [1]),
            (case(FAILED, refunds=Parts(1, 0, 0, 5)), [5]),
        ],
    ),
    (
        laws.strays_are_of_failed_charges,
        [
            case(CHARGE),
            case(FAILED, (Kind.STRAY_CAPTURE, 9)),
            case(FAILED, (Kind.STRAY_CAPTURE, 9), (Kind.STRAY_REVERSED, 9)),
        ],
        [
            (case(CHARGE, (Kind.STRAY_CAPTURE, 9)), [9]),
            (case(FAILED, (Kind.STRAY_CAPTURE, 9), (Kind.STRAY_REVERSED, 8)), [-1]),
        ],
    ),
    (
        laws.refunds_are_booked,
        [
            case(REFUND, SET_ASIDE, (Kind.REFUND_PAID, 300)),
            case(UNDER_WAY, SET_ASIDE),
            case(RETURNED, SET_ASIDE, (Kind.REFUND_RETURNED, 300)),
            case(RETURNED, SET_ASIDE, (Kind.REFUND_PAID, 300), (Kind.REFUND_BOUNCED, 300)),
        ],
        [
            (case(REFUND, SET_ASIDE), [-300]),
            (case(UNDER_WAY, SET_ASIDE, (Kind.REFUND_PAID, 300)), [300]),
            (case(RETURNED, SET_ASIDE), [-300]),
            (case(RETURNED, SET_ASIDE, (Kind.REFUND_PAID, 300)), [-300]),
            (case(RETURNED, SET_ASIDE, (Kind.REFUND_PAID, 300), (Kind.REFUND_RETURNED, 300)), [300, -300]),
        ],
    ),
    (
        laws.disputes_are_booked,
        [
            case(DISPUTE, *KEPT),
            case(WON, *KEPT, (Kind.DISPUTE_WON, 1_000), (Kind.DISPUTE_FEE_RETURNED, 1_500)),
            case(LOST, *KEPT, (Kind.DISPUTE_LOST, 1_000), (Kind.DISPUTE_FEE_KEPT, 1_500)),
        ],
        [
            (case(DISPUTE, KEPT[0]), [-1_500]),
            (case(WON, *KEPT), [-1_000, -1_500]),
            (case(LOST, *KEPT, (Kind.DISPUTE_WON, 1_000), (Kind.DISPUTE_FEE_KEPT, 1_500)), [1_000, -1_000]),
        ],
    ),
    (
        laws.payouts_are_booked,
        [
            case(PAYOUT, SENT, (Kind.PAYOUT_PAID, 641)),
            case(status_of(PAYOUT, payouts.Status.FAILED), SENT, (Kind.PAYOUT_FAILED, 641)),
            case(status_of(PAYOUT, payouts.Status.IN_TRANSIT), SENT),
        ],
        [
            (case(PAYOUT, SENT), [-641]),
            (
                case(status_of(PAYOUT, payouts.Status.FAILED), SENT, (Kind.PAYOUT_PAID, 641)),
                [641, -641],
            ),
        ],
    ),
    (
        laws.money_moved_as_witnessed,
        [
            case(CHARGE),
            case(
                CHARGE, is_witnessed=True, testimony=news.Testimony(reference="c", moved=True, amount=1_000)
            ),
            case(
                FAILED, is_witnessed=True, testimony=news.Testimony(reference="c", moved=False, amount=1_000)
            ),
            case(UNDER_WAY, is_witnessed=True),
            case(
                PAYOUT, is_witnessed=True, testimony=news.Testimony(reference="po_1", moved=True, amount=641)
            ),
        ],
        [
            (case(CHARGE, is_witnessed=True), [1_000]),
            (
                case(
                    FAILED,
                    is_witnessed=True,
                    testimony=news.Testimony(reference="c", moved=True, amount=1_000),
                ),
                [-1_000],
            ),
            (
                case(
                    REFUND,
                    is_witnessed=True,
                    testimony=news.Testimony(reference="re_1", moved=True, amount=299),
                ),
                [1],
            ),
        ],
    ),
]


def by_how_much(difference: laws.Difference) -> int:
    assert isinstance(difference.found, int)
    assert isinstance(difference.expected, int)
    return difference.found - difference.expected


@pytest.mark.parametrize(("law", "held", "broken"), CASES, ids=[law.__name__ for law, _, _ in CASES])
def test_a_law_of_objects(
    law: laws.Law, held: list[Case[Any]], broken: list[tuple[Case[Any], list[int]]]
) -> None:
    for each in held:
        assert law(each) == ()
    for each, by in broken:
        assert [by_how_much(difference) for difference in law(each)] == by


def test_every_law_is_judged_and_says_what_it_is() -> None:
    of_objects = {law for its in laws.LAWS.values() for law in its}
    assert of_objects == {law for law, _, _ in CASES} | set(laws.EVERYWHERE)
    assert all(law.__doc__ for law in of_objects)


def test_transfers_keep_to_their_kind_and_to_the_book_of_their_source() -> None:
    right = Case(CHARGE, [moved(Kind.CHARGE, 1_000)])
    assert laws.transfers_keep_to_their_kind(right) == ()
    assert laws.transfers_are_in_the_book_of_their_source(right) == ()
    wrong = Case(CHARGE, [moved(Kind.CHARGE, 0, credit=Account.CASH, merchant="mer_2")])
    assert laws.transfers_keep_to_their_kind(wrong) == (
        ("accounts of t", "processor_receivable to pending", "processor_receivable to cash"),
        ("amount of t", "more than 0", "0"),
    )
    assert laws.transfers_are_in_the_book_of_their_source(wrong) == (
        ("book of t", "mer_1/test", "mer_2/test"),
    )


def tally(*transfers: Transfer) -> Tally:
    made = Tally()
    for transfer in transfers:
        made.add(transfer)
    return made


def test_sheets_carry_all_before_and_follow_each_other() -> None:
    totals = {Account.PROCESSOR_RECEIVABLE: -5, Account.PENDING: 5}
    sheet = Sheet(id="s", **WHOSE, number=2, totals=totals, transfers=1, lines=0, net=0)
    before = tally(moved(Kind.CHARGE, 5))
    assert book_laws.sheets_carry_all_before(sheet, before) == ()
    assert book_laws.sheets_carry_all_before(replace(sheet, transfers=2), before) == (("transfers", 1, 2),)
    assert book_laws.sheets_carry_all_before(replace(sheet, lines=1, net=5), before) == (
        ("lines", 0, 1),
        ("net", 0, 5),
    )
    off = replace(sheet, totals={**totals, Account.PENDING: 6})
    assert book_laws.sheets_carry_all_before(off, before) == (("total of pending", 5, 6),)
    assert book_laws.sheets_follow_each_other(sheet, 1) == ()
    assert book_laws.sheets_follow_each_other(sheet, 0) == (("number", 1, 2),)
    book = Book(id="b", **WHOSE, sheet=3, fee_basis_points=0, fee_cents=0)
    assert book_laws.nothing_is_past_the_open_sheet(book, 3) == ()
    assert book_laws.nothing_is_past_the_open_sheet(book, 4) == (("open sheet", 4, 3),)


NONE = Stretch(0, 0, "")
FULL = Stretch(MAX_LINES, -7, "0000000009/t")


def test_payouts_form_a_chain() -> None:
    begins = book_laws.payouts_begin_where_the_last_ended
    assert begins(PAYOUT, "", NONE) == ()
    assert begins(replace(PAYOUT, after=FULL.upto, carried=-7), "", FULL) == ()
    assert begins(PAYOUT, "0000000001/t", NONE) == (("after", "0000000001/t", ""),)
    assert begins(replace(PAYOUT, carried=-1), "", NONE) == (("carried", 0, -1),)
    few = Stretch(2, -7, FULL.upto)
    assert begins(replace(PAYOUT, after=few.upto, carried=-7), "", few) == (("lines left out", 0, 2),)
    gain = Stretch(MAX_LINES, 7, FULL.upto)
    assert begins(replace(PAYOUT, after=gain.upto, carried=7), "", gain) == (("carried at most", 0, 7),)

    sums = book_laws.payouts_are_the_sum_of_their_lines
    assert sums(PAYOUT, Stretch(3, 641, PAYOUT.upto)) == ()
    assert sums(replace(PAYOUT, carried=-9), Stretch(3, 650, PAYOUT.upto)) == ()
    assert sums(PAYOUT, Stretch(2, 640, "x")) == (
        ("amount", 640, 641),
        ("lines", 2, 3),
        ("upto", "x", PAYOUT.upto),
    )
    many = replace(PAYOUT, lines=MAX_LINES, carried=-1)
    assert sums(many, Stretch(MAX_LINES, 642, PAYOUT.upto)) == (("lines at most", MAX_LINES, MAX_LINES + 1),)

    stands = book_laws.settlements_stand_where_the_last_payout_ended
    settlement = Settlement(id="b", **WHOSE, place=PAYOUT.upto, due_at=NOW)
    assert stands(settlement, PAYOUT.upto, NONE) == ()
    assert stands(settlement, "", NONE) == (("place", "", PAYOUT.upto),)


def test_balances_follow_from_the_objects() -> None:
    held = Holdings()
    of_all: list[tuple[Source, list[tuple[Kind, int]]]] = [
        (PENDING, [*BOOKED]),
        (CHARGE, [*BOOKED, *MATURED]),
        (FAILED, []),
        (REFUND, [SET_ASIDE, (Kind.REFUND_PAID, 300)]),
        (UNDER_WAY, [SET_ASIDE]),
        (RETURNED, [SET_ASIDE, (Kind.REFUND_RETURNED, 300)]),
        (DISPUTE, [*KEPT]),
        (WON, [*KEPT, (Kind.DISPUTE_WON, 1_000), (Kind.DISPUTE_FEE_RETURNED, 1_500)]),
        (LOST, [*KEPT, (Kind.DISPUTE_LOST, 1_000), (Kind.DISPUTE_FEE_KEPT, 1_500)]),
        (PAYOUT, [SENT, (Kind.PAYOUT_PAID, 641)]),
        (status_of(PAYOUT, payouts.Status.IN_TRANSIT), [SENT]),
        (status_of(PAYOUT, payouts.Status.FAILED), [SENT, (Kind.PAYOUT_FAILED, 641)]),
    ]
    for source, booked in of_all:
        held.add(source)
        for kind, amount in booked:
            held.add_transfer(moved(kind, amount, source))
    assert book_laws.balance_by_objects(held) == Balance(
        pending=941, available=941 - 600 - 5_000 - 1_282, reserved=300 + 2_500, in_transit=641
    )
    assert book_laws.balances_follow_from_the_objects(held) == ()
    assert sum(held.accounts.values()) == 0
    held.add_transfer(moved(Kind.CHARGE_MATURED, 4))
    assert book_laws.balances_follow_from_the_objects(held) == (
        ("pending", 941, 937),
        ("available", -5_941, -5_937),
    )


MODULES = {path.stem: import_module(f"kpay_core.domain.{path.stem}") for path in DOMAIN.glob("*laws.py")}


def laws_in(module: ModuleType) -> set[str]:
    """Return the names of a module's functions that say how something differs from what must be."""
    return {
        name
        for name, value in vars(module).items()
        if isfunction(value)
        and value.__module__ == module.__name__
        and value.__annotations__["return"] == laws.Differences
        and not name.startswith(("_", "compare"))
    }


def test_the_page_about_the_audit_names_every_law() -> None:
    held, too_late = PAGES["docs/how-to/audit.md"].split("### Of changes")
    every = {law for module in MODULES.values() for law in laws_in(module)}
    # These are of a record and the one before it, or of all events of one object.
    of_changes = laws_in(MODULES["change_laws"]) | {law.__name__ for law in TELLING_LAWS}
    of_the_missing = {
        audit.ORPHAN,
        audit.UNKNOWN_TO_US,
        audit.PART_OF_NOTHING,
        audit.NO_SETTLEMENT,
        audit.LOST_TO_ITS_KEY,
    }
    named = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)
    assert sorted(named.findall(held)) == sorted((every - of_changes) | of_the_missing)
    assert sorted(named.findall(too_late)) == sorted(of_changes)
    assert len(MODULES) >= 6
    assert len(every) >= 41
