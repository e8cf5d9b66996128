"""The sandbox as a processor: idempotent by reference, with look-up, reversal and tombstones."""

from datetime import timedelta

from kpay_adapters.sandbox.cards import (
    BEHAVING,
    DECLINED,
    LATE_SECONDS,
    REFUND_PENDING_FOR,
    SILENT_FOR,
    Behaviour,
)
from kpay_adapters.sandbox.journal import Entry
from kpay_core.commit import CommitFailed, Conflict, bump
from kpay_core.domain.cards import Card
from kpay_core.domain.processing import Outcome, Verdict
from kpay_core.ports import Clock, NoAnswer, Store


class SandboxNetwork:
    """
    A card network that moves no money. Any valid number is good, but for the magic ones in `cards`.

    Implements the `Processor` port. Many processes may run one each on the same journal.
    """

    def __init__(self, *, journal: Store, clock: Clock) -> None:
        self._journal = journal
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
        entry = await self._write_first(entry)
        if behaviour is Behaviour.LATE:
            await self._clock.sleep(LATE_SECONDS)
        return self._tell(entry)

    async def refund(self, *, reference: str, charge: str, amount: int) -> Verdict:
        known = await self._read(reference)
        if known is not None:
            return self._tell(await self._ripen(known))
        now = self._clock.now()
        authorisation = await self._read(charge)
        if authorisation is None or authorisation.outcome is not Outcome.CAPTURED:
            outcome, code = Outcome.REFUSED, "charge_not_captured"
        elif authorisation.behaviour is Behaviour.REFUND_PENDING:
            outcome, code = Outcome.PENDING, None
        else:
            outcome, code = Outcome.REFUNDED, None
        due_at = now + REFUND_PENDING_FOR if outcome is Outcome.PENDING else None
        entry = Entry(
            id=reference,
            outcome=outcome,
            code=code,
            amount=amount,
            charge=charge,
            heard_at=now,
            known_at=now,
            due_at=due_at,
        )
        return self._tell(await self._write_first(entry))

    async def lookup(self, *, reference: str) -> Verdict:
        entry = await self._read(reference)
        if entry is None:
            return Verdict(Outcome.NOT_FOUND)
        if entry.behaviour is Behaviour.LOST and self._clock.now() < entry.known_at:
            return Verdict(Outcome.IN_FLIGHT)
        return self._tell(await self._ripen(entry))

    async def reverse(self, *, reference: str) -> Verdict:
        while True:
            entry = await self._read(reference)
            now = self._clock.now()
            try:
                if entry is None:
                    await self._write(
                        Entry(id=reference, outcome=Outcome.REVERSED, heard_at=now, known_at=now)
                    )
                    return Verdict(Outcome.REVERSED)
                entry = await self._ripen(entry)
                if entry.outcome is Outcome.REFUNDED:
                    return self._tell(entry)
                if now < entry.known_at:
                    raise NoAnswer
                if entry.outcome in (Outcome.CAPTURED, Outcome.PENDING, Outcome.NOT_FOUND):
                    await self._write(bump(entry, outcome=Outcome.REVERSED, due_at=None))
                return Verdict(Outcome.REVERSED)
            except Conflict:
                continue

    def _tell(self, entry: Entry) -> Verdict:
        """Answer with what stands under a reference, unless the answer gets lost on the way."""
        if self._clock.now() < entry.known_at:
            raise NoAnswer
        return Verdict(entry.outcome, entry.code)

    async def _ripen(self, entry: Entry) -> Entry:
        """Carry out a pending refund whose time has come."""
        while entry.due_at is not None and entry.due_at <= self._clock.now():
            try:
                refunded = bump(entry, outcome=Outcome.REFUNDED, due_at=None)
                await self._write(refunded)
                return refunded
            except Conflict:
                entry = await self._read(entry.id) or entry
        return entry

    async def _write_first(self, entry: Entry) -> Entry:
        """Write the first entry under a reference, or return the one that was there before."""
        try:
            await self._write(entry)
            return entry
        except Conflict:
            return await self._read(entry.id) or entry

    async def _write(self, entry: Entry) -> None:
        try:
            await self._journal.commit(entry)
        except Conflict:
            raise
        except CommitFailed as failure:
            # A network that cannot write its journal does not answer.
            raise NoAnswer from failure

    async def _read(self, reference: str) -> Entry | None:
        try:
            return await self._journal.get(Entry, reference)
        except CommitFailed as failure:
            raise NoAnswer from failure
