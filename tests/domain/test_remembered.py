"""What a process has in mind is bounded, and never older than it may be."""

from datetime import timedelta

import pytest

from kpay_adapters.testing import START
from kpay_core.commit import bump
from kpay_core.domain.idempotency import LIFE, IdempotencyKey, Outcome, State
from kpay_core.domain.keys import ApiKey, issue, make_key
from kpay_core.domain.scope import Scope
from kpay_core.remembered import MARGIN, TRUSTED_SECONDS, Answers, ApiKeys

LONG = "x" * 90


def key(id: str, answer: str = LONG) -> IdempotencyKey:
    return IdempotencyKey(
        id=id,
        endpoint="POST /v1/charges",
        fingerprint="of the body",
        state=State.ANSWERED,
        subject="the charge",
        outcome=Outcome.CREATED,
        answer=answer,
        first_used_at=START,
    )


def test_a_key_is_found_until_a_minute_before_it_may_be_used_anew() -> None:
    remembered = Answers()
    remembered.keep(key("a"))
    ends_at = START + LIFE - MARGIN
    assert remembered.find("a", now=ends_at - timedelta(microseconds=1)) == key("a")
    assert remembered.find("b", now=START) is None
    assert remembered.find("a", now=ends_at) is None
    # Also where the clock is turned back: it is gone.
    assert remembered.find("a", now=START) is None


def test_the_one_that_was_asked_for_longest_ago_makes_room() -> None:
    remembered = Answers(limit=300)
    for id in "abc":
        remembered.keep(key(id))
    remembered.find("a", now=START)
    remembered.keep(key("d"))
    assert [id for id in "abcd" if remembered.find(id, now=START)] == ["a", "c", "d"]


def test_a_key_that_is_kept_again_takes_its_room_once() -> None:
    remembered = Answers(limit=300)
    remembered.keep(key("a"))
    for _ in range(10):
        remembered.keep(bump(key("b"), answer=LONG))
    assert remembered.find("a", now=START) is not None


def test_what_is_larger_than_all_the_room_is_not_kept() -> None:
    remembered = Answers(limit=50)
    remembered.keep(key("a"))
    assert remembered.find("a", now=START) is None


def test_a_key_without_its_answer_is_none_to_remember() -> None:
    with pytest.raises(AssertionError, match="final"):
        Answers().keep(bump(key("a"), state=State.WORKING))


def api_key(number: int) -> ApiKey:
    return issue(
        make_key("secret", "test", bytes([number]) * 32), kind="secret", scope=Scope("mer", False), now=START
    )


def test_an_api_key_is_known_for_a_second_from_before_it_was_read() -> None:
    known, key = ApiKeys(), api_key(1)
    known.keep(key, read_at=5.0)
    assert known.find(key.id, now=5.0 + TRUSTED_SECONDS - 0.001) is key
    assert known.find(key.id, now=5.0 + TRUSTED_SECONDS) is None
    assert known.find(api_key(2).id, now=5.0) is None


def test_more_api_keys_than_there_is_room_for_are_read_anew() -> None:
    known, (one, two, three) = ApiKeys(most=2), map(api_key, range(3))
    for key in (one, two, three):
        known.keep(key, read_at=5.0)
    assert [known.find(key.id, now=5.0) for key in (one, two, three)] == [None, None, three]
