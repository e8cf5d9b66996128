"""Events, and the endpoints to which they are delivered."""

from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, Index, Table

from kpay_adapters.sql.columns import DOCUMENT, INTEGER, TEXT, TIME
from kpay_adapters.sql.tables.schema import METADATA, append_only, check, flag, guarded, index_while, one_of
from kpay_core.domain import deliveries, endpoints, posts
from kpay_core.domain.events import EVENT_TYPES

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

append_only(EVENTS, "id = NEW.id")

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
