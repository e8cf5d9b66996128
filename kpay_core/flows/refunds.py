"""Refunds: their amount is set aside before the network is asked, so that no two of them spend the same cents."""

from collections.abc import Mapping

from kpay_core.commit import CommitFailed, Conflict
from kpay_core.domain import happenings, idempotency, looks, postings, refunds
from kpay_core.domain.answers import answer_refund, with_key
from kpay_core.domain.charges import Charge
from kpay_core.domain.errors import Contention, Invalid, Undone
from kpay_core.domain.events import Origin
from kpay_core.domain.idempotency import Answer
from kpay_core.domain.names import prefixed
from kpay_core.domain.pages import Page, read_params
from kpay_core.domain.processing import Outcome, Verdict
from kpay_core.domain.refunds import Refund, RefundListParams, Remedy, Status
from kpay_core.domain.scope import Scope
from kpay_core.flows import once
from kpay_core.flows.asking import ask, processor_of
from kpay_core.flows.durably import Turns, commit
from kpay_core.flows.reading import list_page, own
from kpay_core.flows.recording import record
from kpay_core.ports import Ports

ENDPOINT = "POST /v1/refunds"


async def create_refund(
    ports: Ports,
    scope: Scope,
    body: object,
    *,
    idempotency_key: str | None = None,
    request_id: str | None = None,
) -> Answer:
    """
    Send money of a charge back, and answer with the refund: succeeded, failed, or pending when nobody knows yet.

    Never more than the charge in sum, under any concurrency: each refund first sets its amount aside on the charge.
    Raises `Invalid`, `NotFound` for an unknown charge, `NoProcessor`, `IdempotencyKeyReused`,
    `IdempotencyKeyInUse`, `Contention` and `Undone`; after the last two asking again is safe.
    """
    ticket = once.ticket(ports, scope, ENDPOINT, body, idempotency_key)
    turns = Turns(ports)
    while True:
        entry = await once.enter(ports, ticket, resume)
        if entry.answer:
            return entry.answer
        new = refunds.read_new_refund(body)
        charge = await own(ports, scope, Charge, new.charge)
        now = entry.now
        try:
            refund, moved = refunds.open_refund(
                new,
                charge,
                id=prefixed("re", ports.ids.uuid7(now)),
                idempotency_key=ticket.id if ticket else None,
                now=now,
            )
        except Invalid:
            # What is missing may be what this very request has taken, by another attempt that came in between.
            if await entry.is_overtaken(ports):
                continue
            raise
        processor_of(ports, scope)
        key = entry.claim(subject=refund.id)
        try:
            await record(
                ports,
                *(refund, moved, *([key] if key else [])),
                scope=scope,
                booked=postings.of_new_refund(refund),
            )
        except Conflict:
            await turns.wait()
            continue
        return await _attempt(ports, refund, moved, request_id)


async def _attempt(ports: Ports, refund: Refund, charge: Charge, request_id: str | None) -> Answer:
    """
    Ask the network, and answer by what it says; without an answer the refund is pending.

    What the network has taken, or may have, is looked after also when our own books are out of reach. Where no key
    leads back to it, its sender is told of a pending refund, because an error would invite a second one.
    """
    verdict = await _send(ports, refund)
    may_stand = verdict is None or verdict.outcome in (Outcome.REFUNDED, Outcome.PENDING)
    is_told_anyway = may_stand and refund.idempotency_key is None
    try:
        settled = await _settle(
            ports, refund, verdict or Verdict(Outcome.PENDING), charge=charge, request_id=request_id
        )
    except (CommitFailed, Contention):
        if is_told_anyway:
            return answer_refund(refund)
        raise
    if settled.status is Status.REVERSING and is_told_anyway:
        # It may turn out that it cannot be called back.
        return answer_refund(settled)
    if settled.status is Status.REVERSING or refunds.was_undone(settled):
        raise Undone
    return await once.kept_answer(ports, settled.idempotency_key, subject=settled.id) or answer_refund(
        settled
    )


async def _send(ports: Ports, refund: Refund) -> Verdict | None:
    processor = processor_of(ports, refund.scope)
    return await ask(processor.refund(reference=refund.id, charge=refund.charge, amount=refund.amount))


async def _settle(
    ports: Ports,
    refund: Refund,
    verdict: Verdict,
    *,
    charge: Charge | None = None,
    request_id: str | None = None,
) -> Refund:
    """
    Commit what the network said of a refund, with its charge, its key and its events; return it as it then is.

    Where another was first, or the verdict says nothing new, that is the refund as the other left it. `charge` is its
    charge as it was when the refund was written, where the caller has it at hand.
    """
    origin = Origin(request_id=request_id, idempotency_key=idempotency.given_key(refund.idempotency_key))
    turns = Turns(ports)
    while refunds.moves(refund, verdict):
        if charge is None:
            charge = await own(ports, refund.scope, Charge, refund.charge)
            newest = await own(ports, refund.scope, Refund, refund.id)
            if newest.version != refund.version:
                # Somebody settles it too: what was read of the charge may count it already.
                refund, charge = newest, None
                continue
        key = await once.key_of(ports, refund.idempotency_key, subject=refund.id)
        settled, moved = refunds.settle(refund, charge, verdict)
        told = None if refunds.was_undone(settled) else answer_refund(settled)
        try:
            await record(
                ports,
                *with_key(settled, key, told, now=ports.clock.now()),
                *([moved] if moved else []),
                scope=refund.scope,
                told=happenings.of_refund(refund, settled, moved),
                booked=postings.of_refund(refund, settled),
                origin=origin,
            )
            return settled
        except Conflict:
            await turns.wait()
            refund, charge = await own(ports, refund.scope, Refund, refund.id), None
    return refund


async def resume(ports: Ports, id: str) -> Answer | None:
    """Bring a refund forward if its time has come. There is nothing to tell before it has its answer."""
    await resolve_refund(ports, id)
    return None


async def resolve_refund(ports: Ports, id: str) -> Refund:
    """
    Look at an unfinished refund whose time has come: send it again, or call it back if its request was cut off.

    Safe to call for any refund, by anybody, at any time: the look is leased, the network does a thing once.
    """
    refund = await ports.store.get(Refund, id)
    assert refund is not None, "a refund is never deleted"
    now = ports.clock.now()
    if refund.look_at is None or now < refund.look_at:
        return refund
    leased = looks.lease(refund, now=now)
    try:
        await commit(ports, leased)
        match refunds.remedy(leased):
            case Remedy.SEND:
                verdict = await _send(ports, leased)
            case Remedy.LOOK_UP:
                leased, verdict = await _look_up(ports, leased)
            case Remedy.REVERSE:
                verdict = await _reverse(ports, leased)
    except Conflict:
        return await own(ports, refund.scope, Refund, refund.id)
    return leased if verdict is None else await _settle(ports, leased, verdict)


async def _look_up(ports: Ports, refund: Refund) -> tuple[Refund, Verdict | None]:
    """Ask what became of a refund whose request was cut off, and call back one that never got out."""
    finding = await ask(processor_of(ports, refund.scope).lookup(reference=refund.id))
    if finding is None or not refunds.should_give_up(refund, finding, now=ports.clock.now()):
        return refund, finding
    fenced = refunds.give_up(refund)
    await commit(ports, fenced)
    return fenced, await _reverse(ports, fenced)


async def _reverse(ports: Ports, refund: Refund) -> Verdict | None:
    return await ask(processor_of(ports, refund.scope).reverse(reference=refund.id))


async def get_refund(ports: Ports, scope: Scope, id: str) -> Refund:
    """Return a refund; raises `NotFound`."""
    return await own(ports, scope, Refund, id)


async def list_refunds(ports: Ports, scope: Scope, params: Mapping[str, object]) -> Page[Refund]:
    """
    Return a page of refunds, newest first.

    Takes `limit`, `starting_after`, `ending_before` and `charge` as in a query string. Raises `Invalid`.
    """
    return await list_page(ports, scope, Refund, read_params(RefundListParams, params))
