"""Deliveries: the table of attempts, its jitter, and the end of a life."""

from datetime import datetime, timedelta
from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kpay_core.domain import deliveries
from kpay_core.domain.deliveries import Attempt, Delivery, Status, Step
from kpay_core.domain.events import Event
from kpay_core.domain.machine import IllegalTransition, step
from kpay_core.domain.posts import Failure, Reply
from tests.domain.samples import NOW

# The contract, section 8: 1 m, 5 m, 30 m, 2 h, 6 h, 12 h, 24 h, 24 h after one another.
OFFSETS = [
    timedelta(0),
    timedelta(minutes=1),
    timedelta(minutes=6),
    timedelta(minutes=36),
    timedelta(hours=2, minutes=36),
    timedelta(hours=8, minutes=36),
    timedelta(hours=20, minutes=36),
    timedelta(hours=44, minutes=36),
    timedelta(hours=68, minutes=36),
]
LAW = {
    ("pending", "arrived"): "succeeded",
    ("pending", "missed"): "pending",
    ("pending", "exhausted"): "abandoned",
    ("pending", "expired"): "abandoned",
    ("pending", "endpoint_deleted"): "abandoned",
}
IDS = st.text(max_size=40)


def a_delivery(id: str = "dlv_1", now: datetime = NOW) -> Delivery:
    event = Event(
        id="evt_1", merchant="mer_1", livemode=False, type="charge.failed", body="{}", created_at=now
    )
    return deliveries.deliver(event, "we_1", id=id, now=now)


def a_reply(failure: Failure | None = Failure.REFUSED, **facts: Any) -> Reply:
    return Reply(**{"key": "", "status": 500, "failure": failure, "answer": "no", "milliseconds": 7, **facts})


def miss_until_the_end(
    delivery: Delivery, *, late: timedelta = timedelta(0)
) -> tuple[Delivery, list[Attempt]]:
    """Attempt at each time that is planned, or later by so much, until no more attempt is."""
    made: list[Attempt] = []
    while delivery.next_attempt_at and len(made) < 20:
        delivery, attempt = deliveries.note(delivery, a_reply(), started_at=delivery.next_attempt_at + late)
        made.append(attempt)
    return delivery, made


@pytest.mark.parametrize(("status", "by"), list(product(Status, Step)))
def test_a_delivery_moves_only_as_the_diagram_says(status: Status, by: Step) -> None:
    if (status, by) in LAW:
        assert step(deliveries.TRANSITIONS, status, by) == LAW[status, by]
    else:
        with pytest.raises(IllegalTransition):
            step(deliveries.TRANSITIONS, status, by)


def test_the_table_is_the_contracts() -> None:
    assert [deliveries.offset_of(number) for number in range(1, 10)] == OFFSETS


@given(id=IDS)
def test_nine_attempts_fall_where_the_table_and_the_jitter_say_and_then_it_is_exhausted(id: str) -> None:
    delivery, made = miss_until_the_end(a_delivery(id))
    assert (delivery.status, delivery.reason, delivery.attempts) == ("abandoned", "exhausted", 9)
    assert delivery.next_attempt_at is None
    for offset, attempt in zip(OFFSETS, made, strict=True):
        delay = offset - OFFSETS[max(attempt.number - 2, 0)]
        jitter = attempt.started_at - NOW - offset
        assert timedelta(0) <= jitter <= min(delay / 10, timedelta(minutes=15))
    assert made[-1].started_at - made[0].started_at < timedelta(hours=72)
    assert [attempt.id for attempt in made] == sorted(attempt.id for attempt in made)
    assert deliveries.attempt_ids(delivery) == tuple(attempt.id for attempt in made)


@given(id=IDS, late_seconds=st.integers(0, 80 * 3600))
def test_no_pause_is_ever_shorter_than_its_delay_however_late_an_attempt_came(
    id: str, late_seconds: int
) -> None:
    delivery, made = miss_until_the_end(a_delivery(id), late=timedelta(seconds=late_seconds))
    for number, (one, next) in enumerate(pairwise(made), start=1):
        assert next.started_at - one.started_at >= deliveries.delay_after(number)
    assert delivery.status == "abandoned"
    assert 1 <= len(made) <= 9
    # However late the workers are, what is planned is planned within the life.
    planned = [attempt.started_at - timedelta(seconds=late_seconds) for attempt in made]
    assert all(moment < made[0].started_at + timedelta(hours=72) for moment in planned)


@given(id=IDS)
def test_jitter_only_adds_whole_milliseconds_and_is_each_deliverys_own(id: str) -> None:
    spread = [deliveries.jitter(id, delay) for delay in deliveries.DELAYS]
    assert spread == sorted(spread)
    assert all(jitter >= timedelta(0) for jitter in spread)
    assert all(jitter.microseconds % 1000 == 0 for jitter in spread)
    assert spread == [deliveries.jitter(id, delay) for delay in deliveries.DELAYS]


def test_deliveries_are_spread_over_the_whole_of_their_jitter() -> None:
    hour = timedelta(hours=1)
    spread = [deliveries.jitter(f"dlv_{number}", hour) for number in range(1000)]
    assert min(spread) < timedelta(seconds=10)
    assert max(spread) > timedelta(seconds=350)
    assert len(set(spread)) > 900


@pytest.mark.parametrize("attempts", range(9))
def test_an_attempt_that_arrives_ends_a_delivery(attempts: int) -> None:
    delivery = a_delivery()
    for _ in range(attempts):
        assert delivery.next_attempt_at
        delivery, _ = deliveries.note(delivery, a_reply(), started_at=delivery.next_attempt_at)
    assert delivery.next_attempt_at
    done, attempt = deliveries.note(
        delivery, a_reply(None, status=204, answer=""), started_at=delivery.next_attempt_at
    )
    assert (done.status, done.reason, done.next_attempt_at) == ("succeeded", None, None)
    assert (attempt.number, attempt.status, attempt.failure) == (attempts + 1, 204, None)
    assert (done.version, done.fresh_at) == (delivery.version + 1, None)


def test_an_attempt_says_what_was_answered_and_how_long_it_took() -> None:
    _, attempt = deliveries.note(a_delivery(), a_reply(Failure.TIMED_OUT, status=None), started_at=NOW)
    assert (attempt.delivery, attempt.number, attempt.started_at) == ("dlv_1", 1, NOW)
    assert (attempt.status, attempt.failure, attempt.answer, attempt.milliseconds) == (
        None,
        "timed_out",
        "no",
        7,
    )


def test_the_life_of_a_delivery_is_72_hours_from_its_first_attempt() -> None:
    late = NOW + timedelta(hours=100)
    delivery, _ = deliveries.note(a_delivery(), a_reply(), started_at=late)
    assert delivery.expires_at == late + timedelta(hours=72)
    again, _ = deliveries.note(delivery, a_reply(), started_at=late + timedelta(minutes=2))
    assert again.expires_at == delivery.expires_at


def test_a_life_is_over_to_the_millisecond() -> None:
    delivery = a_delivery()
    end = NOW + timedelta(hours=72)
    assert not deliveries.is_expired(delivery, now=end - timedelta(milliseconds=1))
    assert deliveries.is_expired(delivery, now=end)


@pytest.mark.parametrize("reason", deliveries.REASONS)
def test_what_is_given_up_says_why_and_is_not_fresh_any_more(reason: Step) -> None:
    given_up = deliveries.abandon(a_delivery(), reason)
    assert (given_up.status, given_up.reason, given_up.next_attempt_at) == ("abandoned", reason, None)
    assert (given_up.fresh_at, given_up.attempts, given_up.version) == (None, 0, 2)


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.ABANDONED])
def test_what_has_ended_is_not_attempted_again(status: Status) -> None:
    ended = replace(a_delivery(), status=status)
    for failure in (None, Failure.REFUSED):
        with pytest.raises(IllegalTransition):
            deliveries.note(ended, a_reply(failure), started_at=NOW)
