"""
Charges that nobody made: copies of what a real one left behind, written by SQL, as many as no client could send.

Each has an id of its own and everything that belongs to it, in every table: transfers on turned sheets, a key with its
answer, an event, what the sandbox has on record. Ids sort by time, before the real charge's; times are a second apart.
"""

from collections.abc import Mapping

from benchmarks.databases import ask, columns_of, digits, execute, journal_of, one
from benchmarks.processes import Failed
from benchmarks.samples import KEY
from kpay_adapters.sql.engines import sqlite_path
from kpay_core.domain.ledger import SHEET_TRANSFERS

CHARGE_PREFIX = "01941f29-7c00-7000-8000-"

# One transaction: as large as is quick, and not so large that SQLite's journal becomes a second database.
BATCH = 100_000

COPIED_PREFIX = "copy"

# The id of the copied charge of number n, as SQL.
CHARGE_ID = f"'{CHARGE_PREFIX}' || {digits('n')}"


def charge_id(number: int) -> str:
    """Name a copy."""
    return f"{CHARGE_PREFIX}{number:012d}"


def charges(url: str, *, like: str, count: int, batch: int = BATCH) -> None:
    """Copy a charge so often, with all that belongs to it; the numbers of the copies begin with 1."""
    journal = journal_of(url)
    # Looked for once: what is found by its words is found in copies, too.
    parts = parts_of(url, like, count)
    for first in range(1, count + 1, batch):
        last = min(first + batch - 1, count)
        execute(url, *(copy(url, *each, first=first, last=last) for each in parts))
        if found := one(journal, "SELECT id FROM sandbox_journal WHERE id = $1", like):
            execute(
                journal, copy(journal, "sandbox_journal", found, {"id": CHARGE_ID}, first=first, last=last)
            )
    transfers = count * one(url, "SELECT count(*) FROM transfers WHERE source = $1", like)
    execute(
        url,
        f"UPDATE books SET version = version + 1, sheet = sheet + {-(-transfers // SHEET_TRANSFERS)}"
        f" WHERE NOT livemode AND merchant = (SELECT merchant FROM charges WHERE id = '{like}')",
    )


def keys(url: str, *, like: str, prefix: str, count: int) -> None:
    """Copy an answered key so often, with its answer; the numbers of the copies begin with 1."""
    found = one(url, "SELECT id FROM idempotency_keys WHERE id LIKE '%/' || $1", like)
    if found is None:
        raise Failed(f"no key ends in {like}")
    for first in range(1, count + 1, BATCH):
        last = min(first + BATCH - 1, count)
        execute(url, copy(url, "idempotency_keys", found, {"id": key(found, prefix)}, first=first, last=last))


def parts_of(url: str, charge: str, count: int) -> list[tuple[str, str, dict[str, str]]]:
    """Return each row that belongs to a charge: its table, its id, and what is different in the copies, as SQL."""
    made = ago(url, f"{count} - n")
    found: list[tuple[str, str, dict[str, str]]] = [
        ("charges", charge, {"id": CHARGE_ID, "idempotency_key": key_named(url, charge), "created_at": made})
    ]
    for table, column, prefix in (("transfers", "source", "txn"), ("events", "body", "evt")):
        condition = f"{column} = $1" if table == "transfers" else f"{column} LIKE '%' || $1 || '%'"
        rows = ask(url, f"SELECT id FROM {table} WHERE {condition} ORDER BY id", charge)
        for place, id in enumerate(rows):
            number = f"(n * {len(rows)} + {place})"
            changes = {"id": f"'{prefix}_' || {compact(number)}", "created_at": made}
            if table == "transfers":
                changes |= {"source": CHARGE_ID, "sheet": f"1 + {number} / {SHEET_TRANSFERS}"}
            else:
                changes |= {"body": renamed("body", charge)}
            found.append((table, id, changes))
    of_key = {
        "subject": CHARGE_ID,
        "answer": renamed("answer", charge),
        "first_used_at": ago(url, f"{count} - n", of="first_used_at"),
    }
    keys = ask(url, "SELECT id FROM idempotency_keys WHERE subject = $1", charge)
    return found + [("idempotency_keys", id, {"id": key(id, COPIED_PREFIX), **of_key}) for id in keys]


def renamed(column: str, charge: str) -> str:
    """Write a text that names a charge, so that it names the copy."""
    return f"replace(was.{column}, '{charge}', {CHARGE_ID})"


def copy(url: str, table: str, id: str, changes: Mapping[str, str], *, first: int, last: int) -> str:
    """Write the INSERT of the copies of one row from number to number; `changes` are SQL by column."""
    columns = columns_of(url, table)
    values = ", ".join(changes.get(column, f'was."{column}"') for column in columns)
    names = ", ".join(f'"{column}"' for column in columns)
    return (
        f"WITH RECURSIVE series (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM series WHERE n < {last}) "
        f"INSERT INTO {table} ({names}) SELECT {values} FROM series CROSS JOIN {table} was WHERE was.id = '{id}'"
    )


def compact(number: str) -> str:
    """Write an id as it follows a prefix: without hyphens."""
    return f"'{CHARGE_PREFIX.replace('-', '')}' || {digits(number)}"


def key(id: str, prefix: str) -> str:
    """Write the id of a copied key: the merchant and mode of the original, and a key of the usual width."""
    scope = id.removesuffix(id.split("/", 2)[2])
    # Beyond the twelve that `digits` writes.
    zeros = "0" * (len(KEY) - len(prefix) - 12)
    return f"'{scope}{prefix}{zeros}' || {digits('n')}"


def key_named(url: str, charge: str) -> str:
    """Write the key under which a copied charge was made, as its row has it."""
    found = one(url, "SELECT idempotency_key FROM charges WHERE id = $1", charge)
    return "NULL" if found is None else key(found, COPIED_PREFIX)


def ago(url: str, seconds: str, *, of: str = "created_at") -> str:
    """Write a time that is so many seconds before the original's."""
    if sqlite_path(url) is None:
        return f"was.{of} - ({seconds}) * interval '1 second'"
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', was.{of}, '-' || ({seconds}) || ' seconds')"
