"""
What is said between a sandbox that is a process of its own and those who ask it: JSON over HTTP, a path a question.

    POST /lookup {"reference": "…"}  ──▶  200 {"outcome": "captured", "code": null, "at_once": false}
                                          504 when there is no answer

The questions are those of the ports, with their words; and one more, for the time.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from kpay_core.domain.cards import Card


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is asked. Its fields are what the port's method of the same name takes."""

    @classmethod
    def path(cls) -> str:
        return cls.__name__.lower()


class Authorise(Question, frozen=True, kw_only=True):
    reference: str
    amount: int
    currency: str
    card: Card


class Refund(Question, frozen=True, kw_only=True):
    reference: str
    charge: str
    amount: int


class Lookup(Question, frozen=True, kw_only=True):
    reference: str


class Reverse(Question, frozen=True, kw_only=True):
    reference: str


class Dispute(Question, frozen=True, kw_only=True):
    dispute: str
    evidence: str


class Mail(Question, frozen=True, kw_only=True):
    limit: int


class Acknowledge(Question, frozen=True, kw_only=True):
    news: tuple[str, ...]


class Testify(Question, frozen=True, kw_only=True):
    after: str
    limit: int


class Send(Question, frozen=True, kw_only=True):
    """Asked of the bank; all others but the time are asked of the network, or of both."""

    reference: str
    amount: int
    currency: str
    account: str

    def __repr__(self) -> str:
        return f"<Send {self.reference}>"


class Turn(Question, frozen=True, kw_only=True):
    """Turns the time of the sandbox forward `to` a moment, or only asks how far it was turned."""

    to: datetime | None = None


class Turned(msgspec.Struct, frozen=True, kw_only=True):
    """How much later than the machine's the time of the sandbox is."""

    milliseconds: int


QUESTIONS: Mapping[str, type[Question]] = {
    kind.path(): kind
    for kind in (Authorise, Refund, Lookup, Reverse, Dispute, Mail, Acknowledge, Testify, Send, Turn)
}
