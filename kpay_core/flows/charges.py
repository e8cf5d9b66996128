"""Charges: the intent is committed, the network is asked with nothing open, the outcome is committed."""

from collections.abc import Mapping, Sequence

from kpay_core.commit import CommitFailed, Conflict, Unknown
from kpay_core.domain import charges, happenings, idempotency, ledger, looks, postings
from kpay_core.domain.answers import accept_charge, answer_charge, with_key
from kpay_core.domain.cards import Card
from kpay_core.domain.charges import Charge, ChargeListParams, Status
from kpay_core.domain.errors import Contention
from kpay_core.domain.events import Origin
from kpay_core.domain.idempotency import Answer, IdempotencyKey
from kpay_core.domain.ledger import Book
from kpay_core.domain.pages import Page, read_params
from kpay_core.domain.processing import Outcome, Verdict
from kpay_core.domain.refunds import Refund
from kpay_core.domain.scope import Scope
from kpay_core.flows import once
from kpay_core.flows.asking import ask, processor_of, takes_test_cards
from kpay_core.flows.booking import book_of
from kpay_core.flows.durably import Turns, commit
from kpay_core.flows.reading import list_page, own
from kpay_core.flows.recording import record
from kpay_core.ports import Ports, Processor
from kpay_core.query import Query

ENDPOINT = "POST /v1/charges"

DECISIVE = (Outcome.CAPTURED, Outcome.DECLINED, Outcome.REVERSED)

# Refunds shown with their charge, the newest. Real charges have a handful.
MANY_REFUNDS = 10_000


async def create_charge(
    ports: Ports,
    scope: Scope,
    body: object,
    *,
    idempotency_key: str | None = None,
    request_id: str | None = None,
) -> Answer:
    """
    Charge a card once, and answer what became of it: created, declined, or accepted when nobody knows yet.

    `body` is the decoded JSON of the public document. With a key the same request may be sent any number of times,
    at once and over several processes: one charge, one authorisation, one answer (contract, section 4).
    `request_id` is what the charge's event says of its request.
    Raises `Invalid`, `NotFound` for a merchant who never applied, `NoProcessor`, `IdempotencyKeyReused`,
    `IdempotencyKeyInUse`, `Contention` and `Undone`; after the last two, and after an `Unknown` or `Unavailable` store,
    asking again is safe.
    """
    ticket = once.ticket(ports, scope, ENDPOINT, body, idempotency_key)
    turns = Turns(ports)
    while True:
        entry = await once.enter(ports, ticket, resume)
        if entry.answer:
            return entry.answer
        now = entry.now
        new = charges.read_new_charge(body, now=now)
        processor = processor_of(ports, scope)
        book = await book_of(ports, scope)
        charge = charges.open_charge(
            new,
            id=ports.ids.uuid7(now),
            scope=scope,
            fingerprint=ports.keyring.mac(f"card/{scope.merchant}", new.source.number.encode()),
            fee=ledger.fee(book, new.amount),
            idempotency_key=ticket.id if ticket else None,
            now=now,
        )
        key = entry.claim(subject=charge.id)
        try:
            await commit(ports, charge, *([key] if key else []))
        except Conflict:
            await turns.wait()
            continue
        origin = Origin(request_id=request_id, idempotency_key=idempotency_key)
        return await _attempt(ports, processor, new.source, charge, key, origin, book)


async def _attempt(
    ports: Ports,
    processor: Processor,
    card: Card,
    charge: Charge,
    key: IdempotencyKey | None,
    origin: Origin,
    book: Book | None,
) -> Answer:
    """Ask the network once, with the card in hand. Nobody else can: the card is kept nowhere."""
    verdict = None if takes_test_cards(processor) else charges.decline_test_card(charge, card)
    verdict = verdict or await ask(
        processor.authorise(reference=charge.id, amount=charge.amount, currency=charge.currency, card=card)
    )
    if verdict is None:
        verdict = await ask(processor.lookup(reference=charge.id))
    turns = Turns(ports)
    is_keyless = charge.idempotency_key is None
    # Whether its outcome is promised, or perhaps is.
    may_stand = False
    try:
        while True:
            known = verdict is not None and verdict.outcome in DECISIVE
            moved = charges.settle(charge, verdict) if verdict and known else charges.promise(charge)
            try:
                return await _answer(ports, moved, key, origin, book)
            except (Conflict, Unknown) as failure:
                may_stand = charge.told or moved.status is not Status.FAILED
                if isinstance(failure, Unknown):
                    raise
            await turns.wait()
            charge, book = await _newest(ports, charge), None
            may_stand = charge.told
            if charge.status is not Status.PROCESSING:
                # The resolver was first: answer by what it put on the key, else by what the charge has become.
                kept = await once.kept_answer(ports, charge.idempotency_key, subject=charge.id)
                return kept or answer_charge(charge)
            if charge.told and not known:
                # The promise had been written when the connection was lost, and the sweeper has looked since.
                return answer_charge(charge)
            key = await _key_of(ports, charge)
    except (CommitFailed, Contention):
        if is_keyless and may_stand:
            # No key leads back to it: an error would invite a second charge.
            return answer_charge(charge)
        raise


async def _answer(
    ports: Ports, moved: Charge, key: IdempotencyKey | None, origin: Origin, book: Book | None
) -> Answer:
    """Record a charge that moved, with its answer on its key; raises `Undone` after an undoing."""
    told = None if charges.was_undone(moved) else answer_charge(moved)
    await _record(ports, moved, key, told, origin, book)
    return told or answer_charge(moved)


async def _record(
    ports: Ports,
    moved: Charge,
    key: IdempotencyKey | None,
    told: Answer | None,
    origin: Origin,
    book: Book | None = None,
) -> None:
    """Record a charge that moved, and what its key keeps."""
    await record(
        ports,
        *with_key(moved, key, told, now=ports.clock.now()),
        scope=moved.scope,
        told=happenings.of_charge(moved),
        booked=postings.of_charge(moved),
        origin=origin,
        book=book,
    )


async def resume(ports: Ports, id: str) -> Answer | None:
    """Bring a charge forward if its time has come; its sender may be told of one that was accepted."""
    charge = await resolve_charge(ports, id)
    if charge.told and not looks.is_settled(charge):
        return idempotency.again(accept_charge(charge))
    return None


async def resolve_charge(ports: Ports, id: str) -> Charge:
    """
    Look at an unfinished charge whose time has come, and finish or undo it by what the network knows.

    Safe to call for any charge, by anybody, at any time: the look is leased, and every step conflicts with every
    other. Never fails a charge on a guess (contract, section 4).
    """
    charge = await ports.store.get(Charge, id)
    assert charge is not None, "a charge is never deleted"
    now = ports.clock.now()
    if charge.look_at is None or now < charge.look_at:
        return charge
    leased = looks.lease(charge, now=now)
    try:
        await commit(ports, leased)
        if leased.status is Status.PROCESSING:
            leased = await _conclude(ports, leased)
        if leased.status is Status.REVERSING:
            leased = await _undo(ports, leased)
        return leased
    except Conflict:
        return await _newest(ports, charge)


async def _conclude(ports: Ports, charge: Charge) -> Charge:
    """Ask what became of a charge, and draw the consequence if there is one."""
    processor = processor_of(ports, charge.scope)
    finding = await ask(processor.lookup(reference=charge.id))
    if finding is None:
        return charge
    moved = charges.conclude(charge, finding, now=ports.clock.now())
    if moved is None:
        return charge
    if moved.status is Status.REVERSING:
        await commit(ports, moved)
        return moved
    return await _close(ports, moved)


async def _undo(ports: Ports, charge: Charge) -> Charge:
    """Undo at the network what was given up; the fence is durable by now."""
    processor = processor_of(ports, charge.scope)
    verdict = await ask(processor.reverse(reference=charge.id))
    if verdict is None or verdict.outcome is not Outcome.REVERSED:
        return charge
    return await _close(ports, charges.settle(charge, Verdict(Outcome.REVERSED)))


async def _close(ports: Ports, settled: Charge) -> Charge:
    """Commit an outcome that the sender did not wait for."""
    told = None if charges.was_undone(settled) else answer_charge(settled)
    origin = Origin(idempotency_key=idempotency.given_key(settled.idempotency_key))
    await _record(ports, settled, await _key_of(ports, settled), told, origin)
    return settled


async def _key_of(ports: Ports, charge: Charge) -> IdempotencyKey | None:
    return await once.key_of(ports, charge.idempotency_key, subject=charge.id)


async def _newest(ports: Ports, charge: Charge) -> Charge:
    newest = await ports.store.get(Charge, charge.id)
    assert newest is not None, "a charge is never deleted"
    return newest


async def get_charge(ports: Ports, scope: Scope, id: str) -> tuple[Charge, Sequence[Refund]]:
    """
    Return a charge with its refunds, newest first, both as of one moment; raises `NotFound`.

    Of more than 10,000 refunds these are the newest; `list_refunds` has all.
    """
    charge = await own(ports, scope, Charge, id)
    turns = Turns(ports)
    while charge.refunds:
        its_refunds = await ports.store.find(
            Query(kind=Refund, where=(("charge", "=", id),), descending=True, limit=MANY_REFUNDS)
        )
        # Whatever a merchant sees of a refund changes together with its charge: while the charge has not moved,
        # what was read beside it is of the same moment.
        before, charge = charge, await own(ports, scope, Charge, id)
        if charge.version == before.version:
            return charge, its_refunds
        await turns.wait()
    return charge, ()


async def list_charges(ports: Ports, scope: Scope, params: Mapping[str, object]) -> Page[Charge]:
    """
    Return a page of charges, newest first.

    Takes `limit`, `starting_after`, `ending_before`, `status` and `created_at[gt|gte|lt|lte]` as in a query string.
    Raises `Invalid` with every error.
    """
    return await list_page(ports, scope, Charge, read_params(ChargeListParams, params))
