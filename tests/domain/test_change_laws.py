"""The laws of a change: what a record may become, and what it never does."""

from datetime import timedelta

from msgspec.structs import replace

from kpay_core.commit import bump
from kpay_core.domain import change_laws, charges, refunds
from kpay_core.domain.idempotency import LIFE, State
from tests.domain.samples import a_charge, a_refund
from tests.domain.test_request_laws import KEY

CHARGE = a_charge()


def test_versions_follow_each_other() -> None:
    law = change_laws.versions_follow_each_other
    assert law(None, CHARGE) == ()
    assert law(CHARGE, bump(CHARGE)) == ()
    assert law(None, bump(CHARGE)) == (("version", 1, 2),)
    assert law(CHARGE, CHARGE) == (("version", 2, 1),)


def test_facts_stay() -> None:
    assert change_laws.facts_stay(CHARGE, bump(CHARGE, amount_refunded=5)) == ()
    assert change_laws.facts_stay(CHARGE, bump(CHARGE, amount=5, merchant="mer_2")) == (
        ("merchant", "mer_1", "mer_2"),
        ("amount", "4999", "5"),
    )
    assert change_laws.facts_stay(KEY, bump(KEY, subject="ch_2")) == (), "of a key nothing is for ever"


def test_outcomes_stay() -> None:
    law = change_laws.outcomes_stay
    open_charge, failed = a_charge(charges.Status.PROCESSING), a_charge(charges.Status.FAILED)
    assert law(open_charge, failed) == law(failed, failed) == ()
    assert law(failed, CHARGE) == (("status", "failed", "succeeded"),)
    refund, _ = a_refund(refunds.Status.SUCCEEDED)
    came_back = replace(refund, status=refunds.Status.FAILED)
    assert law(refund, came_back) == ()
    assert law(came_back, refund) == (("status", "failed", "succeeded"),)
    assert law(KEY, bump(KEY, state=State.WORKING)) == (), "a key has no status"


def test_answers_stay_for_24_hours() -> None:
    law = change_laws.answers_stay
    assert law(CHARGE, bump(CHARGE)) == ()
    assert law(KEY, bump(KEY)) == ()
    working = replace(KEY, state=State.WORKING, outcome=None, answer=None)
    assert law(working, KEY) == ()
    assert law(KEY, replace(working, subject="ch_2", first_used_at=KEY.first_used_at + LIFE)) == ()
    early = KEY.first_used_at + LIFE - timedelta(hours=1)
    assert law(KEY, replace(working, subject="ch_2", first_used_at=early)) == (
        ("forgotten after", "24 hours", "23:00:00"),
    )
    assert law(KEY, bump(KEY, answer="another")) == (("forgotten after", "24 hours", "0:00:00"),)

    late = replace(KEY, answered_late_at=KEY.first_used_at + LIFE)
    taken = replace(working, subject="ch_2", first_used_at=late.open_at)
    assert law(late, taken) == ()
    assert law(late, replace(taken, first_used_at=early)) == (
        ("forgotten after", "24 hours", "-1 day, 23:00:00"),
    )
