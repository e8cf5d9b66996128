"""The tables of the journal: the questions of the sandbox go by an index, and an older journal is kept."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import MetaData

from kpay_adapters.sandbox import RECORDS, Announcement, Entry, Payment
from kpay_adapters.sql import statements
from kpay_adapters.sql.derive import table_for
from kpay_adapters.sql.migrate import create_all
from kpay_adapters.sql.store import SqlStore
from kpay_adapters.testing import START
from kpay_core.query import Query
from tests.journals import JOURNAL, JOURNAL_METADATA
from tests.sandbox.world import FRAUDULENT, OPENS_AT, Sandbox

pytestmark = pytest.mark.anyio

QUESTIONS = {
    "announcements that are due": Query(
        kind=Announcement, where=(("due_at", "<=", START),), order="due_at", limit=100
    ),
    "the next announcement": Query(
        kind=Announcement, where=(("due_at", ">", START),), order="due_at", limit=1
    ),
    "testimony of the network": Query(kind=Entry, where=(("id", ">", "a"),), limit=100),
    "testimony of the bank": Query(kind=Payment, where=(("id", ">", "a"),), limit=100),
}


@pytest.mark.parametrize("name", QUESTIONS)
async def test_a_question_goes_by_an_index(tmp_path: Path, name: str) -> None:
    query = QUESTIONS[name]
    await create_all(f"sqlite:///{tmp_path / 'journal.db'}", JOURNAL_METADATA)
    question = statements.matching(statements.SQLITE, JOURNAL[query.kind], query)
    with sqlite3.connect(tmp_path / "journal.db") as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {question.sql}", list(question.values)).fetchall()
    connection.close()
    (step,) = [row[3] for row in plan]
    assert step.startswith("SEARCH")
    assert "INDEX" in step


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'journal.db'}"
    return request.getfixturevalue("fresh_postgres")()


async def test_a_journal_from_before_disputes_and_payouts_is_kept(url: str) -> None:
    before = MetaData()
    table = table_for(Entry, RECORDS[Entry], before)
    await create_all(url, before)
    async with SqlStore(url, {Entry: table}) as store:
        await Sandbox(store).charge()
    await create_all(url, JOURNAL_METADATA)
    async with SqlStore(url, JOURNAL) as store:
        world, sound = Sandbox(store), Sandbox()
        await sound.charge()
        for each in (world, sound):
            await each.charge(FRAUDULENT, "new")
            await each.refund(1000, charge="new")
            await each.send()
            await each.at(OPENS_AT).news()
            assert await each.answer("winning_evidence", "case_new")
        assert await world.moved() == await sound.moved()
        assert await world.dump() == await sound.dump()
        assert await world.collect() == await sound.collect()
        assert await world.mail() == await sound.mail()
