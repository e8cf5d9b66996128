"""The laws of all events: each is of something that happened, and what happens once is told once."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from kpay_core.domain import charges, event_laws, happenings, refunds
from kpay_core.domain.event_laws import EventCase, Gist, Once, Sums, Untold
from kpay_core.domain.events import EVENT_TYPES
from kpay_core.domain.happenings import Happening
from kpay_core.domain.ledger import Kind
from tests.domain.samples import NOW, a_charge, a_refund
from tests.domain.test_audit import DISPUTE, LOST, PAYOUT, moved
from tests.domain.test_telling_laws import event, whats

LATER = NOW + timedelta(days=1)
REFUND, _ = a_refund(refunds.Status.PENDING)
DECLINED = a_charge(charges.Status.FAILED)
WORKING = a_charge(charges.Status.PROCESSING)


def case_of(happening: Happening, source: Any, **changes: Any) -> EventCase:
    its = event(happening, **changes)
    return EventCase(its, event_laws.read_gist(its), source)


def test_an_event_is_of_what_happened() -> None:
    law = event_laws.events_are_of_what_happened
    charge = a_charge()
    (succeeded,) = happenings.of_charge(charge)
    assert law(case_of(succeeded, charge)) == ()
    assert law(case_of(succeeded, None)) == (("object", "ch_1", None),)
    assert law(case_of(succeeded, charge, merchant="mer_2")) == (
        ("book of its object", "mer_2/test", "mer_1/test"),
    )
    assert law(case_of(succeeded, replace(charge, amount=50))) == (("amount told", 50, 4999),)
    assert law(case_of(succeeded, a_charge(charges.Status.FAILED))) == (
        ("status of its object", "succeeded", "failed"),
    )
    assert law(case_of(succeeded, charge, body='{"data": {"object": 7}}')) == (
        ("body", "of an event", "something else"),
    )
    assert law(case_of(succeeded, charge, body="{")) == (("body", "of an event", "something else"),)


# How far an object has come at least, for each type; the last is not far enough, where there is such a status.
REACHED: dict[str, tuple[Any, list[Any], list[Any]]] = {
    "charge.succeeded": (a_charge(), ["succeeded"], ["processing", "reversing", "failed"]),
    "charge.failed": (a_charge(), ["failed"], ["processing", "reversing", "succeeded"]),
    "charge.refunded": (a_charge(), ["succeeded"], ["processing", "reversing", "failed"]),
    "refund.created": (REFUND, ["pending", "succeeded", "failed"], ["sending", "reversing"]),
    "refund.updated": (REFUND, ["succeeded", "failed"], ["sending", "reversing", "pending"]),
    "payout.created": (PAYOUT, ["pending", "in_transit", "paid", "failed"], []),
    "payout.paid": (PAYOUT, ["paid"], ["pending", "in_transit", "failed"]),
    "payout.failed": (PAYOUT, ["failed"], ["pending", "in_transit", "paid"]),
    "dispute.created": (DISPUTE, ["needs_response", "submitting", "under_review", "won", "lost"], []),
    "dispute.updated": (DISPUTE, ["needs_response", "submitting", "under_review", "won", "lost"], []),
    "dispute.closed": (DISPUTE, ["won", "lost"], ["needs_response", "submitting", "under_review"]),
}


@pytest.mark.parametrize("type", EVENT_TYPES)
def test_the_object_of_an_event_has_come_as_far(type: Any) -> None:
    source, far, short = REACHED[type]
    statuses = list(source.status.__class__)
    assert {*far, *short} == set(statuses)
    gist = Gist(source.id, source.amount)
    written = replace(event(happenings.of_new_dispute(DISPUTE)[0]), type=type)
    for status in statuses:
        found = event_laws.events_are_of_what_happened(
            EventCase(written, gist, replace(source, status=status))
        )
        assert whats(found) == ([] if status in far else ["status of its object"])


def types(happened: Sequence[Once]) -> list[tuple[str, str, bool]]:
    return [(each.type, each.object, each.at is not None) for each in happened]


def test_what_happens_once_follows_from_an_object_and_its_transfers() -> None:
    happened = event_laws.happened_once
    charge, refund = a_charge(), REFUND
    assert types(happened(charge, [moved(Kind.FEE, 1), moved(Kind.CHARGE, 9)])) == [
        ("charge.succeeded", "ch_1", True)
    ]
    assert types(happened(charge, [])) == [("charge.succeeded", "ch_1", False)]
    assert types(happened(DECLINED, [])) == [("charge.failed", "ch_1", False)]
    assert happened(WORKING, []) == []
    assert happened(replace(refund, status=refunds.Status.SENDING), [moved(Kind.REFUND, 1)]) == []
    assert types(happened(refund, [moved(Kind.REFUND, 1)])) == [("refund.created", "re_1", False)]
    came_back = replace(refund, status=refunds.Status.FAILED)
    assert types(happened(came_back, [moved(Kind.REFUND_PAID, 1), moved(Kind.REFUND_BOUNCED, 1)])) == [
        ("refund.created", "re_1", False),
        ("charge.refunded", "ch_1", True),
    ]
    assert types(happened(PAYOUT, [moved(Kind.PAYOUT, 1), moved(Kind.PAYOUT_PAID, 1)])) == [
        ("payout.created", "po_1", True),
        ("payout.paid", "po_1", True),
    ]
    assert types(happened(LOST, [moved(Kind.DISPUTE, 1), moved(Kind.DISPUTE_LOST, 1)])) == [
        ("dispute.created", "dp_1", True),
        ("dispute.closed", "dp_1", True),
    ]
    assert types(happened(DISPUTE, [moved(Kind.DISPUTE, 1)])) == [("dispute.created", "dp_1", True)]


def test_an_event_tells_of_what_happens_once_unless_its_type_may_happen_often() -> None:
    (succeeded,) = happenings.of_charge(a_charge())
    written, gist = event(succeeded), Gist("ch_1", 1)
    assert event_laws.told_once(written, gist) == Once("charge.succeeded", "ch_1", NOW)
    assert event_laws.told_once(replace(written, type="charge.failed"), gist) == Once(
        "charge.failed", "ch_1", None
    )
    for often in ("refund.updated", "dispute.updated"):
        assert event_laws.told_once(replace(written, type=often), gist) is None
    assert event_laws.told_once(written, None) is None


THESE = [
    Once("charge.succeeded", "ch_1", NOW),
    Once("charge.succeeded", "ch_2", LATER),
    Once("charge.refunded", "ch_1", NOW),
    Once("charge.refunded", "ch_1", NOW),
    Once("refund.created", "re_1", None),
]


def sums(*happened: Once) -> Sums:
    added = Sums()
    for each in happened:
        added.add(each)
    return added


def test_nothing_is_left_where_each_happening_was_told_in_whatever_order() -> None:
    untold = Untold()
    for each in THESE:
        untold.add(each, upto=NOW)
    assert 0 < untold.dated < 2**64
    assert untold.whole != untold.dated
    for each in reversed(THESE):
        assert untold.whole
        untold.take_off(each, upto=NOW)
    assert (untold.whole, untold.dated) == (0, 0)
    untold.add(THESE[1], upto=NOW)
    assert untold.dated == 0, "it may still be on its way into the database"
    untold.take_off(Once("charge.succeeded", "ch_3", LATER), upto=NOW)
    assert untold.whole, "as many, and another"


def test_what_happens_once_is_told_once() -> None:
    law = event_laws.what_happens_once_is_told_once
    assert law(sums(*THESE), sums(*reversed(THESE))) == ()
    assert law(sums(*THESE), sums(*THESE[:3], THESE[4])) == (("charge.refunded events", 2, 1),)
    assert law(sums(*THESE), sums(*THESE, THESE[0])) == (("charge.succeeded events", 2, 3),)
    other = Once("refund.created", "re_2", None)
    assert law(sums(*THESE), sums(*THESE[:4], other)) == (
        ("refund.created events", "of what happened", "of something else"),
    )
