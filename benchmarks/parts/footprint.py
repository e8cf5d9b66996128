"""
Footprint: what a charge leaves behind and sets in motion, in bytes, rows, commits and statements.

How busy the machine is hardly matters to it: only batches are larger then. The write-ahead log and the ids of
transactions are the whole server's, so they tell of a charge only where nobody else writes: KPAY_TEST_BACKENDS=embedded
starts a server of our own. Statements are counted where pg_stat_statements is loaded.
"""

from pathlib import Path

import msgspec

from benchmarks import servers
from benchmarks.databases import ask, execute, journal_of, one
from benchmarks.parts import Findings, Setting
from benchmarks.subjects import KEPT_CHARGES, prepare
from benchmarks.tables import plural, short, table, whole
from kpay_adapters.sql.engines import sqlite_path

CHARGES, QUICK_CHARGES = 20_000, 2_000

# One client shares no commit with anybody, 64 share most.
CLIENTS = (1, 16, 64)

COUNTERS = {
    "transactions": "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()",
    # Those that wrote, each of which took an id and had its end flushed to the disk.
    "that write": "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint",
    "WAL bytes": "SELECT wal_bytes::bigint FROM pg_stat_wal",
    "WAL records": "SELECT wal_records FROM pg_stat_wal",
    "full pages": "SELECT wal_fpi FROM pg_stat_wal",
}
STATEMENTS = """
SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
WHERE datname = current_database() AND query ~ '^(SELECT|INSERT|UPDATE|WITH|DELETE)'
"""
TABLES = """
SELECT relname || ' ' || pg_table_size(relid) || ' ' || n_tup_ins || ' ' || n_tup_upd || ' ' || n_tup_hot_upd
FROM pg_stat_user_tables ORDER BY pg_total_relation_size(relid) DESC
"""
INDEXES = """
SELECT indexrelname || ' ' || pg_relation_size(indexrelid) FROM pg_stat_user_indexes
WHERE relname = $1 ORDER BY pg_relation_size(indexrelid) DESC
"""


class Effort(msgspec.Struct, kw_only=True):
    """What so many charges by so many clients set in motion, for each charge."""

    clients: int
    charges: int
    each: dict[str, float]


class Space(msgspec.Struct):
    """A table or an index: rows and bytes for each charge."""

    name: str
    bytes: float
    inserted: float | None = None
    updated: float | None = None
    updated_in_place: float | None = None


class Found(msgspec.Struct, kw_only=True):
    efforts: list[Effort] = []
    spaces: list[Space] = []
    # Of the file of the database, and of the sandbox's journal.
    sqlite_bytes: list[float] = []


def go(setting: Setting) -> Findings:
    """Count on each database."""
    found = Found()
    charges = QUICK_CHARGES if setting.quick else CHARGES
    for name, url in setting.places():
        if url is None:
            found.sqlite_bytes = file_sizes(charges)
        else:
            count_postgres(found, url, setting, charges)
        setting.tell(f"counted on {name}")
    return Findings(results=found, tables=show(found))


def count_postgres(found: Found, url: str, setting: Setting, charges: int) -> None:
    """Make charges on a database of PostgreSQL, by ever more clients, and read its counters."""
    # With a broker the server does nothing but answer, so that nothing else is counted.
    more = {"KPAY_BROKER_URL": setting.redis} if setting.redis else {}
    with servers.installed(url, more) as here:
        if "pg_stat_statements" in one(url, "SHOW shared_preload_libraries"):
            execute(here.database_url, "CREATE EXTENSION pg_stat_statements")
        with servers.serving(here) as server:
            subject = prepare(server)
        for clients in CLIENTS:
            many = charges if clients == CLIENTS[-1] else charges // 10
            before = read_counters(here.database_url)
            with servers.serving(here) as server:
                subject = msgspec.structs.replace(subject, server=server)
                subject.charge(clients=clients, count=many)
            # A connection tells what it did when it ends, at the latest.
            after = read_counters(here.database_url)
            each = {name: (after[name] - before[name]) / many for name in after}
            found.efforts.append(Effort(clients=clients, charges=many, each=each))
        found.spaces = spaces_of(here.database_url)


def read_counters(url: str) -> dict[str, float]:
    counters = {name: float(one(url, question)) for name, question in COUNTERS.items()}
    if one(url, "SELECT 1 FROM pg_extension WHERE extname = 'pg_stat_statements'"):
        counters["statements"] = float(one(url, STATEMENTS))
    return counters


def spaces_of(url: str) -> list[Space]:
    """Return what each table and each of its indexes takes for a charge, where charges fill them."""
    execute(url, "ANALYZE")
    charges = one(url, "SELECT count(*) FROM charges")
    found: list[Space] = []
    for line in ask(url, TABLES):
        name, size, inserted, updated, in_place = line.split()
        if int(inserted) < charges:
            continue
        rows = (int(value) / charges for value in (inserted, updated, in_place))
        found.append(Space(name, int(size) / charges, *rows))
        for index in ask(url, INDEXES, name):
            name, size = index.split()
            found.append(Space(f"  {name}", int(size) / charges))
    return found


def file_sizes(charges: int) -> list[float]:
    """Make charges on SQLite, and return what its file and the journal's take for each."""
    with servers.installed(None) as here:
        urls = (here.database_url, journal_of(here.database_url))
        empty = [size_of(url) for url in urls]
        with servers.serving(here) as server:
            prepare(server).charge(clients=CLIENTS[-1], count=charges - KEPT_CHARGES)
        return [(size_of(url) - before) / charges for url, before in zip(urls, empty, strict=True)]


def size_of(url: str) -> int:
    """Return the size of a file, once it has taken over what was written beside it."""
    path = sqlite_path(url)
    assert path is not None, "a database without a server is a file"
    execute(url, "PRAGMA user_version")
    return Path(path).stat().st_size


def show(found: Found) -> list[str]:
    """Set the counts, and the bytes."""
    names = list(found.efforts[0].each) if found.efforts else []
    efforts = [
        [f"{plural(it.clients)}, {it.charges:,} charges", *(short(it.each[name]) for name in names)]
        for it in found.efforts
    ]
    spaces = [
        [
            it.name,
            whole(it.bytes),
            *(short(value) for value in (it.inserted, it.updated, it.updated_in_place)),
        ]
        for it in found.spaces
    ]
    total = sum(it.bytes for it in found.spaces)
    heads = ["table, index", "bytes", "rows inserted", "updated", "of them in place"]
    tables = [table(["for each charge, postgres", *names], efforts)] if efforts else []
    tables += [table(heads, [*spaces, ["all", whole(total), "", "", ""]])] if spaces else []
    if found.sqlite_bytes:
        database, journal = found.sqlite_bytes
        tables.append(
            f"SQLite: {database:,.0f} bytes for each charge, and {journal:,.0f} of the sandbox's journal."
        )
    return tables
