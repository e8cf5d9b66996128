"""State machines as tables: (state, input) to state. What the table does not list is one typed error."""

from collections.abc import Mapping
from typing import TypeVar

S = TypeVar("S")
I = TypeVar("I")


class IllegalTransition(Exception):
    """A state was given an input that its table does not know; nothing changed."""

    def __init__(self, state: object, input: object) -> None:
        super().__init__(f"{state} takes no {input}")
        self.state = state
        self.input = input


def step(table: Mapping[tuple[S, I], S], state: S, input: I) -> S:
    """Return the state that follows, or raise `IllegalTransition`."""
    try:
        return table[state, input]
    except KeyError:
        raise IllegalTransition(state, input) from None
