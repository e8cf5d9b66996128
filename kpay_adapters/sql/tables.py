"""
The tables of the records. What must never be false is a CHECK here, besides being guarded where the value is made.

Every constraint has a name, so that a refusal can say which one it was, and a migration can change it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    Table,
    column,
)

from kpay_adapters.sql.columns import DOCUMENT, INTEGER, TEXT, TIME
from kpay_core.commit import Record
from kpay_core.domain import charges, deliveries, endpoints, idempotency, merchants, posts, refunds
from kpay_core.domain.charges import Charge
from kpay_core.domain.deliveries import Attempt, Delivery
from kpay_core.domain.endpoints import Endpoint, Subscriptions
from kpay_core.domain.events import EVENT_TYPES, Event
from kpay_core.domain.idempotency import IdempotencyKey
from kpay_core.domain.keys import PREFIXES, ApiKey
from kpay_core.domain.lanes import Lane
from kpay_core.domain.merchants import Merchant
from kpay_core.domain.money import MAX_CHARGE, MIN_CHARGE
from kpay_core.domain.refunds import Refund

NAMES = {
    "pk": "%(table_name)s_pkey",
    "fk": "%(table_name)s_%(column_0_name)s_fkey",
    "ck": "%(table_name)s_%(constraint_name)s_check",
}

METADATA = MetaData(naming_convention=NAMES)


def check(name: str, sql: str) -> CheckConstraint:
    """Make a CHECK that is named after its table and what it says."""
    return CheckConstraint(sql, name=name)


def one_of(name: str, values: Iterable[str]) -> CheckConstraint:
    """Make the CHECK that a column holds one of these words."""
    words = ", ".join(f"'{value}'" for value in values)
    return check(name, f"{name} IN ({words})")


def guarded() -> tuple[Column[Any], Column[Any], CheckConstraint]:
    """Make what every guarded record has."""
    return (
        Column("id", TEXT, primary_key=True),
        Column("version", INTEGER, nullable=False),
        check("version", "version >= 1"),
    )


def flag(name: str) -> Column[Any]:
    """Make a column of true and false. Where that is a number (SQLite), a CHECK holds it to 0 and 1."""
    return Column(name, Boolean(create_constraint=True, name=name), nullable=False)


def index_while(set: str, name: str, *columns: str) -> Index:
    """Make an index of the rows in which a column is set: the few that somebody must still look at."""
    unfinished = column(set).is_not(None)
    return Index(name, *columns, postgresql_where=unfinished, sqlite_where=unfinished)


MERCHANTS = Table(
    "merchants",
    METADATA,
    *guarded(),
    Column("name", TEXT, nullable=False),
    Column("status", TEXT, nullable=False),
    Column("bank_account", TEXT, nullable=False),
    Column("created_at", TIME, nullable=False),
    Column("approved_at", TIME),
    one_of("status", merchants.Status),
    check("approved", "(status = 'approved') = (approved_at IS NOT NULL)"),
)

API_KEYS = Table(
    "api_keys",
    METADATA,
    *guarded(),
    Column("merchant", TEXT, ForeignKey("merchants.id"), nullable=False),
    flag("livemode"),
    Column("kind", TEXT, nullable=False),
    Column("hint", TEXT, nullable=False),
    Column("created_at", TIME, nullable=False),
    Column("expires_at", TIME),
    Column("revoked_at", TIME),
    one_of("kind", PREFIXES),
    Index("api_keys_of_merchant", "merchant", "livemode", "id"),
)

CHARGES = Table(
    "charges",
    METADATA,
    *guarded(),
    Column("merchant", TEXT, ForeignKey("merchants.id"), nullable=False),
    flag("livemode"),
    Column("amount", INTEGER, nullable=False),
    Column("currency", TEXT, nullable=False),
    Column("status", TEXT, nullable=False),
    Column("source", DOCUMENT, nullable=False),
    Column("billing_address", DOCUMENT, nullable=False),
    Column("description", TEXT),
    Column("metadata", DOCUMENT, nullable=False),
    Column("failure_code", TEXT),
    Column("failure_message", TEXT),
    Column("amount_refunded", INTEGER, nullable=False),
    Column("amount_refunding", INTEGER, nullable=False),
    Column("refunds", INTEGER, nullable=False),
    Column("idempotency_key", TEXT),
    flag("told"),
    Column("created_at", TIME, nullable=False),
    Column("look_at", TIME),
    Column("looks", INTEGER, nullable=False),
    check("amount", f"amount BETWEEN {MIN_CHARGE} AND {MAX_CHARGE}"),
    one_of("currency", ["USD"]),
    one_of("status", charges.Status),
    check("failure", "(status = 'failed') = (failure_code IS NOT NULL)"),
    check("failure_message", "(failure_code IS NULL) = (failure_message IS NULL)"),
    check("amount_refunded", "amount_refunded >= 0"),
    check("amount_refunding", "amount_refunding >= 0"),
    check("refundable", "amount_refunded + amount_refunding <= amount"),
    check("refunds", "refunds >= 0 AND (status = 'succeeded' OR refunds = 0)"),
    check("refunds_counted", "refunds > 0 OR amount_refunded + amount_refunding = 0"),
    check("look_at", "(look_at IS NULL) = (status IN ('succeeded', 'failed'))"),
    check("looks", "looks >= 0"),
    # The list of a merchant's charges, newest first; by status; between two times.
    Index("charges_of_merchant", "merchant", "livemode", "id"),
    Index("charges_by_status", "merchant", "livemode", "status", "id"),
    Index("charges_by_time", "merchant", "livemode", "created_at"),
    index_while("look_at", "charges_due", "look_at", "id"),
)

REFUNDS = Table(
    "refunds",
    METADATA,
    *guarded(),
    Column("merchant", TEXT, ForeignKey("merchants.id"), nullable=False),
    flag("livemode"),
    Column("charge", TEXT, ForeignKey("charges.id"), nullable=False),
    Column("amount", INTEGER, nullable=False),
    Column("currency", TEXT, nullable=False),
    Column("status", TEXT, nullable=False),
    Column("reason", TEXT),
    Column("notes", TEXT),
    Column("failure_code", TEXT),
    Column("idempotency_key", TEXT),
    Column("created_at", TIME, nullable=False),
    Column("look_at", TIME),
    Column("looks", INTEGER, nullable=False),
    check("amount", f"amount BETWEEN 1 AND {MAX_CHARGE}"),
    one_of("currency", ["USD"]),
    one_of("status", refunds.Status),
    one_of("reason", get_args(refunds.Reason)),
    check("failure", "(status = 'failed') = (failure_code IS NOT NULL)"),
    check("look_at", "(look_at IS NULL) = (status IN ('succeeded', 'failed'))"),
    check("looks", "looks >= 0"),
    Index("refunds_of_merchant", "merchant", "livemode", "id"),
    Index("refunds_of_charge", "charge", "id"),
    index_while("look_at", "refunds_due", "look_at", "id"),
)

IDEMPOTENCY_KEYS = Table(
    "idempotency_keys",
    METADATA,
    *guarded(),
    Column("endpoint", TEXT, nullable=False),
    Column("fingerprint", TEXT, nullable=False),
    Column("state", TEXT, nullable=False),
    Column("subject", TEXT, nullable=False),
    Column("outcome", TEXT),
    Column("answer", TEXT),
    Column("first_used_at", TIME, nullable=False),
    one_of("state", idempotency.State),
    # Only what is final is ever kept as an answer.
    one_of("outcome", [idempotency.Outcome.CREATED, idempotency.Outcome.DECLINED]),
    check("answered", "(state = 'answered') = (outcome IS NOT NULL)"),
    check("answer", "(outcome IS NULL) = (answer IS NULL)"),
)

EVENTS = Table(
    "events",
    METADATA,
    Column("id", TEXT, primary_key=True),
    Column("merchant", TEXT, ForeignKey("merchants.id"), nullable=False),
    flag("livemode"),
    Column("type", TEXT, nullable=False),
    Column("body", TEXT, nullable=False),
    Column("created_at", TIME, nullable=False),
    one_of("type", EVENT_TYPES),
    Index("events_of_merchant", "merchant", "livemode", "id"),
    Index("events_by_type", "merchant", "livemode", "type", "id"),
)

SUBSCRIPTIONS = Table(
    "subscriptions",
    METADATA,
    *guarded(),
    Column("entries", DOCUMENT, nullable=False),
)

ENDPOINTS = Table(
    "webhook_endpoints",
    METADATA,
    *guarded(),
    Column("merchant", TEXT, ForeignKey("merchants.id"), nullable=False),
    flag("livemode"),
    Column("url", TEXT, nullable=False),
    Column("enabled_events", DOCUMENT, nullable=False),
    Column("description", TEXT),
    Column("status", TEXT, nullable=False),
    Column("secret", TEXT, nullable=False),
    Column("retired", DOCUMENT, nullable=False),
    Column("created_at", TIME, nullable=False),
    one_of("status", endpoints.Status),
    check("secret", "(status = 'deleted') = (secret = '')"),
    check("forgotten", "status <> 'deleted' OR CAST(retired AS TEXT) = '[]'"),
    Index("webhook_endpoints_of_merchant", "merchant", "livemode", "id"),
)

LANES = Table(
    "webhook_lanes",
    METADATA,
    *guarded(),
    Column("holder", TEXT),
    Column("due_at", TIME),
    Column("sending", DOCUMENT, nullable=False),
    ForeignKeyConstraint(["id"], ["webhook_endpoints.id"]),
    # A lease always lapses.
    check("lease", "holder IS NULL OR due_at IS NOT NULL"),
    index_while("due_at", "webhook_lanes_due", "due_at", "id"),
)

DELIVERIES = Table(
    "webhook_deliveries",
    METADATA,
    *guarded(),
    Column("merchant", TEXT, ForeignKey("merchants.id"), nullable=False),
    flag("livemode"),
    Column("event", TEXT, ForeignKey("events.id"), nullable=False),
    Column("event_type", TEXT, nullable=False),
    Column("endpoint", TEXT, ForeignKey("webhook_endpoints.id"), nullable=False),
    Column("status", TEXT, nullable=False),
    Column("reason", TEXT),
    Column("attempts", INTEGER, nullable=False),
    Column("next_attempt_at", TIME),
    Column("expires_at", TIME, nullable=False),
    Column("fresh_at", TIME),
    Column("created_at", TIME, nullable=False),
    one_of("event_type", EVENT_TYPES),
    one_of("status", deliveries.Status),
    one_of("reason", deliveries.REASONS),
    check("abandoned", "(status = 'abandoned') = (reason IS NOT NULL)"),
    check("next_attempt_at", "(status = 'pending') = (next_attempt_at IS NOT NULL)"),
    check("attempts", "attempts >= 0 AND (status <> 'succeeded' OR attempts > 0)"),
    check("fresh", "fresh_at IS NULL OR (status = 'pending' AND attempts = 0)"),
    # The list of an endpoint's deliveries, newest first.
    Index("webhook_deliveries_of_endpoint", "endpoint", "id"),
    # What nobody has attempted yet, by endpoint; what is due next at an endpoint; what expires next there.
    index_while("fresh_at", "webhook_deliveries_fresh", "endpoint", "id"),
    index_while("next_attempt_at", "webhook_deliveries_due", "endpoint", "next_attempt_at", "id"),
    index_while("next_attempt_at", "webhook_deliveries_expiring", "endpoint", "expires_at", "id"),
)

ATTEMPTS = Table(
    "webhook_attempts",
    METADATA,
    Column("id", TEXT, primary_key=True),
    Column("delivery", TEXT, ForeignKey("webhook_deliveries.id"), nullable=False),
    Column("number", INTEGER, nullable=False),
    Column("started_at", TIME, nullable=False),
    Column("milliseconds", INTEGER, nullable=False),
    Column("status", INTEGER),
    Column("failure", TEXT),
    Column("answer", TEXT, nullable=False),
    check("number", "number >= 1"),
    check("milliseconds", "milliseconds >= 0"),
    one_of("failure", posts.Failure),
)

# In the order in which every process writes: parents first, so that foreign keys hold and nobody waits in a circle.
RECORDS: Mapping[type[Record], Table] = {
    Merchant: MERCHANTS,
    ApiKey: API_KEYS,
    Charge: CHARGES,
    Refund: REFUNDS,
    IdempotencyKey: IDEMPOTENCY_KEYS,
    Event: EVENTS,
    Subscriptions: SUBSCRIPTIONS,
    Endpoint: ENDPOINTS,
    Lane: LANES,
    Delivery: DELIVERIES,
    Attempt: ATTEMPTS,
}
