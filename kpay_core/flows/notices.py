"""News of the network: each is kept, together with all that it changes here, before it is acknowledged."""

from datetime import datetime
from typing import TypeVar, cast

import msgspec

from kpay_core.commit import CommitFailed, Conflict, Rejected, Unavailable, Unknown, bump
from kpay_core.domain import disputes, happenings, idempotency, looks, notices, postings, refunds
from kpay_core.domain.charges import Charge
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.errors import KpayError, NotFound
from kpay_core.domain.events import Origin
from kpay_core.domain.ledger import Kind, Transfer
from kpay_core.domain.names import prefixed
from kpay_core.domain.news import News, NewsKind
from kpay_core.domain.notices import Decision, Finding, Held, Notice, Status
from kpay_core.domain.processing import Outcome, Verdict
from kpay_core.domain.refunds import Refund
from kpay_core.domain.scope import Mode
from kpay_core.flows.asking import ask, processor_of
from kpay_core.flows.durably import Turns, commit
from kpay_core.flows.recording import record
from kpay_core.ports import NoAnswer, Ports
from kpay_core.query import Condition, Query

S = TypeVar("S", Charge, Refund)

# News taken in one round of one mode; what is left comes with the next.
ROUND = 100

REFUSED = notices.wait("what it means is refused by the books")


class Collected(msgspec.Struct, kw_only=True):
    """
    What a round of collecting did: how many pieces of news it took in that were new, and which contradict.

    `next_at` is when there will be more, where a network says so.
    """

    taken: int = 0
    contradicting: list[str] = msgspec.field(default_factory=list[str])
    next_at: datetime | None = None

    def note(self, notice: Notice) -> None:
        """Count one that was kept; what came again was counted before."""
        if notice.told == 1:
            self.taken += 1
            if notice.status is Status.CONTRADICTING:
                self.contradicting.append(notice.id)


async def collect(ports: Ports) -> Collected:
    """
    Take in the news of every mode's network, up to 100 each, and acknowledge those that are durable here.

    A network that does not answer, and news that cannot be kept now, hold nobody else up: they come again. Any number
    may collect at once; what several take in is kept once.
    """
    collected = Collected()
    for mode, processor in ports.processors.items():
        try:
            mail = await processor.mail(limit=ROUND)
            kept = await _take_all(ports, cast(Mode, mode), mail.news, collected)
            if kept:
                await processor.acknowledge(news=kept)
        except NoAnswer:
            continue
        if mail.next_at is not None:
            collected.next_at = min(collected.next_at or mail.next_at, mail.next_at)
    return collected


async def _take_all(ports: Ports, mode: Mode, mail: tuple[News, ...], collected: Collected) -> list[str]:
    """Take in news one by one, and return the ids of those that are durable; a store that is away ends it."""
    kept: list[str] = []
    for news in mail:
        try:
            collected.note(await take(ports, mode, news))
            kept.append(news.id)
        except (Unknown, Unavailable):
            break
        except (CommitFailed, KpayError):
            continue
    return kept


async def take(ports: Ports, mode: Mode, news: News) -> Notice:
    """
    Keep a piece of news, and with it all that it changes here, in one commit; return the notice.

    What is known by its id is counted, and changes nothing else: news may come twice, late and out of order. Asks no
    network. When it returns, the news can be acknowledged. Raises `CommitFailed` and `Contention`.
    """
    turns = Turns(ports)
    while True:
        known = await ports.store.get(Notice, notices.notice_id(mode, news.id))
        try:
            if known is not None:
                return await _keep(ports, notices.tell_again(known))
            notice = notices.take_in(news, mode, now=ports.clock.now())
            return await (_apply if notice.look_at else _keep)(ports, notice)
        except Conflict:
            await turns.wait()


async def resolve_notice(ports: Ports, id: str) -> Notice:
    """
    Look at a notice whose time has come: apply what waits if its subject has come so far, send back what is astray.

    Safe to call for any notice, by anybody, at any time: the look is leased, and every step conflicts with every
    other. Raises `CommitFailed`, `Contention`, and for a stray `NoProcessor`.
    """
    notice = await _newest(ports, id)
    now = ports.clock.now()
    if notice.look_at is None or now < notice.look_at:
        return notice
    turns = Turns(ports)
    look = looks.lease(notice, now=now)
    try:
        await commit(ports, look)
    except Conflict:
        return await _newest(ports, id)
    while True:
        try:
            return await (_send_back if look.status is Status.STRAY else _apply)(ports, look)
        except Conflict:
            await turns.wait()
        look = await _newest(ports, id)
        if look.look_at is None:
            return look


async def _newest(ports: Ports, id: str) -> Notice:
    newest = await ports.store.get(Notice, id)
    assert newest is not None, "a notice is never deleted"
    return newest


async def _send_back(ports: Ports, notice: Notice) -> Notice:
    """Reverse a stray capture at the network, and book that; without an answer it stays in suspense."""
    charge = await ports.store.get(Charge, notice.reference)
    assert charge is not None, "a stray is of a charge"
    processor = processor_of(ports, charge.scope)
    verdict = await ask(processor.reverse(reference=notice.reference))
    if verdict is None or verdict.outcome is not Outcome.REVERSED:
        return notice
    returned = notices.conclude(notice, Decision(Finding.RETURNED), now=ports.clock.now())
    await record(ports, returned, scope=charge.scope, booked=postings.of_stray(returned))
    return returned


async def _apply(ports: Ports, notice: Notice) -> Notice:
    """
    Commit what a notice comes to, with all that it changes; raises `Conflict` where any of that has moved.

    What the books refuse is a bug, here or at the network. It is kept all the same, and waits until that is mended.
    """
    held = await _held(ports, notice)
    decision = notices.decide(notice, held)
    if decision.finding in (Finding.APPLY, Finding.STRAY):
        try:
            return await _carry_out(ports, notice, decision, held)
        except (Rejected, NotFound):
            decision = REFUSED
    if decision == Decision(Finding.WAIT, notice.reason):
        return notice
    return await _keep(ports, notices.conclude(notice, decision, now=ports.clock.now()))


async def _keep(ports: Ports, notice: Notice) -> Notice:
    await commit(ports, notice)
    return notice


async def _carry_out(ports: Ports, notice: Notice, decision: Decision, held: Held) -> Notice:
    """Commit a notice with what it changes: records, events and transfers."""
    charge, scope = held.of_charge, held.of_charge.scope
    now = ports.clock.now()
    concluded = notices.conclude(notice, decision, now=now)
    match notice.kind:
        case NewsKind.REFUNDED | NewsKind.REFUND_FAILED:
            assert held.refund is not None, "it is decided about one"
            outcome = Outcome.REFUNDED if notice.kind is NewsKind.REFUNDED else Outcome.REFUSED
            refund, moved = refunds.settle(held.refund, charge, Verdict(outcome, notice.code))
            assert moved is not None, "an outcome moves the charge"
            told = happenings.of_refund(held.refund, refund, moved)
            booked = postings.of_refund(held.refund, refund)
            origin = Origin(idempotency_key=idempotency.given_key(refund.idempotency_key))
            await record(
                ports, concluded, refund, moved, scope=scope, told=told, booked=booked, origin=origin
            )
        case NewsKind.DISPUTE_OPENED:
            id = prefixed("dp", ports.ids.uuid7(now))
            dispute, moved = disputes.open_dispute(notice, charge, id=id, now=now)
            told, booked = happenings.of_new_dispute(dispute), postings.of_new_dispute(dispute)
            await record(ports, concluded, dispute, moved, scope=scope, told=told, booked=booked)
        case NewsKind.DISPUTE_WON | NewsKind.DISPUTE_LOST:
            assert held.dispute is not None, "it is decided about one"
            dispute, moved = disputes.close(held.dispute, charge, notice.kind)
            told, booked = happenings.of_dispute(held.dispute, dispute), postings.of_dispute(dispute)
            changed = (dispute, moved) if moved else (dispute,)
            await record(ports, concluded, *changed, scope=scope, told=told, booked=booked)
        case _:
            # The charge stays as it is. It is written so that of two who tell of one capture only one books it.
            await record(ports, concluded, bump(charge), scope=scope, booked=postings.of_stray(concluded))
    return concluded


async def _held(ports: Ports, notice: Notice) -> Held:
    """
    Read what we have of the subject of a notice, as of one moment; raises `Conflict` where it moves meanwhile.

    The charge is read before what there is of it: whoever opens a dispute or books a stray writes the charge too, so
    one who did not see that conflicts.
    """
    if notice.kind in (NewsKind.REFUNDED, NewsKind.REFUND_FAILED):
        refund = _of_mode(notice, await ports.store.get(Refund, notice.reference))
        if refund is None:
            return Held()
        charge = await ports.store.get(Charge, refund.charge)
        await _check_unmoved(ports, refund)
        return Held(refund=refund, charge=charge)
    charge = _of_mode(notice, await ports.store.get(Charge, notice.reference))
    if notice.kind in (NewsKind.CAPTURED, NewsKind.DECLINED):
        return Held(charge=charge, strayed=await _is_booked(ports, notice))
    dispute = await _dispute_of(ports, notice)
    if dispute is not None and charge is not None:
        await _check_unmoved(ports, charge)
    return Held(charge=charge, dispute=dispute)


async def _check_unmoved(ports: Ports, read: Charge | Refund) -> None:
    """
    Raise `Conflict` where a record has moved since it was read.

    A charge and what there is of it move together, so what was read in between is of the same moment.
    """
    if await ports.store.get(type(read), read.id) != read:
        raise Conflict(type(read), read.id)


def _of_mode(notice: Notice, found: S | None) -> S | None:
    return found if found is not None and found.livemode == notice.livemode else None


async def _is_booked(ports: Ports, notice: Notice) -> bool:
    """Tell whether a capture of a charge was booked as a stray."""
    where: tuple[Condition, ...] = (("source", "=", notice.reference), ("kind", "=", Kind.STRAY_CAPTURE))
    return bool(await ports.store.find(Query(kind=Transfer, where=where, limit=1)))


async def _dispute_of(ports: Ports, notice: Notice) -> Dispute | None:
    """Return the dispute of a case, if it was opened here."""
    if notice.dispute is None:
        return None
    where: tuple[Condition, ...] = (("case", "=", notice.dispute), ("livemode", "=", notice.livemode))
    found = await ports.store.find(Query(kind=Dispute, where=where, limit=1))
    return found[0] if found else None
