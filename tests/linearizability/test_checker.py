"""The checker takes what could have happened one after the other, and nothing else."""

import math
import random
from collections.abc import Sequence
from itertools import combinations, permutations

import pytest

from tests.linearizability.checker import Model, NotLinearizable, Operation, order_of
from tests.linearizability.models import Answered, Key, Look, Refund, Refundable, TooMuch


def op(asked: object, answer: object, began: float, ended: float = math.inf) -> Operation:
    return Operation(asked=asked, answer=answer, began=began, ended=ended)  # pyright: ignore[reportArgumentType]


MADE, AGAIN = Answered(b"charge 1", replayed=False), Answered(b"charge 1", replayed=True)
OTHER, OTHER_AGAIN = Answered(b"charge 2", replayed=False), Answered(b"charge 2", replayed=True)

LEGAL_KEYS = {
    "one after the other": [op("a", MADE, 0, 1), op("a", AGAIN, 2, 3), op("b", "reused", 4, 5)],
    "the replay began first": [op("a", AGAIN, 0, 5), op("a", MADE, 1, 4)],
    "the replay ended first": [op("a", MADE, 0, 5), op("a", AGAIN, 1, 2)],
    "one that was never answered made it": [op("a", None, 0), op("a", AGAIN, 2, 3)],
    "one that was never answered did nothing": [
        op("b", None, 0),
        op("a", MADE, 2, 3),
        op("b", "reused", 4, 5),
    ],
    "it took effect after it was given up": [op("b", None, 0), op("b", AGAIN, 5, 6)],
    "still at work": [op("a", None, 0), op("a", "in use", 1, 2), op("a", AGAIN, 3, 4)],
    "a crowd": [op("a", MADE, 0, 100), *(op("a", AGAIN, n / 10, 50 + n) for n in range(1, 99))],
}

ILLEGAL_KEYS = {
    "made twice": [op("a", MADE, 0, 1), op("a", OTHER, 2, 3)],
    "made twice at once": [op("a", MADE, 0, 5), op("a", OTHER, 1, 4)],
    "two answers": [op("a", MADE, 0, 5), op("a", AGAIN, 1, 4), op("a", OTHER_AGAIN, 2, 3)],
    "replayed before it was asked for": [op("a", AGAIN, 0, 1), op("a", MADE, 2, 3)],
    "another's answer": [op("a", MADE, 0, 1), op("b", AGAIN, 2, 3)],
    "refused, though nobody had the key": [op("a", "reused", 0, 1)],
    "refused before another had the key": [op("b", "reused", 0, 1), op("a", MADE, 2, 3)],
    "two took the key": [op("a", MADE, 0, 5), op("b", OTHER, 1, 4)],
    "in use, though nobody had the key": [op("a", "in use", 0, 1), op("a", MADE, 2, 3)],
    "the first was lost, and made again": [op("a", None, 0), op("a", AGAIN, 1, 2), op("a", OTHER, 3, 4)],
    "refused for its own key": [op("a", MADE, 0, 1), op("a", "reused", 2, 3)],
    "one of a crowd": [
        op("a", MADE, 0, 100),
        *(op("a", AGAIN, n / 10, 50 + n) for n in range(1, 99)),
        op("a", OTHER_AGAIN, 5, 6),
    ],
}


def refunded(key: str, amount: int, began: float, ended: float, *, replayed: bool = False) -> Operation:
    return op(Refund(key, amount), Answered(f"refund {key}".encode(), replayed), began, ended)


def refused(key: str, amount: int, left: int, began: float, ended: float) -> Operation:
    return op(Refund(key, amount), TooMuch(left), began, ended)


def lost(key: str, amount: int, began: float) -> Operation:
    return op(Refund(key, amount), None, began)


def seen(sum: int, began: float, ended: float) -> Operation:
    return op(Look(), sum, began, ended)


# Of a charge of 100.
LEGAL_REFUNDS = {
    "to the end": [
        refunded("a", 60, 0, 1),
        refunded("b", 40, 2, 3),
        refused("c", 1, 0, 4, 5),
        seen(100, 6, 7),
    ],
    "one of two": [refunded("a", 60, 0, 5), refused("b", 60, 40, 1, 4), seen(60, 6, 7)],
    "seen before it was answered": [refunded("a", 60, 0, 9), seen(0, 1, 2), seen(60, 3, 4), seen(60, 5, 6)],
    "lost, and went out": [
        lost("a", 60, 0),
        refused("b", 60, 40, 1, 2),
        refunded("a", 60, 3, 4, replayed=True),
    ],
    "lost, and never went out": [lost("a", 60, 0), refunded("b", 60, 1, 2), seen(60, 3, 4)],
    "lost, and went out late": [lost("a", 60, 0), seen(0, 1, 2), seen(60, 3, 4)],
    "the smaller one first": [refunded("a", 30, 0, 9), refunded("b", 70, 0.5, 9), refused("c", 50, 30, 1, 8)],
}

ILLEGAL_REFUNDS = {
    "too much in sum": [refunded("a", 60, 0, 5), refunded("b", 60, 1, 4)],
    "refused too early": [refused("a", 60, 40, 0, 1), refunded("b", 60, 2, 3)],
    "refused what would go": [refunded("a", 10, 0, 1), refused("b", 60, 40, 2, 3)],
    "a wrong rest": [refunded("a", 60, 0, 1), refused("b", 60, 50, 2, 3)],
    "not seen": [refunded("a", 60, 0, 1), seen(0, 2, 3)],
    "seen, and gone again": [refunded("a", 60, 0, 9), seen(60, 1, 2), seen(0, 3, 4)],
    "seen by one only": [refunded("a", 60, 0, 9), refunded("b", 30, 0.5, 9), seen(60, 1, 2), seen(30, 3, 4)],
    "counted twice": [refunded("a", 60, 0, 1), refunded("a", 60, 2, 3, replayed=True), seen(120, 4, 5)],
    "made twice under one key": [refunded("a", 30, 0, 1), refunded("a", 30, 2, 3)],
    "lost, seen, and made again": [lost("a", 30, 0), seen(30, 1, 2), refunded("a", 30, 3, 4)],
    "lost, and refused for itself": [lost("a", 60, 0), seen(60, 1, 2), refused("a", 60, 40, 3, 4)],
}


def is_linearizable(history: Sequence[Operation], model: Model) -> bool:
    try:
        order = order_of(history, model)
    except NotLinearizable:
        return False
    check_order(history, order, model)
    return True


def check_order(history: Sequence[Operation], order: Sequence[Operation], model: Model) -> None:
    """See for oneself that an order explains a history."""
    assert {id(each) for each in history if each.answer is not None} <= {id(each) for each in order}
    state = model.start
    for each in order:
        state = model.after(state, each.asked, each.answer)
        assert state is not None
    assert not any(later.ended < earlier.began for earlier, later in combinations(order, 2))


@pytest.mark.parametrize("name", LEGAL_KEYS)
def test_a_key_may_behave_so(name: str) -> None:
    assert is_linearizable(LEGAL_KEYS[name], Key())


@pytest.mark.parametrize("name", ILLEGAL_KEYS)
def test_a_key_may_not_behave_so(name: str) -> None:
    assert not is_linearizable(ILLEGAL_KEYS[name], Key())


@pytest.mark.parametrize("name", LEGAL_REFUNDS)
def test_refunds_may_be_so(name: str) -> None:
    assert is_linearizable(LEGAL_REFUNDS[name], Refundable(100))


@pytest.mark.parametrize("name", ILLEGAL_REFUNDS)
def test_refunds_may_not_be_so(name: str) -> None:
    assert not is_linearizable(ILLEGAL_REFUNDS[name], Refundable(100))


def by_trying_all(history: Sequence[Operation], model: Model) -> bool:
    """Try every order of every choice of the unanswered, as the definition says."""
    answered = [each for each in history if each.answer is not None]
    unanswered = [each for each in history if each.answer is None]
    for count in range(len(unanswered) + 1):
        for chosen in combinations(unanswered, count):
            for order in permutations([*answered, *chosen]):
                if any(later.ended < earlier.began for earlier, later in combinations(order, 2)):
                    continue
                state = model.start
                for each in order:
                    state = model.after(state, each.asked, each.answer)
                    if state is None:
                        break
                if state is not None:
                    return True
    return False


def anything_of_a_key(chance: random.Random) -> tuple[object, object]:
    return chance.choice("ab"), chance.choice((MADE, AGAIN, AGAIN, OTHER_AGAIN, "reused", "in use", None))


def anything_of_refunds(chance: random.Random) -> tuple[object, object]:
    if chance.random() < 0.3:
        return Look(), chance.choice((0, 30, 60, 90, None))
    key = chance.choice("abc")
    answered = Answered(key.encode(), replayed=chance.random() < 0.3)
    return Refund(key, {"a": 30, "b": 60, "c": 60}[key]), chance.choice(
        (answered, answered, TooMuch(40), None)
    )


@pytest.mark.parametrize("anything", [anything_of_a_key, anything_of_refunds])
def test_it_finds_an_order_exactly_where_there_is_one(anything) -> None:
    found = {True: 0, False: 0}
    for seed in range(600):
        chance = random.Random(seed)
        history: list[Operation] = []
        for _ in range(chance.randint(2, 5)):
            asked, answer = anything(chance)
            began = chance.random()
            history.append(
                op(asked, answer, began, began + chance.random())
                if answer is not None
                else op(asked, None, began)
            )
        model: Model = Key() if anything is anything_of_a_key else Refundable(100)
        expected = by_trying_all(history, model)
        assert is_linearizable(history, model) is expected, history
        found[expected] += 1
    # Both happen often enough to be worth anything.
    assert min(found.values()) > 50, found


def test_what_cannot_be_explained_is_shown_with_what_explains_most_of_it() -> None:
    with pytest.raises(NotLinearizable) as caught:
        order_of([refunded("a", 60, 0, 1), refunded("b", 60, 2, 3)], Refundable(100))
    assert [each.asked for each in caught.value.furthest] == [Refund("a", 60)]
    assert [each.asked for each in caught.value.stuck] == [Refund("b", 60)]
    assert "refund a" in str(caught.value)


def test_a_hundred_operations_that_overlap_are_checked_at_once() -> None:
    history = [refunded(f"r{n}", 1, n / 100, 100 + n / 100) for n in range(100)]
    assert is_linearizable([*history, *(seen(n, n / 100, 99) for n in range(100))], Refundable(100))


def test_a_search_that_has_too_many_orders_ends_and_says_so() -> None:
    history = [refunded(f"r{n}", 1, n / 100, 100 + n / 100) for n in range(20)]
    with pytest.raises(NotLinearizable, match="that were tried"):
        order_of([*history, seen(21, 300, 301)], Refundable(100), max_places=500)
