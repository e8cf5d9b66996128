"""The first tables: merchants and their keys, charges, refunds, idempotency keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
INTEGER = sa.BigInteger()
TIME = sa.Text().with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
DOCUMENT = sa.JSON()
UNFINISHED = sa.text("look_at IS NOT NULL")


def flag(constraint: str) -> sa.Boolean:
    return sa.Boolean(create_constraint=True, name=op.f(constraint))


def check(name: str, sql: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(sql, name=op.f(name))


def upgrade() -> None:
    op.create_table(
        "merchants",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("bank_account", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("approved_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("merchants_pkey")),
        check("merchants_version_check", "version >= 1"),
        check("merchants_status_check", "status IN ('applied', 'approved')"),
        check("merchants_approved_check", "(status = 'approved') = (approved_at IS NOT NULL)"),
    )

    op.create_table(
        "api_keys",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("merchant", TEXT, nullable=False),
        sa.Column("livemode", flag("api_keys_livemode_check"), nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("hint", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("api_keys_pkey")),
        check("api_keys_version_check", "version >= 1"),
        check("api_keys_kind_check", "kind IN ('secret', 'publishable')"),
        sa.ForeignKeyConstraint(["merchant"], ["merchants.id"], name=op.f("api_keys_merchant_fkey")),
    )
    op.create_index("api_keys_of_merchant", "api_keys", ["merchant", "livemode", "id"])

    op.create_table(
        "charges",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("merchant", TEXT, nullable=False),
        sa.Column("livemode", flag("charges_livemode_check"), nullable=False),
        sa.Column("amount", INTEGER, nullable=False),
        sa.Column("currency", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("source", DOCUMENT, nullable=False),
        sa.Column("billing_address", DOCUMENT, nullable=False),
        sa.Column("description", TEXT, nullable=True),
        sa.Column("metadata", DOCUMENT, nullable=False),
        sa.Column("failure_code", TEXT, nullable=True),
        sa.Column("failure_message", TEXT, nullable=True),
        sa.Column("amount_refunded", INTEGER, nullable=False),
        sa.Column("amount_refunding", INTEGER, nullable=False),
        sa.Column("refunds", INTEGER, nullable=False),
        sa.Column("idempotency_key", TEXT, nullable=True),
        sa.Column("told", flag("charges_told_check"), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("look_at", TIME, nullable=True),
        sa.Column("looks", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("charges_pkey")),
        check("charges_version_check", "version >= 1"),
        check("charges_amount_check", "amount BETWEEN 50 AND 10000000"),
        check("charges_currency_check", "currency IN ('USD')"),
        check("charges_status_check", "status IN ('processing', 'reversing', 'succeeded', 'failed')"),
        check("charges_failure_check", "(status = 'failed') = (failure_code IS NOT NULL)"),
        check("charges_failure_message_check", "(failure_code IS NULL) = (failure_message IS NULL)"),
        check("charges_amount_refunded_check", "amount_refunded >= 0"),
        check("charges_amount_refunding_check", "amount_refunding >= 0"),
        check("charges_refundable_check", "amount_refunded + amount_refunding <= amount"),
        check("charges_refunds_check", "refunds >= 0 AND (status = 'succeeded' OR refunds = 0)"),
        check("charges_refunds_counted_check", "refunds > 0 OR amount_refunded + amount_refunding = 0"),
        check("charges_look_at_check", "(look_at IS NULL) = (status IN ('succeeded', 'failed'))"),
        check("charges_looks_check", "looks >= 0"),
        sa.ForeignKeyConstraint(["merchant"], ["merchants.id"], name=op.f("charges_merchant_fkey")),
    )
    op.create_index("charges_by_status", "charges", ["merchant", "livemode", "status", "id"])
    op.create_index("charges_by_time", "charges", ["merchant", "livemode", "created_at"])
    op.create_index(
        "charges_due", "charges", ["look_at", "id"], postgresql_where=UNFINISHED, sqlite_where=UNFINISHED
    )
    op.create_index("charges_of_merchant", "charges", ["merchant", "livemode", "id"])

    op.create_table(
        "refunds",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("merchant", TEXT, nullable=False),
        sa.Column("livemode", flag("refunds_livemode_check"), nullable=False),
        sa.Column("charge", TEXT, nullable=False),
        sa.Column("amount", INTEGER, nullable=False),
        sa.Column("currency", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=True),
        sa.Column("notes", TEXT, nullable=True),
        sa.Column("failure_code", TEXT, nullable=True),
        sa.Column("idempotency_key", TEXT, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("look_at", TIME, nullable=True),
        sa.Column("looks", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("refunds_pkey")),
        check("refunds_version_check", "version >= 1"),
        check("refunds_amount_check", "amount BETWEEN 1 AND 10000000"),
        check("refunds_currency_check", "currency IN ('USD')"),
        check("refunds_status_check", "status IN ('sending', 'reversing', 'pending', 'succeeded', 'failed')"),
        check(
            "refunds_reason_check", "reason IN ('requested_by_customer', 'duplicate', 'fraudulent', 'other')"
        ),
        check("refunds_failure_check", "(status = 'failed') = (failure_code IS NOT NULL)"),
        check("refunds_look_at_check", "(look_at IS NULL) = (status IN ('succeeded', 'failed'))"),
        check("refunds_looks_check", "looks >= 0"),
        sa.ForeignKeyConstraint(["merchant"], ["merchants.id"], name=op.f("refunds_merchant_fkey")),
        sa.ForeignKeyConstraint(["charge"], ["charges.id"], name=op.f("refunds_charge_fkey")),
    )
    op.create_index(
        "refunds_due", "refunds", ["look_at", "id"], postgresql_where=UNFINISHED, sqlite_where=UNFINISHED
    )
    op.create_index("refunds_of_charge", "refunds", ["charge", "id"])
    op.create_index("refunds_of_merchant", "refunds", ["merchant", "livemode", "id"])

    op.create_table(
        "idempotency_keys",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("endpoint", TEXT, nullable=False),
        sa.Column("fingerprint", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("outcome", TEXT, nullable=True),
        sa.Column("answer", TEXT, nullable=True),
        sa.Column("first_used_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("idempotency_keys_pkey")),
        check("idempotency_keys_version_check", "version >= 1"),
        check("idempotency_keys_state_check", "state IN ('working', 'accepted', 'answered', 'free')"),
        check("idempotency_keys_outcome_check", "outcome IN ('created', 'declined')"),
        check("idempotency_keys_answered_check", "(state = 'answered') = (outcome IS NOT NULL)"),
        check("idempotency_keys_answer_check", "(outcome IS NULL) = (answer IS NULL)"),
    )


def downgrade() -> None:
    op.drop_table("idempotency_keys")
    op.drop_table("refunds")
    op.drop_table("charges")
    op.drop_table("api_keys")
    op.drop_table("merchants")
