"""What is to be written in the ledger when a charge, refund, dispute or payout moves, or a capture is astray."""

from kpay_core.domain import charges, disputes, notices, payouts, refunds
from kpay_core.domain.charges import Charge
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.ledger import Entry, Kind
from kpay_core.domain.notices import Notice
from kpay_core.domain.payouts import Payout
from kpay_core.domain.refunds import Refund

Entries = tuple[Entry, ...]


def of_charge(charge: Charge) -> Entries:
    """Book a charge that has just moved: one that succeeded, matured at once where its funds need not mature."""
    if charge.status is not charges.Status.SUCCEEDED:
        return ()
    booked = _entries((Kind.CHARGE, charge.amount), (Kind.FEE, charge.fee), source=charge.id)
    return booked if charge.matures_at else booked + of_maturing(charge)


def of_maturing(charge: Charge) -> Entries:
    """Book that the funds of a charge, less its fee, can be paid out from now on."""
    return _entries((Kind.CHARGE_MATURED, charge.amount), (Kind.FEE_MATURED, charge.fee), source=charge.id)


def of_new_refund(refund: Refund) -> Entries:
    """Book that a refund's amount is set aside."""
    return _entries((Kind.REFUND, refund.amount), source=refund.id)


def of_refund(before: Refund, refund: Refund) -> Entries:
    """Book what has become of a refund: its amount went out, was given back, or came back after it had gone out."""
    match refund.status:
        case refunds.Status.SUCCEEDED:
            kind = Kind.REFUND_PAID
        case refunds.Status.FAILED if before.status is refunds.Status.SUCCEEDED:
            kind = Kind.REFUND_BOUNCED
        case refunds.Status.FAILED:
            kind = Kind.REFUND_RETURNED
        case _:
            return ()
    return _entries((kind, refund.amount), source=refund.id)


def of_new_dispute(dispute: Dispute) -> Entries:
    """Book that the amount of a dispute and its fee are kept back."""
    return _entries((Kind.DISPUTE, dispute.amount), (Kind.DISPUTE_FEE, dispute.fee), source=dispute.id)


def of_dispute(dispute: Dispute) -> Entries:
    """Book what has become of a dispute: what was kept back is the merchant's again, or it is gone."""
    match dispute.status:
        case disputes.Status.WON:
            kinds = Kind.DISPUTE_WON, Kind.DISPUTE_FEE_RETURNED
        case disputes.Status.LOST:
            kinds = Kind.DISPUTE_LOST, Kind.DISPUTE_FEE_KEPT
        case _:
            return ()
    return _entries((kinds[0], dispute.amount), (kinds[1], dispute.fee), source=dispute.id)


def of_stray(notice: Notice) -> Entries:
    """Book what was captured for a charge that is failed here: it is nobody's, until it is sent back."""
    match notice.status:
        case notices.Status.STRAY:
            kind = Kind.STRAY_CAPTURE
        case notices.Status.RETURNED:
            kind = Kind.STRAY_REVERSED
        case _:
            return ()
    return _entries((kind, notice.amount), source=notice.reference)


def of_new_payout(payout: Payout) -> Entries:
    """Book that a payout's amount is on its way."""
    return _entries((Kind.PAYOUT, payout.amount), source=payout.id)


def of_payout(payout: Payout) -> Entries:
    """Book what has become of a payout: it arrived, or its amount is the merchant's again."""
    match payout.status:
        case payouts.Status.PAID:
            kind = Kind.PAYOUT_PAID
        case payouts.Status.FAILED:
            kind = Kind.PAYOUT_FAILED
        case _:
            return ()
    return _entries((kind, payout.amount), source=payout.id)


def _entries(*moved: tuple[Kind, int], source: str) -> Entries:
    # A fee may be nothing, and nothing is no transfer.
    return tuple(Entry(kind, source, amount) for kind, amount in moved if amount)
