"""
Is there an order in which one after the other could have had these answers?

Operations overlap. What ended before another began comes before it; otherwise any order will do, as long as a model
that does one thing at a time allows every answer. An operation of which no answer came may have taken effect at any
time after it began, or never. The search is Wing and Gong's (1993), and remembers what it tried, as Lowe's (2017) does.

Objects that share nothing are checked one by one: a history is linearizable exactly if that of each object is.
"""

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

State = TypeVar("State", bound=Hashable)

# A few seconds' work. Histories of ours take some hundred; more means that none of many overlapping orders fits.
MAX_PLACES = 10_000


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked, and when; and what was answered, and when. Without an answer it never ended."""

    asked: Hashable
    answer: Hashable = None
    began: float
    ended: float = math.inf

    def __post_init__(self) -> None:
        assert self.began < self.ended
        assert (self.answer is None) == math.isinf(self.ended)


class Model(Protocol[State]):
    """An object that does one thing after the other."""

    start: State

    def after(self, state: State, asked: Hashable, answer: Hashable) -> State | None:
        """
        Return the state after an operation, or None where it cannot be answered like that.

        Without an answer, return the state in which it has taken effect, as far as that is known by now.
        """
        ...


class NotLinearizable(AssertionError):
    """
    No order was found that explains all answers. `furthest` explains most of them, and `stuck` could come next.

    Of all orders, unless it says that these were too many.
    """

    def __init__(
        self, furthest: Sequence[Operation], stuck: Sequence[Operation], state: Hashable, *, tried_all: bool
    ) -> None:
        begin = (
            "no order explains this:" if tried_all else "none of the orders that were tried explains this:"
        )
        lines = [begin, *map(repr, furthest), f"leaves {state!r}, and then none of:"]
        super().__init__("\n".join([*lines, *map(repr, stuck)]))
        self.furthest = furthest
        self.stuck = stuck


class _Place(msgspec.Struct, Generic[State]):
    """A point in the search: what is done, in which order and state it led to, and what is still to try from here."""

    done: int
    state: State
    order: tuple[Operation, ...]


def order_of(
    history: Iterable[Operation], model: Model[State], *, max_places: int = MAX_PLACES
) -> Sequence[Operation]:
    """
    Return an order that explains the history of one object, or raise `NotLinearizable`.

    Takes time that grows with the number of operations, and in the worst case exponentially with how many overlap
    that change the object. Those that change nothing are taken as soon as they fit, which loses no order.
    """
    operations = sorted(history, key=lambda each: each.began)
    answered = sum(1 << n for n, each in enumerate(operations) if each.answer is not None)
    places = [_Place(0, model.start, ())]
    seen: set[tuple[int, State]] = set()
    furthest = places[0]
    while places and len(seen) < max_places:
        place = _absorb(operations, model, places.pop())
        if place.done & answered == answered:
            return place.order
        if (place.done, place.state) in seen:
            continue
        seen.add((place.done, place.state))
        if len(place.order) > len(furthest.order):
            furthest = place
        # The first to begin is tried first: most often it was.
        for n in reversed(_next(operations, place.done)):
            state = model.after(place.state, operations[n].asked, operations[n].answer)
            if state is not None and state != place.state:
                places.append(_Place(place.done | 1 << n, state, (*place.order, operations[n])))
    stuck = [operations[n] for n in _next(operations, furthest.done)]
    raise NotLinearizable(furthest.order, stuck, furthest.state, tried_all=not places)


def _absorb(operations: Sequence[Operation], model: Model[State], place: _Place[State]) -> _Place[State]:
    """
    Take all that may come next, is answered as it should be, and changes nothing.

    Any order in which such a one comes later stays one when it comes now: the state is the same for all between.
    """
    done, order = place.done, place.order
    while True:
        taken = [
            n
            for n in _next(operations, done)
            if operations[n].answer is not None
            and model.after(place.state, operations[n].asked, operations[n].answer) == place.state
        ]
        if not taken:
            return _Place(done, place.state, order)
        done |= sum(1 << n for n in taken)
        order = (*order, *(operations[n] for n in taken))


def _next(operations: Sequence[Operation], done: int) -> list[int]:
    """List the operations that may come next: those that began before any other that is left has ended."""
    found: list[int] = []
    first_end = math.inf
    for n, each in enumerate(operations):
        if done >> n & 1:
            continue
        if each.began > first_end:
            break
        found.append(n)
        first_end = min(first_end, each.ended)
    return found
