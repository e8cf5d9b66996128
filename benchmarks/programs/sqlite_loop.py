"""
The limit on SQLite: a synchronous loop that writes the rows of a charge in two durable transactions, one at a time.

    python -m benchmarks.programs.sqlite_loop FILE CHARGE FIRST SECONDS

The rows are those that a real charge has left in the file, under new ids: the charge and its key as they are first,
then both with the outcome and the answer, its transfers and its event while the book stands still. No HTTP, no event
loop, no look-ups, no journal of a sandbox. It prints how fast that went.
"""

import os
import sqlite3
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import msgspec

from benchmarks.copies import charge_id
from benchmarks.figures import percentile
from benchmarks.load import Result
from benchmarks.processes import machine_cpu_seconds

Row = dict[str, Any]

# What is different before there is an outcome; `look_at` is any time.
OPENED = {"version": 1, "status": "processing", "matures_at": None}
CLAIMED = {"version": 1, "state": "working", "outcome": None, "answer": None}


class Left(msgspec.Struct):
    """What one charge left behind."""

    charge: Row
    key: Row
    transfers: list[Row]
    event: Row
    book: Row


def read(connection: sqlite3.Connection, charge: str) -> Left:
    def rows(table: str, condition: str, value: str) -> list[Row]:
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table} WHERE {condition}", (value,))]

    connection.row_factory = sqlite3.Row
    (row,) = rows("charges", "id = ?", charge)
    (key,) = rows("idempotency_keys", "subject = ?", charge)
    # The events that this loop wrote have the same body, and later ids.
    event = rows("events", "body LIKE '%' || ? || '%' ORDER BY id LIMIT 1", charge)[0]
    (book,) = rows("books", "id = ?", f"{row['merchant']}/test")
    return Left(row, key, rows("transfers", "source = ?", charge), event, book)


def insert(connection: sqlite3.Connection, table: str, row: Mapping[str, Any], **changes: object) -> None:
    row = {**row, **changes}
    names, places = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", tuple(row.values()))


def replace(connection: sqlite3.Connection, table: str, row: Mapping[str, Any], **changes: object) -> None:
    """Write the next version of a row."""
    row = {**row, **changes}
    names = ", ".join(f'"{name}" = ?' for name in row)
    done = connection.execute(
        f"UPDATE {table} SET {names} WHERE id = ? AND version = ?",
        (*row.values(), row["id"], row["version"] - 1),
    )
    assert done.rowcount == 1, "the row is there, at the version before"


def write(connection: sqlite3.Connection, left: Left, number: int) -> None:
    """Write one charge."""
    id, scope = charge_id(number), left.key["id"].rpartition("/")[0]
    key = {**left.key, "id": f"{scope}/loop{number:020d}", "subject": id}
    charge = {**left.charge, "id": id, "idempotency_key": key["id"]}
    connection.execute("BEGIN IMMEDIATE")
    insert(connection, "charges", charge, **OPENED, look_at=charge["created_at"])
    insert(connection, "idempotency_keys", key, **CLAIMED)
    connection.execute("COMMIT")
    connection.execute("BEGIN IMMEDIATE")
    book = (left.book["id"], left.book["version"])
    held = connection.execute("SELECT 1 FROM books WHERE id = ? AND version = ?", book).fetchone()
    assert held, "nobody turns a sheet here"
    replace(connection, "charges", charge, version=2)
    replace(connection, "idempotency_keys", key, version=2)
    for place, transfer in enumerate(left.transfers):
        insert(connection, "transfers", transfer, id=f"txn_loop{number:020d}{place}", source=id)
    insert(connection, "events", left.event, id=f"evt_loop{number:020d}")
    connection.execute("COMMIT")


def main(file: str, charge: str, first: str, seconds: str) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        left = read(connection, charge)
        took: list[float] = []
        began, used, machine = time.perf_counter(), time.process_time(), machine_cpu_seconds()
        while (now := time.perf_counter()) < began + float(seconds):
            write(connection, left, int(first) + len(took))
            took.append(time.perf_counter() - now)
        elapsed, cpu = time.perf_counter() - began, time.process_time() - used
        others = machine_cpu_seconds() - machine - cpu
    took.sort()
    result = Result(
        requests=len(took),
        sent=len(took),
        rate=len(took) / elapsed,
        p50_ms=1000 * percentile(took, 0.5),
        p99_ms=1000 * percentile(took, 0.99),
        mean_ms=1000 * sum(took) / len(took),
        load_cpu_us=1e6 * cpu / len(took),
        others=max(0.0, others) / elapsed / (os.cpu_count() or 1),
    )
    print(msgspec.json.encode(result).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
