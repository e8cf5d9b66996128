"""A consistent history of any length, written by SQL: the books of a merchant, and the journal of the sandbox."""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing

import asyncpg
import msgspec

from benchmarks import told
from benchmarks.databases import digits, journal_of
from benchmarks.rows import CHARGE_ID, THEN, insert, numbers, posted, values
from kpay_adapters.sql.engines import sqlite_path
from kpay_core.domain.ledger import Kind
from kpay_core.domain.payouts import MAX_LINES

# What a charge that has matured has of transfers, and of lines.
KINDS = (Kind.CHARGE, Kind.FEE, Kind.CHARGE_MATURED, Kind.FEE_MATURED)
CHARGES_A_PAYOUT = MAX_LINES // 2
CHARGES_A_SHEET = 250

# A charge of 10.00, and its fee of 2.9 % and 30 c.
AMOUNT, FEE = 1_000, 59


def fill(url: str, merchant: str, *, charges: int) -> None:
    """Write the books and the journal of a merchant whose charges have matured, and all but the last were paid out."""
    path = sqlite_path(url)
    statements = [*history(merchant, charges), "ANALYZE"]
    if path is None:
        asyncio.run(_fill_postgres(url, [*statements, *journal(charges)]))
        return
    for file, its in ((path, statements), (sqlite_path(journal_of(url)), journal(charges))):
        assert file is not None, "the journal of a file is a file"
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            for statement in ("BEGIN", *its, "COMMIT"):
                connection.execute(statement)


async def _fill_postgres(url: str, statements: Sequence[str]) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement, timeout=600)
    finally:
        await connection.close()


def history(merchant: str, charges: int) -> list[str]:
    """
    Write the books of a merchant: charges and their transfers, sheets, payouts, and where the settlement stands.

    Each charge has its key, and each event went to an endpoint.
    """
    paid = charges // CHARGES_A_PAYOUT
    last = charges // CHARGES_A_SHEET
    scope = {"merchant": f"'{merchant}'", "livemode": "false"}
    charge = {
        "id": CHARGE_ID,
        "version": 3,
        **scope,
        "amount": AMOUNT,
        "currency": "'USD'",
        "status": "'succeeded'",
        "source": '\'{"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2030, "fingerprint": "f"}\'',
        "billing_address": '\'{"line1": "1 Main St", "city": "Springfield", "state": "IL", "postal_code": "62701",'
        ' "country": "US"}\'',
        "metadata": "'{}'",
        "amount_refunded": 0,
        "amount_refunding": 0,
        "amount_disputed": 0,
        "refunds": 0,
        "disputes": 0,
        "fee": FEE,
        "idempotency_key": told.key_id(merchant),
        "told": "false",
        "created_at": f"'{THEN}'",
        "looks": 0,
    }
    statements = [insert("charges", charge, numbers(charges))]
    for place, kind in enumerate(KINDS):
        transfer = {
            "id": f"'txn_' || {digits(f'(4 * i + {place})')}",
            **scope,
            "sheet": f"i / {CHARGES_A_SHEET} + 1",
            **posted(kind),
            "source": CHARGE_ID,
            "amount": FEE if kind in (Kind.FEE, Kind.FEE_MATURED) else AMOUNT,
            "created_at": f"'{THEN}'",
        }
        statements.append(insert("transfers", transfer, numbers(charges)))
    statements += [sheet(scope, number) for number in range(1, last + 1)]
    statements += [each for number in range(paid) for each in payout(scope, number, on_sheet=last + 1)]
    return [
        *statements,
        *told.write(
            merchant,
            charges=charges,
            of_charge=AMOUNT,
            fee=FEE,
            payouts=paid,
            of_payout=CHARGES_A_PAYOUT * (AMOUNT - FEE),
        ),
        f"UPDATE books SET sheet = {last + 1} WHERE id = '{merchant}/test'",
        f"UPDATE settlements SET place = '{place_after(paid * CHARGES_A_PAYOUT)}' WHERE id = '{merchant}/test'",
    ]


def place_after(charges: int) -> str:
    """Name the place in the book after so many charges."""
    if not charges:
        return ""
    return f"{(charges - 1) // CHARGES_A_SHEET + 1:010}/txn_{4 * charges - 1:012}"


def sheet(scope: Mapping[str, str], number: int) -> str:
    charges = number * CHARGES_A_SHEET
    totals = {
        "processor_receivable": -charges * AMOUNT,
        "fees_revenue": charges * FEE,
        "available": charges * (AMOUNT - FEE),
    }
    merchant = scope["merchant"].strip("'")
    columns = {
        "id": f"'{merchant}/test/{number:010}'",
        "version": 1,
        **scope,
        "number": number,
        "totals": f"'{msgspec.json.encode(totals).decode()}'",
        "transfers": charges * len(KINDS),
        "lines": charges * 2,
        "net": charges * (AMOUNT - FEE),
    }
    return f"INSERT INTO sheets ({', '.join(columns)}) VALUES ({', '.join(map(str, columns.values()))})"


def payout(scope: Mapping[str, str], number: int, *, on_sheet: int) -> list[str]:
    """Write a payout that has arrived, and its transfers."""
    id = f"'po_{number:012}'"
    amount = CHARGES_A_PAYOUT * (AMOUNT - FEE)
    columns = {
        "id": id,
        "version": 3,
        **scope,
        "amount": amount,
        "currency": "'USD'",
        "status": "'paid'",
        "account": "'000123456789'",
        "after": f"'{place_after(number * CHARGES_A_PAYOUT)}'",
        "upto": f"'{place_after((number + 1) * CHARGES_A_PAYOUT)}'",
        "lines": MAX_LINES,
        "carried": 0,
        "arrives_at": f"'{THEN}'",
        "created_at": f"'{THEN}'",
        "looks": 1,
    }
    statements = [values("payouts", columns)]
    for place, kind in enumerate((Kind.PAYOUT, Kind.PAYOUT_PAID)):
        transfer = {
            "id": f"'txn_po_{2 * number + place:012}'",
            **scope,
            "sheet": on_sheet,
            **posted(kind),
            "source": id,
            "amount": amount,
            "created_at": f"'{THEN}'",
        }
        statements.append(values("transfers", transfer))
    return statements


def journal(charges: int) -> list[str]:
    """Write what the sandbox's network and bank have on record."""
    entry = {
        "id": CHARGE_ID,
        "version": 1,
        "outcome": "'captured'",
        "amount": AMOUNT,
        "behaviour": "'ordinary'",
        "heard_at": f"'{THEN}'",
        "known_at": f"'{THEN}'",
    }
    payment = {
        "id": f"'po_' || {digits('i')}",
        "version": 1,
        "amount": CHARGES_A_PAYOUT * (AMOUNT - FEE),
        "outcome": "'paid'",
        "due_at": f"'{THEN}'",
    }
    paid = charges // CHARGES_A_PAYOUT
    statements = [insert("sandbox_journal", entry, numbers(charges))]
    return [*statements, insert("sandbox_payments", payment, numbers(paid))] if paid else statements
