"""Rows by the hundred thousand, written as SQL that makes them where they are kept."""

from collections.abc import Mapping
from typing import Any

from benchmarks.databases import digits
from kpay_core.domain.ledger import POSTINGS, Kind

# When all of it happened.
THEN = "2026-01-01T12:00:00.000Z"


def insert(table: str, columns: Mapping[str, Any], source: str) -> str:
    """Write an INSERT of rows made from others; a column's value is SQL."""
    names = ", ".join(f'"{name}"' for name in columns)
    return f"INSERT INTO {table} ({names}) SELECT {', '.join(map(str, columns.values()))} FROM {source}"


def numbers(count: int) -> str:
    """Write SQL for a table of the numbers from 0 on, in its column i."""
    series = f"SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count}"
    return f"(WITH RECURSIVE n AS ({series}) SELECT i FROM n) AS numbers"


def values(table: str, columns: Mapping[str, Any]) -> str:
    """Write an INSERT of one row; a column's value is SQL."""
    names = ", ".join(f'"{name}"' for name in columns)
    return f"INSERT INTO {table} ({names}) VALUES ({', '.join(map(str, columns.values()))})"


def posted(kind: Kind) -> dict[str, str]:
    debit, credit = POSTINGS[kind]
    return {"kind": f"'{kind}'", "debit": f"'{debit}'", "credit": f"'{credit}'"}


CHARGE_ID = f"'01941f29-7c00-7000-8000-' || {digits('i')}"
