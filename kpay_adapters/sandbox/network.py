"""The sandbox as a processor: idempotent by reference, with look-up, reversal, tombstones, disputes and news."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from kpay_adapters.sandbox import disputes
from kpay_adapters.sandbox.cards import BEHAVING, DECLINED, LATE_SECONDS, REASONS, SILENT_FOR, Behaviour
from kpay_adapters.sandbox.disputes import Dispute
from kpay_adapters.sandbox.journal import Announcement, Case, Entry, Journal, as_news, ripe
from kpay_adapters.sandbox.refunds import outcome_id, take_refund
from kpay_core.commit import Conflict, Record, bump
from kpay_core.domain.cards import Card
from kpay_core.domain.news import Mail, NewsKind, Testimony
from kpay_core.domain.processing import Outcome, Verdict
from kpay_core.ports import Clock, NoAnswer, Store
from kpay_core.query import Condition, Query


class SandboxNetwork:
    """
    A card network that moves no money. Any valid number is good, but for the magic ones in `cards`.

    Implements the `Processor` port, and is a `Witness`. Many processes may run one each on the same journal.
    """

    takes_test_cards = True

    def __init__(self, *, journal: Store, clock: Clock) -> None:
        self._journal = Journal(journal)
        self._clock = clock

    async def authorise(
        self,
        *,
        reference: str,
        amount: int,
        currency: str,  # noqa: ARG002 - there is one
        card: Card,
    ) -> Verdict:
        now = self._clock.now()
        behaviour = BEHAVING.get(card.number, Behaviour.ORDINARY)
        code = DECLINED.get(card.number)
        outcome = Outcome.DECLINED if code else Outcome.CAPTURED
        entry = Entry(
            id=reference,
            # An outage is noted too, so that it lasts for this reference; nothing was captured.
            outcome=Outcome.NOT_FOUND if behaviour is Behaviour.DOWN else outcome,
            code=code,
            amount=amount,
            behaviour=behaviour,
            heard_at=now,
            known_at=now + SILENT_FOR.get(behaviour, timedelta(0)),
        )
        reason = REASONS.get(card.number)
        try:
            await self._journal.commit(entry, *(disputes.plan(entry, reason) if reason else ()))
        except Conflict:
            entry = await self._journal.get(Entry, reference) or entry
        if behaviour is Behaviour.LATE:
            await self._clock.sleep(LATE_SECONDS)
        return self._tell(entry)

    async def refund(self, *, reference: str, charge: str, amount: int) -> Verdict:
        while True:
            known = await self._journal.get(Entry, reference)
            if known is not None:
                return self._tell(await self._ripen(known))
            authorisation = await self._journal.get(Entry, charge)
            dispute = await self._dispute_of(authorisation)
            now = self._clock.now()
            new = Entry(
                id=reference,
                outcome=Outcome.REFUNDED,
                amount=amount,
                charge=charge,
                heard_at=now,
                known_at=now,
            )
            entry, follows = take_refund(new, authorisation, dispute, now=now)
            try:
                await self._journal.commit(entry, *follows)
                return self._tell(entry)
            except Conflict:
                continue

    async def lookup(self, *, reference: str) -> Verdict:
        entry = await self._journal.get(Entry, reference)
        if entry is None:
            return Verdict(Outcome.NOT_FOUND)
        if entry.behaviour is Behaviour.LOST and self._clock.now() < entry.known_at:
            return Verdict(Outcome.IN_FLIGHT)
        return self._tell(await self._ripen(entry))

    async def reverse(self, *, reference: str) -> Verdict:
        while True:
            entry = await self._journal.get(Entry, reference)
            now = self._clock.now()
            try:
                if entry is None:
                    await self._journal.commit(
                        Entry(id=reference, outcome=Outcome.REVERSED, heard_at=now, known_at=now)
                    )
                    return Verdict(Outcome.REVERSED)
                entry = await self._ripen(entry)
                if entry.outcome is Outcome.REFUNDED:
                    return self._tell(entry)
                if now < entry.known_at:
                    raise NoAnswer
                if entry.outcome in (Outcome.CAPTURED, Outcome.PENDING, Outcome.NOT_FOUND):
                    follows = await self._after_reversal(entry, now=now)
                    await self._journal.commit(bump(entry, outcome=Outcome.REVERSED, due_at=None), *follows)
                return Verdict(Outcome.REVERSED)
            except Conflict:
                continue

    async def dispute(self, *, dispute: str, evidence: str) -> bool:
        while True:
            known = await self._dispute(dispute)
            now = self._clock.now()
            if known is None or not disputes.is_open(known, now=now) or disputes.is_closed(known, now=now):
                return False
            if known.case.answered:
                return True
            try:
                await self._journal.commit(*disputes.after_evidence(known, evidence, now=now))
                return True
            except Conflict:
                continue

    async def mail(self, *, limit: int) -> Mail:
        while True:
            now = self._clock.now()
            due = await self._announcements(("due_at", "<=", now), limit=limit + 1)
            try:
                told = [await self._let_happen(announcement, now=now) for announcement in due[:limit]]
            except Conflict:
                continue
            ahead = due[limit:] or await self._announcements(("due_at", ">", now), limit=1)
            return Mail(news=tuple(map(as_news, told)), next_at=ahead[0].due_at if ahead else None)

    async def acknowledge(self, *, news: Sequence[str]) -> None:
        for id in news:
            announcement = await self._journal.get(Announcement, id)
            if announcement is None or not announcement.told or announcement.due_at is None:
                continue
            try:
                await self._journal.commit(bump(announcement, due_at=None))
            except Conflict:
                # What was told never changes again but by this: somebody else acknowledged it.
                continue

    async def testify(self, *, after: str, limit: int) -> Sequence[Testimony]:
        now = self._clock.now()
        query = Query(kind=Entry, where=(("id", ">", after),), limit=limit)
        entries = [ripe(entry, now=now) for entry in await self._journal.find(query)]
        stands = (Outcome.CAPTURED, Outcome.REFUNDED)
        return [
            Testimony(reference=entry.id, moved=entry.outcome in stands, amount=entry.amount)
            for entry in entries
        ]

    async def _after_reversal(self, entry: Entry, *, now: datetime) -> Sequence[Record]:
        """Return what is to be written with a reversal: news that were planned are not to come."""
        if entry.outcome is Outcome.PENDING:
            planned = await self._journal.get(Announcement, outcome_id(entry.id))
            return [bump(planned, due_at=None)] if planned else ()
        dispute = await self._dispute_of(entry)
        return disputes.after_reversal(dispute, now=now) if dispute else ()

    def _tell(self, entry: Entry) -> Verdict:
        """Answer with what stands under a reference, unless the answer gets lost on the way."""
        if self._clock.now() < entry.known_at:
            raise NoAnswer
        at_once = entry.behaviour is Behaviour.AT_ONCE and entry.outcome is Outcome.CAPTURED
        return Verdict(entry.outcome, entry.code, at_once=at_once)

    async def _ripen(self, entry: Entry) -> Entry:
        """Carry out what has become due of a refund."""
        while (ripened := ripe(entry, now=self._clock.now())) is not entry:
            try:
                await self._journal.commit(ripened)
                return ripened
            except Conflict:
                entry = await self._journal.get(Entry, entry.id) or entry
        return entry

    async def _let_happen(self, announcement: Announcement, *, now: datetime) -> Announcement:
        """Write that an announcement is told, so that it changes no more, and carry out what it tells of."""
        if announcement.told:
            return announcement
        told = bump(announcement, told=True)
        if announcement.kind in (NewsKind.REFUNDED, NewsKind.REFUND_FAILED):
            refund = await self._journal.get(Entry, announcement.reference)
            assert refund is not None, "its outcome was planned together with it"
            moved = ripe(refund, now=now)
            await self._journal.commit(told, *([moved] if moved is not refund else []))
        else:
            await self._journal.commit(told)
        return told

    async def _announcements(self, when: Condition, *, limit: int) -> Sequence[Announcement]:
        return await self._journal.find(Query(kind=Announcement, where=(when,), order="due_at", limit=limit))

    async def _dispute_of(self, charge: Entry | None) -> Dispute | None:
        """Return the dispute that was planned of a charge, if any."""
        if charge is None or charge.behaviour is not Behaviour.DISPUTED:
            return None
        return await self._dispute(disputes.case_id(charge.id))

    async def _dispute(self, id: str) -> Dispute | None:
        case = await self._journal.get(Case, id)
        if case is None:
            return None
        opening = await self._journal.get(Announcement, disputes.opening_id(id))
        closing = await self._journal.get(Announcement, disputes.closing_id(id))
        assert opening is not None, "planned together with the case"
        assert closing is not None, "planned together with the case"
        return Dispute(case, opening, closing)
