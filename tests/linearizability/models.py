"""What charges and refunds come to when nothing happens at the same time."""

from typing import Literal, NamedTuple


class Answered(NamedTuple):
    """A final answer: its bytes, and whether it says that it was given before."""

    content: bytes
    replayed: bool


# The key belongs to another request; or to one that has no answer yet.
Refusal = Literal["reused", "in use"]


class Claim(NamedTuple):
    """A key that was taken by a request. Its answer is None as long as nobody has seen it."""

    body: str
    content: bytes | None = None


class Key:
    """An idempotency key: it is claimed once, keeps one answer for ever, and gives it to whoever asks the same."""

    start: Claim | None = Claim("")

    def after(self, state: Claim | None, asked: object, answer: object) -> Claim | None:
        assert state is not None
        assert isinstance(asked, str)
        if state == Key.start:
            return self._claimed(asked, answer)
        if asked != state.body:
            return state if answer in (None, "reused") else None
        if answer in (None, "in use"):
            return state
        if not isinstance(answer, Answered) or not answer.replayed:
            return None
        return state._replace(content=answer.content) if state.content in (None, answer.content) else None

    def _claimed(self, body: str, answer: object) -> Claim | None:
        if answer is None:
            return Claim(body)
        if isinstance(answer, Answered) and not answer.replayed:
            return Claim(body, answer.content)
        return None


class Refund(NamedTuple):
    """A refund of an amount that is asked for under a key."""

    key: str
    amount: int


class Look(NamedTuple):
    """A look at the charge, which shows all its refunds. It is answered with their sum."""


class TooMuch(NamedTuple):
    """A refund is refused, because no more than this is left."""

    left: int


class Balance(NamedTuple):
    """What is left of a charge, and the refunds that were made, each with its answer where somebody has seen it."""

    left: int
    made: frozenset[tuple[Refund, bytes | None]] = frozenset()


class Refundable:
    """A charge: its refunds never exceed it, and each key of them is a `Key`."""

    def __init__(self, amount: int) -> None:
        self.start = Balance(amount)
        self._amount = amount

    def after(self, state: Balance, asked: object, answer: object) -> Balance | None:
        if isinstance(asked, Look):
            return state if answer in (None, self._amount - state.left) else None
        assert isinstance(asked, Refund)
        made = next((each for each in state.made if each[0].key == asked.key), None)
        if made is None:
            return self._refunded(state, asked, answer)
        return self._again(state, made, answer)

    def _refunded(self, state: Balance, refund: Refund, answer: object) -> Balance | None:
        if isinstance(answer, TooMuch):
            return state if refund.amount > state.left == answer.left else None
        if answer is not None and (not isinstance(answer, Answered) or answer.replayed):
            return None
        if refund.amount > state.left:
            return None
        content = answer.content if isinstance(answer, Answered) else None
        return Balance(state.left - refund.amount, state.made | {(refund, content)})

    def _again(self, state: Balance, made: tuple[Refund, bytes | None], answer: object) -> Balance | None:
        if answer in (None, "in use"):
            return state
        if not isinstance(answer, Answered) or not answer.replayed or made[1] not in (None, answer.content):
            return None
        return Balance(state.left, state.made - {made} | {(made[0], answer.content)})
