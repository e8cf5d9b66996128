"""A key notes when an answer came late. Servers of the release before go on beside it, and do not note it."""

# The names in these texts are the migration's own.
# ruff: noqa: S608

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
INTEGER = sa.BigInteger()
TIME = sa.Text().with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")

TABLE = "idempotency_keys"
KEPT = "id, version, endpoint, fingerprint, state, subject, outcome, answer, first_used_at"


def check(name: str, sql: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(sql, name=op.f(name))


def rebuild(*added: sa.Column[str]) -> None:
    """Make the table anew: SQLite writes a column that is added behind the constraints, where no model has it."""
    op.execute(f"CREATE TABLE {TABLE}_before AS SELECT {KEPT} FROM {TABLE}")
    op.drop_table(TABLE)
    op.create_table(
        TABLE,
        sa.Column("id", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("endpoint", TEXT, nullable=False),
        sa.Column("fingerprint", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("outcome", TEXT, nullable=True),
        sa.Column("answer", TEXT, nullable=True),
        sa.Column("first_used_at", TIME, nullable=False),
        *added,
        sa.PrimaryKeyConstraint("id", name=op.f("idempotency_keys_pkey")),
        check("idempotency_keys_version_check", "version >= 1"),
        check("idempotency_keys_state_check", "state IN ('working', 'accepted', 'answered', 'free')"),
        check("idempotency_keys_outcome_check", "outcome IN ('created', 'declined')"),
        check("idempotency_keys_answered_check", "(state = 'answered') = (outcome IS NOT NULL)"),
        check("idempotency_keys_answer_check", "(outcome IS NULL) = (answer IS NULL)"),
    )
    op.execute(f"INSERT INTO {TABLE} ({KEPT}) SELECT {KEPT} FROM {TABLE}_before")
    op.drop_table(f"{TABLE}_before")


def upgrade() -> None:
    column = sa.Column("answered_late_at", TIME, nullable=True)
    if op.get_bind().dialect.name == "sqlite":
        rebuild(column)
    else:
        op.add_column(TABLE, column)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        rebuild()
    else:
        op.drop_column(TABLE, "answered_late_at")
