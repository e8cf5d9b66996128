"""What pgbench writes is what a charge writes: no table and no column is left out when the schema moves on."""

import re

from benchmarks.pgbench import BESIDE, SCRIPT, WRITTEN
from kpay_adapters.sql.tables import METADATA
from kpay_core.domain import ledger
from kpay_core.domain.charges import MATURES_AFTER

INSERTS = {
    table: {name.strip() for name in names.split(",")}
    for table, names in re.findall(r"INSERT INTO (\w+) \(([^)]*)\)", SCRIPT)
}


def test_the_script_writes_the_tables_that_it_is_said_to_write():
    assert INSERTS.keys() == WRITTEN
    assert not WRITTEN & BESIDE


def test_the_script_fills_every_column_of_these_tables():
    assert {name: set(METADATA.tables[name].columns.keys()) for name in WRITTEN} == INSERTS


def test_the_outcome_is_written_holding_the_book():
    _, outcome = SCRIPT.split("COMMIT;", maxsplit=1)
    assert "FROM books" in outcome
    assert "FOR SHARE" in outcome
    assert outcome.index("FOR SHARE") < outcome.index("INSERT INTO transfers")


def test_the_script_books_what_a_charge_that_succeeded_books():
    written = re.findall(r"'(\w+)',\s+'01941f29-7c00-7' \|\| .*?, '(\w+)', '(\w+)', \d+, now\(\)", SCRIPT)
    assert written == [(kind, *ledger.POSTINGS[kind]) for kind in (ledger.Kind.CHARGE, ledger.Kind.FEE)]
    assert f"interval '{MATURES_AFTER.days} days'" in SCRIPT
