"""
The watch: holds every law against what each commit leaves behind, as soon as it has taken effect.

It keeps an index of its own, so that a commit costs what it touched and not all there is. What it keeps it was told
in commits; so a store that loses or mixes up what it was given is found, too.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar, cast

from kpay_core.commit import Record, is_guarded
from kpay_core.domain import laws
from kpay_core.domain.book_laws import BookCase, judge_book
from kpay_core.domain.change_laws import CHANGES, versions_follow_each_other
from kpay_core.domain.charges import Charge
from kpay_core.domain.deliveries import Attempt, Delivery
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.endpoints import Endpoint, Subscriptions, subscribed, subscriptions_id
from kpay_core.domain.events import Event
from kpay_core.domain.idempotency import IdempotencyKey
from kpay_core.domain.lanes import Lane
from kpay_core.domain.laws import Broken, Case, Difference, Source
from kpay_core.domain.ledger import Account, Book, Kind, Sheet, Transfer, book_id
from kpay_core.domain.payouts import Payout, Settlement
from kpay_core.domain.refunds import Refund
from kpay_core.domain.request_laws import KeyCase, Subject, judge_key
from kpay_core.domain.scope import Scope
from kpay_core.domain.telling_laws import (
    DeliveryCase,
    TellingCase,
    Told,
    judge_delivery,
    judge_telling,
    lanes_are_held_by_one,
    read_told,
)

R = TypeVar("R", bound=Record)

SOURCES = (Charge, Refund, Dispute, Payout)

# What holds a unit together, by the kind of what was written.
OF_A_CHARGE = (Refund, Dispute)


class Watch:
    """
    All that was committed, and whether the laws hold of it. `broken` is told of each that does not.

    `latest_change` says at which step an endpoint was last written: whoever began later to tell of something knows it.
    """

    def __init__(self, broken: Callable[[Broken], None]) -> None:
        self._broken = broken
        self.records: dict[type[Record], dict[str, Any]] = {}
        self.transfers: dict[str, list[Transfer]] = {}
        self.parts: dict[str, dict[str, Refund | Dispute]] = {}
        self.told: dict[str, list[Told]] = {}
        self.refunds_told: dict[str, list[Told]] = {}
        self.made_under: dict[str, dict[str, Subject]] = {}
        self.attempts: dict[str, list[Attempt]] = {}
        self.accounts: dict[str, dict[Account, int]] = {}
        self.booked: set[tuple[Kind, str]] = set()
        self.endpoint_written: dict[str, int] = {}

    def copy(self, broken: Callable[[Broken], None]) -> "Watch":
        """Return a watch that has seen the same, and goes its own way from here on."""
        other = Watch(broken)
        other.records = {kind: dict(its) for kind, its in self.records.items()}
        return other

    def all(self, kind: type[R]) -> Iterable[R]:
        """Return all records of a kind, as they are now."""
        return cast(Iterable[R], self.records.get(kind, {}).values())

    def get(self, kind: type[R], id: str) -> R | None:
        return cast(R | None, self.records.get(kind, {}).get(id))

    def note(self, written: Sequence[Record], held: Sequence[Record], *, now: datetime, began: int, step: int) -> None:
        """
        Take in a unit that has just taken effect, and judge all that it touched.

        `began` is the step at which whoever wrote it had begun its work, `step` the one that is now.
        """
        for record in held:
            kept = self.get(type(record), record.id)
            if kept is None or cast(Any, kept).version != cast(Any, record).version:
                self._break("what_is_held_stays", Difference("version", str(kept), str(record)))
        for record in written:
            self._take(record)
        sources: dict[str, Source] = {}
        keys: set[str] = set()
        books: set[str] = set()
        for record in written:
            self._index(record, step)
        for record in written:
            if isinstance(record, SOURCES):
                sources[record.id] = record
            if isinstance(record, OF_A_CHARGE) and (charge := self.get(Charge, record.charge)) is not None:
                sources[charge.id] = charge
            if isinstance(record, Charge | Refund) and record.idempotency_key is not None:
                keys.add(record.idempotency_key)
            elif isinstance(record, IdempotencyKey):
                keys.add(record.id)
            elif isinstance(record, Transfer):
                self._check_source(record, sources)
            elif isinstance(record, Event):
                self._check_addressed(record, written, began)
            elif isinstance(record, Delivery):
                self._report(judge_delivery(self.delivery_case(record, now)))
            elif isinstance(record, Sheet | Settlement) and record.version > 1 - isinstance(record, Sheet):
                books.add(book_id(Scope(record.merchant, record.livemode)))
            elif isinstance(record, Lane):
                self._break(lanes_are_held_by_one.__name__, *lanes_are_held_by_one(record))
        for source in sources.values():
            self._report(laws.judge(self.case(source)))
            self._report(judge_telling(self.telling_case(source)))
        for name in books:
            book = self.get(Book, name)
            case = None if book is None else self.book_case(book)
            if case is not None:
                self._report(judge_book(case))
        for key in keys:
            if (kept := self.get(IdempotencyKey, key)) is None:
                self._break("what_was_made_under_a_key_is_found_by_it", Difference("key", key, None))
            else:
                self._report(judge_key(KeyCase(kept, [*self.made_under.get(key, {}).values()])))

    def book_case(self, book: Book) -> BookCase | None:
        """Gather all that there is of a book."""
        scope = book.scope
        settlement = self.get(Settlement, book.id)
        if settlement is None:
            return None
        made = [each for each in self.all(Payout) if each.scope == scope]
        return BookCase(
            book=book,
            settlement=settlement,
            transfers=[each for each in self.all(Transfer) if each.scope == scope],
            sheets=sorted(
                (each for each in self.all(Sheet) if each.merchant == book.merchant and each.livemode == book.livemode),
                key=lambda sheet: sheet.number,
            ),
            payouts=sorted(made, key=lambda payout: payout.upto),
        )

    def case(self, source: Source) -> Case[Any]:
        """Gather all that there is of an object."""
        case = Case(source, self.transfers.get(source.id, []))
        if isinstance(source, Charge):
            for part in self.parts.get(source.id, {}).values():
                if isinstance(part, Refund):
                    laws.add_refund(case.refunds, part, source)
                else:
                    laws.add_dispute(case.disputes, part, source)
        return case

    def telling_case(self, source: Source) -> TellingCase:
        """Gather what was told of an object."""
        case = TellingCase(source, self.told.get(source.id, ()))
        if isinstance(source, Charge):
            case.refunds_told = self.refunds_told.get(source.id, ())
            paid = [part for part in self.parts.get(source.id, {}).values() if self._was_paid(part.id)]
            case.refunds_paid = len(paid)
        elif isinstance(source, Refund):
            case.was_paid = self._was_paid(source.id)
        return case

    def delivery_case(self, delivery: Delivery, now: datetime) -> DeliveryCase:
        """Gather what a delivery stands between."""
        return DeliveryCase(
            now=now,
            delivery=delivery,
            attempts=self.attempts.get(delivery.id, ()),
            event=self.get(Event, delivery.event),
            endpoint=self.get(Endpoint, delivery.endpoint),
            lane=self.get(Lane, delivery.endpoint),
        )

    def _take(self, record: Record) -> None:
        """Put a record in the place of the one before it."""
        its = self.records.setdefault(type(record), {})
        before = its.get(record.id)
        if is_guarded(type(record)):
            law = versions_follow_each_other
            self._break(law.__name__, *law(before, record))
            if before is not None:
                for law in CHANGES:
                    self._break(law.__name__, *law(before, record))
        elif before is not None:
            self._break("what_is_appended_is_new", Difference("id", "a new one", record.id))
        its[record.id] = record

    def _index(self, record: Record, step: int) -> None:
        match record:
            case Transfer():
                self.transfers.setdefault(record.source, []).append(record)
                accounts = self.accounts.setdefault(book_id(record.scope), dict.fromkeys(Account, 0))
                accounts[record.debit] -= record.amount
                accounts[record.credit] += record.amount
            case Refund() | Dispute():
                self.parts.setdefault(record.charge, {})[record.id] = record
            case Event():
                told = read_told(record)
                its = self.refunds_told if record.type == "charge.refunded" else self.told
                its.setdefault(told.object["id"], []).append(told)
            case Attempt():
                self.attempts.setdefault(record.delivery, []).append(record)
            case Endpoint():
                self.endpoint_written[record.id] = step
            case _:
                pass
        if isinstance(record, Charge | Refund) and record.idempotency_key is not None:
            self.made_under.setdefault(record.idempotency_key, {})[record.id] = record

    def _check_source(self, transfer: Transfer, sources: dict[str, Source]) -> None:
        """Find what a transfer is written for; each kind is written once for each."""
        name = transfer.kind, transfer.source
        if name in self.booked:
            self._break("a_transfer_is_written_once", Difference(transfer.kind, 1, 2))
        self.booked.add(name)
        book = self.get(Book, f"{transfer.merchant}/{transfer.scope.mode}")
        if book is None or book.sheet != transfer.sheet:
            self._break(
                "transfers_are_written_on_the_open_sheet",
                Difference("sheet", None if book is None else book.sheet, transfer.sheet),
            )
        for kind in SOURCES:
            if (source := self.get(kind, transfer.source)) is not None:
                sources[source.id] = source
                return
        self._break("transfers_have_a_source", Difference("source", transfer.source, None))

    def _check_addressed(self, event: Event, written: Sequence[Record], began: int) -> None:
        """
        Check that an event is sent on its way to every endpoint that was enabled for it when its teller began.

        What was enabled, changed or deleted meanwhile may be either.
        """
        sent = {each.endpoint for each in written if isinstance(each, Delivery) and each.event == event.id}
        held = self.get(Subscriptions, subscriptions_id(event.scope))
        for endpoint in subscribed(held, event.type):
            if endpoint not in sent and self.endpoint_written[endpoint] < began:
                self._break(
                    "events_reach_every_endpoint_enabled_for_them", Difference(event.type, endpoint, None)
                )

    def _was_paid(self, id: str) -> bool:
        return (Kind.REFUND_PAID, id) in self.booked

    def _report(self, found: Sequence[Broken]) -> None:
        for broken in found:
            self._broken(broken)

    def _break(self, law: str, *differences: Difference) -> None:
        for difference in differences:
            self._broken(Broken(law, difference))
