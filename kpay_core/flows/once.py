"""The gate before a request that carries an idempotency key (contract, section 4)."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from kpay_core.commit import Record
from kpay_core.domain import idempotency
from kpay_core.domain.errors import IdempotencyKeyInUse
from kpay_core.domain.idempotency import Answer, IdempotencyKey, State, Ticket
from kpay_core.domain.looks import LOOK_AGAIN
from kpay_core.domain.scope import Scope
from kpay_core.ports import Ports

# The first request usually answers within milliseconds; a slow one is not asked for more than four times a second.
FIRST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.25

# Brings the subject of a key forward if its time has come, and tells what its sender may be told meanwhile:
# an answer, or None while somebody is at work on it.
Resume = Callable[[Ports, str], Awaitable[Answer | None]]


class Entry:
    """
    A request's way through the gate: the answer to replay, or the claim to write down with the work.

    `now` is the moment at which it was let in. What it makes is of that moment, so that a key which was open then is
    not taken before it was, whatever the clock shows by the time of the claim.
    """

    def __init__(
        self, ticket: Ticket | None, held: IdempotencyKey | None, answer: Answer | None, now: datetime
    ) -> None:
        self.ticket = ticket
        self.held = held
        self.answer = answer
        self.now = now

    def claim(self, *, subject: str) -> IdempotencyKey | None:
        """Return the record that claims the key for `subject`; None for a request without a key."""
        if self.ticket is None:
            return None
        return idempotency.claim(self.held, self.ticket, subject=subject, now=self.now)

    async def is_overtaken(self, ports: Ports) -> bool:
        """Tell whether another attempt of the same request has come in since."""
        if self.ticket is None:
            return False
        return await ports.store.get(IdempotencyKey, self.ticket.id) != self.held


def ticket(ports: Ports, scope: Scope, endpoint: str, body: object, key: str | None) -> Ticket | None:
    """Recognise a request by its key, its endpoint and a keyed fingerprint of its body."""
    if key is None:
        return None
    return Ticket(
        id=idempotency.key_id(scope, idempotency.check_key(key)),
        endpoint=endpoint,
        fingerprint=ports.keyring.mac("idempotency", idempotency.canonical(body)),
    )


async def enter(ports: Ports, ticket: Ticket | None, resume: Resume) -> Entry:
    """
    Look a key up: replay its answer, wait for whoever works on it, or let the request in.

    Letting in reserves nothing. The claim is committed with the work, and the second of two claims conflicts.
    Raises `IdempotencyKeyReused`, and `IdempotencyKeyInUse` after ten seconds of waiting; later where it is this
    request that asks the network meanwhile.
    """
    now = ports.clock.now()
    if ticket is None:
        return Entry(None, None, None, now)
    # Not by the time of day, which may be turned back meanwhile.
    deadline = ports.clock.monotonic() + idempotency.WAIT_SECONDS
    pause_seconds = FIRST_PAUSE_SECONDS
    while True:
        held = ports.remembered.answers.find(ticket.id, now=now)
        if held is None:
            held = await ports.store.get(IdempotencyKey, ticket.id)
        now = ports.clock.now()
        if held is None or idempotency.is_open(held, ticket, now=now):
            return Entry(ticket, held, None, now)
        if held.state is State.ANSWERED:
            remember(ports, held)
            return Entry(ticket, held, idempotency.again(idempotency.kept(held)), now)
        if ports.clock.monotonic() >= deadline:
            raise IdempotencyKeyInUse
        # The subject is not looked at while its first attempt may be a moment from its answer.
        if held.state is State.ACCEPTED or now >= held.first_used_at + LOOK_AGAIN[0]:
            answer = await resume(ports, held.subject)
            if answer is not None:
                return Entry(ticket, held, answer, now)
        await ports.clock.sleep(pause_seconds)
        pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)


def remember(ports: Ports, *committed: Record) -> None:
    """Keep in mind the keys among some records that have their answer."""
    for record in committed:
        if isinstance(record, IdempotencyKey) and record.state is State.ANSWERED:
            ports.remembered.answers.keep(record)


async def key_of(ports: Ports, id: str | None, *, subject: str) -> IdempotencyKey | None:
    """Return the key that leads to an unfinished subject; None when it has none, or not any more."""
    if id is None:
        return None
    key = await ports.store.get(IdempotencyKey, id)
    if key is None or key.subject != subject or key.state not in (State.WORKING, State.ACCEPTED):
        return None
    return key


async def kept_answer(ports: Ports, id: str | None, *, subject: str) -> Answer | None:
    """Return the answer that a key keeps for a subject which another finished, if it has a key and an answer."""
    if id is None:
        return None
    key = await ports.store.get(IdempotencyKey, id)
    if key is None or key.subject != subject or key.state is not State.ANSWERED:
        return None
    return idempotency.kept(key)
