"""Large books, written by SQL: what charges leave in the ledger, for as many of them as nobody could make."""

import asyncio

from benchmarks.databases import digits, execute
from benchmarks.servers import Installation, opened
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


async def take_in(here: Installation, many: int) -> None:
    """Let so many more merchants apply."""
    async with opened(here.environment) as (kpay, _, _):
        await asyncio.gather(*(kpay.apply(name=f"Bench {number}") for number in range(many)))
