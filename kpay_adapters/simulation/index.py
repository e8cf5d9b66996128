"""The index of a run: every record as it was last committed, and what belongs to what, so that a case is at hand."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeVar, cast

from kpay_core.commit import Record
from kpay_core.domain import laws
from kpay_core.domain.book_laws import BookCase
from kpay_core.domain.change_laws import Terms
from kpay_core.domain.charges import Charge
from kpay_core.domain.deliveries import Attempt, Delivery
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.endpoints import Endpoint
from kpay_core.domain.events import Event
from kpay_core.domain.idempotency import IdempotencyKey
from kpay_core.domain.lanes import Lane
from kpay_core.domain.laws import Case, Source
from kpay_core.domain.ledger import Account, Book, Kind, Sheet, Transfer, book_id
from kpay_core.domain.payouts import Payout, Settlement
from kpay_core.domain.refunds import Refund
from kpay_core.domain.request_laws import KeyCase, Subject
from kpay_core.domain.telling_laws import DeliveryCase, TellingCase, Told, read_told

R = TypeVar("R", bound=Record)

SOURCES = (Charge, Refund, Dispute, Payout)


class Index:
    """
    All that was committed.

    `accounts` are the sums of every book, `booked` names the transfers that were written, and `endpoint_written` says
    at which step an endpoint was last written.
    """

    def __init__(self) -> None:
        self.records: dict[type[Record], dict[str, Any]] = {}
        self.accounts: dict[str, dict[Account, int]] = {}
        self.booked: set[tuple[Kind, str]] = set()
        self.endpoint_written: dict[str, int] = {}
        # What charges cost, and from which step on.
        self._terms: dict[str, list[tuple[int, Terms]]] = {}
        self._transfers: dict[str, list[Transfer]] = {}
        self._parts: dict[str, dict[str, Refund | Dispute]] = {}
        self._told: dict[str, list[Told]] = {}
        self._refunds_told: dict[str, list[Told]] = {}
        self._made_under: dict[str, dict[str, Subject]] = {}
        self._attempts: dict[str, list[Attempt]] = {}

    def copy_records(self) -> "Index":
        """Return an index of the same records, of which nothing was charged yet, that goes its own way."""
        other = Index()
        other.records = {kind: dict(its) for kind, its in self.records.items()}
        other._terms = {id: list(its) for id, its in self._terms.items()}
        return other

    def all(self, kind: type[R]) -> Iterable[R]:
        """Return all records of a kind, as they are now."""
        return cast("Iterable[R]", self.records.get(kind, {}).values())

    def get(self, kind: type[R], id: str) -> R | None:
        return cast("R | None", self.records.get(kind, {}).get(id))

    def put(self, record: Record) -> Record | None:
        """Put a record in the place of the one before it, which is returned."""
        its = self.records.setdefault(type(record), {})
        before = its.get(record.id)
        its[record.id] = record
        return before

    def enter(self, record: Record, *, step: int) -> None:
        """Enter a record where it belongs."""
        match record:
            case Transfer():
                self._transfers.setdefault(record.source, []).append(record)
                accounts = self._accounts_of(book_id(record.scope))
                accounts[record.debit] -= record.amount
                accounts[record.credit] += record.amount
            case Refund() | Dispute():
                self._parts.setdefault(record.charge, {})[record.id] = record
            case Event():
                told = read_told(record)
                its = self._refunds_told if record.type == "charge.refunded" else self._told
                its.setdefault(told.object["id"], []).append(told)
            case Attempt():
                self._attempts.setdefault(record.delivery, []).append(record)
            case Endpoint():
                self.endpoint_written[record.id] = step
            case Book():
                self._terms.setdefault(record.id, []).append(
                    (step, (record.fee_basis_points, record.fee_cents))
                )
            case _:
                pass
        if isinstance(record, Charge | Refund) and record.idempotency_key is not None:
            self._made_under.setdefault(record.idempotency_key, {})[record.id] = record

    def _accounts_of(self, book: str) -> dict[Account, int]:
        accounts = self.accounts.get(book)
        if accounts is None:
            accounts = self.accounts[book] = dict.fromkeys(Account, 0)
        return accounts

    def terms_since(self, charge: Charge, step: int) -> list[Terms]:
        """Return the terms of a charge's book that held at a step, or at any later one."""
        its = self._terms.get(book_id(charge.scope), [])
        before = [terms for written, terms in its if written < step]
        return [*before[-1:], *(terms for written, terms in its if written >= step)]

    def source_of(self, transfer: Transfer) -> Source | None:
        """Return the object that a transfer is written for."""
        for kind in SOURCES:
            source = self.get(kind, transfer.source)
            if source is not None:
                return source
        return None

    def case(self, source: Source) -> Case[Any]:
        """Gather all that there is of an object."""
        case = Case(source, self._transfers.get(source.id, []))
        if isinstance(source, Charge):
            for part in self._parts.get(source.id, {}).values():
                if isinstance(part, Refund):
                    laws.add_refund(case.refunds, part, source)
                else:
                    laws.add_dispute(case.disputes, part, source)
        return case

    def telling_case(self, source: Source) -> TellingCase:
        """Gather what was told of an object."""
        case = TellingCase(source, self._told.get(source.id, ()))
        if isinstance(source, Charge):
            case.refunds_told = self._refunds_told.get(source.id, ())
            case.refunds_paid = sum(self._was_paid(id) for id in self._parts.get(source.id, ()))
        elif isinstance(source, Refund):
            case.was_paid = self._was_paid(source.id)
        return case

    def key_case(self, key: IdempotencyKey) -> KeyCase:
        """Gather everything that was made under a key."""
        return KeyCase(key, list(self._made_under.get(key.id, {}).values()))

    def delivery_case(self, delivery: Delivery, *, now: datetime) -> DeliveryCase:
        """Gather what a delivery stands between."""
        return DeliveryCase(
            now=now,
            delivery=delivery,
            attempts=self._attempts.get(delivery.id, ()),
            event=self.get(Event, delivery.event),
            endpoint=self.get(Endpoint, delivery.endpoint),
            lane=self.get(Lane, delivery.endpoint),
        )

    def book_case(self, book: Book, settlement: Settlement) -> BookCase:
        """Gather all that there is of a book."""
        scope = book.scope
        sheets = [each for each in self.all(Sheet) if each.id.startswith(f"{book.id}/")]
        return BookCase(
            book=book,
            settlement=settlement,
            transfers=[each for each in self.all(Transfer) if each.scope == scope],
            sheets=sorted(sheets, key=lambda sheet: sheet.number),
            payouts=sorted(
                (each for each in self.all(Payout) if each.scope == scope), key=lambda payout: payout.upto
            ),
        )

    def _was_paid(self, id: str) -> bool:
        return (Kind.REFUND_PAID, id) in self.booked
