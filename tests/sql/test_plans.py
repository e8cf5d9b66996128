"""The questions of the flows go by an index, in its order: none reads what it does not return."""

import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from kpay_adapters.sql import statements
from kpay_adapters.sql.migrate import migrate
from kpay_adapters.sql.tables import RECORDS
from kpay_core.domain.charges import Charge
from kpay_core.domain.deliveries import Attempt, Delivery
from kpay_core.domain.endpoints import Endpoint
from kpay_core.domain.events import Event
from kpay_core.domain.lanes import Lane
from kpay_core.domain.refunds import Refund
from kpay_core.query import Condition, Query
from tests.contract.records import NOW

pytestmark = pytest.mark.anyio

OWN: tuple[Condition, ...] = (("merchant", "=", "mer_1"), ("livemode", "=", False))


def newest(kind: Any, *where: Condition) -> Query[Any]:
    return Query(kind=kind, where=(*OWN, *where), descending=True, limit=21)


def first(kind: Any, order: str, *where: Condition) -> Query[Any]:
    return Query(kind=kind, where=where, order=order, limit=200)


def until(field: str, when: datetime = NOW) -> Condition:
    return field, "<=", when


AT: Condition = ("endpoint", "=", "we_1")

QUESTIONS: dict[str, Query[Any]] = {
    "charges, newest first": newest(Charge),
    "charges after a cursor": newest(Charge, ("id", "<", "9")),
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
}


@pytest.mark.parametrize("name", QUESTIONS)
async def test_a_question_is_answered_by_an_index_in_its_order(name: str, tmp_path: Path) -> None:
    file = tmp_path / "kpay.db"
    await migrate(f"sqlite:///{file}")
    query = QUESTIONS[name]
    question = statements.matching(statements.SQLITE, RECORDS[query.kind], query)

    with sqlite3.connect(file) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {question.sql}", list(question.values)).fetchall()

    table = RECORDS[query.kind].name
    steps = [step for *_, step in plan]
    assert any(step.startswith(f"SEARCH {table} USING INDEX") for step in steps), steps
    assert not any("TEMP B-TREE" in step for step in steps), steps
