"""The laws of deliveries and lanes, one by one: what holds, and what does not."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from kpay_core.domain import deliveries, endpoints, happenings, telling_laws
from kpay_core.domain.deliveries import DELAYS, Attempt, Delivery
from kpay_core.domain.endpoints import Endpoint
from kpay_core.domain.lanes import Claim, Lane
from kpay_core.domain.posts import Failure
from kpay_core.domain.telling_laws import DeliveryCase, judge_delivery
from tests.domain.samples import NOW, a_charge
from tests.domain.test_telling_laws import event, whats

MILLISECOND = timedelta(milliseconds=1)
LATER = NOW + timedelta(days=1)

# How a law is broken: what is otherwise, what was expected, and what was found.
Found = list[tuple[str, Any, Any]]

EVENT = event(happenings.of_charge(a_charge())[0])
ENDPOINT = Endpoint(
    id="we_1",
    merchant="mer_1",
    livemode=False,
    url="https://shop.example/hooks",
    enabled_events=("*",),
    description=None,
    secret="sealed",
    created_at=NOW,
)
FRESH = deliveries.deliver(EVENT, "we_1", id="dlv_1", now=NOW)
MISSED = replace(FRESH, attempts=1, fresh_at=None, next_attempt_at=NOW + DELAYS[0])
ARRIVED = replace(
    MISSED, status=deliveries.Status.SUCCEEDED, attempts=2, next_attempt_at=None, expires_at=LATER
)
GIVEN_UP = replace(
    MISSED, status=deliveries.Status.ABANDONED, next_attempt_at=None, reason=deliveries.Step.EXPIRED
)


def attempt(number: int, failure: Failure | None = Failure.TIMED_OUT, *, after: timedelta) -> Attempt:
    return Attempt(
        id=f"dlv_1/{number}",
        delivery="dlv_1",
        number=number,
        started_at=NOW + after,
        milliseconds=1,
        status=200 if failure is None else None,
        failure=failure,
        answer="",
    )


FIRST = attempt(1, after=timedelta(0))
SECOND = attempt(2, None, after=DELAYS[0])


def delivered(delivery: Delivery, *attempts: Attempt, **changes: Any) -> DeliveryCase:
    fields: dict[str, Any] = {
        "now": NOW,
        "delivery": delivery,
        "attempts": attempts,
        "event": EVENT,
        "endpoint": ENDPOINT,
        "lane": Lane(id="we_1", due_at=NOW + DELAYS[0]),
    }
    return DeliveryCase(**{**fields, **changes})


def lane(**changes: Any) -> dict[str, Any]:
    return {"lane": Lane(id="we_1", **changes)}


DISABLED = {"endpoint": replace(ENDPOINT, status=endpoints.Status.DISABLED)}
NEVER: Found = [("lane is due", "at some time", "never")]
TEN = [attempt(number, after=number * timedelta(days=1)) for number in range(1, 11)]

DELIVERY_CASES: list[
    tuple[telling_laws.DeliveryLaw, list[DeliveryCase], list[tuple[DeliveryCase, Found]]]
] = [
    (
        telling_laws.deliveries_stay_in_their_scope,
        [delivered(FRESH)],
        [
            (
                delivered(FRESH, event=replace(EVENT, livemode=True), endpoint=None),
                [
                    ("book of its event", "mer_1/test", "mer_1/live"),
                    ("book of its endpoint", "mer_1/test", None),
                ],
            ),
            (
                delivered(FRESH, event=None, endpoint=replace(ENDPOINT, merchant="mer_2")),
                [
                    ("book of its event", "mer_1/test", None),
                    ("book of its endpoint", "mer_1/test", "mer_2/test"),
                ],
            ),
        ],
    ),
    (
        telling_laws.deliveries_arrive_or_are_given_up_for_a_reason,
        [delivered(FRESH), delivered(ARRIVED, FIRST, SECOND), delivered(GIVEN_UP, FIRST)],
        [
            (delivered(ARRIVED, FIRST), [("succeeded", "False", "True")]),
            (
                delivered(ARRIVED, FIRST, replace(SECOND, status=302)),
                [("succeeded", "False", "True"), ("attempt 2 succeeded", "False", "True")],
            ),
            (delivered(replace(MISSED, attempts=2), FIRST, SECOND), [("succeeded", "True", "False")]),
            (delivered(replace(GIVEN_UP, reason=None), FIRST), [("has a reason", "True", "False")]),
            (delivered(replace(GIVEN_UP, next_attempt_at=NOW), FIRST), [("is due", "False", "True")]),
            (delivered(replace(MISSED, next_attempt_at=None), FIRST), [("is due", "True", "False")]),
        ],
    ),
    (
        telling_laws.attempts_are_numbered_and_apart,
        [delivered(FRESH), delivered(ARRIVED, FIRST, SECOND)],
        [
            (delivered(ARRIVED, FIRST), [("attempts", 2, 1)]),
            (delivered(FRESH, FIRST), [("attempts", 0, 1)]),
            (delivered(replace(MISSED, attempts=10), *TEN), [("attempts at most", 9, 10)]),
            (
                delivered(ARRIVED, FIRST, replace(SECOND, started_at=SECOND.started_at - MILLISECOND)),
                [("pause after 1", "0:01:00", "0:00:59.999000")],
            ),
        ],
    ),
    (
        telling_laws.pending_deliveries_are_found,
        [
            delivered(FRESH, lane=None),
            delivered(MISSED, FIRST),
            delivered(MISSED, FIRST, now=LATER, **lane(due_at=LATER)),
            delivered(MISSED, FIRST, **lane(due_at=LATER, holder="w")),
            delivered(MISSED, FIRST, **DISABLED, **lane(due_at=MISSED.expires_at)),
            delivered(GIVEN_UP, FIRST, lane=None),
        ],
        [
            (delivered(MISSED, FIRST, lane=None), NEVER),
            (delivered(MISSED, FIRST, **lane()), NEVER),
            (
                delivered(MISSED, FIRST, **lane(due_at=LATER)),
                [("lane is due", str(NOW + DELAYS[0]), str(LATER))],
            ),
            (
                delivered(MISSED, FIRST, **DISABLED, **lane(due_at=MISSED.expires_at + MILLISECOND)),
                [("lane is due", str(MISSED.expires_at), str(MISSED.expires_at + MILLISECOND))],
            ),
        ],
    ),
]


@pytest.mark.parametrize(
    ("law", "held", "broken"), DELIVERY_CASES, ids=[law.__name__ for law, _, _ in DELIVERY_CASES]
)
def test_a_law_of_deliveries(
    law: telling_laws.DeliveryLaw, held: list[DeliveryCase], broken: list[tuple[DeliveryCase, Found]]
) -> None:
    for case in held:
        assert judge_delivery(case) == []
    for case, found in broken:
        assert list(law(case)) == found
        assert {each.law for each in judge_delivery(case)} >= {law.__name__}


def test_a_lane_is_held_by_one() -> None:
    law = telling_laws.lanes_are_held_by_one
    eight = tuple(Claim(delivery=f"dlv_{number}", since=NOW) for number in range(8))
    assert law(Lane(id="we_1")) == ()
    assert law(Lane(id="we_1", holder="w", due_at=NOW, sending=eight)) == ()
    assert law(Lane(id="we_1", holder="w", due_at=NOW, sending=(*eight[:2], eight[0]))) == (
        ("sent at a time", 2, 3),
    )
    nine = (*eight, Claim(delivery="dlv_9", since=NOW))
    assert law(Lane(id="we_1", holder="w", due_at=NOW, sending=nine)) == (("in flight at most", 8, 9),)
    assert whats(law(Lane(id="we_1", holder="w"))) == ["lease"]
    assert whats(law(Lane(id="we_1", due_at=NOW, sending=eight))) == ["holder"]


def test_every_law_of_deliveries_is_tried_and_says_what_it_is() -> None:
    assert {law for law, _, _ in DELIVERY_CASES} == set(telling_laws.DELIVERY_LAWS)
    assert all(law.__doc__ for law in telling_laws.DELIVERY_LAWS)
