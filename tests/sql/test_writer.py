"""The group commit by itself, on a database that does as it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import Table

from kpay_adapters.sql import units
from kpay_adapters.sql import writer as module
from kpay_adapters.sql.database import Answer, Away, Clash, Lost, Part, Question, Refused
from kpay_adapters.sql.tables import CHARGES, MERCHANTS
from kpay_adapters.sql.writer import Writer
from kpay_adapters.testing.records import a_charge, a_key, a_merchant
from kpay_core.commit import Conflict, Record, Rejected, Unavailable, Unknown, bump
from kpay_core.domain.merchants import Merchant
from kpay_core.query import Query
from tests.contract.stores import TABLES

pytestmark = pytest.mark.anyio


class Scripted:
    """A database and its one session: it keeps versions, logs what it is asked, and fails when it is told to."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], int] = {}
        self.batches: list[list[Part]] = []
        self.looked = 0
        # What the next writes raise, in turn, instead of writing.
        self.troubles: list[Exception] = []
        # Ids that a constraint refuses.
        self.bad: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()

    def session(self) -> "Scripted":
        return self

    def look_ups(self) -> "Scripted":
        return self

    def encoder(self, table: Table) -> Callable[[Record], object]:
        return lambda record: record

    def held(self, id: str, version: int) -> tuple[str, int]:
        return id, version

    def count(self, table: Table) -> Question:
        raise NotImplementedError

    async def write(self, parts: Sequence[Part]) -> bool:
        self.batches.append(list(parts))
        await self.gate.wait()
        if self.troubles:
            raise self.troubles.pop(0)
        written = [part for part in parts if part.verb != "hold"]
        rows: list[tuple[str, Any]] = [(part.table.name, row) for part in written for row in part.rows]
        holds = [(part.table.name, *row) for part in parts if part.verb == "hold" for row in part.rows]
        if any(row.id in self.bad for _, row in rows):
            raise Refused("charges_amount_check")
        if any(self.kept.get((table, row.id), 0) != row.version - 1 for table, row in rows):
            return False
        if any(self.kept.get((table, id), 0) != version for table, id, version in holds):
            return False
        self.kept |= {(table, row.id): row.version for table, row in rows}
        return True

    async def versions(self, table: Table, ids: Sequence[str]) -> Mapping[str, int]:
        self.looked += 1
        return {id: self.kept[table.name, id] for id in ids if (table.name, id) in self.kept}

    async def close(self) -> None: ...

    async def read(self, question: Question) -> Sequence[Answer]:
        raise NotImplementedError

    def by_id(self, table: Table, ids: Sequence[str]) -> Question:
        raise NotImplementedError

    def matching(self, table: Table, query: Query[Any]) -> Question:
        raise NotImplementedError

    def columns(self, tables: Iterable[Table]) -> Question:
        raise NotImplementedError


@pytest.fixture
def database() -> Scripted:
    return Scripted()


@pytest.fixture
async def writer(database: Scripted) -> AsyncIterator[Writer]:
    writer = Writer(database, TABLES)
    writer.start()
    yield writer
    database.gate.set()
    await writer.close()


async def commit(writer: Writer, *units: Sequence[Record]) -> list[BaseException | None]:
    return await asyncio.gather(*(writer.commit(unit) for unit in units), return_exceptions=True)


def units_of(batch: list[Part]) -> int:
    return sum(len(part.rows) for part in batch if part.table is MERCHANTS and part.verb != "hold")


def held_in(batch: list[Part]) -> list[tuple[str, int]]:
    return [row for part in batch if part.verb == "hold" for row in part.rows]


async def test_what_waits_goes_together(database: Scripted, writer: Writer) -> None:
    assert await commit(writer, *([a_merchant()] for _ in range(30))) == [None] * 30

    assert [units_of(batch) for batch in database.batches] == [30]


async def test_a_batch_has_a_limit(database: Scripted, writer: Writer) -> None:
    await commit(writer, *([a_merchant()] for _ in range(150)))

    assert [units_of(batch) for batch in database.batches] == [64, 64, 22]


async def test_two_units_on_one_record_never_share_a_batch(database: Scripted, writer: Writer) -> None:
    first = a_merchant()
    second = bump(first)
    third = bump(second)

    assert await commit(writer, [first], [second], [third], [a_merchant()]) == [None] * 4

    assert [units_of(batch) for batch in database.batches] == [2, 1, 1]


async def test_units_that_hold_one_record_share_a_batch_and_ask_for_it_once(
    database: Scripted, writer: Writer
) -> None:
    book = a_merchant()
    await writer.commit([book])

    results = await asyncio.gather(*(writer.commit([a_merchant()], [book]) for _ in range(30)))

    assert results == [None] * 30
    assert [units_of(batch) for batch in database.batches] == [1, 30]
    assert held_in(database.batches[1]) == [(book.id, 1)]


async def test_who_writes_a_record_and_who_holds_it_never_share_a_batch(
    database: Scripted, writer: Writer
) -> None:
    first = a_merchant()
    second = bump(first)

    # In one breath, in the order in which they must take effect for all of them to succeed.
    waiting = [
        writer.commit([first]),
        writer.commit([a_merchant()], [first]),
        writer.commit([a_merchant()], [first]),
        writer.commit([second]),
        writer.commit([a_merchant()], [second]),
        writer.commit([a_merchant()]),
    ]
    assert await asyncio.gather(*waiting, return_exceptions=True) == [None] * 6

    assert [units_of(batch) for batch in database.batches] == [2, 2, 1, 1]
    assert [held_in(batch) for batch in database.batches] == [[], [(first.id, 1)], [], [(first.id, 2)]]


async def test_one_who_writes_is_not_overtaken_by_those_who_hold(database: Scripted, writer: Writer) -> None:
    book = a_merchant()
    await writer.commit([book])

    results = await asyncio.gather(
        writer.commit([a_merchant()], [book]),
        writer.commit([bump(book)]),
        *(writer.commit([a_merchant()], [book]) for _ in range(200)),
        return_exceptions=True,
    )

    assert results[:2] == [None, None]
    assert [type(result) for result in results[2:]] == [Conflict] * 200
    assert len(database.batches) == 3


async def test_whoever_waits_keeps_his_place(database: Scripted, writer: Writer) -> None:
    book, other = a_merchant(), a_merchant()
    await writer.commit([book, other])

    results = await asyncio.gather(
        writer.commit([bump(other)]),
        writer.commit([bump(bump(other))], [book]),
        writer.commit([bump(book)]),
        return_exceptions=True,
    )

    assert results == [None] * 3


async def test_a_held_record_that_moved_is_named_and_hurts_nobody_else(
    database: Scripted, writer: Writer
) -> None:
    book, other = a_merchant(), a_merchant()
    database.kept |= {("merchants", book.id): 2, ("merchants", other.id): 1}
    late = a_charge(book)

    results = await asyncio.gather(
        writer.commit([late], [other, book]),
        writer.commit([a_merchant()], [bump(book)]),
        writer.commit([a_merchant()], [other]),
        return_exceptions=True,
    )

    assert isinstance(results[0], Conflict)
    assert (results[0].kind, results[0].id) == (Merchant, book.id)
    assert results[1:] == [None, None]
    assert ("charges", late.id) not in database.kept


async def test_a_held_version_is_known_to_be_stale_from_then_on(database: Scripted, writer: Writer) -> None:
    first = a_merchant()
    second = bump(first)
    database.kept["merchants", second.id] = 2
    await writer.commit([a_merchant()], [second])
    asked = len(database.batches)

    with pytest.raises(Conflict):
        await writer.commit([a_merchant()], [first])
    assert (len(database.batches), database.looked) == (asked, 0)

    await writer.commit([a_merchant()], [second])
    await writer.commit([bump(second)])
    with pytest.raises(Conflict):
        await writer.commit([a_merchant()], [second])
    assert (len(database.batches), database.looked) == (asked + 2, 0)


async def test_rows_are_written_in_one_order(database: Scripted, writer: Writer) -> None:
    old = [a_merchant() for _ in range(3)]
    await writer.commit(old)
    merchant = a_merchant()
    charges = [a_charge(merchant) for _ in range(3)]

    await commit(
        writer, [bump(old[2]), bump(old[0])], [a_key(charges[0]), *charges[::-1], merchant], [bump(old[1])]
    )

    parts = database.batches[-1]
    assert [(part.table.name, part.verb) for part in parts] == [
        ("merchants", "insert"),
        ("charges", "insert"),
        ("idempotency_keys", "insert"),
        ("merchants", "update"),
    ]
    assert [row.id for row in parts[3].rows] == [record.id for record in old]
    assert [row.id for row in parts[1].rows] == [charge.id for charge in charges]


async def test_what_is_held_takes_its_tables_turn(database: Scripted, writer: Writer) -> None:
    merchants = [a_merchant() for _ in range(3)]
    charge = a_charge(merchants[0])
    await writer.commit([*merchants, charge])

    await asyncio.gather(
        writer.commit([bump(charge)], [merchants[2]]),
        writer.commit([bump(merchants[1]), a_charge(merchants[0])], [merchants[0]]),
    )

    parts = database.batches[-1]
    assert [(part.table.name, part.verb) for part in parts] == [
        ("charges", "insert"),
        ("merchants", "update"),
        ("merchants", "hold"),
        ("charges", "update"),
    ]
    assert held_in(parts) == [(merchants[0].id, 1), (merchants[2].id, 1)]


async def test_a_loser_does_not_hurt_the_others(database: Scripted, writer: Writer) -> None:
    taken = a_merchant()
    database.kept["merchants", taken.id] = 4

    results = await commit(writer, [a_merchant()], [taken, a_charge(taken)], [a_merchant()])

    assert isinstance(results[1], Conflict)
    assert (results[0], results[2]) == (None, None)
    assert ("charges", taken.id) not in database.kept


async def test_a_unit_that_is_known_to_be_stale_costs_no_question(database: Scripted, writer: Writer) -> None:
    merchant = a_merchant()
    await writer.commit([merchant])
    await writer.commit([bump(merchant)])
    asked = len(database.batches)

    for stale in (merchant, bump(merchant)):
        with pytest.raises(Conflict):
            await writer.commit([stale])

    assert len(database.batches) == asked
    assert database.looked == 0


async def test_versions_are_forgotten_when_there_are_many(
    database: Scripted, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "REMEMBERED_VERSIONS", 2)
    merchant = a_merchant()
    await writer.commit([merchant])
    for _ in range(5):
        await writer.commit([a_merchant()])
    asked = len(database.batches)

    with pytest.raises(Conflict):
        await writer.commit([merchant])

    assert len(database.batches) > asked


async def test_a_bad_unit_does_not_hurt_the_others(database: Scripted, writer: Writer) -> None:
    units = [[a_merchant()] for _ in range(64)]
    bad = {7, 8, 40}
    database.bad = {units[i][0].id for i in bad}

    results = await commit(writer, *units)

    assert [i for i, result in enumerate(results) if isinstance(result, Rejected)] == sorted(bad)
    assert [i for i, result in enumerate(results) if result is None] == sorted(set(range(64)) - bad)


async def test_guards_are_looked_at_before_a_refusal_is_believed(database: Scripted, writer: Writer) -> None:
    merchant = a_merchant()
    database.kept["merchants", merchant.id] = 1
    database.bad = {merchant.id}

    with pytest.raises(Conflict):
        await writer.commit([merchant])


async def test_a_lost_connection_leaves_the_outcome_unknown(database: Scripted, writer: Writer) -> None:
    database.troubles = [Lost("connection reset")]

    results = await commit(writer, [a_merchant()], [a_merchant()])

    assert [type(result) for result in results] == [Unknown, Unknown]
    assert await commit(writer, [a_merchant()]) == [None]


async def test_a_database_that_is_away_wrote_nothing(database: Scripted, writer: Writer) -> None:
    database.troubles = [Away("connection refused")]

    with pytest.raises(Unavailable):
        await writer.commit([a_merchant()])


async def test_a_connection_lost_while_looking_up_wrote_nothing(
    database: Scripted, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(table: Table, ids: Sequence[str]) -> Mapping[str, int]:
        raise Lost("connection reset")

    monkeypatch.setattr(database, "versions", lost)
    merchant = a_merchant()
    database.kept["merchants", merchant.id] = 4

    with pytest.raises(Unavailable):
        await writer.commit([merchant])


async def test_a_deadlock_is_tried_again(database: Scripted, writer: Writer) -> None:
    database.troubles = [Clash("deadlock"), Clash("deadlock")]

    await writer.commit([a_merchant()])

    assert len(database.batches) == 3


async def test_endless_deadlocks_end(
    database: Scripted, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_SECONDS", 0)
    database.troubles = [Clash("deadlock")] * 100

    with pytest.raises(Unavailable):
        await writer.commit([a_merchant()])


async def test_a_row_that_is_missed_for_no_reason_does_not_loop(
    database: Scripted, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def miss(parts: Sequence[Part]) -> bool:
        return False

    monkeypatch.setattr(database, "write", miss)

    with pytest.raises(Unavailable):
        await writer.commit([a_merchant()])


async def test_a_bug_in_the_driver_is_told_and_the_writer_lives(database: Scripted, writer: Writer) -> None:
    database.troubles = [KeyError("a bug")]

    with pytest.raises(Unknown) as unknown:
        await writer.commit([a_merchant()])

    assert isinstance(unknown.value.__cause__, KeyError)
    await writer.commit([a_merchant()])


async def test_a_caller_who_left_before_his_turn_is_not_written(database: Scripted, writer: Writer) -> None:
    database.gate.clear()
    first = asyncio.create_task(writer.commit([a_merchant()]))
    await asyncio.sleep(0.01)
    merchant = a_merchant()
    left = asyncio.create_task(writer.commit([merchant]))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    database.gate.set()
    await first
    await writer.commit([a_merchant()])

    assert ("merchants", merchant.id) not in database.kept


async def test_a_caller_who_left_in_the_middle_has_committed(database: Scripted, writer: Writer) -> None:
    database.gate.clear()
    merchant = a_merchant()
    left = asyncio.create_task(writer.commit([merchant]))
    await asyncio.sleep(0.01)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    database.gate.set()
    await writer.commit([a_merchant()])

    assert database.kept["merchants", merchant.id] == 1


async def test_a_full_queue_refuses(
    database: Scripted, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_QUEUED_UNITS", 5)

    results = await commit(writer, *([a_merchant()] for _ in range(7)))

    assert [type(result) for result in results] == [type(None)] * 5 + [Unavailable] * 2


async def test_what_was_queued_is_written_before_the_writer_closes(
    database: Scripted, writer: Writer
) -> None:
    waiting = [asyncio.create_task(writer.commit([a_merchant()])) for _ in range(100)]
    await asyncio.sleep(0)
    await writer.close()

    assert await asyncio.gather(*waiting) == [None] * 100
    with pytest.raises(Unavailable):
        await writer.commit([a_merchant()])


async def test_a_writer_that_must_stop_tells_everybody(
    database: Scripted, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.01)
    database.gate.clear()
    waiting = [asyncio.create_task(writer.commit([a_merchant()])) for _ in range(100)]
    await asyncio.sleep(0)
    await writer.close()

    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [Unknown] * 64 + [Unavailable] * 36


async def test_a_record_changed_after_it_was_sent_is_written_as_it_was(writer: Writer) -> None:
    # The rows of a real database are made when a unit is queued; this holds the writer to that moment.
    encoded: list[str] = []
    database = Scripted()
    database.encoder = lambda table: lambda record: encoded.append(record.id) or record  # type: ignore[method-assign]
    other = Writer(database, {type(a_merchant()): MERCHANTS, type(a_charge(a_merchant())): CHARGES})
    other.start()
    waiting = asyncio.create_task(other.commit([merchant := a_merchant()]))
    await asyncio.sleep(0)

    assert encoded == [merchant.id]
    await waiting
    await other.close()
