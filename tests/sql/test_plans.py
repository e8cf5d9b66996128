"""The questions of the flows go by an index, in its order: none reads what it does not return."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from kpay_adapters.sql import statements
from kpay_adapters.sql.engines import open_postgres
from kpay_adapters.sql.migrate import migrate, transaction
from kpay_adapters.sql.store import SqlStore
from kpay_adapters.sql.tables import RECORDS
from kpay_adapters.testing.records import (
    NOW,
    a_book,
    a_charge,
    a_delivery,
    a_dispute,
    a_key,
    a_merchant,
    a_notice,
    a_payout,
    a_refund,
    a_settlement,
    a_sheet,
    a_transfer,
    an_attempt,
    an_endpoint,
    an_event,
    succeeded,
)
from kpay_core.commit import Record, bump
from kpay_core.domain import disputes
from kpay_core.domain.charges import Charge, ChargeListParams, Status
from kpay_core.domain.deliveries import Attempt, Delivery
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.endpoints import Endpoint
from kpay_core.domain.events import Event
from kpay_core.domain.idempotency import IdempotencyKey
from kpay_core.domain.lanes import Lane
from kpay_core.domain.ledger import LINES, Kind, Sheet, Transfer
from kpay_core.domain.notices import Notice
from kpay_core.domain.pages import PageParams, questions
from kpay_core.domain.payouts import Payout, Settlement
from kpay_core.domain.refunds import Refund, RefundListParams
from kpay_core.query import Condition, Query
from tests import backends
from tests.contract.stores import sqlite_url

# Filling the tables takes half a minute.
pytestmark = [pytest.mark.anyio, pytest.mark.heavy]

OWN: tuple[Condition, ...] = (("merchant", "=", "mer_1"), ("livemode", "=", False))


def newest(kind: Any, *where: Condition) -> Query[Any]:
    return Query(kind=kind, where=(*OWN, *where), descending=True, limit=21)


def first(kind: Any, order: str, *where: Condition) -> Query[Any]:
    return Query(kind=kind, where=where, order=order, limit=200)


def until(field: str, when: datetime = NOW) -> Condition:
    return field, "<=", when


def after(kind: Any, id: str, *where: Condition) -> Query[Any]:
    """Ask for a page of an audit."""
    return Query(kind=kind, where=(*where, ("id", ">", id)), limit=200)


def by_id(kind: Any, *ids: str) -> Query[Any]:
    return first(kind, "id", ("id", "in", ids))


def of_list(
    name: str, kind: Any, params: PageParams, *, cursor: str, at: datetime = NOW
) -> dict[str, Query[Any]]:
    """Ask for the first page of a list with parameters, and for those after and before a cursor, as its flow does."""
    cursor_at = None if params.order == "id" else at
    pages = {
        name: params,
        f"{name}, after a cursor": msgspec.structs.replace(params, starting_after=cursor),
        f"{name}, before a cursor": msgspec.structs.replace(params, ending_before=cursor),
    }
    return {
        f"{page}, {number}": question
        for page, asked in pages.items()
        for number, question in enumerate(
            questions(kind, OWN, asked, cursor_at=cursor_at if asked.cursor else None)
        )
    }


def first_of_each(pages: dict[str, Query[Any]]) -> dict[str, Query[Any]]:
    """Leave out what is asked beside each page's first question: nobody in the crowd answers it."""
    return {name: question for name, question in pages.items() if name.endswith(", 0")}


# What is asked of the crowd for a few among many: a moment before everybody else, a status, a charge.
BEFORE = NOW - timedelta(days=1)
OF_A_STATUS = of_list("charges of a status", Charge, ChargeListParams(status="failed"), cursor="fail_100030")
WITHOUT_OUTCOME = of_list(
    "charges without an outcome", Charge, ChargeListParams(status="processing"), cursor="open_100030"
)
OF_A_TIME = of_list(
    "charges of a time", Charge, ChargeListParams(created_at_lt=NOW), cursor="old_100030", at=BEFORE
)
OF_STATUS_AND_TIME = of_list(
    "charges of a status and time",
    Charge,
    ChargeListParams(status="succeeded", created_at_lt=NOW),
    cursor="old_100030",
    at=BEFORE,
)
OF_A_CHARGE = of_list("refunds of a charge", Refund, RefundListParams(charge="ch_1"), cursor="few_100030")
FILTERED = (OF_A_STATUS, WITHOUT_OUTCOME, OF_A_TIME, OF_STATUS_AND_TIME, OF_A_CHARGE)

AT: Condition = ("endpoint", "=", "we_1")

QUESTIONS: dict[str, Query[Any]] = {
    "charges, newest first": newest(Charge),
    "charges after a cursor": newest(Charge, ("id", "<", "9")),
    **{name: question for pages in FILTERED for name, question in pages.items()},
    "refunds of a merchant": newest(Refund),
    "events, newest first": newest(Event),
    "events of a type after a cursor": newest(Event, ("type", "=", "charge.failed"), ("id", "<", "evt_9")),
    "deliveries of an endpoint": newest(Delivery, AT, ("id", "<", "dlv_9")),
    "endpoints that are not deleted": newest(Endpoint, ("status", "in", ("enabled", "disabled"))),
    "attempts by their ids": first(Attempt, "id", ("id", "in", ("a", "b"))),
    "charges to look at": first(Charge, "look_at", until("look_at")),
    "refunds to look at": first(Refund, "look_at", until("look_at")),
    "lanes that are due": first(Lane, "due_at", until("due_at")),
    "endpoints with fresh deliveries": first(
        Delivery, "endpoint", until("fresh_at"), ("endpoint", ">", "we_1")
    ),
    "what is due at an endpoint": first(Delivery, "next_attempt_at", AT, until("next_attempt_at")),
    "what expires at an endpoint": first(
        Delivery, "expires_at", AT, until("next_attempt_at"), until("expires_at")
    ),
    "lanes after one": after(Lane, "we_1"),
    "refunds by their ids": by_id(Refund, "re_1", "re_2"),
    "endpoints by their ids": by_id(Endpoint, "we_1", "we_2"),
    "lanes by their ids": by_id(Lane, "we_1", "we_2"),
    "refunds of a book after one": after(Refund, "re_1", *OWN),
}

CROWDED: dict[str, Query[Any]] = {
    **{name: question for pages in FILTERED for name, question in first_of_each(pages).items()},
    "transfers since the last sheet": Query(
        kind=Transfer, where=(*OWN, ("sheet", ">", 45)), order="sheet", limit=500
    ),
    "transfers of a sheet after another": Query(
        kind=Transfer, where=(*OWN, ("sheet", "=", 20), ("id", ">", "txn_119200")), limit=500
    ),
    "lines of a sheet after another": Query(
        kind=Transfer,
        where=(*OWN, ("sheet", "=", 20), ("id", ">", "txn_119200"), ("kind", "in", tuple(LINES))),
        limit=200,
    ),
    "lines of sheets between": Query(
        kind=Transfer,
        where=(*OWN, ("sheet", ">", 20), ("sheet", "<", 40), ("kind", "in", tuple(LINES))),
        order="sheet",
        limit=200,
    ),
    "the first line after a sheet": Query(
        kind=Transfer,
        where=(*OWN, ("sheet", ">", 20), ("kind", "in", tuple(LINES))),
        order="sheet",
        limit=1,
    ),
    "transfers of an object": Query(
        kind=Transfer,
        where=(("source", "=", "ch_119200"), ("kind", "=", Kind.CHARGE_MATURED)),
        limit=1,
    ),
    "transfers of all objects after one": first(Transfer, "source", ("source", ">", "ch_119200")),
    "the last sheet": Query(kind=Sheet, where=OWN, order="number", descending=True, limit=1),
    "charges to mature": first(Charge, "matures_at", until("matures_at")),
    "the charge that matures next": Query(
        kind=Charge, where=(("matures_at", ">", NOW),), order="matures_at", limit=1
    ),
    "settlements that are due": first(Settlement, "due_at", until("due_at")),
    "the settlement that is due next": Query(
        kind=Settlement, where=(("due_at", ">", NOW),), order="due_at", limit=1
    ),
    "payouts, newest first": newest(Payout),
    "payouts after a cursor": newest(Payout, ("id", "<", "po_130000")),
    "payouts in the order of the book": Query(
        kind=Payout, where=(*OWN, ("after", ">", "a_119200")), order="after", limit=200
    ),
    "payouts to look at": first(Payout, "look_at", until("look_at")),
    "disputes, newest first": newest(Dispute),
    "a dispute by the network's name": Query(
        kind=Dispute, where=(("livemode", "=", False), ("case", "=", "case_130000")), limit=1
    ),
    "all refunds of a charge, newest first": Query(
        kind=Refund, where=(("charge", "=", "ch_1"),), descending=True, limit=21
    ),
    "all refunds of a charge after one": first(
        Refund, "id", ("charge", "=", "ch_1"), ("id", ">", "few_100030")
    ),
    "refunds by their charges": first(Refund, "charge", ("charge", ">", "ch_0")),
    "disputes of a charge": first(Dispute, "id", ("charge", "=", "ch_1"), ("id", ">", "dp_119200")),
    "disputes by their charges": first(Dispute, "charge", ("charge", ">", "ch_0")),
    "disputes to look at": first(Dispute, "look_at", until("look_at")),
    "notices of an object": first(
        Notice,
        "id",
        ("reference", "=", "ch_119200"),
        ("livemode", "=", False),
        ("status", "in", ("waiting", "stray")),
    ),
    "notices to look at": first(Notice, "look_at", until("look_at")),
    "keys after one": after(IdempotencyKey, "key_130000"),
    "events after one": after(Event, "evt_130000"),
    "deliveries after one": after(Delivery, "dlv_130000"),
    "keys by their names": by_id(IdempotencyKey, "key_130000", "key_110000", "none"),
    "charges by their ids": by_id(Charge, "ch_130000", "ch_110000", "none"),
    "disputes by their ids": by_id(Dispute, "dp_130000", "dp_110000", "none"),
    "payouts by their ids": by_id(Payout, "po_130000", "po_110000", "none"),
    "events by their ids": by_id(Event, "evt_130000", "evt_110000", "none"),
    "attempts by their names": by_id(Attempt, "dlv_1/130000", "dlv_1/110000", "none"),
    "charges of a book after one": after(Charge, "ch_130000", *OWN),
    "disputes of a book after one": after(Dispute, "dp_130000", *OWN),
    "payouts of a book after one": after(Payout, "po_130000", *OWN),
    "events of a book after one": after(Event, "evt_130000", *OWN),
    "the newest events of a book": newest(Event),
    "transfers of some objects, by object": first(
        Transfer,
        "source",
        ("source", "in", ("ch_119200", "ch_119201", "none")),
        ("kind", "in", (Kind.CHARGE, Kind.CHARGE_MATURED)),
    ),
}


@pytest.mark.parametrize("name", QUESTIONS | CROWDED)
async def test_a_question_is_answered_by_an_index_in_its_order(name: str, tmp_path: Path) -> None:
    file = tmp_path / "kpay.db"
    await migrate(f"sqlite:///{file}")
    query = (QUESTIONS | CROWDED)[name]
    question = statements.matching(statements.SQLITE, RECORDS[query.kind], query)

    with sqlite3.connect(file) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {question.sql}", list(question.values)).fetchall()

    table = RECORDS[query.kind].name
    steps = [step for *_, step in plan]
    assert any(step.startswith(f"SEARCH {table} USING INDEX") for step in steps), steps
    # What may be sorted is the few that are equal but for their ids (LAST TERM OF ORDER BY).
    assert "USE TEMP B-TREE FOR ORDER BY" not in steps, steps


# Rows of each kind in a crowded database, merchants in it, and rows that are due.
CROWD = 50_000
MERCHANTS = 10_000
SOME = 1_000
FEW = 60

FAR = NOW + timedelta(days=300)


def failed(charge: Charge) -> Charge:
    return bump(charge, status=Status.FAILED, failure_code="declined", failure_message="No.", look_at=None)


def crowd() -> Sequence[tuple[Record, int, dict[str, str]]]:
    """
    Return what a crowded database holds: records, how often each, and what differs, where n counts.

    Few are due. In the book, every second transfer is a line.
    """
    of_n = "'{}_' || CAST(100000 + n AS TEXT)".format
    merchant = a_merchant(id="mer_1")
    of_many = a_merchant(id="mer_2")
    book = a_book(merchant)
    each = a_book(of_many)
    charge = succeeded(a_charge(merchant, version=0, id="ch_1"), matures_at=FAR)
    later = {"id": of_n("ch")}
    many = {"merchant": of_n("mer"), "id": f"{of_n('mer')} || '/test'"}
    in_book = {"id": of_n("txn"), "source": of_n("ch"), "sheet": "1 + n / 1000"}
    sheet = {"id": of_n("sheet"), "number": "n + 2"}
    paid = {"id": of_n("po"), "after": of_n("a"), "upto": of_n("b")}
    disputed = {"id": of_n("dp"), "case": of_n("case")}
    event, endpoint = an_event(merchant), an_endpoint(merchant)
    delivery = a_delivery(event, endpoint)
    return [
        (merchant, 0, {}),
        (of_many, MERCHANTS, {"id": of_n("mer")}),
        (book, 0, {}),
        (each, MERCHANTS, many),
        (a_settlement(each, due_at=FAR), MERCHANTS, many),
        (a_settlement(book, due_at=NOW), 0, {}),
        (charge, CROWD, later),
        (succeeded(a_charge(merchant, version=0), matures_at=NOW), SOME, {"id": of_n("due")}),
        (
            succeeded(a_charge(merchant, version=0, created_at=BEFORE), matures_at=FAR),
            FEW,
            {"id": of_n("old")},
        ),
        (failed(a_charge(merchant, version=0)), FEW, {"id": of_n("fail")}),
        (a_charge(merchant, look_at=FAR), FEW, {"id": of_n("open")}),
        (a_refund(charge), CROWD, {"id": of_n("re"), "charge": of_n("ch")}),
        (a_refund(charge), FEW, {"id": of_n("few")}),
        (a_transfer(book, Kind.CHARGE_MATURED, id="txn_"), CROWD, in_book),
        (a_transfer(book, Kind.CHARGE, id="txn__"), CROWD, in_book | {"id": f"{of_n('txn')} || '+'"}),
        (a_sheet(book), CROWD, sheet),
        (a_payout(book, look_at=FAR), CROWD, paid),
        (a_payout(book, after="1", upto="2"), SOME, paid | {"id": of_n("poo"), "after": of_n("aa")}),
        (a_dispute(charge), CROWD, disputed),
        (
            a_dispute(charge, status=disputes.Status.SUBMITTING, submitted_at=NOW, look_at=NOW),
            SOME,
            {"id": of_n("due"), "case": of_n("due")},
        ),
        (a_key(charge, id="key_"), CROWD, {"id": of_n("key"), "subject": of_n("ch")}),
        (event, CROWD, {"id": of_n("evt")}),
        (endpoint, 0, {}),
        (delivery, CROWD, {"id": of_n("dlv"), "event": of_n("evt")}),
        (an_attempt(delivery), CROWD, {"id": of_n("dlv_1/").replace("/_", "/")}),
        (a_notice(look_at=FAR), CROWD, {"id": of_n("far"), "reference": of_n("ch")}),
        (a_notice(), SOME, {"id": of_n("due")}),
    ]


async def fill(url: str) -> None:
    await migrate(url)
    held = crowd()
    async with SqlStore(url) as store:
        await store.commit(*(record for record, _, _ in held))
    async with transaction(url) as connection:
        for record, times, changes in held:
            if times:
                await multiply(connection, RECORDS[type(record)], record.id, times, changes)
    if not url.startswith("sqlite"):
        async with transaction(url) as connection:
            await connection.execute(text("ANALYZE"))


async def multiply(
    connection: AsyncConnection, table: Table, id: str, times: int, changes: dict[str, str]
) -> None:
    columns = [column.name for column in table.columns]
    names = ", ".join(f'"{name}"' for name in columns)
    values = ", ".join(changes.get(name, f't."{name}"') for name in columns)
    await connection.execute(
        text(
            "WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :times)"
            f" INSERT INTO {table.name} ({names}) SELECT {values} FROM {table.name} t, numbers WHERE t.id = :id"
        ),
        {"times": times, "id": id},
    )


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def crowded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a database with 50,000 rows and more of each kind that grows with every charge."""
    if request.param == "sqlite":
        url = sqlite_url(tmp_path_factory.mktemp("crowded"))
        in_thread(fill(url))
        yield url
        return
    server = request.getfixturevalue("postgres_server")
    url = backends.create_database(server)
    in_thread(fill(url))
    yield url
    backends.drop_database(server, url)


def in_thread(coroutine: Any) -> Any:
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


# Instructions of SQLite's machine for each row, a few for each of its columns; what comes before counts as ten rows.
STEPS_PER_ROW = 200


@pytest.mark.parametrize("name", CROWDED)
async def test_a_question_in_a_crowd_reads_what_it_returns(name: str, crowded: str) -> None:
    query = CROWDED[name]
    async with SqlStore(crowded) as store:
        found = len(await store.find(query))
    assert found, "somebody in the crowd answers"
    # Every second transfer is a line.
    most = found * 2 if "kind" in {field for field, _, _ in query.where} else found

    if crowded.startswith("sqlite"):
        assert steps_of_sqlite(crowded, query) < (most + 10) * STEPS_PER_ROW
    else:
        assert await rows_read_by_postgres(crowded, query) <= most + 1


def steps_of_sqlite(url: str, query: Query[Any]) -> int:
    question = statements.matching(statements.SQLITE, RECORDS[query.kind], query)
    steps = count()
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.set_progress_handler(lambda: next(steps) < 0, 1)
        connection.execute(question.sql, list(question.values)).fetchall()
    return next(steps)


async def rows_read_by_postgres(url: str, query: Query[Any]) -> int:
    """Return how many rows are read by the worse of both plans: for these values, and for any."""
    question = statements.matching(statements.POSTGRES, RECORDS[query.kind], query)
    connection = cast(Any, await open_postgres(url))
    try:
        read: list[int] = []
        for mode in ("force_custom_plan", "force_generic_plan"):
            await connection.execute(f"SET plan_cache_mode = {mode}")
            explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {question.sql}"
            (plan,) = json.loads(await connection.fetchval(explain, *question.values))
            read.append(rows_read(plan["Plan"]))
    finally:
        await connection.close(timeout=1)
    return max(read)


def rows_read(node: dict[str, Any]) -> int:
    assert node["Node Type"] != "Seq Scan"
    if "Plans" in node:
        return sum(map(rows_read, node["Plans"]))
    return node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
