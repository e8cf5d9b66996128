"""
Events, held against what they tell of, and all events of a book against all that happened there.

Whatever happens once is told once. Both are added up as they are read, and beside a running system they are read at
different moments. So a book whose sums differ is looked at by itself, while nothing is told in it. A book in which
something is told all the time is compared up to a moment before which nothing is committed any more, by the times of
transfers: they are made together with the events.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from kpay_core.domain import ledger
from kpay_core.domain.audit import Report
from kpay_core.domain.event_laws import (
    DATES,
    OBJECTS,
    EventCase,
    Gist,
    Once,
    Sums,
    Untold,
    events_are_of_what_happened,
    happened_once,
    read_gist,
    told_once,
    what_happens_once_is_told_once,
)
from kpay_core.domain.events import Event
from kpay_core.domain.laws import KINDS, Case, Source
from kpay_core.domain.ledger import Transfer
from kpay_core.domain.scope import Scope
from kpay_core.flows.audit_pages import LOOKS, look_up, page_after
from kpay_core.flows.streaming import OnPage
from kpay_core.ports import Ports
from kpay_core.query import Condition, Query

# A commit is given up after 20 s; the clocks of different machines differ by less than the rest of it.
LONG_AGO = timedelta(minutes=10)

# By so many of a book's newest events it is seen whether it holds still. More than the last one, because what comes may
# sort before it: names are made before commits, and by several clocks.
NEWEST = 200


class TellingAudit:
    """The audit of events. It is handed objects one by one, and notes what it finds in `report`."""

    def __init__(self, ports: Ports, report: Report, on_page: OnPage) -> None:
        self._store = ports.store
        self._report = report
        self._on_page = on_page
        self._upto = ports.clock.now() - LONG_AGO
        self._untold: dict[Scope, Untold] = {}

    async def take(self, case: Case[Source]) -> None:
        """Add what has happened to an object."""
        for once in happened_once(case.source, case.transfers):
            self._untold_in(case.source.scope).add(once, upto=self._upto)

    async def finish(self) -> None:
        """Hold every event against its object, and every book against its events."""
        after: str | None = ""
        while after is not None:
            page, after = await page_after(self._store, Event, after, on_page=self._on_page)
            await self._check_page(page)
        for scope, untold in self._untold.items():
            if untold.whole:
                await self._look_at(scope, untold)

    def _untold_in(self, scope: Scope) -> Untold:
        untold = self._untold.get(scope)
        if untold is None:
            untold = self._untold[scope] = Untold()
        return untold

    async def _check_page(self, page: Sequence[Event]) -> None:
        """
        Hold events against their objects, and take off what they tell.

        An object is read after its event, and only goes on: it is at least where the event saw it.
        """
        told = [(event, read_gist(event)) for event in page]
        objects = await self._objects_of(told)
        law = events_are_of_what_happened
        for event, gist in told:
            source = None if gist is None else objects.get(gist.id)
            self._report.note(law.__name__, event.id, *law(EventCase(event, gist, source)))
            once = told_once(event, gist)
            if once is not None:
                self._untold_in(event.scope).take_off(once, upto=self._upto)
        self._report.checked[Event.__name__] += len(page)

    async def _objects_of(self, told: Sequence[tuple[Event, Gist | None]]) -> Mapping[str, Source]:
        found: dict[str, Source] = {}
        for kind in KINDS:
            its = (gist.id for event, gist in told if gist is not None and OBJECTS[event.type][0] is kind)
            found.update(await look_up(self._store, kind, its))
        return found

    async def _look_at(self, scope: Scope, untold: Untold) -> None:
        """Look at a book by itself until it holds still; at one that never does, up to a moment long ago."""
        for _ in range(LOOKS):
            newest = await self._newest(scope)
            happened = await self._happened(scope, newest=newest)
            if happened is None:
                continue
            told = await self._told(scope)
            if await self._newest(scope) == newest:
                self._note(scope, happened, told)
                return
        self._report.moving += 1
        if untold.dated:
            happened = await self._happened(scope, upto=self._upto)
            assert happened is not None, "it need not hold still"
            self._note(scope, happened, await self._told(scope, upto=self._upto))

    def _note(self, scope: Scope, happened: Sums, told: Sums) -> None:
        law = what_happens_once_is_told_once
        self._report.note(law.__name__, ledger.book_id(scope), *law(happened, told))

    async def _newest(self, scope: Scope) -> Sequence[str]:
        query = Query(kind=Event, where=scope.conditions, descending=True, limit=NEWEST)
        return [event.id for event in await self._store.find(query)]

    async def _happened(
        self, scope: Scope, *, newest: Sequence[str] | None = None, upto: datetime | None = None
    ) -> Sums | None:
        """Add up what has happened in a book; None as soon as its newest events are others than these."""
        sums = Sums()
        for kind in KINDS:
            after: str | None = ""
            while after is not None:
                page, after = await page_after(self._store, kind, after, *scope.conditions)
                transfers = await self._transfers_of(page)
                for source in page:
                    _add(sums, happened_once(source, transfers.get(source.id, ())), upto)
                if newest is not None and await self._newest(scope) != newest:
                    return None
        return sums

    async def _told(self, scope: Scope, *, upto: datetime | None = None) -> Sums:
        """Add up what was told in a book."""
        sums = Sums()
        after: str | None = ""
        while after is not None:
            page, after = await page_after(self._store, Event, after, *scope.conditions)
            for event in page:
                once = told_once(event, read_gist(event))
                _add(sums, () if once is None else (once,), upto)
        return sums

    async def _transfers_of(self, page: Sequence[Source]) -> Mapping[str, Sequence[Transfer]]:
        """Return the transfers that date what has happened to objects, by object."""
        where: tuple[Condition, ...] = (
            ("source", "in", tuple(each.id for each in page)),
            ("kind", "in", DATES),
        )
        query = Query(kind=Transfer, where=where, order="source", limit=len(page) * len(DATES))
        found: dict[str, list[Transfer]] = {}
        for transfer in await self._store.find(query):
            found.setdefault(transfer.source, []).append(transfer)
        return found


def _add(sums: Sums, happened: Sequence[Once], upto: datetime | None) -> None:
    for once in happened:
        if upto is None or once.is_dated(upto=upto):
            sums.add(once)
