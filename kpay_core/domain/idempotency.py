"""
Idempotency keys (contract, section 4): one request, one effect, one answer, however often it is sent.

    (never used) ──claim──▶ working ──accept──▶ accepted
        free ─────claim──▶   │  │                │   │
          ▲                  │  └──answer──┐     │   │
          └────release───────┴─────────────│─────┘   │ answer
          ▲                                ▼         ▼
          └───────── claim after 24 h ── answered ◀──┘

A key is claimed in the commit that opens its charge or refund (its subject), and moves on only in commits that move
the subject. So a key needs no lease of its own: whoever finishes or undoes the subject, finishes or frees the key.
"""

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import cast

import msgspec

from kpay_core.commit import Record, bump
from kpay_core.domain.errors import IdempotencyKeyReused, Invalid
from kpay_core.domain.machine import step
from kpay_core.domain.scope import Scope

# The public document: "remembered for 24 hours".
LIFE = timedelta(hours=24)

# An answer that comes later than this after the first use finds nobody waiting for it.
LATE = timedelta(minutes=1)

# How long a second request waits for the first one's answer before it is told to come back.
WAIT_SECONDS = 10.0

MAX_KEY_LENGTH = 255

# How a whole number is written that is a float of 1e16 or more. A text may hold it, too.
_EXPONENT = re.compile(b"[0-9]e[0-9]")


class State(StrEnum):
    WORKING = "working"
    ACCEPTED = "accepted"
    ANSWERED = "answered"
    FREE = "free"


class Step(StrEnum):
    CLAIM = "claim"
    ACCEPT = "accept"
    ANSWER = "answer"
    RELEASE = "release"


TRANSITIONS = {
    (State.FREE, Step.CLAIM): State.WORKING,
    (State.ANSWERED, Step.CLAIM): State.WORKING,
    (State.WORKING, Step.ACCEPT): State.ACCEPTED,
    (State.WORKING, Step.ANSWER): State.ANSWERED,
    (State.ACCEPTED, Step.ANSWER): State.ANSWERED,
    (State.WORKING, Step.RELEASE): State.FREE,
    (State.ACCEPTED, Step.RELEASE): State.FREE,
}


class Outcome(StrEnum):
    """How a request ended. Only created and declined are final; accepted means that the outcome will follow."""

    CREATED = "created"
    DECLINED = "declined"
    ACCEPTED = "accepted"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a mutating request is answered: the outcome and the exact body, the same bytes at every replay."""

    outcome: Outcome
    body: str
    replayed: bool = False

    @property
    def value(self) -> dict[str, object]:
        """The body, decoded."""
        return msgspec.json.decode(self.body, type=dict[str, object])


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """A request that carries a key. The body itself is never kept, only its keyed fingerprint."""

    id: str
    endpoint: str
    fingerprint: str


class IdempotencyKey(Record, frozen=True, kw_only=True):
    """
    What is remembered of a key: whose request it was, what it works on, and its final answer.

    It is remembered for 24 hours from its first use, or from when its answer came, if that was late: whoever was told
    to come back has a day to do so, however long the network was silent.
    """

    version: int = 1
    endpoint: str
    fingerprint: str
    state: State
    subject: str
    outcome: Outcome | None = None
    answer: str | None = None
    first_used_at: datetime
    answered_late_at: datetime | None = None

    @property
    def open_at(self) -> datetime:
        """When an answered key may be used anew."""
        return max(self.first_used_at, self.answered_late_at or self.first_used_at) + LIFE


def key_id(scope: Scope, key: str) -> str:
    """Name a key within its merchant and mode, never within an API key: rotation in mid-retry must not matter."""
    return f"{scope.merchant}/{scope.mode}/{key}"


def given_key(id: str | None) -> str | None:
    """Return the key as its merchant gave it, which may hold any character that separates a name's parts."""
    return None if id is None else id.split("/", 2)[2]


def check_key(key: str) -> str:
    """Return a usable key, or raise `Invalid`: 1 to 255 printable ASCII characters."""
    if not (1 <= len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable()):
        raise Invalid({"Idempotency-Key": [f"1 to {MAX_KEY_LENGTH} printable ASCII characters"]})
    return key


def canonical(body: object) -> bytes:
    """
    Write a request's JSON in one way, without the cvc, which must not be kept even as a hash.

    A null is as good as nothing, and 50.0 as 50 (contract, section 1): who writes his JSON with another library when he
    asks again asks for the same.
    """
    if isinstance(body, dict):
        request = cast(dict[str, object], body)
        source = request.get("source")
        if isinstance(source, dict):
            kept = {name: value for name, value in cast(dict[str, object], source).items() if name != "cvc"}
            body = {**request, "source": kept}
    written = msgspec.json.encode(body, order="deterministic")
    # Few hold either, and a walk costs more than all the rest.
    if b":null" in written or b".0" in written or _EXPONENT.search(written):
        written = msgspec.json.encode(_meant(cast(object, body)), order="deterministic")
    return written


def _meant(value: object) -> object:
    """Leave out what is null, and write whole numbers as integers."""
    match value:
        case dict():
            request = cast(dict[str, object], value)
            return {name: _meant(inner) for name, inner in request.items() if inner is not None}
        case list():
            return [_meant(inner) for inner in cast(list[object], value)]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value


def is_open(held: IdempotencyKey | None, ticket: Ticket, *, now: datetime) -> bool:
    """
    Tell whether the ticket may claim its key: never used, freed, or no longer remembered.

    A key whose subject is unfinished does not expire. Raises `IdempotencyKeyReused` for another request's key.
    """
    if held is None:
        return True
    expired = held.state is State.ANSWERED and now >= held.open_at
    if held.state is State.FREE or expired:
        return True
    if (held.endpoint, held.fingerprint) != (ticket.endpoint, ticket.fingerprint):
        raise IdempotencyKeyReused
    return False


def claim(held: IdempotencyKey | None, ticket: Ticket, *, subject: str, now: datetime) -> IdempotencyKey:
    """Take an open key for a subject. One that expired or was freed is taken at its next version, as if it were new."""
    if held is None:
        return IdempotencyKey(
            id=ticket.id,
            endpoint=ticket.endpoint,
            fingerprint=ticket.fingerprint,
            state=State.WORKING,
            subject=subject,
            first_used_at=now,
        )
    return bump(
        held,
        endpoint=ticket.endpoint,
        fingerprint=ticket.fingerprint,
        state=step(TRANSITIONS, held.state, Step.CLAIM),
        subject=subject,
        outcome=None,
        answer=None,
        # Also where the key was freed: what is remembered for 24 hours is the request that took effect.
        first_used_at=now,
        answered_late_at=None,
    )


def accept(key: IdempotencyKey) -> IdempotencyKey:
    """Note that the caller was told to come back for the outcome."""
    return key if key.state is State.ACCEPTED else bump(key, state=step(TRANSITIONS, key.state, Step.ACCEPT))


def answer(key: IdempotencyKey, final: Answer, *, now: datetime) -> IdempotencyKey:
    """Keep the final answer."""
    return bump(
        key,
        state=step(TRANSITIONS, key.state, Step.ANSWER),
        outcome=final.outcome,
        answer=final.body,
        answered_late_at=now if now >= key.first_used_at + LATE else None,
    )


def release(key: IdempotencyKey) -> IdempotencyKey:
    """Free the key: its subject was undone, so the request may be tried anew."""
    return bump(key, state=step(TRANSITIONS, key.state, Step.RELEASE))


def kept(key: IdempotencyKey) -> Answer:
    """Return the answer that an answered key keeps."""
    assert key.outcome is not None and key.answer is not None, "only an answered key keeps an answer"
    return Answer(outcome=key.outcome, body=key.answer)


def again(given: Answer) -> Answer:
    """Mark an answer as one that was given before."""
    return msgspec.structs.replace(given, replayed=True)
