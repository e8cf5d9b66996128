"""Recording what happened: a change is committed together with all that follows from it."""

from collections.abc import Sequence

from kpay_core.commit import Conflict, Record
from kpay_core.domain.events import Origin
from kpay_core.domain.happenings import Happening
from kpay_core.domain.ledger import Book, Entry, Transfer
from kpay_core.domain.scope import Scope
from kpay_core.flows.booking import book_of, make_transfers, turn_if_full
from kpay_core.flows.durably import Turns, commit
from kpay_core.flows.once import remember
from kpay_core.flows.telling import make_events, wake
from kpay_core.ports import Ports


async def record(
    ports: Ports,
    *records: Record,
    scope: Scope,
    told: Sequence[Happening] = (),
    booked: Sequence[Entry] = (),
    origin: Origin = Origin(),  # noqa: B008 it is frozen
    book: Book | None = None,
) -> None:
    """
    Commit records with the events they give rise to and the transfers they mean, and wake whoever delivers.

    Raises as `commit` does, but for a book that was written meanwhile: its new open sheet is as good as the one before,
    and what is to be booked was decided by the terms that held then. `book` is the book as it was read by a caller who
    has it at hand. Raises `Contention` when it does not hold still.
    """
    turns = Turns(ports)
    while True:
        now = ports.clock.now()
        events, deliveries = await make_events(ports, told, scope=scope, origin=origin, now=now)
        transfers: Sequence[Transfer] = ()
        held: Sequence[Book] = ()
        if booked:
            held = (book or await book_of(ports, scope),)
            transfers = make_transfers(ports, booked, held[0], now=now)
        try:
            await commit(ports, *records, *transfers, *events, *deliveries, held=held)
            break
        except Conflict as conflict:
            if conflict.kind is not Book:
                raise
            await turns.wait()
            book = None
    remember(ports, *records)
    wake(ports, deliveries)
    await turn_if_full(ports, transfers)
