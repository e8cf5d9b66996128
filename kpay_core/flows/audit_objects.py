"""
Objects, held against their transfers, their refunds and disputes, and the words of a witness.

Beside a running system the pages that are read side by side are of different moments. So whatever disagrees is looked
at again by itself: the object, what belongs to it, and the object once more. Where its version has not moved, all was
read as of one moment, because whatever belongs to an object is committed together with it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from kpay_core.commit import Record
from kpay_core.domain import audit as audits
from kpay_core.domain import laws
from kpay_core.domain.audit import Report
from kpay_core.domain.book_laws import Holdings
from kpay_core.domain.charges import Charge
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.laws import KINDS, Broken, Case, Difference, Source, judge
from kpay_core.domain.ledger import Transfer
from kpay_core.domain.news import Testimony
from kpay_core.domain.notices import Notice
from kpay_core.domain.payouts import Payout
from kpay_core.domain.refunds import Refund
from kpay_core.domain.scope import Scope
from kpay_core.flows.audit_pages import LOOKS
from kpay_core.flows.streaming import PAGE, OnPage, Stream, records, testimonies
from kpay_core.ports import Ports, Witness
from kpay_core.query import Condition, Query

R = TypeVar("R", bound=Record)

# Whoever goes by objects and their transfers, too, is handed each as it was judged.
Take = Callable[[Case[Source]], Awaitable[None]]

# What disagrees with a witness is looked at again when news of it must have been taken in, which a server does about
# every second: so often, after so long.
LATER_LOOKS = 3
LATER_SECONDS = 2.0

# Objects kept in mind for that. Where there are more of them something is wrong, and the first look counts.
MAX_SUSPECTS = 1_000

# The names under which a witness knows objects come after the first and before the second.
REFERENCES: Mapping[type[Source], tuple[str, str | None]] = {
    Charge: ("", "po_"),
    Payout: ("po_", "re_"),
    Refund: ("re_", None),
}

WITNESSED = laws.money_moved_as_witnessed.__name__


class Sides(msgspec.Struct):
    """What is read beside the objects of a kind, each in the order of their names."""

    transfers: Stream[Transfer]
    refunds: Stream[Refund] | None
    disputes: Stream[Dispute] | None
    testimonies: Mapping[str, Stream[Testimony]]


class ObjectAudit:
    """
    The audit of objects. It notes what it finds in `report`, and adds up in `held` what objects say.

    Each object is handed on to the takers.
    """

    def __init__(
        self,
        ports: Ports,
        witnesses: Mapping[str, Witness],
        report: Report,
        held: dict[Scope, Holdings],
        on_page: OnPage,
        *takers: Take,
    ) -> None:
        self._ports = ports
        self._store = ports.store
        self._witnesses = witnesses
        self._report = report
        self._held = held
        self._on_page = on_page
        self._takers = takers
        self._suspects: list[tuple[type[Source], str]] = []

    async def check(self, kind: type[Source]) -> None:
        """Hold every object of a kind against its laws, and look for what belongs to none."""
        sources = await self._stream(kind)
        sides = await self._open_sides(kind)
        while sources.head is not None:
            source = await sources.next()
            case = await self._gather(kind, source, sides)
            await self._check(case)
        await self._leave_behind(kind, None, sides)

    async def _open_sides(self, kind: type[Source]) -> Sides:
        of_kinds: Condition = ("kind", "in", KINDS[kind])
        return Sides(
            transfers=await self._stream(Transfer, of_kinds, by="source"),
            refunds=await self._stream(Refund, by="charge") if kind is Charge else None,
            disputes=await self._stream(Dispute, by="charge") if kind is Charge else None,
            testimonies=await self._open_testimonies(kind),
        )

    async def _stream(self, kind: type[R], *where: Condition, by: str = "id") -> Stream[R]:
        return await records(self._store, kind, *where, by=by, on_page=self._on_page)

    async def _open_testimonies(self, kind: type[Source]) -> Mapping[str, Stream[Testimony]]:
        if kind not in REFERENCES:
            return {}
        after, before = REFERENCES[kind]
        return {
            mode: await testimonies(witness, after=after, before=before, on_page=self._on_page)
            for mode, witness in self._witnesses.items()
        }

    async def _gather(self, kind: type[Source], source: Source, sides: Sides) -> Case[Source]:
        """Take from the sides what belongs to an object; what comes before it belongs to none that was read."""
        id = source.id
        await self._leave_behind(kind, id, sides)
        case = Case(source)
        while sides.transfers.key == id:
            case.transfers.append(await sides.transfers.next())
        if isinstance(source, Charge):
            while sides.refunds and sides.refunds.key == id:
                laws.add_refund(case.refunds, await sides.refunds.next(), source)
            while sides.disputes and sides.disputes.key == id:
                laws.add_dispute(case.disputes, await sides.disputes.next(), source)
        if (seen := sides.testimonies.get(source.scope.mode)) is not None:
            case.is_witnessed = True
            while seen.key == id:
                case.testimony = await seen.next()
        return case

    async def _leave_behind(self, kind: type[Source], id: str | None, sides: Sides) -> None:
        """Look into what is of no object before `id` that was read; None is the end."""
        while sides.transfers.is_behind(id):
            await self._check_orphan(kind, await sides.transfers.next())
        for stream in (sides.refunds, sides.disputes):
            while stream is not None and stream.is_behind(id):
                await self._check_part(await stream.next())
        for mode, seen in sides.testimonies.items():
            while seen.is_behind(id):
                await self._check_unknown(kind, mode, await seen.next())

    async def _check_orphan(self, kind: type[Source], transfer: Transfer) -> None:
        if await self._store.get(kind, transfer.source) is not None:
            # It was made since its page was read.
            return
        found = Difference("source", transfer.source, None)
        self._report.note(audits.ORPHAN, transfer.id, found)
        self._holdings(transfer.scope).add_transfer(transfer)

    async def _check_part(self, part: Refund | Dispute) -> None:
        if await self._store.get(Charge, part.charge) is None:
            self._report.note(audits.PART_OF_NOTHING, part.id, Difference("charge", part.charge, None))

    async def _check_unknown(self, kind: type[Source], mode: str, seen: Testimony) -> None:
        source = await self._store.get(kind, seen.reference) if seen.moved else None
        if seen.moved and (source is None or source.scope.mode != mode):
            found = Difference("cents that moved", seen.amount, 0)
            self._report.note(audits.UNKNOWN_TO_US, seen.reference, found)

    async def _check(self, case: Case[Source]) -> None:
        """Judge a case, and where something disagrees the object as it is now."""
        broken = judge(case)
        if broken:
            fresh = await self._look_at(type(case.source), case.source.id)
            if fresh is None:
                self._report.moving += 1
                return
            case, broken = fresh, judge(fresh)
        source = case.source
        self._report.checked[type(source).__name__] += 1
        self._report.checked[Transfer.__name__] += len(case.transfers)
        self._report.open[type(source).__name__] += laws.is_open(source)
        self._holdings(source.scope).add(source)
        for transfer in case.transfers:
            self._holdings(transfer.scope).add_transfer(transfer)
        if broken:
            await self._note(source, broken)
        for take in self._takers:
            await take(case)

    async def _note(self, source: Source, broken: Sequence[Broken]) -> None:
        """Write down what is wrong with an object; what a witness may only be ahead with is looked at later."""
        for law, difference in broken:
            if law != WITNESSED:
                self._report.note(law, source.id, difference)
            elif len(self._suspects) < MAX_SUSPECTS:
                self._suspects.append((type(source), source.id))
            elif not await self._is_explained(source):
                self._report.note(law, source.id, difference)

    def _holdings(self, scope: Scope) -> Holdings:
        held = self._held.get(scope)
        if held is None:
            held = self._held[scope] = Holdings()
        return held

    async def look_again_later(self) -> None:
        """Look once more, and again, at what disagreed with a witness; report what still does."""
        suspects = self._suspects
        for _ in range(LATER_LOOKS):
            suspects = [suspect for suspect in suspects if await self._disagreement(*suspect)]
            if not suspects:
                return
            await self._ports.clock.sleep(LATER_SECONDS)
        for kind, id in suspects:
            self._report.note(WITNESSED, id, *await self._disagreement(kind, id))

    async def _disagreement(self, kind: type[Source], id: str) -> laws.Differences:
        """Return how an object disagrees with its witness, unless a notice tells why."""
        case = await self._look_at(kind, id)
        if case is None:
            return ()
        found = laws.money_moved_as_witnessed(case)
        return () if found and await self._is_explained(case.source) else found

    async def _is_explained(self, source: Source) -> bool:
        where: tuple[Condition, ...] = (
            ("reference", "=", source.id),
            ("livemode", "=", source.livemode),
            ("status", "in", audits.UNFINISHED),
        )
        return bool(await self._store.find(Query(kind=Notice, where=where, limit=1)))

    async def _look_at(self, kind: type[Source], id: str) -> Case[Source] | None:
        """Read an object and all that belongs to it as of one moment; None where it never holds still."""
        for _ in range(LOOKS):
            source = await self._store.get(kind, id)
            if source is None:
                return None
            case = await self._read_case(source)
            again = await self._store.get(kind, id)
            if again is not None and again.version == source.version:
                return case
        return None

    async def _read_case(self, source: Source) -> Case[Source]:
        kind = type(source)
        case = Case(source)
        where: tuple[Condition, ...] = (("source", "=", source.id), ("kind", "in", KINDS[kind]))
        case.transfers += await self._store.find(Query(kind=Transfer, where=where, limit=PAGE))
        if isinstance(source, Charge):
            refunds = await self._stream(Refund, ("charge", "=", source.id))
            while refunds.head is not None:
                laws.add_refund(case.refunds, await refunds.next(), source)
            disputes = await self._stream(Dispute, ("charge", "=", source.id))
            while disputes.head is not None:
                laws.add_dispute(case.disputes, await disputes.next(), source)
        if kind in REFERENCES and (witness := self._witnesses.get(source.scope.mode)) is not None:
            case.is_witnessed = True
            case.testimony = await _ask(witness, source.id)
        return case


async def _ask(witness: Witness, reference: str) -> Testimony | None:
    """Ask a witness for one reference: it is among the few that begin as it does, but for the last character."""
    told = await witness.testify(after=reference[:-1], limit=PAGE)
    return next((each for each in told if each.reference == reference), None)
