"""The laws of telling: the events of an object lead to how it is, and none is missing or too many."""

from collections.abc import Sequence
from itertools import count
from typing import Any

from msgspec.structs import replace

from kpay_core.commit import bump
from kpay_core.domain import charges, disputes, happenings, payouts, refunds, telling_laws
from kpay_core.domain.events import Event, Origin
from kpay_core.domain.happenings import Happening
from kpay_core.domain.laws import Difference
from kpay_core.domain.processing import Outcome, Verdict
from kpay_core.domain.refunds import Refund
from kpay_core.domain.telling_laws import TellingCase, Told, judge_telling
from tests.domain.samples import NOW, SCOPE, a_charge, a_refund
from tests.domain.test_audit import DISPUTE, PAYOUT


def whats(found: Sequence[Difference]) -> list[str]:
    return [difference.what for difference in found]


def told(*happened: Happening) -> list[Told]:
    return [telling_laws.read_told(event(each)) for each in happened]


numbers = count(1)


def event(happening: Happening, **changes: Any) -> Event:
    id = f"evt_{next(numbers)}"
    written = happenings.write_down(happening, id=id, scope=SCOPE, origin=Origin(), now=NOW)
    return replace(written, **changes)


def story_of_a_refund(*words: Outcome) -> tuple[Refund, list[Told], Told | None]:
    """Return a refund of which the network said all this, what was told of it, and of its charge."""
    refund, charge = a_refund()
    events, of_charge = list[Told](), None
    for word in words:
        settled, after = refunds.settle(refund, charge, Verdict(word, "lost_card"))
        its = told(*happenings.of_refund(refund, settled, after))
        of_charge = next((each for each in its if each.type == "charge.refunded"), of_charge)
        events += [each for each in its if each.type != "charge.refunded"]
        refund, charge = settled, after or charge
    return refund, events, of_charge


def test_what_is_told_of_a_refund_leads_to_how_it_looks() -> None:
    refund, its, of_charge = story_of_a_refund(Outcome.PENDING, Outcome.REFUNDED, Outcome.REFUSED)
    assert [each.type for each in its] == ["refund.created", "refund.updated", "refund.updated"]
    assert judge_telling(TellingCase(refund, its, was_paid=True)) == []
    gone = TellingCase(refund, [its[0], its[2]], was_paid=True)
    assert [each.law for each in judge_telling(gone)] == [
        "events_leave_no_gap",
        "refunds_are_told_with_their_charge",
    ]
    assert whats(telling_laws.events_leave_no_gap(gone)) == ["event 1"]
    twice = TellingCase(refund, [*its, its[2]], was_paid=True)
    assert whats(telling_laws.events_leave_no_gap(twice)) == ["event 3"]
    stopped = TellingCase(refund, its[:2], was_paid=True)
    assert whats(telling_laws.events_leave_no_gap(stopped)) == ["last event"]
    untold = TellingCase(refund, [], was_paid=True)
    assert telling_laws.changes_are_told_once(untold) == (("events", "refund.created", ""),)
    silent = TellingCase(a_refund()[0], its[:1])
    assert telling_laws.changes_are_told_once(silent) == (("events", "", "refund.created"),)
    law = telling_laws.refunds_are_told_with_their_charge
    assert law(TellingCase(refund, its)) == (("told as succeeded", "False", "True"),)
    assert of_charge is not None
    charge = TellingCase(a_charge(), refunds_told=[of_charge], refunds_paid=1)
    assert law(charge) == ()
    assert law(replace(charge, refunds_paid=2)) == (("charge.refunded events", 2, 1),)
    shown = {**of_charge.object, "amount_refunded": 0}
    same = replace(of_charge, object=shown)
    assert whats(law(replace(charge, refunds_told=[same]))) == ["refunded by event 0"]


def test_outcomes_of_charges_and_payouts_are_told_as_they_are() -> None:
    charge, failed = a_charge(), a_charge(charges.Status.FAILED)
    assert judge_telling(TellingCase(charge, told(*happenings.of_charge(charge)))) == []
    assert judge_telling(TellingCase(a_charge(charges.Status.PROCESSING))) == []
    wrong = TellingCase(charge, told(*happenings.of_charge(replace(failed, amount=1))))
    assert telling_laws.changes_are_told_once(wrong) == (("events", "charge.succeeded", "charge.failed"),)
    assert telling_laws.outcomes_are_told_as_they_are(wrong) == (
        ("amount told", charge.amount, 1),
        ("status told", "succeeded", "failed"),
    )
    opened = replace(PAYOUT, status=payouts.Status.PENDING)
    its = told(*happenings.of_payout(opened), *happenings.of_payout(PAYOUT))
    assert judge_telling(TellingCase(PAYOUT, its)) == []
    assert judge_telling(TellingCase(opened, its[:1])) == []
    assert telling_laws.changes_are_told_once(TellingCase(PAYOUT, its[:1])) == (
        ("events", "payout.created payout.paid", "payout.created"),
    )
    other = TellingCase(replace(PAYOUT, amount=7), its)
    assert whats(telling_laws.outcomes_are_told_as_they_are(other)) == ["last event"]


def test_a_dispute_is_told_from_its_opening_to_its_close() -> None:
    drafted = bump(DISPUTE, evidence=disputes.Evidence(uncategorized_text="It was sent."))
    lost = bump(drafted, status=disputes.Status.LOST)
    its = told(
        *happenings.of_new_dispute(DISPUTE),
        *happenings.of_dispute(DISPUTE, drafted),
        *happenings.of_dispute(drafted, lost),
    )
    assert judge_telling(TellingCase(lost, its)) == []
    assert judge_telling(TellingCase(drafted, its[:2])) == []
    types = "dispute.created dispute.updated dispute.closed"
    assert telling_laws.changes_are_told_once(TellingCase(drafted, its)) == (
        ("events", "dispute.created dispute.updated dispute.updated", types),
    )


def test_every_law_of_telling_says_what_it_is() -> None:
    assert all(law.__doc__ for law in telling_laws.TELLING_LAWS)
