"""
The laws of all events: each is of something that happened, and whatever happens once is told once.

The second is of all the events and objects of a book together. Both sides are added up, each event and each happening
by a fingerprint of its name, so that whoever compares them keeps a few numbers, however many there are.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from kpay_core.domain import charges, disputes, payouts, refunds
from kpay_core.domain.charges import Charge
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.events import Event, EventType
from kpay_core.domain.laws import Difference, Differences, Source, compare
from kpay_core.domain.ledger import Kind, Transfer, book_id
from kpay_core.domain.payouts import Payout
from kpay_core.domain.refunds import Refund
from kpay_core.domain.telling_laws import SILENT, types_once

TOLD_REFUNDS = tuple(status for status in refunds.Status if status not in SILENT)

# Of what kind of object each type of event is, and how far that has come at least.
OBJECTS: Mapping[EventType, tuple[type[Source], tuple[str, ...]]] = {
    "charge.succeeded": (Charge, (charges.Status.SUCCEEDED,)),
    "charge.failed": (Charge, (charges.Status.FAILED,)),
    "charge.refunded": (Charge, (charges.Status.SUCCEEDED,)),
    "refund.created": (Refund, TOLD_REFUNDS),
    # A refund that was pending is updated by its outcome.
    "refund.updated": (Refund, (refunds.Status.SUCCEEDED, refunds.Status.FAILED)),
    "payout.created": (Payout, tuple(payouts.Status)),
    "payout.paid": (Payout, (payouts.Status.PAID,)),
    "payout.failed": (Payout, (payouts.Status.FAILED,)),
    "dispute.created": (Dispute, tuple(disputes.Status)),
    "dispute.updated": (Dispute, tuple(disputes.Status)),
    "dispute.closed": (Dispute, (disputes.Status.WON, disputes.Status.LOST)),
}

# How often these happen to an object nobody can tell from how it is now.
MANY: tuple[EventType, ...] = ("refund.updated", "dispute.updated")

# The transfer that is committed together with an event, and was made at the same time.
BOOKED_WITH: Mapping[EventType, tuple[Kind, ...]] = {
    "charge.succeeded": (Kind.CHARGE,),
    "charge.refunded": (Kind.REFUND_PAID,),
    "payout.created": (Kind.PAYOUT,),
    "payout.paid": (Kind.PAYOUT_PAID,),
    "payout.failed": (Kind.PAYOUT_FAILED,),
    "dispute.created": (Kind.DISPUTE,),
    "dispute.closed": (Kind.DISPUTE_WON, Kind.DISPUTE_LOST),
}
DATES = tuple(kind for kinds in BOOKED_WITH.values() for kind in kinds)

MODULUS = 2**64


class Gist(msgspec.Struct, frozen=True):
    """What an event says of its object that is so for ever."""

    id: str
    amount: int


class _Data(msgspec.Struct):
    object: Gist


class _Body(msgspec.Struct):
    data: _Data


_decode = msgspec.json.Decoder(_Body).decode


def read_gist(event: Event) -> Gist | None:
    """Read which object an event is of; None where its body does not say."""
    try:
        return _decode(event.body).data.object
    except msgspec.DecodeError:
        return None


class EventCase(msgspec.Struct):
    """An event, what it says of its object, and that object as it is by now."""

    event: Event
    gist: Gist | None
    source: Source | None


def events_are_of_what_happened(case: EventCase) -> Differences:
    """The object of an event is there, in the event's book, of the amount that it says, and has come as far."""
    event, gist, source = case.event, case.gist, case.source
    if gist is None:
        return (Difference("body", "of an event", "something else"),)
    if source is None:
        return compare("object", gist.id, None)
    _, reached = OBJECTS[event.type]
    found = compare("book of its object", book_id(event.scope), book_id(source.scope))
    found += compare("amount told", source.amount, gist.amount)
    if source.status not in reached:
        found += (Difference("status of its object", " or ".join(reached), source.status.value),)
    return found


class Once(NamedTuple):
    """
    Something that happens to an object once, by the type of the event that tells of it.

    `at` is when, where a transfer of that moment says so; None where only the event does.
    """

    type: EventType
    object: str
    at: datetime | None

    def is_dated(self, *, upto: datetime) -> bool:
        """Tell whether it is known to have happened by a moment."""
        return self.at is not None and self.at <= upto


def happened_once(source: Source, transfers: Sequence[Transfer]) -> Sequence[Once]:
    """
    Return what has happened once, by an object as it is now and its transfers.

    A refund that went out is told of its charge, also where the money came back later.
    """
    booked = {transfer.kind: transfer.created_at for transfer in transfers}
    happened = [Once(type, source.id, _date(type, booked)) for type in types_once(source)]
    if isinstance(source, Refund) and Kind.REFUND_PAID in booked:
        happened.append(Once("charge.refunded", source.charge, booked[Kind.REFUND_PAID]))
    return happened


def _date(type: EventType, booked: Mapping[Kind, datetime]) -> datetime | None:
    return next((booked[kind] for kind in BOOKED_WITH.get(type, ()) if kind in booked), None)


def told_once(event: Event, gist: Gist | None) -> Once | None:
    """Return what an event tells of, if that is something that happens once."""
    if gist is None or event.type in MANY:
        return None
    return Once(event.type, gist.id, event.created_at if event.type in BOOKED_WITH else None)


def fingerprint(once: Once) -> int:
    """Return a number for what happened; of two things it is the same once in 2^64."""
    name = f"{once.type} {once.object}".encode()
    return int.from_bytes(blake2b(name, digest_size=8).digest())


class Untold(msgspec.Struct):
    """
    What happened in a book, less what was told there, as sums of fingerprints: nothing where each was told once.

    `dated` is the part of it that transfers date, up to a moment before which nothing is committed any more.
    """

    whole: int = 0
    dated: int = 0

    def add(self, once: Once, *, upto: datetime) -> None:
        """Add something that happened."""
        self._add(once, fingerprint(once), upto)

    def take_off(self, once: Once, *, upto: datetime) -> None:
        """Take off something that was told."""
        self._add(once, -fingerprint(once), upto)

    def _add(self, once: Once, number: int, upto: datetime) -> None:
        self.whole = (self.whole + number) % MODULUS
        if once.is_dated(upto=upto):
            self.dated = (self.dated + number) % MODULUS


class Sums(msgspec.Struct):
    """What happened in a book, or what was told there: by type, how often, and the sum of the fingerprints."""

    numbers: Counter[EventType] = msgspec.field(default_factory=Counter[EventType])
    prints: Counter[EventType] = msgspec.field(default_factory=Counter[EventType])

    def add(self, once: Once) -> None:
        """Add one."""
        self.numbers[once.type] += 1
        self.prints[once.type] = (self.prints[once.type] + fingerprint(once)) % MODULUS


def what_happens_once_is_told_once(happened: Sums, told: Sums) -> Differences:
    """Each outcome of a charge, refund that went out, payout and dispute is told in one event, and nothing else is."""
    found: Differences = ()
    for type in OBJECTS:
        counted = compare(f"{type} events", happened.numbers[type], told.numbers[type])
        if not counted and happened.prints[type] != told.prints[type]:
            counted = (Difference(f"{type} events", "of what happened", "of something else"),)
        found += counted
    return found
