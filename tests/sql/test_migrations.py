"""Migrations and models say the same, on both databases."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import msgspec
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from kpay_adapters.sql.migrate import config_for, create_all, migrate, pending, transaction
from kpay_adapters.sql.statements import sqlite_time
from kpay_adapters.sql.store import SqlStore
from kpay_adapters.sql.tables import METADATA, RECORDS
from kpay_adapters.testing.records import a_charge, a_key, a_merchant, a_refund, an_event, answered, succeeded
from kpay_core.commit import Record, Unavailable
from kpay_core.domain import charges, ledger, merchants, payouts, refunds
from kpay_core.domain.charges import Charge
from kpay_core.domain.idempotency import IdempotencyKey
from kpay_core.domain.ledger import Account, Book, Kind, Transfer
from kpay_core.domain.merchants import Merchant
from kpay_core.domain.payouts import Settlement
from kpay_core.domain.refunds import Refund
from kpay_core.domain.scope import Scope
from kpay_core.query import Query

pytestmark = pytest.mark.anyio

# Everything that a database knows of its schema, in its own words.
POSTGRES_SCHEMA = """
    SELECT concat_ws(' ', 'column', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull,
                     (SELECT collname FROM pg_collation WHERE oid = attcollation))
    FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT concat_ws(' ', pg_get_triggerdef(oid), tgenabled) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""
SQLITE_SCHEMA = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"


def schema(connection: Connection) -> set[str]:
    """Return the statements and definitions; of a CREATE TABLE, each line by itself, as their order means nothing."""
    query = SQLITE_SCHEMA if connection.dialect.name == "sqlite" else POSTGRES_SCHEMA
    lines: set[str] = set()
    for (definition,) in connection.execute(text(query)):
        if "alembic_version" not in definition:
            table = re.match(r"CREATE TABLE (\w+)", definition)
            parts = definition.splitlines() if table else [definition]
            lines.update(f"{table[1] if table else ''} {part.strip().rstrip(',')}" for part in parts)
    return lines


async def test_migrations_make_what_the_models_say(empty_database: Callable[[], str]) -> None:
    migrated, created = empty_database(), empty_database()
    await migrate(migrated)
    await create_all(created, METADATA)

    async with transaction(migrated) as one, transaction(created) as other:
        assert await one.run_sync(schema) == await other.run_sync(schema)


async def test_alembic_sees_no_difference(empty_database: Callable[[], str]) -> None:
    url = empty_database()
    await migrate(url)

    def compare(connection: Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection), METADATA)

    async with transaction(url) as connection:
        assert await connection.run_sync(compare) == []


async def test_what_is_pending_is_told(empty_database: Callable[[], str]) -> None:
    url = empty_database()

    assert await pending(url) == ["0001", "0002", "0003", "0004", "0005"]
    await migrate(url)
    assert await pending(url) == []


async def test_processes_that_start_together_migrate_once(empty_database: Callable[[], str]) -> None:
    url = empty_database()

    await asyncio.gather(*(migrate(url) for _ in range(4)))

    assert await pending(url) == []


async def test_migrating_again_changes_nothing(empty_database: Callable[[], str]) -> None:
    url = empty_database()
    await migrate(url)
    merchant = a_merchant()
    async with SqlStore(url) as store:
        await store.commit(merchant)

    await migrate(url)

    async with SqlStore(url) as store:
        assert await store.get(type(merchant), merchant.id) == merchant


async def test_a_store_is_ready_once_its_database_is_migrated(empty_database: Callable[[], str]) -> None:
    url = empty_database()
    async with SqlStore(url) as store:
        with pytest.raises(Unavailable):
            await store.ready()
        await migrate(url)
        await store.ready()


async def test_a_column_that_is_missing_is_noticed(empty_database: Callable[[], str]) -> None:
    url = empty_database()
    await migrate(url)
    async with transaction(url) as connection:
        await connection.execute(text("ALTER TABLE refunds DROP COLUMN notes"))

    async with SqlStore(url) as store:
        with pytest.raises(Unavailable):
            await store.ready()


async def test_keys_of_before_late_answers_are_kept_forth_and_back(empty_database: Callable[[], str]) -> None:
    url = empty_database()
    await migrate(url)
    merchant = a_merchant()
    charge = a_charge(merchant)
    key = answered(a_key(charge))
    async with SqlStore(url) as store:
        await store.commit(merchant, charge, a_key(charge, id=key.id))
        await store.commit(key)

    await move(url, "0003", by=command.downgrade)
    await migrate(url)

    async with SqlStore(url) as store:
        assert await store.get(IdempotencyKey, key.id) == msgspec.structs.replace(key, answered_late_at=None)


# A database of the release before the ledger

SINCE_THE_LEDGER = {"amount_disputed", "disputes", "fee", "matures_at"}

NOW = datetime.now(UTC).replace(microsecond=0)
OLD = NOW - timedelta(days=3)


async def move(url: str, revision: str, *, by: Callable[..., None] = command.upgrade) -> None:
    async with transaction(url) as connection:
        await connection.run_sync(lambda inner: by(config_for(inner), revision))


async def write_before(url: str, records: Sequence[Record]) -> None:
    """Write records as the release before did."""
    async with transaction(url) as connection:
        for kind, table in RECORDS.items():
            if rows := [row_before(url, record) for record in records if type(record) is kind]:
                await connection.execute(table.insert(), rows)


def row_before(url: str, record: Record) -> dict[str, Any]:
    def column(value: object) -> object:
        match value:
            case datetime():
                return sqlite_time(value) if url.startswith("sqlite") else value
            case Enum():
                return value.value
            case _:
                return msgspec.to_builtins(value)

    fields = msgspec.structs.asdict(record)
    return {name: column(value) for name, value in fields.items() if name not in SINCE_THE_LEDGER}


class Before:
    """
    A merchant with every kind of charge and refund in test mode, one charge in live mode, and an applicant.

    In test mode: 49.99 which matured yesterday, with refunds of 10.00 (succeeded), 5.00 (failed) and 7.00 (on its
    way); 0.50 of an hour ago; 25.00 on its way; 100.00 which failed. In live mode: 100,000.00, matured.
    """

    def __init__(self) -> None:
        self.merchant = a_merchant(status=merchants.Status.APPROVED, approved_at=OLD)
        self.applicant = a_merchant()
        self.event = an_event(self.merchant)
        self.matured = self.charge(
            amount=4999, created_at=OLD, amount_refunded=1000, amount_refunding=700, refunds=3
        )
        self.young = self.charge(amount=50, created_at=NOW - timedelta(hours=1))
        self.processing = a_charge(self.merchant, amount=2500, created_at=NOW)
        self.failed = self.charge(
            amount=10000, status=charges.Status.FAILED, failure_code="lost_card", failure_message="Declined."
        )
        self.live = self.charge(amount=10_000_000, livemode=True, created_at=OLD)
        self.paid = self.refund(amount=1000, status=refunds.Status.SUCCEEDED, look_at=None)
        self.returned = self.refund(
            amount=500, status=refunds.Status.FAILED, failure_code="declined", look_at=None
        )
        self.sending = self.refund(amount=700, status=refunds.Status.SENDING)

    def charge(self, **changes: Any) -> Charge:
        fields: dict[str, Any] = {"status": charges.Status.SUCCEEDED, "look_at": None}
        return a_charge(self.merchant, **fields | changes)

    def refund(self, **changes: Any) -> Refund:
        return a_refund(self.matured, created_at=OLD + timedelta(hours=1), **changes)

    @property
    def records(self) -> list[Record]:
        found = [self.merchant, self.applicant, self.event]
        found += [self.matured, self.young, self.processing, self.failed, self.live]
        return [*found, self.paid, self.returned, self.sending]


async def transfers_of(store: SqlStore, scope: Scope) -> Sequence[Transfer]:
    return await store.find(Query(kind=Transfer, where=scope.conditions, limit=100_000))


def totals(transfers: Sequence[Transfer]) -> dict[Account, int]:
    """Add up accounts, leaving out those in which nothing is."""
    return {account: sum for account, sum in ledger.add_up({}, transfers).items() if sum}


async def test_what_was_charged_before_the_ledger_is_booked(empty_database: Callable[[], str]) -> None:
    url, before = empty_database(), Before()
    await move(url, "0002")
    await write_before(url, before.records)

    await migrate(url)

    async with SqlStore(url) as store:
        test = await transfers_of(store, Scope(before.merchant.id, False))
        live = await transfers_of(store, Scope(before.merchant.id, True))
        nobody = [await transfers_of(store, Scope(before.applicant.id, mode)) for mode in (False, True)]
    assert totals(test) == {
        Account.PENDING: 19,  # 50 - 31
        Account.AVAILABLE: 3124,  # 4999 - 175 - 1000 - 500 + 500 - 700
        Account.REFUNDS_IN_FLIGHT: 700,
        Account.PROCESSOR_RECEIVABLE: -4049,  # -4999 - 50 + 1000
        Account.FEES_REVENUE: 206,  # 175 + 31
    }
    assert totals(live) == {
        Account.AVAILABLE: 9_709_970,
        Account.PROCESSOR_RECEIVABLE: -10_000_000,
        Account.FEES_REVENUE: 290_030,
    }
    assert nobody == [[], []]
    kinds = {
        before.matured.id: [Kind.CHARGE, Kind.FEE, Kind.CHARGE_MATURED, Kind.FEE_MATURED],
        before.young.id: [Kind.CHARGE, Kind.FEE],
        before.paid.id: [Kind.REFUND, Kind.REFUND_PAID],
        before.returned.id: [Kind.REFUND, Kind.REFUND_RETURNED],
        before.sending.id: [Kind.REFUND],
    }
    booked = {source: [each.kind for each in test if each.source == source] for source in kinds}
    assert booked == kinds
    assert sum(map(len, kinds.values())) == len(test)


async def test_transfers_of_before_sort_by_time_on_the_first_sheet(empty_database: Callable[[], str]) -> None:
    url, before = empty_database(), Before()
    await move(url, "0002")
    await write_before(url, before.records)

    await migrate(url)

    async with SqlStore(url) as store:
        transfers = await transfers_of(store, Scope(before.merchant.id, False))
    assert {transfer.sheet for transfer in transfers} == {1}
    assert all(re.fullmatch("txn_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", each.id) for each in transfers)
    times = [transfer.created_at for transfer in transfers]
    assert times == sorted(times)
    assert [int(each.id[4:16], 16) for each in transfers] == [int(at.timestamp() * 1000) for at in times]
    matured = next(each for each in transfers if each.kind is Kind.CHARGE_MATURED)
    assert matured.created_at == OLD + timedelta(days=2)


async def test_charges_and_refunds_of_before_are_kept(empty_database: Callable[[], str]) -> None:
    url, before = empty_database(), Before()
    await move(url, "0002")
    await write_before(url, before.records)

    await migrate(url)

    # Fees of charges that have not succeeded: 72.5 is rounded up.
    added = {
        before.matured.id: {"fee": 175},
        before.young.id: {"fee": 31, "matures_at": before.young.created_at + timedelta(days=2)},
        before.processing.id: {"fee": 103},
        before.failed.id: {"fee": 320},
        before.live.id: {"fee": 290_030},
    }
    async with SqlStore(url) as store:
        for record in before.records:
            kept = msgspec.structs.replace(record, **added.get(record.id, {}))
            assert await store.get(type(record), record.id) == kept


async def test_every_merchant_of_before_has_books_in_both_modes(empty_database: Callable[[], str]) -> None:
    url, before = empty_database(), Before()
    await move(url, "0002")
    await write_before(url, before.records)

    began = datetime.now(UTC)
    await migrate(url)

    async with SqlStore(url) as store:
        for merchant in (before.merchant, before.applicant):
            for scope in (Scope(merchant.id, False), Scope(merchant.id, True)):
                book = ledger.open_book(
                    scope,
                    fee_basis_points=merchants.FEE_BASIS_POINTS,
                    fee_cents=merchants.FEE_CENTS,
                )
                assert await store.get(Book, book.id) == book
                settlement = await store.get(Settlement, book.id)
                assert settlement in {
                    payouts.open_settlement(scope, now=now) for now in (began, datetime.now(UTC))
                }


async def test_an_upgraded_database_goes_on(empty_database: Callable[[], str]) -> None:
    url, before = empty_database(), Before()
    await move(url, "0002")
    await write_before(url, before.records)
    await migrate(url)

    async with SqlStore(url) as store:
        processing = await store.get(Charge, before.processing.id)
        assert processing is not None
        done = succeeded(processing, matures_at=NOW + timedelta(days=2))
        await store.commit(done, a_refund(done))
        assert await store.get(Charge, done.id) == done


async def test_many_charges_of_before_are_booked(empty_database: Callable[[], str]) -> None:
    url, merchant = empty_database(), a_merchant()
    await move(url, "0002")
    many = [succeeded(a_charge(merchant, version=0, amount=1000, created_at=OLD)) for _ in range(2_001)]
    each = [a_refund(charge, amount=100) for charge in many]
    await write_before(url, [merchant, *many, *each])

    await migrate(url)

    async with SqlStore(url) as store:
        transfers = await transfers_of(store, Scope(merchant.id, False))
    assert Counter(transfer.kind for transfer in transfers) == dict.fromkeys(
        (Kind.CHARGE, Kind.FEE, Kind.CHARGE_MATURED, Kind.FEE_MATURED, Kind.REFUND), 2_001
    )
    assert totals(transfers)[Account.AVAILABLE] == 2_001 * (1000 - 59 - 100)


async def test_the_ledger_can_be_undone(empty_database: Callable[[], str]) -> None:
    url, untouched, before = empty_database(), empty_database(), Before()
    await move(untouched, "0002")
    await move(url, "0002")
    await write_before(url, before.records)
    await migrate(url)

    await move(url, "0002", by=command.downgrade)

    async with transaction(url) as one, transaction(untouched) as other:
        assert await one.run_sync(schema) == await other.run_sync(schema)
        assert (await one.execute(text("SELECT count(*) FROM charges"))).scalar_one() == 5
    await migrate(url)
    async with SqlStore(url) as store:
        assert await store.get(Merchant, before.merchant.id) == before.merchant
        assert len(await transfers_of(store, Scope(before.merchant.id, False))) == 11
