"""What is decided about unfinished charges and refunds, and never on a guess."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpay_core.domain import charges, refunds
from kpay_core.domain.errors import Invalid
from kpay_core.domain.looks import TURNS, lease, next_look
from kpay_core.domain.processing import Outcome, Verdict
from kpay_core.domain.refunds import NewRefund, Remedy
from tests.domain.samples import NOW, a_charge, a_refund, an_open_charge

MINUTE, JUST_BEFORE = timedelta(seconds=60), timedelta(milliseconds=-1)
OPEN_CHARGE, (OPEN_REFUND, _) = an_open_charge(), a_refund()
AGES = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=400))


@given(age=AGES)
def test_a_charge_is_never_failed_while_the_network_is_undecided(age: timedelta) -> None:
    charge = a_charge(charges.Status.PROCESSING)
    assert charges.conclude(charge, Verdict(Outcome.IN_FLIGHT), now=NOW + age) is None


@pytest.mark.parametrize(
    "reachable", [{"idempotency_key": "mer_1/test/k"}, {"told": True}], ids=["key", "told"]
)
@given(age=AGES)
def test_a_capture_that_somebody_can_learn_of_stands(reachable: dict[str, object], age: timedelta) -> None:
    charge = a_charge(charges.Status.PROCESSING, **reachable)
    concluded = charges.conclude(charge, Verdict(Outcome.CAPTURED), now=NOW + age)
    assert concluded is not None
    assert concluded.status is charges.Status.SUCCEEDED


def test_a_capture_that_nobody_can_learn_of_is_undone_once_its_attempt_is_over() -> None:
    charge = a_charge(charges.Status.PROCESSING)
    captured = Verdict(Outcome.CAPTURED)
    assert charges.conclude(charge, captured, now=NOW + MINUTE + JUST_BEFORE) is None
    undone = charges.conclude(charge, captured, now=NOW + MINUTE)
    assert undone is not None
    assert undone.status is charges.Status.REVERSING


@pytest.mark.parametrize("told", [True, False])
def test_what_the_network_never_saw_is_undone_when_nothing_can_be_on_its_way(told: bool) -> None:
    charge = a_charge(charges.Status.PROCESSING, told=told)
    unseen = Verdict(Outcome.NOT_FOUND)
    assert charges.conclude(charge, unseen, now=NOW + 2 * MINUTE + JUST_BEFORE) is None
    undone = charges.conclude(charge, unseen, now=NOW + 2 * MINUTE)
    assert undone is not None
    assert undone.status is charges.Status.REVERSING


def test_a_decline_code_that_no_merchant_may_be_told_reads_as_a_generic_decline() -> None:
    declined = charges.settle(a_charge(charges.Status.PROCESSING), Verdict(Outcome.DECLINED, "fraud_score_9"))
    assert (declined.failure_code, declined.failure_message) == ("generic_decline", "The card was declined.")


def looks_of(record: charges.Charge | refunds.Refund, *, delay: timedelta, count: int) -> list[timedelta]:
    """The ages at which a record that never gets its outcome is looked at, each look coming late."""
    ages: list[timedelta] = []
    for _ in range(count):
        assert record.look_at is not None
        now = record.look_at + delay
        ages.append(now - record.created_at)
        record = lease(record, now=now)
    return ages


@pytest.mark.parametrize("record", [OPEN_CHARGE, OPEN_REFUND], ids=["charge", "refund"])
def test_looks_come_ever_later_and_go_on_for_ever(record: charges.Charge | refunds.Refund) -> None:
    ages = [age.total_seconds() for age in looks_of(record, delay=timedelta(0), count=18)]
    assert ages == [*range(5, 65, 5), 120, 240, 540, 1440, 5040, 8640]


@pytest.mark.parametrize("record", [OPEN_CHARGE, OPEN_REFUND], ids=["charge", "refund"])
@given(delay=st.timedeltas(timedelta(0), timedelta(seconds=200)))
def test_a_look_is_planned_for_each_moment_from_which_more_can_be_decided(
    record: charges.Charge | refunds.Refund, delay: timedelta
) -> None:
    ages = looks_of(record, delay=delay, count=14)
    for turn in TURNS:
        assert min(age for age in ages if age >= turn) <= turn + delay, (
            "no later than the look itself is late"
        )


@given(
    age=st.timedeltas(timedelta(days=-1), timedelta(days=400)),
    looks=st.integers(min_value=0, max_value=20),
)
def test_the_next_look_is_ahead_and_past_no_turn_that_is_ahead(age: timedelta, looks: int) -> None:
    now = NOW + age
    planned = next_look(created_at=NOW, looks=looks, now=now)
    assert now < planned <= now + timedelta(hours=1)
    assert not [turn for turn in TURNS if now < NOW + turn < planned]


def test_an_unfinished_charge_asks_for_a_person_after_fifteen_minutes() -> None:
    charge = a_charge(charges.Status.PROCESSING)
    late = NOW + timedelta(minutes=15)
    assert not charges.is_overdue(charge, now=late + JUST_BEFORE)
    assert charges.is_overdue(charge, now=late)
    assert not charges.is_overdue(a_charge(charges.Status.SUCCEEDED), now=late)


def test_a_promise_is_made_once() -> None:
    promised = charges.promise(a_charge(charges.Status.PROCESSING))
    assert promised.told
    assert charges.promise(promised) is promised


@given(
    amount=st.integers(min_value=50, max_value=10_000_000),
    asked=st.lists(st.integers(min_value=1, max_value=12_000_000), max_size=8),
    outcomes=st.lists(st.sampled_from([Outcome.REFUNDED, Outcome.REFUSED, None]), min_size=8, max_size=8),
)
def test_refunds_never_exceed_the_charge_whatever_is_asked(
    amount: int, asked: list[int], outcomes: list[Outcome | None]
) -> None:
    charge, standing = a_charge(amount=amount), 0
    for wanted, outcome in zip(asked, outcomes, strict=False):
        remaining = amount - standing
        new = NewRefund(charge=charge.id, amount=wanted)
        try:
            refund, charge = refunds.open_refund(new, charge, id="re_1", idempotency_key=None, now=NOW)
        except Invalid as invalid:
            told = invalid.fields
        else:
            told = None
        if wanted > remaining:
            expected = f"max {remaining}" if remaining else "nothing left to refund"
            assert told == {"amount": [expected]}
            continue
        assert told is None
        if outcome:
            _, moved = refunds.settle(refund, charge, Verdict(outcome))
            assert moved is not None
            charge = moved
        standing += 0 if outcome is Outcome.REFUSED else wanted
        assert charge.refundable == amount - standing


def test_a_refund_without_an_amount_takes_all_that_remains() -> None:
    _, charge = a_refund(amount=1000)
    rest, charge = refunds.open_refund(
        NewRefund(charge="ch_1"), charge, id="re_2", idempotency_key=None, now=NOW
    )
    assert (rest.amount, charge.refundable) == (3999, 0)


@pytest.mark.parametrize("status", [s for s in charges.Status if s is not charges.Status.SUCCEEDED])
def test_only_a_succeeded_charge_is_refunded(status: charges.Status) -> None:
    with pytest.raises(Invalid) as caught:
        refunds.open_refund(
            NewRefund(charge="ch_1"), a_charge(status), id="re_1", idempotency_key=None, now=NOW
        )
    assert caught.value.details == {
        "code": "charge_not_refundable",
        "fieldErrors": {"charge": ["not a succeeded charge"]},
    }


@pytest.mark.parametrize(("amount", "blamed"), [(None, "charge"), (1, "amount")])
def test_what_is_left_of_a_charge_is_not_refunded_while_it_is_disputed(
    amount: int | None, blamed: str
) -> None:
    disputed = charges.open_dispute(a_charge(), 4999)
    with pytest.raises(Invalid) as caught:
        refunds.open_refund(
            NewRefund(charge="ch_1", amount=amount), disputed, id="re_1", idempotency_key=None, now=NOW
        )
    assert caught.value.details == {
        "code": "charge_disputed",
        "fieldErrors": {blamed: ["disputed"]},
    }


def test_a_refund_that_nobody_heard_of_is_not_sent_on_its_senders_behalf() -> None:
    cut_off, _ = a_refund()
    with_key, _ = a_refund(idempotency_key="mer_1/test/k")
    pending, _ = a_refund(refunds.Status.PENDING)
    reversing, _ = a_refund(refunds.Status.REVERSING)
    remedies = [refunds.remedy(refund) for refund in (cut_off, with_key, pending, reversing)]
    assert remedies == [Remedy.LOOK_UP, Remedy.SEND, Remedy.SEND, Remedy.REVERSE]


@pytest.mark.parametrize("outcome", Outcome)
def test_a_cut_off_refund_is_called_back_only_when_the_network_does_not_know_it(outcome: Outcome) -> None:
    refund, _ = a_refund()
    gives_up = refunds.should_give_up(refund, Verdict(outcome), now=NOW + MINUTE)
    assert gives_up is (outcome is Outcome.NOT_FOUND)
    assert not refunds.should_give_up(refund, Verdict(outcome), now=NOW + MINUTE + JUST_BEFORE)
