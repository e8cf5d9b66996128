"""Lists with a filter are found by an index that has them in order."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BOOK = ("merchant", "livemode")


def upgrade() -> None:
    remake("charges_by_status", *BOOK, "status", "created_at", "id")
    remake("charges_by_time", *BOOK, "created_at", "id")
    op.create_index("refunds_by_charge", "refunds", [*BOOK, "charge", "id"])


def downgrade() -> None:
    op.drop_index("refunds_by_charge", table_name="refunds")
    remake("charges_by_time", *BOOK, "created_at")
    remake("charges_by_status", *BOOK, "status", "id")


def remake(name: str, *columns: str) -> None:
    """Make an index of the charges anew, of other columns."""
    op.drop_index(name, table_name="charges")
    op.create_index(name, "charges", list(columns))
