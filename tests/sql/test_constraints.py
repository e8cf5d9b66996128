"""What must never be false is refused by the schema itself, whoever writes."""

import pytest
from sqlalchemy import CheckConstraint, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from kpay_adapters.sql.migrate import transaction
from kpay_adapters.sql.store import SqlStore
from kpay_adapters.sql.tables import METADATA, RECORDS
from kpay_adapters.testing.records import (
    a_book,
    a_charge,
    a_delivery,
    a_dispute,
    a_held_lane,
    a_key,
    a_lane,
    a_merchant,
    a_notice,
    a_payout,
    a_refund,
    a_settlement,
    a_sheet,
    a_transfer,
    an_api_key,
    an_attempt,
    an_endpoint,
    an_event,
    answered,
    some_subscriptions,
    succeeded,
)
from kpay_core.commit import Conflict, Record, Rejected, bump
from kpay_core.domain import refunds
from kpay_core.domain.charges import Charge
from kpay_core.domain.ledger import POSTINGS, Account, Kind, Sheet

pytestmark = pytest.mark.anyio

REFUSED = [
    ("merchants", "version = 0", "version"),
    ("merchants", "status = 'closed'", "status"),
    ("merchants", "status = 'approved'", "approved"),
    ("merchants", "approved_at = created_at", "approved"),
    ("api_keys", "version = 0", "version"),
    ("api_keys", "kind = 'master'", "kind"),
    ("charges", "version = 0", "version"),
    ("charges", "amount = 49", "amount"),
    ("charges", "amount = 10000001", "amount"),
    ("charges", "currency = 'EUR'", "currency"),
    ("charges", "status = 'refunded', look_at = created_at", "status"),
    ("charges", "status = 'failed'", "failure"),
    ("charges", "failure_code = 'lost_card', failure_message = ''", "failure"),
    ("charges", "status = 'failed', failure_code = 'lost_card'", "failure_message"),
    ("charges", "amount_refunded = -1, refunds = 1", "amount_refunded"),
    ("charges", "amount_refunding = -1, refunds = 1", "amount_refunding"),
    ("charges", "amount_refunded = 2500, amount_refunding = 2500, refunds = 2", "refundable"),
    ("charges", "amount_refunded = 1", "refunds_counted"),
    ("charges", "refunds = -1", "refunds"),
    ("charges", "status = 'processing', look_at = created_at, refunds = 1", "refunds"),
    ("charges", "look_at = created_at", "look_at"),
    ("charges", "status = 'processing'", "look_at"),
    ("charges", "looks = -1", "looks"),
    ("charges", "amount_disputed = -1, disputes = 1", "amount_disputed"),
    ("charges", "amount_disputed = 1", "disputes_counted"),
    ("charges", "disputes = -1", "disputes"),
    ("charges", "fee = -1", "fee"),
    ("charges", "fee = amount + 1", "fee"),
    ("charges", "status = 'processing', look_at = created_at, matures_at = created_at", "matures_at"),
    ("refunds", "version = 0", "version"),
    ("refunds", "amount = 0", "amount"),
    ("refunds", "amount = 10000001", "amount"),
    ("refunds", "currency = 'EUR'", "currency"),
    ("refunds", "status = 'done'", "status"),
    ("refunds", "reason = 'none'", "reason"),
    ("refunds", "failure_code = 'declined'", "failure"),
    ("refunds", "status = 'failed', look_at = NULL", "failure"),
    ("refunds", "look_at = NULL", "look_at"),
    ("refunds", "status = 'succeeded'", "look_at"),
    ("refunds", "looks = -1", "looks"),
    ("disputes", "version = 0", "version"),
    ("disputes", "amount = 0", "amount"),
    ("disputes", "fee = -1", "fee"),
    ("disputes", "currency = 'EUR'", "currency"),
    ("disputes", "reason = 'duplicate'", "reason"),
    ("disputes", "status = 'closed'", "status"),
    ("disputes", "look_at = created_at", "look_at"),
    ("disputes", "status = 'submitting', submitted_at = created_at", "look_at"),
    ("disputes", "submitted_at = created_at", "submitted_at"),
    ("disputes", "status = 'under_review'", "submitted_at"),
    ("disputes", "looks = -1", "looks"),
    ("notices", "version = 0", "version"),
    ("notices", "kind = 'paid'", "kind"),
    ("notices", "status = 'lost', look_at = NULL", "status"),
    ("notices", "told = 0", "told"),
    ("notices", "look_at = NULL", "look_at"),
    ("notices", "status = 'stray', look_at = NULL", "look_at"),
    ("notices", "status = 'applied'", "look_at"),
    ("notices", "looks = -1", "looks"),
    ("books", "version = 0", "version"),
    ("books", "id = merchant || '/live'", "id"),
    ("books", "sheet = 0", "sheet"),
    ("books", "fee_basis_points = -1", "fee_basis_points"),
    ("books", "fee_basis_points = 10001", "fee_basis_points"),
    ("books", "fee_cents = -1", "fee_cents"),
    ("books", "fee_cents = 10000001", "fee_cents"),
    ("sheets", "version = 0", "version"),
    ("sheets", "number = 0", "number"),
    ("sheets", "lines = -1", "lines"),
    ("sheets", "lines = transfers + 1", "lines"),
    ("transfers", "sheet = 0", "sheet"),
    ("transfers", "amount = 0", "amount"),
    ("transfers", "amount = -1", "amount"),
    ("transfers", "credit = debit", "accounts"),
    ("transfers", "debit = credit, credit = debit", "posting"),
    ("transfers", "debit = 'processor_receivable pending', credit = ''", "posting"),
    ("transfers", "kind = 'bonus'", "posting"),
    ("transfers", "kind = 'fee'", "posting"),
    ("settlements", "version = 0", "version"),
    ("settlements", "id = merchant || '/live'", "id"),
    ("settlements", "carried = 1", "carried"),
    ("payouts", "version = 0", "version"),
    ("payouts", "amount = 0", "amount"),
    ("payouts", "currency = 'EUR'", "currency"),
    ("payouts", "status = 'sent'", "status"),
    ("payouts", "status = 'failed', look_at = NULL", "failure"),
    ("payouts", "failure_code = 'no_account', failure_message = ''", "failure"),
    ("payouts", "status = 'failed', look_at = NULL, failure_code = 'no_account'", "failure_message"),
    ("payouts", "look_at = NULL", "look_at"),
    ("payouts", "status = 'paid'", "look_at"),
    ("payouts", "looks = -1", "looks"),
    ("payouts", "carried = 1", "carried"),
    ("payouts", "lines = 0", "lines"),
    ("payouts", "lines = 10001", "lines"),
    ("payouts", "lines = 10000, carried = -1", "lines"),
    ("payouts", 'upto = "after"', "places"),
    ("idempotency_keys", "version = 0", "version"),
    ("idempotency_keys", "state = 'lost', outcome = NULL, answer = NULL", "state"),
    ("idempotency_keys", "state = 'working'", "answered"),
    ("idempotency_keys", "outcome = 'accepted'", "outcome"),
    ("idempotency_keys", "answer = NULL", "answer"),
    ("idempotency_keys", "state = 'free', outcome = NULL", "answer"),
    ("events", "type = 'charge.created'", "type"),
    ("subscriptions", "version = 0", "version"),
    ("webhook_endpoints", "version = 0", "version"),
    ("webhook_endpoints", "status = 'paused'", "status"),
    ("webhook_endpoints", "secret = ''", "secret"),
    ("webhook_endpoints", "status = 'deleted'", "secret"),
    (
        "webhook_endpoints",
        "status = 'deleted', secret = '', retired = '[{}]'",
        "forgotten",
    ),
    ("webhook_lanes", "version = 0", "version"),
    ("webhook_lanes", "due_at = NULL", "lease"),
    ("webhook_deliveries", "version = 0", "version"),
    ("webhook_deliveries", "event_type = '*'", "event_type"),
    ("webhook_deliveries", "status = 'leased', next_attempt_at = NULL, fresh_at = NULL", "status"),
    (
        "webhook_deliveries",
        "status = 'abandoned', next_attempt_at = NULL, fresh_at = NULL, reason = 'missed'",
        "reason",
    ),
    ("webhook_deliveries", "status = 'abandoned', next_attempt_at = NULL, fresh_at = NULL", "abandoned"),
    ("webhook_deliveries", "reason = 'expired'", "abandoned"),
    ("webhook_deliveries", "next_attempt_at = NULL", "next_attempt_at"),
    ("webhook_deliveries", "status = 'succeeded', attempts = 1, fresh_at = NULL", "next_attempt_at"),
    ("webhook_deliveries", "attempts = -1, fresh_at = NULL", "attempts"),
    ("webhook_deliveries", "status = 'succeeded', next_attempt_at = NULL, fresh_at = NULL", "attempts"),
    ("webhook_deliveries", "attempts = 1", "fresh"),
    (
        "webhook_deliveries",
        "status = 'abandoned', next_attempt_at = NULL, reason = 'expired'",
        "fresh",
    ),
    ("webhook_attempts", "number = 0", "number"),
    ("webhook_attempts", "milliseconds = -1", "milliseconds"),
    ("webhook_attempts", "failure = 'bored'", "failure"),
]

FLAGS = [
    ("api_keys", "livemode"),
    ("charges", "livemode"),
    ("charges", "told"),
    ("refunds", "livemode"),
    ("disputes", "livemode"),
    ("notices", "livemode"),
    ("books", "livemode"),
    ("sheets", "livemode"),
    ("transfers", "livemode"),
    ("settlements", "livemode"),
    ("payouts", "livemode"),
    ("events", "livemode"),
    ("webhook_endpoints", "livemode"),
    ("webhook_deliveries", "livemode"),
]


# Rows that are written once, and what makes a copy of one a row of its own.
APPEND_ONLY = {
    "events": "id = id || '+'",
    "sheets": "id = id || '+', number = number + 1",
    "transfers": "id = id || '+', source = source || '+'",
}


async def records(store: SqlStore) -> dict[str, Record]:
    """Commit a sound record of each kind, and return them by table."""
    merchant = a_merchant()
    key = an_api_key(merchant)
    charge = succeeded(a_charge(merchant, version=0))
    refund = a_refund(charge)
    dispute, notice = a_dispute(charge), a_notice()
    remembered = a_key(charge)
    book = a_book(merchant)
    settlement, payout = a_settlement(book), a_payout(book)
    sheet, transfer = a_sheet(book), a_transfer(book)
    event = an_event(merchant)
    endpoint = an_endpoint(merchant)
    known = some_subscriptions(endpoint)
    lane = a_held_lane(endpoint)
    delivery = a_delivery(event, endpoint)
    attempt = an_attempt(delivery)
    committed: list[Record] = [merchant, key, charge, refund, dispute, notice, remembered]
    committed += [book, settlement, payout, sheet, transfer]
    committed += [event, known, endpoint, lane, delivery, attempt]
    await store.commit(*committed)
    await store.commit(answered(remembered))
    assert {type(record) for record in committed} == RECORDS.keys()
    return {RECORDS[type(record)].name: record for record in committed}


async def rows(store: SqlStore) -> dict[str, str]:
    """Commit a sound record of each kind, and return their ids by table."""
    return {table: record.id for table, record in (await records(store)).items()}


async def change(database: str, table: str, changes: str, id: str) -> None:
    """Change a row by hand; of one that is written once, write a changed copy."""
    if table in APPEND_ONLY:
        await copy(database, table, id, APPEND_ONLY[table], changes)
    else:
        await execute(database, f"UPDATE {table} SET {changes} WHERE id = :id", id)


async def copy(
    database: str, table: str, id: str, *changes: str, into: str = "INSERT INTO {table} SELECT * FROM copied"
) -> None:
    """Write a copy of a row, after some changes to it."""
    async with transaction(database) as connection:
        await connection.execute(text(f"CREATE TEMPORARY TABLE copied AS SELECT * FROM {table}"))
        await connection.execute(text("DELETE FROM copied WHERE id <> :id"), {"id": id})
        for each in changes:
            await connection.execute(text(f"UPDATE copied SET {each}"))
        await connection.execute(text(into.format(table=table)))


async def execute(database: str, statement: str, id: str) -> None:
    async with transaction(database) as connection:
        await connection.execute(text(statement), {"id": id} if ":id" in statement else {})


@pytest.mark.parametrize(("table", "changes", "constraint"), REFUSED)
async def test_a_false_row_is_refused(
    database: str, store: SqlStore, table: str, changes: str, constraint: str
) -> None:
    ids = await rows(store)

    with pytest.raises(IntegrityError, match=f"{table}_{constraint}_check"):
        await change(database, table, changes, ids[table])


@pytest.mark.parametrize(("table", "flag"), FLAGS)
async def test_a_flag_is_true_or_false(database: str, store: SqlStore, table: str, flag: str) -> None:
    ids = await rows(store)

    with pytest.raises(DBAPIError):
        await change(database, table, f"{flag} = 2", ids[table])


def test_every_check_has_a_row_that_it_refuses() -> None:
    tried = {f"{table}_{constraint}_check" for table, _, constraint in REFUSED}
    tried |= {f"{table}_{flag}_check" for table, flag in FLAGS}
    checks = {
        str(constraint.name) if str(constraint.name).startswith(name) else f"{name}_{constraint.name}_check"
        for name, table in METADATA.tables.items()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    assert checks == tried


@pytest.mark.parametrize("table", APPEND_ONLY)
async def test_a_row_that_is_written_once_may_be_followed_by_others(
    database: str, store: SqlStore, table: str
) -> None:
    ids = await rows(store)

    await copy(database, table, ids[table], APPEND_ONLY[table])


@pytest.mark.parametrize("kind", Kind)
async def test_each_kind_of_transfer_has_its_two_accounts(store: SqlStore, kind: Kind) -> None:
    merchant = a_merchant()
    book = a_book(merchant)
    await store.commit(merchant, book, a_transfer(book, kind))
    others = [(d, c) for d in Account for c in Account if (d, c) != POSTINGS[kind]]

    for debit, credit in others:
        with pytest.raises(Rejected, match=r"transfers_(posting|accounts)_check"):
            await store.commit(a_transfer(book, kind, debit=debit, credit=credit))


# Changes to a copy which leave it the same in what there can be one of; what refuses it; and what makes it differ.
DOUBLES = [
    (
        "transfers",
        "id = id || '+'",
        "transfers_(source_kind_key|append_only)",
        "kind = 'stray_capture', credit = 'suspense'",
    ),
    ("sheets", "id = id || '+'", "sheets_(merchant_livemode_number_key|append_only)", "number = number + 1"),
    (
        "payouts",
        "id = id || '+'",
        'payouts_merchant_livemode_after_key|payouts.merchant, payouts.livemode, payouts."?after',
        "\"after\" = '0'",
    ),
    (
        "disputes",
        "id = id || '+'",
        "disputes_livemode_case_key|disputes.livemode, disputes.case",
        "livemode = NOT livemode",
    ),
    ("books", "version = 2", "books_pkey|books.id", "id = merchant || '/live', livemode = NOT livemode"),
]


@pytest.mark.parametrize(("table", "same", "refusal", "other"), DOUBLES)
async def test_what_there_can_be_one_of_is_never_there_twice(
    database: str, store: SqlStore, table: str, same: str, refusal: str, other: str
) -> None:
    ids = await rows(store)

    with pytest.raises(IntegrityError, match=refusal):
        await copy(database, table, ids[table], same)

    await copy(database, table, ids[table], same, other)


EDITS = [
    "UPDATE {table} SET id = id WHERE id = :id",
    "UPDATE {table} SET id = id || '-' WHERE id = :id",
    "UPDATE {table} SET merchant = (SELECT min(id) FROM merchants)",
    "DELETE FROM {table} WHERE id = :id",
    "DELETE FROM {table}",
    "INSERT INTO {table} SELECT * FROM {table} WHERE id = :id ON CONFLICT (id) DO UPDATE SET livemode = true",
]
EDITS_OF_POSTGRES = [
    "TRUNCATE {table} CASCADE",
    "TRUNCATE merchants CASCADE",
    "WITH gone AS (DELETE FROM {table} WHERE id = :id RETURNING *) SELECT count(*) FROM gone",
]
EDITS_OF_SQLITE = [
    "REPLACE INTO {table} SELECT * FROM {table} WHERE id = :id",
    "UPDATE OR REPLACE {table} SET id = id || '-' WHERE id = :id",
    "UPDATE {table} SET rowid = rowid + 1000000 WHERE id = :id",
]


@pytest.mark.parametrize("table", APPEND_ONLY)
async def test_what_is_written_once_is_changed_by_nobody(database: str, store: SqlStore, table: str) -> None:
    record = (await records(store))[table]
    edits = EDITS + (EDITS_OF_SQLITE if database.startswith("sqlite") else EDITS_OF_POSTGRES)

    for edit in edits:
        with pytest.raises(IntegrityError, match=r"append_only|append-only"):
            await execute(database, edit.format(table=table), record.id)

    assert await store.get(type(record), record.id) == record


# Copies that clash with their row: in its id, or in what there can be one of.
CLASHES = [
    ("events", "body = ''"),
    ("sheets", "number = number + 1"),
    ("sheets", "id = id || '+'"),
    ("transfers", "source = source || '+'"),
    ("transfers", "id = id || '+'"),
]


@pytest.mark.parametrize(("table", "changes"), CLASHES)
async def test_on_sqlite_nothing_is_replaced(sqlite_database: str, table: str, changes: str) -> None:
    async with SqlStore(sqlite_database) as store:
        record = (await records(store))[table]

        with pytest.raises(IntegrityError, match=f"{table}_append_only"):
            await copy(
                sqlite_database, table, record.id, changes, into="REPLACE INTO {table} SELECT * FROM copied"
            )

        assert await store.get(type(record), record.id) == record


@pytest.mark.parametrize("table", APPEND_ONLY)
async def test_on_sqlite_nothing_is_replaced_by_its_place_in_the_file(
    sqlite_database: str, table: str
) -> None:
    names = ", ".join(METADATA.tables[table].columns.keys())
    into = f"REPLACE INTO {table} (rowid, {names}) SELECT (SELECT max(rowid) FROM {table}), * FROM copied"
    async with SqlStore(sqlite_database) as store:
        record = (await records(store))[table]

        with pytest.raises(IntegrityError, match=f"{table}_append_only"):
            await copy(sqlite_database, table, record.id, APPEND_ONLY[table], into=into)

        assert await store.get(type(record), record.id) == record


async def test_who_carries_a_sheet_forward_second_hears_of_a_conflict(database: str, store: SqlStore) -> None:
    merchant = a_merchant()
    book = a_book(merchant)
    sheet = a_sheet(book)
    await store.commit(merchant, book, sheet)

    with pytest.raises(Conflict):
        await store.commit(sheet)
    async with SqlStore(database) as other:
        with pytest.raises(Conflict):
            await other.commit(sheet)

    assert await store.get(Sheet, sheet.id) == sheet


async def test_a_record_needs_the_record_it_points_at(store: SqlStore) -> None:
    stranger = a_merchant()
    merchant = a_merchant()
    event, endpoint = an_event(merchant), an_endpoint(merchant)
    await store.commit(merchant, event, endpoint)

    for orphan in (
        an_api_key(stranger),
        a_charge(stranger),
        a_refund(a_charge(merchant)),
        a_book(stranger),
        a_sheet(a_book(stranger)),
        a_transfer(a_book(stranger)),
        a_settlement(a_book(merchant)),
        a_payout(a_book(stranger)),
        a_dispute(a_charge(merchant)),
        an_event(stranger),
        an_endpoint(stranger),
        a_lane(an_endpoint(merchant)),
        a_delivery(an_event(merchant), endpoint),
        a_delivery(event, an_endpoint(merchant)),
    ):
        with pytest.raises(Rejected) as rejection:
            await store.commit(orphan)
        # SQLite does not say which foreign key it was.
        assert "ForeignKey" in str(rejection.value) or "FOREIGN KEY" in str(rejection.value)


async def test_parent_and_child_may_come_in_one_unit_in_any_order(store: SqlStore) -> None:
    merchant = a_merchant()
    charge = succeeded(a_charge(merchant, version=0))
    refund = a_refund(charge)

    await store.commit(refund, charge, merchant)

    assert await store.get(Charge, charge.id) == charge


async def test_a_refusal_names_the_constraint_and_no_value(store: SqlStore) -> None:
    merchant = a_merchant(name="Confidential")
    charge = a_charge(merchant, amount=49, description="Confidential")

    with pytest.raises(Rejected) as rejection:
        await store.commit(merchant, charge)

    assert "charges_amount_check" in str(rejection.value)
    chain: BaseException | None = rejection.value
    while chain:
        assert "Confidential" not in str(chain)
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)


async def test_a_refund_that_failed_may_have_succeeded_before(store: SqlStore) -> None:
    merchant = a_merchant()
    charge = succeeded(a_charge(merchant, version=0))
    refund = a_refund(charge)
    await store.commit(merchant, charge, refund)
    done = bump(refund, status=refunds.Status.SUCCEEDED, look_at=None)
    await store.commit(done)
    await store.commit(bump(done, status=refunds.Status.FAILED, failure_code="declined"))
