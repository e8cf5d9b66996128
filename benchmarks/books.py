"""Large books, written by SQL: what charges leave in the ledger, for as many of them as nobody could make."""

import asyncio
import sqlite3
import time
from collections.abc import Sequence

import asyncpg
import msgspec

from kpay_adapters.sql.engines import sqlite_path
from kpay_core.domain.ledger import POSTINGS, SHEET_TRANSFERS, Kind

# What a charge of 49.99 leaves behind by the usual terms, and once its funds have matured.
AMOUNTS = {Kind.CHARGE: 4999, Kind.FEE: 175, Kind.CHARGE_MATURED: 4999, Kind.FEE_MATURED: 175}
TRANSFERS_A_CHARGE = len(AMOUNTS)
LINES_A_CHARGE = 2
NET = AMOUNTS[Kind.CHARGE] - AMOUNTS[Kind.FEE]

# The numbers of one merchant's transfers, of which ids are made, are this far from the next one's.
STRIDE = 10_000_000


def fill(url: str, charges: int, *, first: int = 1, turned: bool = True) -> None:
    """
    Write down so many matured charges of every merchant, in test mode.

    The sheets are as long as the system's own, and all of them turned; or else everything is on the open sheet.
    No totals are carried forward. `first` is the number of the first charge, so that more can follow.
    """
    place = f"(n - {first}) * {TRANSFERS_A_CHARGE} + place"
    sheet = f"sheet + ({place}) / {SHEET_TRANSFERS}" if turned else "sheet"
    kinds = ", ".join(
        f"({number}, '{kind}', '{POSTINGS[kind][0]}', '{POSTINGS[kind][1]}', {amount})"
        for number, (kind, amount) in enumerate(AMOUNTS.items())
    )
    statements = [
        f"""
        WITH RECURSIVE series (n) AS (
            SELECT {first} UNION ALL SELECT n + 1 FROM series WHERE n < {first + charges - 1}
        ),
        kinds (place, kind, debit, credit, amount) AS (VALUES {kinds}),
        open_books AS (
            SELECT merchant, sheet, row_number() OVER (ORDER BY merchant) AS number FROM books WHERE NOT livemode
        )
        INSERT INTO transfers (id, merchant, livemode, sheet, kind, source, debit, credit, amount, created_at)
        SELECT 'txn_01941f297c0070008000' || {digits(f"number * {STRIDE} + n * {TRANSFERS_A_CHARGE} + place")},
            merchant, false, {sheet}, kind, '01941f29-7c00-7000-8000-' || {digits(f"number * {STRIDE} + n")},
            debit, credit, amount, '2025-01-01T00:00:00.000Z'
        FROM open_books CROSS JOIN series CROSS JOIN kinds
        ORDER BY number, n, place
        """
    ]
    if turned:
        sheets = -(-charges * TRANSFERS_A_CHARGE // SHEET_TRANSFERS)
        statements.append(
            f"UPDATE books SET version = version + 1, sheet = sheet + {sheets} WHERE NOT livemode"
        )
    execute(url, *statements)


def make_due(url: str) -> None:
    """Let it be time for everybody's payouts, in test mode."""
    execute(url, "UPDATE settlements SET due_at = '2025-01-02T00:00:00.000Z' WHERE NOT livemode")


def digits(number: str) -> str:
    """Write a number with twelve digits, as both databases can."""
    return f"substr(CAST(1000000000000 + {number} AS text), 2)"


class Executed(msgspec.Struct):
    """How long statements took, with their commit, and how many rows the last one wrote."""

    seconds: float
    rows: int


def execute(url: str, *statements: str) -> Executed:
    """Run statements in one transaction, durably, and leave the database as tidy as it becomes by itself."""
    path = sqlite_path(url)
    if path is None:
        return asyncio.run(_execute_postgres(url, statements))
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        began = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        rows = [connection.execute(statement).rowcount for statement in statements]
        connection.execute("COMMIT")
        took = time.perf_counter() - began
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return Executed(took, rows[-1])
    finally:
        connection.close()


async def _execute_postgres(url: str, statements: Sequence[str]) -> Executed:
    connection = await asyncpg.connect(url)
    try:
        began = time.perf_counter()
        async with connection.transaction():
            # Each says what it did: INSERT 0 1000, UPDATE 1000.
            told = [await connection.execute(statement) for statement in statements]
        took = time.perf_counter() - began
        await connection.execute("VACUUM ANALYZE")
        count = told[-1].split()[-1]
        return Executed(took, int(count) if count.isdigit() else 0)
    finally:
        await connection.close()
