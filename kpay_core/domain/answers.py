"""What the sender of a request is told, given what its charge or refund has come to."""

from datetime import datetime

from kpay_core.commit import Record
from kpay_core.domain import charges, idempotency, looks, views
from kpay_core.domain.charges import Charge
from kpay_core.domain.errors import Undone
from kpay_core.domain.idempotency import Answer, IdempotencyKey, Outcome
from kpay_core.domain.refunds import Refund


def answer_charge(charge: Charge) -> Answer:
    """Answer with the charge, or with its decline; raises `Undone` where the sender is to try again."""
    if charge.status is charges.Status.REVERSING or charges.was_undone(charge):
        raise Undone
    if charge.status is charges.Status.FAILED:
        return Answer(outcome=Outcome.DECLINED, body=views.encode(views.view_decline(charge)).decode())
    if not looks.is_settled(charge):
        return accept_charge(charge)
    return Answer(outcome=Outcome.CREATED, body=_show(charge))


def accept_charge(charge: Charge) -> Answer:
    """Answer with a charge whose outcome will follow."""
    return Answer(outcome=Outcome.ACCEPTED, body=_show(charge))


def _show(charge: Charge) -> str:
    return views.encode(views.view_charge(charge)).decode()


def answer_refund(refund: Refund) -> Answer:
    """Answer with the refund; one without an outcome is a pending one, which will be seen through."""
    return Answer(outcome=Outcome.CREATED, body=views.encode(views.view_refund(refund)).decode())


def with_key(
    subject: Record, key: IdempotencyKey | None, told: Answer | None, *, now: datetime
) -> tuple[Record, ...]:
    """
    Name what is committed when a subject moves: itself, and the key that leads to it.

    The key keeps a final answer, notes an accepted one, and is free again where there is none.
    """
    if key is None:
        return (subject,)
    if told is None:
        return (subject, idempotency.release(key))
    if told.outcome is Outcome.ACCEPTED:
        accepted = idempotency.accept(key)
        return (subject,) if accepted is key else (subject, accepted)
    return (subject, idempotency.answer(key, told, now=now))
