"""Idempotency keys: which text is one, which requests are the same, and how long an answer is remembered."""

import json
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kpay_adapters.testing import CHARGE
from kpay_core import Scope
from kpay_core.domain import idempotency
from kpay_core.domain.errors import IdempotencyKeyReused, Invalid
from kpay_core.domain.idempotency import Answer, IdempotencyKey, Outcome, Ticket, canonical
from tests.domain.samples import NOW

MILLISECOND = timedelta(milliseconds=1)
DAY = timedelta(hours=24)
TICKET = Ticket(id="mer_1/test/k", endpoint="POST /v1/charges", fingerprint="f")
FINAL = Answer(outcome=Outcome.CREATED, body="{}")

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(-2, 2, allow_subnormal=False)
    | st.sampled_from(["", "a", "1", "null"])
)
names = st.sampled_from(["amount", "source", "cvc", "a"])
bodies = st.dictionaries(
    names,
    scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.sampled_from(["x", "cvc"]), scalars),
    max_size=4,
)


def comparable(body: dict[str, Any]) -> str:
    """Write a body as the standard library does, without the cvc of its source, nulls, and the points of integers."""
    source = body.get("source")
    if isinstance(source, dict):
        body = {**body, "source": {name: value for name, value in source.items() if name != "cvc"}}

    def without_nulls(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {name: value for name, value in pairs if value is not None}

    def number(text: str) -> float | int:
        return int(float(text)) if float(text) == int(float(text)) else float(text)

    plain = json.loads(json.dumps(body), object_pairs_hook=without_nulls, parse_float=number)
    return json.dumps(plain, sort_keys=True)


def claimed() -> IdempotencyKey:
    return idempotency.claim(None, TICKET, subject="s", now=NOW)


def answered() -> IdempotencyKey:
    return idempotency.answer(claimed(), FINAL, now=NOW)


@given(bodies, st.randoms())
def test_the_order_of_keys_does_not_matter(body: dict[str, Any], random: Any) -> None:
    order = list(body)
    random.shuffle(order)
    assert canonical({name: body[name] for name in order}) == canonical(body)


@given(bodies, bodies)
def test_two_bodies_are_the_same_request_exactly_if_they_are_the_same_json(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) is (comparable(one) == comparable(other))


def test_a_null_is_as_good_as_nothing_and_a_whole_number_an_integer() -> None:
    same = deepcopy(CHARGE) | {"description": None, "amount": float(CHARGE["amount"])}
    same["billing_address"]["line2"] = None
    same["source"]["exp_month"] = float(CHARGE["source"]["exp_month"])
    first = deepcopy(CHARGE)
    first.pop("description", None)
    first["billing_address"].pop("line2", None)
    assert canonical(same) == canonical(first)
    assert canonical({"a": 1e16}) == canonical({"a": 10**16, "b": None}) == b'{"a":10000000000000000}'
    assert canonical({"a": ["b:null", "1.0", 1.5, None]}) == b'{"a":["b:null","1.0",1.5,null]}'


def test_the_cvc_is_no_part_of_a_request() -> None:
    other, without = deepcopy(CHARGE), deepcopy(CHARGE)
    other["source"]["cvc"] = "999"
    del without["source"]["cvc"]
    assert canonical(other) == canonical(CHARGE) == canonical(without)
    assert b"cvc" not in canonical(CHARGE)
    assert CHARGE["source"]["cvc"] == "123", "the request itself stays as it is"


@pytest.mark.parametrize("name", ["number", "exp_month", "exp_year"])
def test_everything_else_of_a_card_is(name: str) -> None:
    other = deepcopy(CHARGE)
    other["source"][name] = "1"
    assert canonical(other) != canonical(CHARGE)


@pytest.mark.parametrize("name", CHARGE)
def test_everything_else_of_a_request_is(name: str) -> None:
    for value in (None, "1", {"cvc": "123"}):
        assert canonical({**CHARGE, name: value}) != canonical(CHARGE)


def test_a_cvc_elsewhere_counts() -> None:
    assert canonical({"metadata": {"cvc": "1"}}) != canonical({"metadata": {}})
    assert canonical({"cvc": "1"}) != canonical({})


@pytest.mark.parametrize(
    "key", ["k", " ", "~", "8f4c2e1a-5f0e-4d1b-9a3c-0123456789ab", "x" * 255, "a/b/../c?d=e"]
)
def test_printable_ascii_up_to_255_characters_is_a_key(key: str) -> None:
    assert idempotency.check_key(key) == key


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\x00", "a\n", "\x7f", "\t", "٣", "\udc80"])
def test_anything_else_is_none(key: str) -> None:
    with pytest.raises(Invalid) as caught:
        idempotency.check_key(key)
    assert caught.value.fields == {"Idempotency-Key": ["1 to 255 printable ASCII characters"]}


@given(
    *[
        st.tuples(st.sampled_from(["mer_1", "mer_2"]), st.booleans(), st.text(" /~abtestliv", min_size=1))
        for _ in "ab"
    ]
)
def test_one_key_of_two_merchants_or_modes_is_two_keys(
    one: tuple[str, bool, str], other: tuple[str, bool, str]
) -> None:
    names = [idempotency.key_id(Scope(merchant, livemode), key) for merchant, livemode, key in (one, other)]
    assert (names[0] == names[1]) is (one == other)


def test_an_answer_is_remembered_for_twenty_four_hours_to_the_millisecond() -> None:
    assert not idempotency.is_open(answered(), TICKET, now=NOW + DAY - MILLISECOND)
    assert idempotency.is_open(answered(), TICKET, now=NOW + DAY)


@pytest.mark.parametrize("other", [{"fingerprint": "g"}, {"endpoint": "POST /v1/refunds"}])
def test_another_request_is_refused_until_the_key_expires_or_is_freed(other: dict[str, str]) -> None:
    ticket = replace(TICKET, **other)
    for held in (claimed(), idempotency.accept(claimed()), answered()):
        with pytest.raises(IdempotencyKeyReused):
            idempotency.is_open(held, ticket, now=NOW + DAY - MILLISECOND)
    assert idempotency.is_open(answered(), ticket, now=NOW + DAY)
    assert idempotency.is_open(idempotency.release(claimed()), ticket, now=NOW)


def test_a_key_whose_work_is_unfinished_never_expires() -> None:
    for held in (claimed(), idempotency.accept(claimed())):
        assert not idempotency.is_open(held, TICKET, now=NOW + 400 * DAY)


def test_an_expired_key_is_taken_at_its_next_version_as_if_it_were_new() -> None:
    later = NOW + DAY
    again = idempotency.claim(answered(), TICKET, subject="t", now=later)
    fresh = idempotency.claim(None, TICKET, subject="t", now=later)
    assert again == replace(fresh, version=3)


def test_a_freed_key_is_remembered_from_the_request_that_takes_it() -> None:
    # Else a request that takes effect a moment before the old 24 hours end would be repeated a moment after.
    freed = idempotency.release(claimed())
    again = idempotency.answer(
        idempotency.claim(freed, TICKET, subject="t", now=NOW + DAY - MILLISECOND),
        FINAL,
        now=NOW + DAY - MILLISECOND,
    )
    assert not idempotency.is_open(again, TICKET, now=NOW + DAY)
    assert idempotency.is_open(again, TICKET, now=NOW + 2 * DAY - MILLISECOND)


def test_a_late_answer_is_remembered_from_when_it_came() -> None:
    for waited, since in ((idempotency.LATE - MILLISECOND, NOW), (idempotency.LATE, NOW + idempotency.LATE)):
        key = idempotency.answer(claimed(), FINAL, now=NOW + waited)
        assert not idempotency.is_open(key, TICKET, now=since + DAY - MILLISECOND)
        assert idempotency.is_open(key, TICKET, now=since + DAY)
        assert idempotency.claim(key, TICKET, subject="t", now=since + DAY).answered_late_at is None


def test_a_late_answer_that_a_server_of_the_version_before_left_on_a_key_shortens_nothing() -> None:
    late = idempotency.answer(claimed(), FINAL, now=NOW + DAY)
    taken = replace(late, first_used_at=NOW + 3 * DAY)
    assert not idempotency.is_open(taken, TICKET, now=NOW + 4 * DAY - MILLISECOND)
    assert idempotency.is_open(taken, TICKET, now=NOW + 4 * DAY)


def test_a_replay_is_the_answer_that_was_kept_marked_as_one() -> None:
    replayed = idempotency.again(idempotency.kept(answered()))
    assert (replayed.outcome, replayed.body, replayed.replayed) == (FINAL.outcome, FINAL.body, True)
