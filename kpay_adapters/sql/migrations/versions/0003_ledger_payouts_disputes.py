"""
The ledger with payouts, and disputes with the network's notices. What was charged and refunded before is booked.

Servers of the release before cannot write the ledger: they are to be stopped first, and fail to make charges after.
"""

# The names in these texts are the migration's own.
# ruff: noqa: S608

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
INTEGER = sa.BigInteger()
TIME = sa.Text().with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
DOCUMENT = sa.JSON()

SCOPED_ID = "id = merchant || CASE WHEN livemode THEN '/live' ELSE '/test' END"

POSTINGS = {
    "charge": ("processor_receivable", "pending"),
    "fee": ("pending", "fees_revenue"),
    "charge_matured": ("pending", "available"),
    "fee_matured": ("available", "pending"),
    "refund": ("available", "refunds_in_flight"),
    "refund_paid": ("refunds_in_flight", "processor_receivable"),
    "refund_returned": ("refunds_in_flight", "available"),
    "refund_bounced": ("processor_receivable", "available"),
    "dispute": ("available", "dispute_reserve"),
    "dispute_fee": ("available", "dispute_reserve"),
    "dispute_won": ("dispute_reserve", "available"),
    "dispute_fee_returned": ("dispute_reserve", "available"),
    "dispute_lost": ("dispute_reserve", "processor_receivable"),
    "dispute_fee_kept": ("dispute_reserve", "fees_revenue"),
    "payout": ("available", "payouts_in_transit"),
    "payout_paid": ("payouts_in_transit", "cash"),
    "payout_failed": ("payouts_in_transit", "available"),
    "stray_capture": ("processor_receivable", "suspense"),
    "stray_reversed": ("suspense", "processor_receivable"),
}

REFUSE_CHANGE = """
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%s is append-only', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_TABLE_NAME || '_append_only';
END
$$
"""

# The terms and the wait that every merchant had until now.
FEE = "(amount * 290 + 5000) / 10000 + 30"
MATURES_AFTER = timedelta(days=2)

# Rows read and written at a time.
PAGE = 1_000


def flag(constraint: str) -> sa.Boolean:
    return sa.Boolean(create_constraint=True, name=op.f(constraint))


def check(name: str, sql: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(sql, name=op.f(name))


def partial_index(name: str, table: str, columns: list[str], *, while_set: str) -> None:
    unfinished = sa.text(f"{while_set} IS NOT NULL")
    op.create_index(name, table, columns, postgresql_where=unfinished, sqlite_where=unfinished)


def on_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def append_only(table: str, *keys: str) -> None:
    if on_sqlite():
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table}_append_only'); END"
        clashes = " OR ".join(
            f"EXISTS (SELECT 1 FROM {table} WHERE {key})" for key in ("rowid = NEW.rowid", *keys)
        )
        op.execute(f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}")
        op.execute(f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}")
        op.execute(f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {clashes} {refuse}")
    else:
        op.execute(REFUSE_CHANGE)
        op.execute(
            f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def upgrade() -> None:
    now = datetime.now(UTC)
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    widen_charges()
    create_tables()
    append_only("events", "id = NEW.id")
    open_books(now)
    book_charges(now)
    book_refunds()


# Charges


def charges_before() -> Sequence[sa.schema.SchemaItem]:
    return (
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


ADDED_CHECKS = {
    "charges_amount_disputed_check": "amount_disputed >= 0",
    "charges_disputes_check": "disputes >= 0",
    "charges_disputes_counted_check": "disputes > 0 OR amount_disputed = 0",
    "charges_fee_check": "fee BETWEEN 0 AND amount",
    "charges_matures_at_check": "matures_at IS NULL OR status = 'succeeded'",
}

# What the columns that charges gain hold for those made before.
ADDED_VALUES = {"amount_disputed": "0", "disputes": "0", "fee": FEE, "matures_at": "NULL"}


def added_columns() -> Sequence[sa.Column[Any]]:
    return (
        sa.Column("amount_disputed", INTEGER, nullable=False),
        sa.Column("disputes", INTEGER, nullable=False),
        sa.Column("fee", INTEGER, nullable=False),
        sa.Column("matures_at", TIME, nullable=True),
    )


def widen_charges() -> None:
    if on_sqlite():
        checks = (check(name, sql) for name, sql in ADDED_CHECKS.items())
        rebuild_charges(*charges_before(), *added_columns(), *checks, values=ADDED_VALUES)
    else:
        for column in added_columns():
            op.add_column("charges", sa.Column(column.name, column.type))
        values = ", ".join(f"{name} = {value}" for name, value in ADDED_VALUES.items())
        op.execute(f"UPDATE charges SET {values}")
        for column in added_columns():
            op.alter_column("charges", column.name, nullable=column.nullable)
        for name, sql in ADDED_CHECKS.items():
            op.create_check_constraint(op.f(name), "charges", sql)
    partial_index("charges_maturing", "charges", ["matures_at", "id"], while_set="matures_at")


def narrow_charges() -> None:
    if on_sqlite():
        rebuild_charges(*charges_before(), values={})
    else:
        # Their checks and the index go with them.
        for column in added_columns():
            op.drop_column("charges", column.name)


def rebuild_charges(*items: sa.schema.SchemaItem, values: Mapping[str, str]) -> None:
    """Make the table anew, as SQLite adds no constraint to one that is there; foreign keys rest meanwhile."""
    kept = [item.name for item in items if isinstance(item, sa.Column) and item.name not in values]
    op.execute("CREATE TABLE charges_before AS SELECT * FROM charges")
    op.drop_table("charges")
    op.create_table("charges", *items)
    op.execute(
        f"INSERT INTO charges ({', '.join([*kept, *values])})"
        f" SELECT {', '.join([*kept, *values.values()])} FROM charges_before"
    )
    op.drop_table("charges_before")
    op.create_index("charges_by_status", "charges", ["merchant", "livemode", "status", "id"])
    op.create_index("charges_by_time", "charges", ["merchant", "livemode", "created_at"])
    partial_index("charges_due", "charges", ["look_at", "id"], while_set="look_at")
    op.create_index("charges_of_merchant", "charges", ["merchant", "livemode", "id"])


# The tables


def create_tables() -> None:
    op.create_table(
        "books",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("merchant", TEXT, nullable=False),
        sa.Column("livemode", flag("books_livemode_check"), nullable=False),
        sa.Column("sheet", INTEGER, nullable=False),
        sa.Column("fee_basis_points", INTEGER, nullable=False),
        sa.Column("fee_cents", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("books_pkey")),
        check("books_version_check", "version >= 1"),
        check("books_id_check", SCOPED_ID),
        check("books_sheet_check", "sheet >= 1"),
        check("books_fee_basis_points_check", "fee_basis_points BETWEEN 0 AND 10000"),
        check("books_fee_cents_check", "fee_cents BETWEEN 0 AND 10000000"),
        sa.ForeignKeyConstraint(["merchant"], ["merchants.id"], name=op.f("books_merchant_fkey")),
    )

    op.create_table(
        "sheets",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("merchant", TEXT, nullable=False),
        sa.Column("livemode", flag("sheets_livemode_check"), nullable=False),
        sa.Column("number", INTEGER, nullable=False),
        sa.Column("totals", DOCUMENT, nullable=False),
        sa.Column("transfers", INTEGER, nullable=False),
        sa.Column("lines", INTEGER, nullable=False),
        sa.Column("net", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("sheets_pkey")),
        sa.UniqueConstraint(
            "merchant", "livemode", "number", name=op.f("sheets_merchant_livemode_number_key")
        ),
        check("sheets_version_check", "version >= 1"),
        check("sheets_number_check", "number >= 1"),
        check("sheets_lines_check", "lines BETWEEN 0 AND transfers"),
        sa.ForeignKeyConstraint(["merchant"], ["merchants.id"], name=op.f("sheets_merchant_fkey")),
    )
    append_only(
        "sheets", "id = NEW.id", "merchant = NEW.merchant AND livemode = NEW.livemode AND number = NEW.number"
    )

    postings = ", ".join(f"'{kind} {debit} {credit}'" for kind, (debit, credit) in POSTINGS.items())
    op.create_table(
        "transfers",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("merchant", TEXT, nullable=False),
        sa.Column("livemode", flag("transfers_livemode_check"), nullable=False),
        sa.Column("sheet", INTEGER, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("debit", TEXT, nullable=False),
        sa.Column("credit", TEXT, nullable=False),
        sa.Column("amount", INTEGER, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("transfers_pkey")),
        sa.UniqueConstraint("source", "kind", name=op.f("transfers_source_kind_key")),
        check("transfers_accounts_check", "debit <> credit"),
        check("transfers_amount_check", "amount > 0"),
        check("transfers_posting_check", f"kind || ' ' || debit || ' ' || credit IN ({postings})"),
        check("transfers_sheet_check", "sheet >= 1"),
        sa.ForeignKeyConstraint(["merchant"], ["merchants.id"], name=op.f("transfers_merchant_fkey")),
    )
    op.create_index("transfers_of_book", "transfers", ["merchant", "livemode", "sheet", "id"])
    append_only("transfers", "id = NEW.id", "source = NEW.source AND kind = NEW.kind")

    op.create_table(
        "settlements",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("merchant", TEXT, nullable=False),
        sa.Column("livemode", flag("settlements_livemode_check"), nullable=False),
        sa.Column("place", TEXT, nullable=False),
        sa.Column("carried", INTEGER, nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("settlements_pkey")),
        check("settlements_version_check", "version >= 1"),
        check("settlements_id_check", SCOPED_ID),
        check("settlements_carried_check", "carried <= 0"),
        sa.ForeignKeyConstraint(["merchant"], ["merchants.id"], name=op.f("settlements_merchant_fkey")),
        sa.ForeignKeyConstraint(["id"], ["books.id"], name=op.f("settlements_id_fkey")),
    )
    op.create_index("settlements_due", "settlements", ["due_at", "id"])

    op.create_table(
        "payouts",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("merchant", TEXT, nullable=False),
        sa.Column("livemode", flag("payouts_livemode_check"), nullable=False),
        sa.Column("amount", INTEGER, nullable=False),
        sa.Column("currency", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("account", TEXT, nullable=False),
        sa.Column("after", TEXT, nullable=False),
        sa.Column("upto", TEXT, nullable=False),
        sa.Column("lines", INTEGER, nullable=False),
        sa.Column("carried", INTEGER, nullable=False),
        sa.Column("failure_code", TEXT, nullable=True),
        sa.Column("failure_message", TEXT, nullable=True),
        sa.Column("arrives_at", TIME, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("look_at", TIME, nullable=True),
        sa.Column("looks", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("payouts_pkey")),
        sa.UniqueConstraint(
            "merchant", "livemode", "after", name=op.f("payouts_merchant_livemode_after_key")
        ),
        check("payouts_version_check", "version >= 1"),
        check("payouts_amount_check", "amount > 0"),
        check("payouts_currency_check", "currency IN ('USD')"),
        check("payouts_status_check", "status IN ('pending', 'in_transit', 'paid', 'failed')"),
        check("payouts_failure_check", "(status = 'failed') = (failure_code IS NOT NULL)"),
        check("payouts_failure_message_check", "(failure_code IS NULL) = (failure_message IS NULL)"),
        check("payouts_look_at_check", "(look_at IS NULL) = (status IN ('paid', 'failed'))"),
        check("payouts_looks_check", "looks >= 0"),
        check("payouts_carried_check", "carried <= 0"),
        check("payouts_lines_check", "lines BETWEEN 1 AND 10000 - CASE WHEN carried < 0 THEN 1 ELSE 0 END"),
        check("payouts_places_check", '"after" < upto'),
        sa.ForeignKeyConstraint(["merchant"], ["merchants.id"], name=op.f("payouts_merchant_fkey")),
    )
    op.create_index("payouts_of_merchant", "payouts", ["merchant", "livemode", "id"])
    partial_index("payouts_due", "payouts", ["look_at", "id"], while_set="look_at")

    op.create_table(
        "disputes",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("merchant", TEXT, nullable=False),
        sa.Column("livemode", flag("disputes_livemode_check"), nullable=False),
        sa.Column("charge", TEXT, nullable=False),
        sa.Column("case", TEXT, nullable=False),
        sa.Column("amount", INTEGER, nullable=False),
        sa.Column("fee", INTEGER, nullable=False),
        sa.Column("currency", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("evidence", DOCUMENT, nullable=False),
        sa.Column("evidence_due_by", TIME, nullable=False),
        sa.Column("submitted_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("look_at", TIME, nullable=True),
        sa.Column("looks", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("disputes_pkey")),
        sa.UniqueConstraint("livemode", "case", name=op.f("disputes_livemode_case_key")),
        check("disputes_version_check", "version >= 1"),
        check("disputes_amount_check", "amount > 0"),
        check("disputes_fee_check", "fee >= 0"),
        check("disputes_currency_check", "currency IN ('USD')"),
        check("disputes_reason_check", "reason IN ('fraudulent', 'product_not_received', 'general')"),
        check(
            "disputes_status_check",
            "status IN ('needs_response', 'submitting', 'under_review', 'won', 'lost')",
        ),
        check("disputes_look_at_check", "(look_at IS NOT NULL) = (status = 'submitting')"),
        check(
            "disputes_submitted_at_check",
            "status IN ('won', 'lost') OR (submitted_at IS NOT NULL) = (status IN ('submitting', 'under_review'))",
        ),
        check("disputes_looks_check", "looks >= 0"),
        sa.ForeignKeyConstraint(["merchant"], ["merchants.id"], name=op.f("disputes_merchant_fkey")),
        sa.ForeignKeyConstraint(["charge"], ["charges.id"], name=op.f("disputes_charge_fkey")),
    )
    op.create_index("disputes_of_charge", "disputes", ["charge", "id"])
    op.create_index("disputes_of_merchant", "disputes", ["merchant", "livemode", "id"])
    partial_index("disputes_due", "disputes", ["look_at", "id"], while_set="look_at")

    op.create_table(
        "notices",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("livemode", flag("notices_livemode_check"), nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("reference", TEXT, nullable=False),
        sa.Column("dispute", TEXT, nullable=True),
        sa.Column("amount", INTEGER, nullable=False),
        sa.Column("code", TEXT, nullable=True),
        sa.Column("evidence_due_by", TIME, nullable=True),
        sa.Column("happened_at", TIME, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=True),
        sa.Column("told", INTEGER, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("look_at", TIME, nullable=True),
        sa.Column("looks", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("notices_pkey")),
        check("notices_version_check", "version >= 1"),
        check(
            "notices_kind_check",
            "kind IN ('captured', 'declined', 'refunded', 'refund_failed', "
            "'dispute_opened', 'dispute_won', 'dispute_lost')",
        ),
        check(
            "notices_status_check",
            "status IN ('waiting', 'applied', 'known', 'contradicting', 'stray', 'returned')",
        ),
        check("notices_told_check", "told >= 1"),
        check("notices_look_at_check", "(look_at IS NOT NULL) = (status IN ('waiting', 'stray'))"),
        check("notices_looks_check", "looks >= 0"),
    )
    op.create_index("notices_of_reference", "notices", ["reference", "id"])
    partial_index("notices_due", "notices", ["look_at", "id"], while_set="look_at")


# The books of what was there before

MERCHANTS = sa.table("merchants", sa.column("id", TEXT))
CHARGES = sa.table(
    "charges",
    sa.column("id", TEXT),
    sa.column("merchant", TEXT),
    sa.column("livemode", sa.Boolean()),
    sa.column("amount", INTEGER),
    sa.column("status", TEXT),
    sa.column("fee", INTEGER),
    sa.column("matures_at", TIME),
    sa.column("created_at", TIME),
)
REFUNDS = sa.table(
    "refunds",
    sa.column("id", TEXT),
    sa.column("merchant", TEXT),
    sa.column("livemode", sa.Boolean()),
    sa.column("amount", INTEGER),
    sa.column("status", TEXT),
    sa.column("created_at", TIME),
)
BOOKS = sa.table(
    "books",
    sa.column("id", TEXT),
    sa.column("version", INTEGER),
    sa.column("merchant", TEXT),
    sa.column("livemode", sa.Boolean()),
    sa.column("sheet", INTEGER),
    sa.column("fee_basis_points", INTEGER),
    sa.column("fee_cents", INTEGER),
)
SETTLEMENTS = sa.table(
    "settlements",
    sa.column("id", TEXT),
    sa.column("version", INTEGER),
    sa.column("merchant", TEXT),
    sa.column("livemode", sa.Boolean()),
    sa.column("place", TEXT),
    sa.column("carried", INTEGER),
    sa.column("due_at", TIME),
)
TRANSFERS = sa.table(
    "transfers",
    sa.column("id", TEXT),
    sa.column("merchant", TEXT),
    sa.column("livemode", sa.Boolean()),
    sa.column("sheet", INTEGER),
    sa.column("kind", TEXT),
    sa.column("source", TEXT),
    sa.column("debit", TEXT),
    sa.column("credit", TEXT),
    sa.column("amount", INTEGER),
    sa.column("created_at", TIME),
)


def pages(table: sa.TableClause, *conditions: sa.ColumnElement[bool]) -> Iterator[Sequence[sa.Row[Any]]]:
    """Read rows page by page, in the order of their ids."""
    last = ""
    while True:
        query = sa.select(table).where(table.c.id > last, *conditions).order_by(table.c.id).limit(PAGE)
        page = op.get_bind().execute(query).all()
        if page:
            yield page
        if len(page) < PAGE:
            return
        last = page[-1].id


def read_time(value: str | datetime) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def write_time(moment: datetime) -> str | datetime:
    if on_sqlite():
        return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return moment


def open_books(now: datetime) -> None:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    for page in pages(MERCHANTS):
        scopes = [
            {"id": f"{merchant.id}/{mode}", "version": 1, "merchant": merchant.id, "livemode": mode == "live"}
            for merchant in page
            for mode in ("test", "live")
        ]
        terms = {"sheet": 1, "fee_basis_points": 290, "fee_cents": 30}
        start = {"place": "", "carried": 0, "due_at": write_time(midnight)}
        op.bulk_insert(BOOKS, [scope | terms for scope in scopes])
        op.bulk_insert(SETTLEMENTS, [scope | start for scope in scopes])


def book_charges(now: datetime) -> None:
    for page in pages(CHARGES, CHARGES.c.status == "succeeded"):
        transfers: list[dict[str, Any]] = []
        maturing: list[dict[str, Any]] = []
        for charge in page:
            created_at = read_time(charge.created_at)
            matures_at = created_at + MATURES_AFTER
            transfers += book(charge, created_at, charge=charge.amount, fee=charge.fee)
            if matures_at > now:
                maturing.append({"charge": charge.id, "at": write_time(matures_at)})
            else:
                transfers += book(charge, matures_at, charge_matured=charge.amount, fee_matured=charge.fee)
        op.bulk_insert(TRANSFERS, transfers)
        if maturing:
            at = sa.bindparam("at", type_=TIME)
            op.get_bind().execute(
                sa.update(CHARGES).where(CHARGES.c.id == sa.bindparam("charge")).values(matures_at=at),
                maturing,
            )


# When a refund got its outcome was not kept, so its transfers have the time at which it was made.
OUTCOMES = {"succeeded": ("refund_paid",), "failed": ("refund_returned",)}


def book_refunds() -> None:
    for page in pages(REFUNDS):
        transfers: list[dict[str, Any]] = []
        for refund in page:
            kinds = ("refund", *OUTCOMES.get(refund.status, ()))
            transfers += book(
                refund, read_time(refund.created_at), **dict.fromkeys(kinds, int(refund.amount))
            )
        op.bulk_insert(TRANSFERS, transfers)


def book(source: sa.Row[Any], at: datetime, **amounts: int) -> list[dict[str, Any]]:
    """Write down what an object moved, by kind, on the first sheet."""
    return [
        {
            "id": transfer_id(kind, source.id, at),
            "merchant": source.merchant,
            "livemode": source.livemode,
            "sheet": 1,
            "kind": kind,
            "source": source.id,
            "debit": POSTINGS[kind][0],
            "credit": POSTINGS[kind][1],
            "amount": amount,
            "created_at": write_time(at),
        }
        for kind, amount in amounts.items()
    ]


def transfer_id(kind: str, source: str, at: datetime) -> str:
    """Name a transfer as a UUIDv7 of its time: within a millisecond, kinds in the order in which they happen."""
    milliseconds = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    place = list(POSTINGS).index(kind)
    digest = int.from_bytes(sha256(f"{kind} {source}".encode()).digest()) >> (256 - 62)
    return f"txn_{milliseconds << 80 | 7 << 76 | place << 64 | 2 << 62 | digest:032x}"


def downgrade() -> None:
    op.drop_table("notices")
    op.drop_table("disputes")
    op.drop_table("payouts")
    op.drop_table("settlements")
    op.drop_table("transfers")
    op.drop_table("sheets")
    op.drop_table("books")
    if on_sqlite():
        for what in ("update", "delete", "replace"):
            op.execute(f"DROP TRIGGER events_no_{what}")
    else:
        op.execute("DROP FUNCTION refuse_change() CASCADE")
    narrow_charges()
