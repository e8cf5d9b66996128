"""The ledger, and the payouts that are made of it."""

from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, Index, Table, UniqueConstraint

from kpay_adapters.sql.columns import DOCUMENT, INTEGER, TEXT, TIME
from kpay_adapters.sql.tables.schema import (
    METADATA,
    append_only,
    check,
    flag,
    guarded,
    index_while,
    one_of,
    words,
)
from kpay_core.domain import payouts
from kpay_core.domain.ledger import POSTINGS
from kpay_core.domain.money import MAX_CHARGE
from kpay_core.domain.payouts import MAX_LINES

# A book and its settlement are named after the merchant and mode, so that there is one of each.
SCOPED_ID = "id = merchant || CASE WHEN livemode THEN '/live' ELSE '/test' END"

BOOKS = Table(
    "books",
    METADATA,
    *guarded(),
    Column("merchant", TEXT, ForeignKey("merchants.id"), nullable=False),
    flag("livemode"),
    Column("sheet", INTEGER, nullable=False),
    Column("fee_basis_points", INTEGER, nullable=False),
    Column("fee_cents", INTEGER, nullable=False),
    check("id", SCOPED_ID),
    check("sheet", "sheet >= 1"),
    check("fee_basis_points", "fee_basis_points BETWEEN 0 AND 10000"),
    check("fee_cents", f"fee_cents BETWEEN 0 AND {MAX_CHARGE}"),
)

SHEETS = Table(
    "sheets",
    METADATA,
    *guarded(),
    Column("merchant", TEXT, ForeignKey("merchants.id"), nullable=False),
    flag("livemode"),
    Column("number", INTEGER, nullable=False),
    Column("totals", DOCUMENT, nullable=False),
    Column("transfers", INTEGER, nullable=False),
    Column("lines", INTEGER, nullable=False),
    Column("net", INTEGER, nullable=False),
    check("number", "number >= 1"),
    check("lines", "lines BETWEEN 0 AND transfers"),
    # The last sheet of a book is found by it, too.
    UniqueConstraint("merchant", "livemode", "number"),
)

append_only(
    SHEETS,
    "id = NEW.id",
    "merchant = NEW.merchant AND livemode = NEW.livemode AND number = NEW.number",
)

TRANSFERS = Table(
    "transfers",
    METADATA,
    Column("id", TEXT, primary_key=True),
    Column("merchant", TEXT, ForeignKey("merchants.id"), nullable=False),
    flag("livemode"),
    Column("sheet", INTEGER, nullable=False),
    Column("kind", TEXT, nullable=False),
    Column("source", TEXT, nullable=False),
    Column("debit", TEXT, nullable=False),
    Column("credit", TEXT, nullable=False),
    Column("amount", INTEGER, nullable=False),
    Column("created_at", TIME, nullable=False),
    check("accounts", "debit <> credit"),
    check("amount", "amount > 0"),
    check(
        "posting",
        "kind || ' ' || debit || ' ' || credit IN"
        f" ({words(f'{kind} {debit} {credit}' for kind, (debit, credit) in POSTINGS.items())})",
    ),
    check("sheet", "sheet >= 1"),
    # What happened to an object is booked once.
    UniqueConstraint("source", "kind"),
    # A book is read sheet by sheet.
    Index("transfers_of_book", "merchant", "livemode", "sheet", "id"),
)

append_only(TRANSFERS, "id = NEW.id", "source = NEW.source AND kind = NEW.kind")

SETTLEMENTS = Table(
    "settlements",
    METADATA,
    *guarded(),
    Column("merchant", TEXT, ForeignKey("merchants.id"), nullable=False),
    flag("livemode"),
    Column("place", TEXT, nullable=False),
    Column("carried", INTEGER, nullable=False),
    Column("due_at", TIME, nullable=False),
    ForeignKeyConstraint(["id"], ["books.id"]),
    check("id", SCOPED_ID),
    check("carried", "carried <= 0"),
    Index("settlements_due", "due_at", "id"),
)

PAYOUTS = Table(
    "payouts",
    METADATA,
    *guarded(),
    Column("merchant", TEXT, ForeignKey("merchants.id"), nullable=False),
    flag("livemode"),
    Column("amount", INTEGER, nullable=False),
    Column("currency", TEXT, nullable=False),
    Column("status", TEXT, nullable=False),
    Column("account", TEXT, nullable=False),
    Column("after", TEXT, nullable=False),
    Column("upto", TEXT, nullable=False),
    Column("lines", INTEGER, nullable=False),
    Column("carried", INTEGER, nullable=False),
    Column("failure_code", TEXT),
    Column("failure_message", TEXT),
    Column("arrives_at", TIME, nullable=False),
    Column("created_at", TIME, nullable=False),
    Column("look_at", TIME),
    Column("looks", INTEGER, nullable=False),
    check("amount", "amount > 0"),
    one_of("currency", ["USD"]),
    one_of("status", payouts.Status),
    check("failure", "(status = 'failed') = (failure_code IS NOT NULL)"),
    check("failure_message", "(failure_code IS NULL) = (failure_message IS NULL)"),
    check("look_at", "(look_at IS NULL) = (status IN ('paid', 'failed'))"),
    check("looks", "looks >= 0"),
    check("carried", "carried <= 0"),
    # What was carried forward is a line, too; and it is never more than nothing, so some line is there beside it.
    check("lines", f"lines BETWEEN 1 AND {MAX_LINES} - CASE WHEN carried < 0 THEN 1 ELSE 0 END"),
    check("places", '"after" < upto'),
    # No two payouts begin at one place.
    UniqueConstraint("merchant", "livemode", "after"),
    Index("payouts_of_merchant", "merchant", "livemode", "id"),
    index_while("look_at", "payouts_due", "look_at", "id"),
)
