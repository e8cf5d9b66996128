"""
The laws of the books: what must hold of an object, its transfers and what others saw of it, however it got there.

Each law is a function of a case, all that there is of one object, and returns what is other than it says. A law asks
nobody: an audit holds the whole database against these, a simulation the world after each step.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from kpay_core.domain import charges, disputes, refunds
from kpay_core.domain import payouts as payouts_
from kpay_core.domain.charges import Charge
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.ledger import POSTINGS, Kind, Transfer
from kpay_core.domain.news import Testimony
from kpay_core.domain.payouts import Payout
from kpay_core.domain.refunds import Refund

Source = Charge | Refund | Dispute | Payout
S = TypeVar("S", bound=Source)

Value = int | str | None


class Difference(NamedTuple):
    """What is other than a law says: cents, a number, or words."""

    what: str
    expected: Value
    found: Value


Differences = tuple[Difference, ...]

# Of what each kind of transfer is written for.
KINDS: Mapping[type[Source], tuple[Kind, ...]] = {
    Charge: (
        Kind.CHARGE,
        Kind.FEE,
        Kind.CHARGE_MATURED,
        Kind.FEE_MATURED,
        Kind.STRAY_CAPTURE,
        Kind.STRAY_REVERSED,
    ),
    Refund: (Kind.REFUND, Kind.REFUND_PAID, Kind.REFUND_RETURNED, Kind.REFUND_BOUNCED),
    Dispute: (
        Kind.DISPUTE,
        Kind.DISPUTE_FEE,
        Kind.DISPUTE_WON,
        Kind.DISPUTE_FEE_RETURNED,
        Kind.DISPUTE_LOST,
        Kind.DISPUTE_FEE_KEPT,
    ),
    Payout: (Kind.PAYOUT, Kind.PAYOUT_PAID, Kind.PAYOUT_FAILED),
}

assert sorted(kind for kinds in KINDS.values() for kind in kinds) == sorted(Kind), "each has its source"


class Parts(msgspec.Struct):
    """
    What a charge has of refunds or of disputes: how many, and cents done with and still under way.

    `elsewhere` counts those that are not in the charge's own book.
    """

    number: int = 0
    elsewhere: int = 0
    done: int = 0
    under_way: int = 0


class Case(msgspec.Struct, Generic[S]):
    """
    All that there is of one object. `testimony` is what a witness has under its name; None where it has nothing.

    `refunds` and `disputes` are those of a charge; of a dispute, done is what is lost. `sums` are the transfers added
    up by kind, once somebody has asked.
    """

    source: S
    transfers: list[Transfer] = msgspec.field(default_factory=list[Transfer])
    refunds: Parts = msgspec.field(default_factory=Parts)
    disputes: Parts = msgspec.field(default_factory=Parts)
    is_witnessed: bool = False
    testimony: Testimony | None = None

    sums: dict[Kind, int] | None = None

    def booked(self, kind: Kind) -> int:
        """Return what was booked of a kind, added up."""
        if self.sums is None:
            self.sums = {}
            for transfer in self.transfers:
                self.sums[transfer.kind] = self.sums.get(transfer.kind, 0) + transfer.amount
        return self.sums.get(kind, 0)


Law = Callable[[Case[Any]], Differences]


def compare(what: str, expected: Value, found: Value) -> Differences:
    """Return the difference between what is expected and what was found, if there is one."""
    return () if expected == found else (Difference(what, expected, found),)


def compare_booked(case: Case[S], expected: Mapping[Kind, int]) -> Differences:
    """Compare what was booked of each of these kinds with what should have been: nothing is no transfer."""
    return tuple(
        Difference(f"transfer {kind}", cents, case.booked(kind))
        for kind, cents in expected.items()
        if case.booked(kind) != cents
    )


def add_refund(parts: Parts, refund: Refund, charge: Charge) -> None:
    """Count a refund of a charge."""
    parts.number += 1
    parts.elsewhere += refund.scope != charge.scope
    if refund.status is refunds.Status.SUCCEEDED:
        parts.done += refund.amount
    elif refund.status is not refunds.Status.FAILED:
        parts.under_way += refund.amount


def add_dispute(parts: Parts, dispute: Dispute, charge: Charge) -> None:
    """Count a dispute of a charge; what was won is the merchant's again."""
    parts.number += 1
    parts.elsewhere += dispute.scope != charge.scope
    if dispute.status is disputes.Status.LOST:
        parts.done += dispute.amount
    elif dispute.status is not disputes.Status.WON:
        parts.under_way += dispute.amount


# Of every object


def transfers_keep_to_their_kind(case: Case[S]) -> Differences:
    """A transfer moves more than nothing, from the account that its kind debits to the one that it credits."""
    found: Differences = ()
    for transfer in case.transfers:
        accounts = POSTINGS[transfer.kind]
        if (transfer.debit, transfer.credit) != accounts:
            moved = f"{transfer.debit} to {transfer.credit}"
            found += compare(f"accounts of {transfer.id}", f"{accounts[0]} to {accounts[1]}", moved)
        if transfer.amount <= 0:
            found += (Difference(f"amount of {transfer.id}", "more than 0", str(transfer.amount)),)
    return found


def transfers_are_in_the_book_of_their_source(case: Case[S]) -> Differences:
    """A transfer is in the book of the merchant and mode whose object it is written for."""
    source, found = case.source, ()
    for transfer in case.transfers:
        if transfer.merchant != source.merchant or transfer.livemode != source.livemode:
            expected, there = (f"{each.scope.merchant}/{each.scope.mode}" for each in (source, transfer))
            found += compare(f"book of {transfer.id}", expected, there)
    return found


def money_moved_as_witnessed(case: Case[S]) -> Differences:
    """What is settled here is settled there: the same cents were captured, refunded or paid out, or none were."""
    source, seen = case.source, case.testimony
    if not case.is_witnessed or source.look_at is not None:
        return ()
    there = seen.amount if seen is not None and seen.moved else 0
    return compare("cents that moved", there, source.amount if has_moved(source) else 0)


def has_moved(source: Source) -> bool:
    """Tell whether an object says that its money left where it was, and stays away."""
    match source:
        case Charge():
            return source.status is charges.Status.SUCCEEDED
        case Refund():
            return source.status is refunds.Status.SUCCEEDED
        case Payout():
            return source.status is payouts_.Status.PAID
        case Dispute():
            return source.status is disputes.Status.LOST


def is_open(source: Source) -> bool:
    """Tell whether an object has no outcome yet."""
    if isinstance(source, Dispute):
        return not disputes.is_closed(source)
    return source.look_at is not None


# Of charges


def charges_are_booked(case: Case[Charge]) -> Differences:
    """A charge that succeeded has transfers `charge` of its amount and `fee` of its fee; any other has neither."""
    charge, succeeded = case.source, case.source.status is charges.Status.SUCCEEDED
    return compare_booked(case, {Kind.CHARGE: charge.amount * succeeded, Kind.FEE: charge.fee * succeeded})


def charges_mature_once(case: Case[Charge]) -> Differences:
    """A charge whose funds can be paid out has `charge_matured` and `fee_matured`; any other has neither."""
    charge = case.source
    matured = charge.status is charges.Status.SUCCEEDED and charge.matures_at is None
    return compare_booked(
        case, {Kind.CHARGE_MATURED: charge.amount * matured, Kind.FEE_MATURED: charge.fee * matured}
    )


def charges_count_their_refunds(case: Case[Charge]) -> Differences:
    """A charge knows how many refunds it has, and what of it is refunded and is being refunded."""
    charge, its = case.source, case.refunds
    return (
        compare("refunds", its.number, charge.refunds)
        + compare("amount_refunded", its.done, charge.amount_refunded)
        + compare("amount_refunding", its.under_way, charge.amount_refunding)
    )


def charges_count_their_disputes(case: Case[Charge]) -> Differences:
    """A charge knows how many disputes it has, and what of it is kept back for them or lost to them."""
    charge, its = case.source, case.disputes
    return compare("disputes", its.number, charge.disputes) + compare(
        "amount_disputed", its.done + its.under_way, charge.amount_disputed
    )


def parts_are_in_the_book_of_their_charge(case: Case[Charge]) -> Differences:
    """The refunds and disputes of a charge are of its merchant and mode."""
    return compare("refunds elsewhere", 0, case.refunds.elsewhere) + compare(
        "disputes elsewhere", 0, case.disputes.elsewhere
    )


def refunds_never_exceed_their_charge(case: Case[Charge]) -> Differences:
    """What is refunded and being refunded of a charge is no more than was charged, and nothing of one that failed."""
    charge, asked = case.source, case.refunds.done + case.refunds.under_way
    most = charge.amount if charge.status is charges.Status.SUCCEEDED else 0
    return compare("refunded at most", most, max(asked, most))


def strays_are_of_failed_charges(case: Case[Charge]) -> Differences:
    """What is captured for a charge that failed here is `stray_capture`, and later, whole, `stray_reversed`."""
    stray, returned = case.booked(Kind.STRAY_CAPTURE), case.booked(Kind.STRAY_REVERSED)
    if case.source.status is not charges.Status.FAILED:
        return compare("transfer stray_capture", 0, stray) + compare("transfer stray_reversed", 0, returned)
    return compare("transfer stray_reversed", stray, returned) if returned else ()


# Of refunds


def refunds_are_booked(case: Case[Refund]) -> Differences:
    """
    A refund has `refund`, and by what became of it `refund_paid`, `refund_returned`, or `refund_bounced` after paid.

    One that failed had gone out exactly if it was paid; a refund that is under way has only `refund`.
    """
    refund, status = case.source, case.source.status
    failed, succeeded = status is refunds.Status.FAILED, status is refunds.Status.SUCCEEDED
    bounced = failed and bool(case.booked(Kind.REFUND_PAID) or case.booked(Kind.REFUND_BOUNCED))
    expected = {
        Kind.REFUND: refund.amount,
        Kind.REFUND_PAID: refund.amount * (succeeded or bounced),
        Kind.REFUND_RETURNED: refund.amount * (failed and not bounced),
        Kind.REFUND_BOUNCED: refund.amount * bounced,
    }
    return compare_booked(case, expected)


# Of disputes


def disputes_are_booked(case: Case[Dispute]) -> Differences:
    """A dispute has `dispute` and `dispute_fee`, and once it is won or lost the pair of transfers that says so."""
    dispute, status = case.source, case.source.status
    won, lost = status is disputes.Status.WON, status is disputes.Status.LOST
    expected = {
        Kind.DISPUTE: dispute.amount,
        Kind.DISPUTE_FEE: dispute.fee,
        Kind.DISPUTE_WON: dispute.amount * won,
        Kind.DISPUTE_FEE_RETURNED: dispute.fee * won,
        Kind.DISPUTE_LOST: dispute.amount * lost,
        Kind.DISPUTE_FEE_KEPT: dispute.fee * lost,
    }
    return compare_booked(case, expected)


# Of payouts


def payouts_are_booked(case: Case[Payout]) -> Differences:
    """A payout has `payout`, and once it is paid or has failed `payout_paid` or `payout_failed`."""
    payout, status = case.source, case.source.status
    expected = {
        Kind.PAYOUT: payout.amount,
        Kind.PAYOUT_PAID: payout.amount * (status is payouts_.Status.PAID),
        Kind.PAYOUT_FAILED: payout.amount * (status is payouts_.Status.FAILED),
    }
    return compare_booked(case, expected)


EVERYWHERE: tuple[Law, ...] = (transfers_keep_to_their_kind, transfers_are_in_the_book_of_their_source)

LAWS: Mapping[type[Source], tuple[Law, ...]] = {
    Charge: (
        *EVERYWHERE,
        charges_are_booked,
        charges_mature_once,
        charges_count_their_refunds,
        charges_count_their_disputes,
        parts_are_in_the_book_of_their_charge,
        refunds_never_exceed_their_charge,
        strays_are_of_failed_charges,
        money_moved_as_witnessed,
    ),
    Refund: (*EVERYWHERE, refunds_are_booked, money_moved_as_witnessed),
    Dispute: (*EVERYWHERE, disputes_are_booked),
    Payout: (*EVERYWHERE, payouts_are_booked, money_moved_as_witnessed),
}


class Broken(NamedTuple):
    """A law that does not hold."""

    law: str
    difference: Difference


def judge(case: Case[Any]) -> Sequence[Broken]:
    """Hold a case against every law of its object."""
    return [Broken(law.__name__, each) for law in LAWS[type(case.source)] for each in law(case)]
