"""Merchants and their keys."""

from sqlalchemy import Column, ForeignKey, Index, Table

from kpay_adapters.sql.columns import TEXT, TIME
from kpay_adapters.sql.tables.schema import METADATA, check, flag, guarded, one_of
from kpay_core.domain import merchants
from kpay_core.domain.keys import PREFIXES

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
