"""
The choices of a run: drawn by chance from a seed, or taken from a history.

A history is the choices of each step, as numbers. It can be repeated, and made shorter: a choice that is missing is 0,
which is always the plainest, and one that is too large is taken modulo what there is to choose from.
"""

import random
from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar

import msgspec

T = TypeVar("T")

# What a step chose, in order.
Step = list[int]
History = list[Step]


class Weights(msgspec.Struct, frozen=True):
    """How likely each of several choices is, as sums that end in 1."""

    sums: tuple[float, ...]

    @staticmethod
    def of(weights: Sequence[float]) -> "Weights":
        total = sum(weights)
        return Weights(tuple(part / total for part in accumulate(weights)))


class Draws:
    """Choices by chance, noted down."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.history: History = []
        self._step: Step = []
        self._chance = self.random.random

    def begin_step(self) -> bool:
        """Begin a step of the history; False where there are no more."""
        self._step = []
        self.history.append(self._step)
        return True

    def below(self, many: int) -> int:
        """Choose one of so many, all as likely."""
        chosen = int(self._chance() * many)
        self._step.append(chosen)
        return chosen

    def weigh(self, weights: Weights) -> int:
        """Choose one of several, by what each weighs."""
        chosen = bisect(weights.sums, self._chance(), 0, len(weights.sums) - 1)
        self._step.append(chosen)
        return chosen

    def one_of(self, choices: Sequence[T]) -> T:
        """Choose one of these."""
        return choices[self.below(len(choices))]


class Repeated(Draws):
    """Choices as a history has them."""

    def __init__(self, history: History) -> None:
        super().__init__(0)
        self._steps = history
        self._left: list[int] = []

    def begin_step(self) -> bool:
        number = len(self.history)
        if number == len(self._steps):
            return False
        self._left = self._steps[number][::-1]
        return super().begin_step()

    def below(self, many: int) -> int:
        chosen = self._left.pop() % many if self._left else 0
        self._step.append(chosen)
        return chosen

    def weigh(self, weights: Weights) -> int:
        return self.below(len(weights.sums))


def write(history: History) -> str:
    """Write a history as text: steps are parted by points, their choices by dashes."""
    return ".".join("-".join(map(str, step)) for step in history)


def read(text: str) -> History:
    """Read a history that `write` wrote; raises `ValueError`."""
    return [[int(choice) for choice in step.split("-")] if step else [] for step in text.split(".")]
