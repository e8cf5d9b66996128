"""What each change is told as, for every transition that the machines have, and not one more."""

import json
from itertools import product
from typing import Any

import msgspec
import pytest

from kpay_core import Scope
from kpay_core.domain import charges, happenings, refunds
from kpay_core.domain.events import Origin
from kpay_core.domain.happenings import Happening
from kpay_core.domain.processing import Outcome, Verdict
from tests.domain.samples import NOW, SCOPE, a_charge, a_refund

# Written out a second time, from the diagram, for all that the tables of the machines can do.
OF_CHARGES = {
    ("processing", "captured"): "charge.succeeded",
    ("processing", "declined"): "charge.failed",
    ("processing", "reversed"): "charge.failed",
    ("reversing", "reversed"): "charge.failed",
}
OF_REFUNDS = {
    ("sending", "refunded"): ["refund.created", "charge.refunded"],
    ("sending", "pending"): ["refund.created"],
    ("sending", "refused"): ["refund.created"],
    ("sending", "reversed"): ["refund.created"],
    ("reversing", "reversed"): ["refund.created"],
    ("reversing", "refunded"): ["refund.created", "charge.refunded"],
    ("pending", "refunded"): ["refund.updated", "charge.refunded"],
    ("pending", "refused"): ["refund.updated"],
    ("pending", "reversed"): ["refund.updated"],
    ("succeeded", "refused"): ["refund.updated"],
}


def told(*what: Happening) -> list[str]:
    return [happening.type for happening in what]


def data(happening: Happening) -> dict[str, Any]:
    return msgspec.to_builtins(happening.object)


def after(status: refunds.Status, outcome: Outcome, *, amount: int = 1000) -> tuple[Happening, ...]:
    refund, charge = a_refund(status, amount=amount)
    settled, moved = refunds.settle(refund, charge, Verdict(outcome, "lost_card"))
    return happenings.of_refund(refund, settled, moved)


@pytest.mark.parametrize(
    ("status", "outcome"), [pair for pair in charges.TRANSITIONS if pair[1] != "give_up"]
)
def test_each_outcome_of_a_charge_is_one_event(status: charges.Status, outcome: Outcome) -> None:
    moved = charges.settle(a_charge(status), Verdict(outcome))
    (happening,) = happenings.of_charge(moved)
    assert happening.type == OF_CHARGES[status, outcome]
    assert (happening.before, data(happening)["id"]) == (None, moved.id)


def test_a_charge_without_an_outcome_is_nothing_to_tell_of() -> None:
    opened = a_charge(charges.Status.PROCESSING)
    for unfinished in (opened, charges.promise(opened), charges.give_up(opened)):
        assert happenings.of_charge(unfinished) == ()


@pytest.mark.parametrize(
    ("status", "outcome"), [pair for pair in refunds.TRANSITIONS if pair[1] != "give_up"]
)
def test_each_word_of_the_network_on_a_refund_is_told_as_the_diagram_says(
    status: refunds.Status, outcome: Outcome
) -> None:
    assert told(*after(status, outcome)) == OF_REFUNDS[status, outcome]


def test_the_table_of_events_has_every_transition_of_the_machines() -> None:
    assert {pair for pair in charges.TRANSITIONS if pair[1] != "give_up"} == OF_CHARGES.keys()
    assert {pair for pair in refunds.TRANSITIONS if pair[1] != "give_up"} == OF_REFUNDS.keys()


@pytest.mark.parametrize("outcome", [Outcome.REFUNDED, Outcome.REFUSED, Outcome.REVERSED])
def test_an_update_of_a_refund_says_what_it_was_before(outcome: Outcome) -> None:
    updated, *_ = after(refunds.Status.PENDING, outcome)
    assert updated.before is not None
    assert updated.before["status"] == "pending"
    assert set(updated.before) <= set(data(updated))
    # What is not named was the same.
    changed = {"status"} if outcome is Outcome.REFUNDED else {"status", "failure_code"}
    assert set(updated.before) == changed
    assert all(updated.before[name] != data(updated)[name] for name in changed)


def test_a_refund_that_comes_back_was_succeeded_before() -> None:
    (updated,) = after(refunds.Status.SUCCEEDED, Outcome.REFUSED)
    assert updated.before == {"status": "succeeded", "failure_code": None}
    assert data(updated)["failure_code"] == "lost_card"


@pytest.mark.parametrize(
    ("status", "amount"), list(product([refunds.Status.SENDING, refunds.Status.PENDING], [1, 1000, 4999]))
)
def test_a_charge_that_was_refunded_says_how_much_it_was_before(status: refunds.Status, amount: int) -> None:
    *_, refunded = after(status, Outcome.REFUNDED, amount=amount)
    now = data(refunded)
    assert (now["amount_refunded"], now["refunded"]) == (amount, amount == 4999)
    # What is not named was the same.
    whole = {"refunded": False} if amount == 4999 else {}
    assert refunded.before == {"amount_refunded": 0, **whole}


def test_the_body_is_the_event_as_the_contract_writes_it() -> None:
    happening = Happening(type="charge.failed", object={"id": "ch_1"}, before={"status": "pending"})
    origin = Origin(request_id="req_1", idempotency_key="a/b//c")
    event = happenings.write_down(happening, id="evt_1", scope=SCOPE, origin=origin, now=NOW)
    assert json.loads(event.body) == {
        "id": "evt_1",
        "object": "event",
        "api_version": "v1",
        "type": "charge.failed",
        "livemode": False,
        "created_at": "2026-01-01T12:00:00.000Z",
        "data": {"object": {"id": "ch_1"}, "previous_attributes": {"status": "pending"}},
        "request": {"id": "req_1", "idempotency_key": "a/b//c"},
    }
    assert (event.scope, event.type, event.created_at) == (SCOPE, "charge.failed", NOW)


def test_what_happens_by_itself_has_no_request_and_what_is_new_no_past() -> None:
    happening = Happening(type="charge.succeeded", object={})
    live = Scope("mer_1", livemode=True)
    event = happenings.write_down(happening, id="evt_1", scope=live, origin=Origin(), now=NOW)
    body = json.loads(event.body)
    assert body["request"] == {"id": None, "idempotency_key": None}
    assert "previous_attributes" not in body["data"]
    assert body["livemode"] is True
