"""State machines: what their tables list moves, everything else is refused and changes nothing."""

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import pytest
from msgspec.structs import asdict, replace

from kpay_core.domain import charges, disputes, idempotency, looks, merchants, notices, refunds
from kpay_core.domain.errors import Invalid
from kpay_core.domain.idempotency import Answer, IdempotencyKey, Ticket
from kpay_core.domain.machine import IllegalTransition, step
from kpay_core.domain.news import NewsKind
from kpay_core.domain.processing import Outcome, Verdict
from tests.domain.samples import NOW, a_charge, a_refund
from tests.domain.test_disputes import a_dispute, text
from tests.domain.test_notices import a_notice

CHARGE_INPUTS = [*Outcome, charges.GIVE_UP]
REFUND_INPUTS = [*Outcome, refunds.GIVE_UP]
DISPUTE_INPUTS = [*disputes.Step, NewsKind.DISPUTE_WON, NewsKind.DISPUTE_LOST]

# Written out a second time, from the diagrams and the contract: a table that is edited by mistake differs from this.
CHARGE_LAW = {
    ("processing", "captured"): "succeeded",
    ("processing", "declined"): "failed",
    ("processing", "reversed"): "failed",
    ("processing", "give_up"): "reversing",
    ("reversing", "reversed"): "failed",
}
REFUND_LAW = {
    ("sending", "refunded"): "succeeded",
    ("sending", "pending"): "pending",
    ("sending", "refused"): "failed",
    ("sending", "reversed"): "failed",
    ("sending", "give_up"): "reversing",
    ("pending", "refunded"): "succeeded",
    ("pending", "refused"): "failed",
    ("pending", "reversed"): "failed",
    ("reversing", "reversed"): "failed",
    ("reversing", "refunded"): "succeeded",
    ("succeeded", "refused"): "failed",
}
DISPUTE_LAW = {
    ("needs_response", "submit"): "submitting",
    ("needs_response", "dispute_won"): "won",
    ("needs_response", "dispute_lost"): "lost",
    ("submitting", "taken"): "under_review",
    ("submitting", "too_late"): "under_review",
    ("submitting", "dispute_won"): "won",
    ("submitting", "dispute_lost"): "lost",
    ("under_review", "dispute_won"): "won",
    ("under_review", "dispute_lost"): "lost",
}
NOTICE_LAW = {
    ("waiting", "wait"): "waiting",
    ("waiting", "apply"): "applied",
    ("waiting", "repeat"): "known",
    ("waiting", "contradict"): "contradicting",
    ("waiting", "stray"): "stray",
    ("stray", "returned"): "returned",
}
KEY_LAW = {
    ("free", "claim"): "working",
    ("answered", "claim"): "working",
    ("working", "accept"): "accepted",
    ("working", "answer"): "answered",
    ("accepted", "answer"): "answered",
    ("working", "release"): "free",
    ("accepted", "release"): "free",
}
MERCHANT_LAW = {("applied", "approve"): "approved"}


def every(states: Iterable[Any], inputs: Iterable[Any]) -> list[Any]:
    return [pytest.param(state, input, id=f"{state}-{input}") for state, input in product(states, inputs)]


@pytest.mark.parametrize(("state", "input"), every(charges.Status, CHARGE_INPUTS))
def test_a_charge_moves_only_as_the_diagram_says(state: charges.Status, input: Any) -> None:
    charge = a_charge(state)
    before = asdict(charge)

    def move() -> charges.Charge:
        return charges.give_up(charge) if input == "give_up" else charges.settle(charge, Verdict(input))

    if (state, input) not in CHARGE_LAW:
        with pytest.raises(IllegalTransition) as caught:
            move()
        assert (caught.value.state, caught.value.input) == (state, input)
    else:
        moved = move()
        assert (moved.status, moved.version) == (CHARGE_LAW[state, input], charge.version + 1)
        final = moved.status in ("succeeded", "failed")
        assert looks.is_settled(moved) is final
        assert (moved.failure_code is not None) == (moved.status == "failed")
    assert asdict(charge) == before


@pytest.mark.parametrize(("state", "input"), every(refunds.Status, REFUND_INPUTS))
def test_a_refund_moves_only_as_the_diagram_says_and_its_cents_with_it(
    state: refunds.Status, input: Any
) -> None:
    refund, charge = a_refund(state)
    before = asdict(refund), asdict(charge)

    def move() -> tuple[refunds.Refund, charges.Charge | None]:
        if input == "give_up":
            return refunds.give_up(refund), None
        return refunds.settle(refund, charge, Verdict(input))

    if (state, input) not in REFUND_LAW:
        with pytest.raises(IllegalTransition):
            move()
    else:
        moved, counted = move()
        assert (moved.status, moved.version) == (REFUND_LAW[state, input], refund.version + 1)
        match moved.status:
            case refunds.Status.SUCCEEDED:
                assert counted is not None
                assert (counted.amount_refunding, counted.amount_refunded) == (0, refund.amount)
            case refunds.Status.FAILED:
                assert counted is not None
                assert (counted.amount_refunding, counted.amount_refunded) == (0, 0)
                assert moved.failure_code is not None
            case _:
                assert counted is None
        assert looks.is_settled(moved) == (moved.status in ("succeeded", "failed"))
    assert (asdict(refund), asdict(charge)) == before


@pytest.mark.parametrize(("state", "input"), every(disputes.Status, DISPUTE_INPUTS))
def test_a_dispute_moves_only_as_the_diagram_says(state: disputes.Status, input: Any) -> None:
    dispute, charge = a_dispute(state), charges.open_dispute(a_charge(), 4999)
    before = asdict(dispute), asdict(charge)

    def move() -> disputes.Dispute:
        if input is disputes.Step.SUBMIT:
            return disputes.change(dispute, text("It was them.", submit=True), now=NOW)
        if input in disputes.Step:
            return disputes.hand_in(dispute, taken=input is disputes.Step.TAKEN)
        return disputes.close(dispute, charge, input)[0]

    if (state, input) not in DISPUTE_LAW:
        # A merchant who comes too late is told so.
        with pytest.raises(Invalid if input is disputes.Step.SUBMIT else IllegalTransition):
            move()
    else:
        moved = move()
        assert (moved.status, moved.version) == (DISPUTE_LAW[state, input], dispute.version + 1)
        assert looks.is_settled(moved) == (moved.status != "submitting")
    assert (asdict(dispute), asdict(charge)) == before


@pytest.mark.parametrize(("state", "input"), every(notices.Status, notices.Finding))
def test_a_notice_moves_only_as_the_diagram_says(state: notices.Status, input: notices.Finding) -> None:
    notice = replace(a_notice(NewsKind.CAPTURED), status=state)
    decision = notices.Decision(input, "why")
    if (state, input) not in NOTICE_LAW:
        with pytest.raises(IllegalTransition):
            notices.conclude(notice, decision, now=NOW)
    else:
        moved = notices.conclude(notice, decision, now=NOW)
        assert (moved.status, moved.version) == (NOTICE_LAW[state, input], notice.version + 1)
        assert looks.is_settled(moved) == (moved.status not in ("waiting", "stray"))


@pytest.mark.parametrize(("state", "input"), every(idempotency.State, idempotency.Step))
def test_a_key_moves_only_as_the_diagram_says(state: idempotency.State, input: idempotency.Step) -> None:
    kept: dict[str, Any] = (
        {"outcome": idempotency.Outcome.CREATED, "answer": "{}"}
        if state is idempotency.State.ANSWERED
        else {}
    )
    key = IdempotencyKey(
        id="mer_1/test/k",
        endpoint="e",
        fingerprint="f",
        state=state,
        subject="s",
        first_used_at=NOW,
        **kept,
    )
    ticket = Ticket(id=key.id, endpoint="e", fingerprint="f")
    moves: Mapping[idempotency.Step, Any] = {
        idempotency.Step.CLAIM: lambda: idempotency.claim(key, ticket, subject="t", now=NOW),
        idempotency.Step.ACCEPT: lambda: idempotency.accept(key),
        idempotency.Step.ANSWER: lambda: idempotency.answer(
            key, Answer(outcome=idempotency.Outcome.CREATED, body="{}"), now=NOW
        ),
        idempotency.Step.RELEASE: lambda: idempotency.release(key),
    }
    if (state, input) == (idempotency.State.ACCEPTED, idempotency.Step.ACCEPT):
        assert moves[input]() is key, "accepting again changes nothing"
    elif (state, input) not in KEY_LAW:
        with pytest.raises(IllegalTransition):
            moves[input]()
    else:
        moved = moves[input]()
        assert (moved.state, moved.version) == (KEY_LAW[state, input], key.version + 1)
        assert (moved.answer is not None) == (moved.state is idempotency.State.ANSWERED)


@pytest.mark.parametrize("state", merchants.Status)
def test_only_an_applicant_is_approved(state: merchants.Status) -> None:
    applied = merchants.apply(merchants.NewMerchant(name="Acme"), id="mer_1", now=NOW)
    merchant = applied if state is merchants.Status.APPLIED else merchants.approve(applied, now=NOW)
    if (state, merchants.APPROVE) in MERCHANT_LAW:
        assert merchants.approve(merchant, now=NOW).status is merchants.Status.APPROVED
    else:
        with pytest.raises(IllegalTransition):
            merchants.approve(merchant, now=NOW)


@pytest.mark.parametrize(
    ("table", "law"),
    [
        (charges.TRANSITIONS, CHARGE_LAW),
        (refunds.TRANSITIONS, REFUND_LAW),
        (disputes.TRANSITIONS, DISPUTE_LAW),
        (notices.TRANSITIONS, NOTICE_LAW),
        (idempotency.TRANSITIONS, KEY_LAW),
        (merchants.TRANSITIONS, MERCHANT_LAW),
    ],
    ids=["charges", "refunds", "disputes", "notices", "idempotency", "merchants"],
)
def test_a_table_is_what_its_diagram_shows(table: Mapping[Any, Any], law: Mapping[Any, Any]) -> None:
    assert dict(table) == law


@pytest.mark.parametrize(
    ("table", "final"),
    [
        (charges.TRANSITIONS, {"succeeded", "failed"}),
        (refunds.TRANSITIONS, {"failed"}),
        (disputes.TRANSITIONS, {"won", "lost"}),
        (notices.TRANSITIONS, {"applied", "known", "contradicting", "returned"}),
    ],
    ids=["charges", "refunds", "disputes", "notices"],
)
def test_no_table_leaves_a_final_state(table: Mapping[Any, Any], final: set[str]) -> None:
    assert final == set(table.values()) - {state for state, _ in table}


def test_a_step_that_is_not_listed_says_which() -> None:
    with pytest.raises(IllegalTransition, match="a takes no x"):
        step({("a", "b"): "c"}, "a", "x")
