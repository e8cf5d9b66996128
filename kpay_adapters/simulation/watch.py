"""
The watch: holds every law against what each commit leaves behind, as soon as it has taken effect.

It judges by an index of its own, so that a commit costs what it touched and not all there is. What it knows it was
told in commits; so a store that loses or mixes up what it was given is found, too.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from kpay_adapters.simulation.index import Index
from kpay_core.commit import Record, is_guarded
from kpay_core.domain import audit, charges, laws, notices, request_laws, telling_laws
from kpay_core.domain.book_laws import judge_book
from kpay_core.domain.change_laws import (
    CHANGES,
    fees_are_by_the_terms,
    lanes_are_not_taken_from_the_living,
    versions_follow_each_other,
)
from kpay_core.domain.charges import Charge
from kpay_core.domain.deliveries import Delivery
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.endpoints import Subscriptions, subscribed, subscriptions_id
from kpay_core.domain.events import Event
from kpay_core.domain.idempotency import IdempotencyKey
from kpay_core.domain.lanes import Lane
from kpay_core.domain.laws import Broken, Difference, Source
from kpay_core.domain.ledger import Book, Sheet, Transfer, book_id
from kpay_core.domain.news import NewsKind
from kpay_core.domain.notices import Notice
from kpay_core.domain.payouts import Payout, Settlement
from kpay_core.domain.refunds import Refund
from kpay_core.domain.request_laws import judge_key
from kpay_core.domain.scope import Scope
from kpay_core.domain.telling_laws import judge_delivery, judge_telling, lanes_are_held_by_one

# As far as the clocks of two of our processes may be apart, where none of them is wrong.
TOLERANCE = timedelta(seconds=5)

# What clocks that are turned can break by themselves.
BY_THE_CLOCK = request_laws.BY_THE_CLOCK | telling_laws.BY_THE_CLOCK


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was committed at once, by whose clock, at which step, and at which step its writer had begun its work.
    `latest` is the latest time that a clock of ours has ever shown.

    `keeps_time` says that no clock has been wrong by more than the tolerance. `sources`, `keys` and `books` are what
    was touched, by name.
    """

    written: Sequence[Record]
    held: Sequence[Record] = ()
    now: datetime
    latest: datetime
    step: int
    began: int
    keeps_time: bool = True
    sources: dict[str, Source] = msgspec.field(default_factory=dict[str, Source])
    keys: set[str] = msgspec.field(default_factory=set[str])
    books: set[str] = msgspec.field(default_factory=set[str])


class Watch:
    """Whether the laws hold of all that was committed. `broken` is told of each that does not."""

    def __init__(self, broken: Callable[[Broken], None], index: Index | None = None) -> None:
        self._broken = broken
        self.index = index or Index()
        self._looks: Mapping[type[Record], Callable[[Any, Unit], None]] = {
            Charge: self._look_at_source,
            Refund: self._look_at_source,
            Dispute: self._look_at_source,
            Payout: self._look_at_source,
            Transfer: self._look_at_transfer,
            IdempotencyKey: self._look_at_key,
            Sheet: self._look_at_sheet,
            Event: self._look_at_event,
            Delivery: self._look_at_delivery,
            Lane: self._look_at_lane,
            Notice: self._look_at_notice,
        }

    def note(self, unit: Unit) -> None:
        """Take in a unit that has just taken effect, and judge all that it touched."""
        for record in unit.held:
            self._check_held(record)
        for record in unit.written:
            self._check_change(self.index.put(record), record, unit)
        for record in unit.written:
            self.index.enter(record, step=unit.step)
        for record in unit.written:
            look = self._looks.get(type(record))
            if look is not None:
                look(record, unit)
        for source in unit.sources.values():
            self._report(laws.judge(self.index.case(source)))
            self._report(judge_telling(self.index.telling_case(source)))
        for id in unit.keys:
            self._check_key(id, keeps_time=unit.keeps_time)
        for id in unit.books:
            self._check_book(id)

    def _check_held(self, record: Record) -> None:
        kept = self.index.get(type(record), record.id)
        if kept != record:
            self._break("what_is_held_stays", Difference("held", str(record), str(kept)))

    def _check_change(self, before: Record | None, record: Record, unit: Unit) -> None:
        if not is_guarded(type(record)):
            if before is not None:
                self._break("what_is_appended_is_new", Difference("id", "a new one", record.id))
            return
        if found := versions_follow_each_other(before, record):
            self._break(versions_follow_each_other.__name__, *found)
        if before is not None:
            for law in CHANGES:
                if found := law(before, record):
                    self._break(law.__name__, *found)
        elif isinstance(record, Charge):
            terms = self.index.terms_since(record, unit.began)
            self._break(fees_are_by_the_terms.__name__, *fees_are_by_the_terms(record, terms))
        elif isinstance(record, Dispute):
            self._check_case(record)
        if isinstance(record, Book | Settlement) and _has_moved(before, record):
            unit.books.add(record.id)
        if isinstance(before, Lane) and isinstance(record, Lane) and unit.keeps_time:
            law = lanes_are_not_taken_from_the_living
            self._break(law.__name__, *law(before, record, now=unit.now, tolerance=TOLERANCE))

    def _check_case(self, dispute: Dispute) -> None:
        """Check that a case of the network's is one dispute."""
        of_case = [
            each
            for each in self.index.all(Dispute)
            if (each.case, each.livemode) == (dispute.case, dispute.livemode)
        ]
        if len(of_case) > 1:
            self._break("a_case_is_one_dispute", Difference(dispute.case, 1, len(of_case)))

    def _check_key(self, id: str, *, keeps_time: bool) -> None:
        key = self.index.get(IdempotencyKey, id)
        if key is None:
            self._break(audit.LOST_TO_ITS_KEY, Difference("key", id, None))
        else:
            self._report(judge_key(self.index.key_case(key)), keeps_time=keeps_time)

    def _check_book(self, id: str) -> None:
        book, settlement = self.index.get(Book, id), self.index.get(Settlement, id)
        if book is None or settlement is None:
            self._break(audit.NO_SETTLEMENT, Difference("settlement", id, None))
        else:
            self._report(judge_book(self.index.book_case(book, settlement)))

    def _look_at_source(self, source: Source, unit: Unit) -> None:
        unit.sources[source.id] = source
        if isinstance(source, Refund | Dispute):
            charge = self.index.get(Charge, source.charge)
            if charge is None:
                self._break(audit.PART_OF_NOTHING, Difference("charge", source.charge, None))
            else:
                unit.sources[charge.id] = charge
        if isinstance(source, Charge | Refund) and source.idempotency_key is not None:
            unit.keys.add(source.idempotency_key)

    def _look_at_key(self, key: IdempotencyKey, unit: Unit) -> None:
        unit.keys.add(key.id)

    def _look_at_sheet(self, sheet: Sheet, unit: Unit) -> None:
        unit.books.add(book_id(Scope(sheet.merchant, sheet.livemode)))

    def _look_at_transfer(self, transfer: Transfer, unit: Unit) -> None:
        """Find what a transfer is written for; each kind is written once for each, on the open sheet."""
        name = transfer.kind, transfer.source
        if name in self.index.booked:
            self._break("a_transfer_is_written_once", Difference(transfer.kind, 1, 2))
        self.index.booked.add(name)
        book = self.index.get(Book, book_id(transfer.scope))
        if book is None or book.sheet != transfer.sheet:
            expected = None if book is None else book.sheet
            self._break(
                "transfers_are_written_on_the_open_sheet", Difference("sheet", expected, transfer.sheet)
            )
        source = self.index.source_of(transfer)
        if source is None:
            self._break(audit.ORPHAN, Difference("source", transfer.source, None))
        else:
            unit.sources[source.id] = source

    def _look_at_event(self, event: Event, unit: Unit) -> None:
        """
        Check that an event is on its way to every endpoint that was enabled for it when its teller began.

        What was enabled, changed or deleted meanwhile may be either.
        """
        sent = {
            each.endpoint for each in unit.written if isinstance(each, Delivery) and each.event == event.id
        }
        held = self.index.get(Subscriptions, subscriptions_id(event.scope))
        for endpoint in subscribed(held, event.type):
            if endpoint not in sent and self.index.endpoint_written[endpoint] < unit.began:
                self._break(
                    "events_reach_every_endpoint_enabled_for_them", Difference(event.type, endpoint, None)
                )

    def _look_at_delivery(self, delivery: Delivery, unit: Unit) -> None:
        case = self.index.delivery_case(delivery, now=unit.latest)
        self._report(judge_delivery(case), keeps_time=unit.keeps_time)

    def _look_at_lane(self, lane: Lane, _: Unit) -> None:
        self._break(lanes_are_held_by_one.__name__, *lanes_are_held_by_one(lane))

    def _look_at_notice(self, notice: Notice, _: Unit) -> None:
        """Check that nobody waits for a person to find money that was captured for a charge which failed."""
        charge = self.index.get(Charge, notice.reference)
        captured = notice.kind is NewsKind.CAPTURED and notice.amount > 0
        failed = charge is not None and charge.status is charges.Status.FAILED
        if captured and failed and notice.status is notices.Status.CONTRADICTING:
            self._break("what_is_captured_in_vain_is_a_stray", Difference("status", "stray", notice.status))

    def _report(self, found: Sequence[Broken], *, keeps_time: bool = True) -> None:
        for broken in found:
            if keeps_time or broken.law not in BY_THE_CLOCK:
                self._broken(broken)

    def _break(self, law: str, *differences: Difference) -> None:
        for difference in differences:
            self._broken(Broken(law, difference))


def _has_moved(before: Record | None, record: Book | Settlement) -> bool:
    """
    Tell whether a book has something to be judged: it was changed, or its settlement has come.

    A settlement that only waits for another day leaves the books as they were.
    """
    if isinstance(record, Book):
        return before is not None
    if not isinstance(before, Settlement):
        return True
    return (record.place, record.carried) != (before.place, before.carried)
