"""The laws of requests, one by one: what holds between a key and what was made under it, and what does not."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from kpay_core.domain import charges, refunds, request_laws
from kpay_core.domain.answers import answer_charge, answer_refund
from kpay_core.domain.charges import Charge
from kpay_core.domain.idempotency import LIFE, IdempotencyKey, Outcome, State
from kpay_core.domain.refunds import Refund
from kpay_core.domain.request_laws import KeyCase, judge_key
from tests.domain.samples import NOW, a_charge, a_refund

MILLISECOND = timedelta(milliseconds=1)
LATER = NOW + LIFE
KEY_ID = "mer_1/test/order-1"

# How a law is broken: what is otherwise, what was expected, and what was found.
Found = list[tuple[str, Any, Any]]


def made(status: charges.Status = charges.Status.SUCCEEDED, **changes: Any) -> Charge:
    return a_charge(status, **{"idempotency_key": KEY_ID, **changes})


def key_of(subject: Charge | Refund, state: State = State.ANSWERED, **changes: Any) -> IdempotencyKey:
    answer = None
    if state is State.ANSWERED:
        answer = answer_charge(subject) if isinstance(subject, Charge) else answer_refund(subject)
    fields: dict[str, Any] = {
        "id": KEY_ID,
        "endpoint": "POST /v1/charges",
        "fingerprint": "f",
        "state": state,
        "subject": subject.id,
        "outcome": answer and answer.outcome,
        "answer": answer and answer.body,
        "first_used_at": subject.created_at,
    }
    return IdempotencyKey(**{**fields, **changes})


CHARGE = made()
DECLINED = made(charges.Status.FAILED)
UNDONE = made(
    charges.Status.FAILED, id="ch_0", failure_code=charges.NOT_PROCESSED, created_at=NOW - timedelta(hours=1)
)
WORKING = made(charges.Status.PROCESSING)
REFUND = replace(a_refund(refunds.Status.PENDING)[0], idempotency_key=KEY_ID)
# Made under the same key before.
BEFORE = made(id="ch_0", created_at=NOW - LIFE)
TOO_SOON = replace(BEFORE, created_at=NOW - LIFE + MILLISECOND)
KEY = key_of(CHARGE)

KEY_CASES: list[tuple[request_laws.KeyLaw, list[KeyCase], list[tuple[KeyCase, Found]]]] = [
    (
        request_laws.a_key_leads_to_what_was_made_under_it,
        [KeyCase(KEY, [CHARGE]), KeyCase(KEY, [BEFORE], is_whole=False)],
        [
            (KeyCase(KEY, [BEFORE]), [("subject", "ch_1", None)]),
            (KeyCase(KEY), [("subject", "ch_1", None)]),
            (KeyCase(KEY, [made(idempotency_key=None)]), [("key of its subject", KEY_ID, None)]),
            (KeyCase(KEY, [made(merchant="mer_2")]), [("book of its subject", "mer_1/test", "mer_2/test")]),
        ],
    ),
    (
        request_laws.a_key_lives_from_when_its_subject_was_made,
        [KeyCase(KEY, [CHARGE]), KeyCase(KEY, [BEFORE])],
        [(KeyCase(KEY, [made(created_at=LATER)]), [("first used at", str(LATER), str(NOW))])],
    ),
    (
        request_laws.a_key_is_answered_when_its_subject_is_done,
        [
            KeyCase(KEY, [CHARGE]),
            KeyCase(key_of(WORKING, State.WORKING), [WORKING]),
            KeyCase(key_of(WORKING, State.ACCEPTED), [WORKING]),
            KeyCase(key_of(UNDONE, State.FREE), [UNDONE]),
            KeyCase(key_of(REFUND), [REFUND]),
            KeyCase(key_of(WORKING, State.WORKING), [BEFORE], is_whole=False),
        ],
        [
            (KeyCase(key_of(CHARGE, State.WORKING), [CHARGE]), [("state", "answered", "working")]),
            (KeyCase(KEY, [WORKING]), [("state", "working", "answered")]),
            (KeyCase(key_of(UNDONE, State.WORKING), [UNDONE]), [("state", "free", "working")]),
            (KeyCase(key_of(REFUND, State.WORKING), [REFUND]), [("state", "answered", "working")]),
        ],
    ),
    (
        request_laws.an_answer_says_what_became_of_its_subject,
        [KeyCase(KEY, [CHARGE]), KeyCase(key_of(DECLINED), [DECLINED]), KeyCase(key_of(REFUND), [REFUND])],
        [
            (KeyCase(KEY, [DECLINED]), [("outcome", "declined", "created")]),
            (
                KeyCase(replace(KEY, answer='{"id": "ch_7"}'), [CHARGE]),
                [("answer", "one that names ch_1", "another")],
            ),
            (
                KeyCase(replace(KEY, outcome=Outcome.DECLINED), [CHARGE]),
                [("outcome", "created", "declined")],
            ),
        ],
    ),
    (
        request_laws.a_key_makes_one_effect,
        [
            KeyCase(KEY, [BEFORE, CHARGE]),
            KeyCase(KEY, [UNDONE, CHARGE]),
            KeyCase(KEY, [BEFORE], is_whole=False),
            KeyCase(KEY, [UNDONE], is_whole=False),
        ],
        [
            (
                KeyCase(KEY, each, is_whole=len(each) == 2),
                [("effects under one key within 24 hours", "ch_0", "ch_1")],
            )
            for each in (
                [TOO_SOON, CHARGE],
                [TOO_SOON],
                [TOO_SOON, replace(CHARGE, status=charges.Status.FAILED)],
            )
        ]
        + [
            (
                KeyCase(key_of(made(created_at=LATER)), [BEFORE, replace(TOO_SOON, id="ch_00")]),
                [("effects under one key within 24 hours", "ch_0", "ch_00")],
            ),
        ],
    ),
    (
        request_laws.what_a_key_has_left_is_done,
        [KeyCase(KEY, [BEFORE, CHARGE]), KeyCase(KEY, [UNDONE], is_whole=False)],
        [
            (
                KeyCase(KEY, [replace(WORKING, id="ch_0")], is_whole=False),
                [("outcome of ch_0", "one", "none")],
            )
        ],
    ),
]


@pytest.mark.parametrize(("law", "held", "broken"), KEY_CASES, ids=[law.__name__ for law, _, _ in KEY_CASES])
def test_a_law_of_keys(
    law: request_laws.KeyLaw, held: list[KeyCase], broken: list[tuple[KeyCase, Found]]
) -> None:
    for case in held:
        assert law(case) == ()
    for case, found in broken:
        assert list(law(case)) == found
        assert {each.law for each in judge_key(case)} >= {law.__name__}


def test_every_law_of_keys_is_tried_and_says_what_it_is() -> None:
    assert {law for law, _, _ in KEY_CASES} == set(request_laws.KEY_LAWS)
    assert all(law.__doc__ for law in request_laws.KEY_LAWS)
