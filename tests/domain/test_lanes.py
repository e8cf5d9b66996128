"""Lanes: one holder, a lease to the millisecond, and a fence that every change raises."""

from datetime import timedelta

import pytest

from kpay_core.domain import lanes
from kpay_core.domain.lanes import LEASE, START_WITHIN, Claim, Lane
from tests.domain.samples import NOW

MILLISECOND = timedelta(milliseconds=1)
FREE = Lane(id="we_1")
CLAIMS = [Claim(delivery=f"dlv_{number}", since=NOW) for number in range(8)]


def test_a_held_lane_is_one_workers_until_its_lease_lapses() -> None:
    held = lanes.hold(FREE, CLAIMS, holder="a", now=NOW)
    assert lanes.is_held(held, now=NOW + LEASE - MILLISECOND)
    with pytest.raises(AssertionError):
        lanes.hold(held, [], holder="b", now=NOW + LEASE - MILLISECOND)
    taken = lanes.hold(held, [], holder="b", now=NOW + LEASE)
    assert (taken.holder, taken.version, taken.due_at) == ("b", 3, NOW + 2 * LEASE)


def test_a_holder_goes_on_for_a_lease_from_each_step() -> None:
    held = lanes.hold(FREE, CLAIMS, holder="a", now=NOW)
    again = lanes.hold(held, CLAIMS[:1], holder="a", now=NOW + timedelta(seconds=10))
    assert again.due_at == NOW + timedelta(seconds=10) + LEASE
    assert again.sending == tuple(CLAIMS[:1])


def test_an_endpoint_gets_eight_at_a_time() -> None:
    with pytest.raises(AssertionError):
        lanes.hold(FREE, [*CLAIMS, Claim(delivery="dlv_8", since=NOW)], holder="a", now=NOW)


def test_a_released_lane_holds_nothing_back() -> None:
    held = lanes.hold(FREE, CLAIMS, holder="a", now=NOW)
    free = lanes.release(held, due_at=None)
    assert (free.holder, free.sending, free.due_at, free.version) == (None, (), None, 3)
    assert not lanes.is_held(free, now=NOW)
    assert not lanes.is_due(free, now=NOW)


def test_a_change_of_the_endpoint_raises_the_fence_and_keeps_the_lease() -> None:
    held = lanes.hold(FREE, CLAIMS, holder="a", now=NOW)
    called = lanes.call(held, now=NOW + MILLISECOND)
    assert called == lanes.bump(held)
    assert called.version == held.version + 1


@pytest.mark.parametrize("due_at", [None, NOW - LEASE, NOW, NOW + LEASE])
def test_a_change_of_the_endpoint_has_somebody_look_where_nobody_is(due_at: object) -> None:
    called = lanes.call(lanes.bump(FREE, due_at=due_at), now=NOW)
    assert (called.due_at, called.version) == (NOW, 3)
    assert lanes.is_due(called, now=NOW)


def test_each_worker_that_died_counts_for_what_it_was_sending() -> None:
    claims = [Claim(delivery="dlv_1", since=NOW), Claim(delivery="dlv_2", since=NOW, lost=3)]
    assert lanes.lost(lanes.hold(FREE, claims, holder="a", now=NOW)) == {"dlv_1": 1, "dlv_2": 4}
    assert lanes.lost(FREE) == {}


def test_a_lease_is_longer_than_an_attempt_and_the_patience_with_a_database() -> None:
    assert timedelta(seconds=15) + timedelta(seconds=20) + START_WITHIN < LEASE
