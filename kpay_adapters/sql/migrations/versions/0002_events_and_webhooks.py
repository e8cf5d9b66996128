"""Events, webhook endpoints with their subscriptions and lanes, deliveries and their attempts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
INTEGER = sa.BigInteger()
TIME = sa.Text().with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
DOCUMENT = sa.JSON()

EVENT_TYPES = (
    "'charge.succeeded', 'charge.failed', 'charge.refunded', 'refund.created', 'refund.updated', "
    "'payout.created', 'payout.paid', 'payout.failed', 'dispute.created', 'dispute.updated', 'dispute.closed'"
)
FAILURES = (
    "'name_not_found', 'address_refused', 'connection_failed', 'tls_failed', 'timed_out', 'connection_lost', "
    "'not_http', 'redirected', 'refused', 'interrupted'"
)


def flag(constraint: str) -> sa.Boolean:
    return sa.Boolean(create_constraint=True, name=op.f(constraint))


def check(name: str, sql: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(sql, name=op.f(name))


def partial_index(name: str, table: str, columns: list[str], *, while_set: str) -> None:
    unfinished = sa.text(f"{while_set} IS NOT NULL")
    op.create_index(name, table, columns, postgresql_where=unfinished, sqlite_where=unfinished)


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("merchant", TEXT, nullable=False),
        sa.Column("livemode", flag("events_livemode_check"), nullable=False),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("events_pkey")),
        check("events_type_check", f"type IN ({EVENT_TYPES})"),
        sa.ForeignKeyConstraint(["merchant"], ["merchants.id"], name=op.f("events_merchant_fkey")),
    )
    op.create_index("events_by_type", "events", ["merchant", "livemode", "type", "id"])
    op.create_index("events_of_merchant", "events", ["merchant", "livemode", "id"])

    op.create_table(
        "subscriptions",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("entries", DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("subscriptions_pkey")),
        check("subscriptions_version_check", "version >= 1"),
    )

    op.create_table(
        "webhook_endpoints",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("merchant", TEXT, nullable=False),
        sa.Column("livemode", flag("webhook_endpoints_livemode_check"), nullable=False),
        sa.Column("url", TEXT, nullable=False),
        sa.Column("enabled_events", DOCUMENT, nullable=False),
        sa.Column("description", TEXT, nullable=True),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("secret", TEXT, nullable=False),
        sa.Column("retired", DOCUMENT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("webhook_endpoints_pkey")),
        check("webhook_endpoints_version_check", "version >= 1"),
        check("webhook_endpoints_status_check", "status IN ('enabled', 'disabled', 'deleted')"),
        check("webhook_endpoints_secret_check", "(status = 'deleted') = (secret = '')"),
        check("webhook_endpoints_forgotten_check", "status <> 'deleted' OR CAST(retired AS TEXT) = '[]'"),
        sa.ForeignKeyConstraint(["merchant"], ["merchants.id"], name=op.f("webhook_endpoints_merchant_fkey")),
    )
    op.create_index("webhook_endpoints_of_merchant", "webhook_endpoints", ["merchant", "livemode", "id"])

    op.create_table(
        "webhook_lanes",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("holder", TEXT, nullable=True),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("sending", DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("webhook_lanes_pkey")),
        check("webhook_lanes_version_check", "version >= 1"),
        sa.ForeignKeyConstraint(["id"], ["webhook_endpoints.id"], name=op.f("webhook_lanes_id_fkey")),
        check("webhook_lanes_lease_check", "holder IS NULL OR due_at IS NOT NULL"),
    )
    partial_index("webhook_lanes_due", "webhook_lanes", ["due_at", "id"], while_set="due_at")

    op.create_table(
        "webhook_deliveries",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("merchant", TEXT, nullable=False),
        sa.Column("livemode", flag("webhook_deliveries_livemode_check"), nullable=False),
        sa.Column("event", TEXT, nullable=False),
        sa.Column("event_type", TEXT, nullable=False),
        sa.Column("endpoint", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=True),
        sa.Column("attempts", INTEGER, nullable=False),
        sa.Column("next_attempt_at", TIME, nullable=True),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("fresh_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("webhook_deliveries_pkey")),
        check("webhook_deliveries_version_check", "version >= 1"),
        check("webhook_deliveries_event_type_check", f"event_type IN ({EVENT_TYPES})"),
        check("webhook_deliveries_status_check", "status IN ('pending', 'succeeded', 'abandoned')"),
        check("webhook_deliveries_reason_check", "reason IN ('exhausted', 'expired', 'endpoint_deleted')"),
        check("webhook_deliveries_abandoned_check", "(status = 'abandoned') = (reason IS NOT NULL)"),
        check(
            "webhook_deliveries_next_attempt_at_check",
            "(status = 'pending') = (next_attempt_at IS NOT NULL)",
        ),
        check(
            "webhook_deliveries_attempts_check",
            "attempts >= 0 AND (status <> 'succeeded' OR attempts > 0)",
        ),
        check("webhook_deliveries_fresh_check", "fresh_at IS NULL OR (status = 'pending' AND attempts = 0)"),
        sa.ForeignKeyConstraint(
            ["merchant"], ["merchants.id"], name=op.f("webhook_deliveries_merchant_fkey")
        ),
        sa.ForeignKeyConstraint(["event"], ["events.id"], name=op.f("webhook_deliveries_event_fkey")),
        sa.ForeignKeyConstraint(
            ["endpoint"], ["webhook_endpoints.id"], name=op.f("webhook_deliveries_endpoint_fkey")
        ),
    )
    op.create_index("webhook_deliveries_of_endpoint", "webhook_deliveries", ["endpoint", "id"])
    partial_index(
        "webhook_deliveries_due",
        "webhook_deliveries",
        ["endpoint", "next_attempt_at", "id"],
        while_set="next_attempt_at",
    )
    partial_index(
        "webhook_deliveries_expiring",
        "webhook_deliveries",
        ["endpoint", "expires_at", "id"],
        while_set="next_attempt_at",
    )
    partial_index("webhook_deliveries_fresh", "webhook_deliveries", ["endpoint", "id"], while_set="fresh_at")

    op.create_table(
        "webhook_attempts",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("delivery", TEXT, nullable=False),
        sa.Column("number", INTEGER, nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("milliseconds", INTEGER, nullable=False),
        sa.Column("status", INTEGER, nullable=True),
        sa.Column("failure", TEXT, nullable=True),
        sa.Column("answer", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("webhook_attempts_pkey")),
        check("webhook_attempts_number_check", "number >= 1"),
        check("webhook_attempts_milliseconds_check", "milliseconds >= 0"),
        check("webhook_attempts_failure_check", f"failure IN ({FAILURES})"),
        sa.ForeignKeyConstraint(
            ["delivery"], ["webhook_deliveries.id"], name=op.f("webhook_attempts_delivery_fkey")
        ),
    )


def downgrade() -> None:
    op.drop_table("webhook_attempts")
    op.drop_table("webhook_deliveries")
    op.drop_table("webhook_lanes")
    op.drop_table("webhook_endpoints")
    op.drop_table("subscriptions")
    op.drop_table("events")
