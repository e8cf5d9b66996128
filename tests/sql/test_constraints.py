"""What must never be false is refused by the schema itself, whoever writes."""

import pytest
from sqlalchemy import CheckConstraint, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from kpay_adapters.sql.migrate import transaction
from kpay_adapters.sql.store import SqlStore
from kpay_adapters.sql.tables import METADATA
from kpay_core.commit import Rejected, bump
from kpay_core.domain import refunds
from kpay_core.domain.charges import Charge
from tests.contract.records import (
    a_charge,
    a_delivery,
    a_held_lane,
    a_key,
    a_lane,
    a_merchant,
    a_refund,
    an_api_key,
    an_attempt,
    an_endpoint,
    an_event,
    answered,
    some_subscriptions,
    succeeded,
)

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
    ("events", "livemode"),
    ("webhook_endpoints", "livemode"),
    ("webhook_deliveries", "livemode"),
]


async def rows(store: SqlStore) -> dict[str, str]:
    """Commit a sound record of each kind, and return their ids by table."""
    merchant = a_merchant()
    key = an_api_key(merchant)
    charge = succeeded(a_charge(merchant, version=0))
    refund = a_refund(charge)
    remembered = a_key(charge)
    await store.commit(merchant, key, charge, refund, remembered)
    await store.commit(answered(remembered))
    event = an_event(merchant)
    endpoint = an_endpoint(merchant)
    known = some_subscriptions(endpoint)
    lane = a_held_lane(endpoint)
    delivery = a_delivery(event, endpoint)
    attempt = an_attempt(delivery)
    await store.commit(event, known, endpoint, lane, delivery, attempt)
    records = (merchant, key, charge, refund, remembered, event, known, endpoint, lane, delivery, attempt)
    return dict(zip(METADATA.tables, (record.id for record in records), strict=True))


async def change(database: str, table: str, changes: str, id: str) -> None:
    async with transaction(database) as connection:
        await connection.execute(text(f"UPDATE {table} SET {changes} WHERE id = :id"), {"id": id})


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


async def test_a_record_needs_the_record_it_points_at(store: SqlStore) -> None:
    stranger = a_merchant()
    merchant = a_merchant()
    event, endpoint = an_event(merchant), an_endpoint(merchant)
    await store.commit(merchant, event, endpoint)

    for orphan in (
        an_api_key(stranger),
        a_charge(stranger),
        a_refund(a_charge(merchant)),
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
