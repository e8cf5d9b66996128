"""Charges made by SQL are charges: they are listed, read, replayed and audited like the one they are copies of."""

import asyncio
import json
from base64 import b64decode
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from benchmarks import copies
from benchmarks.databases import one
from benchmarks.samples import COLD_PREFIX, KEPT_PREFIX, key_number
from kpay_adapters.testing import CHARGE
from kpay_core import Kpay, Scope
from kpay_http import compose
from kpay_http.settings import read_settings
from tests.contract.stores import sqlite_url
from tests.servers import SECRET

COUNT = 45
# Their transfers fill more than one sheet.
MANY = 600


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    return request.getfixturevalue("fresh_postgres")()


def run(url: str, work: Callable[[Kpay], Coroutine[Any, Any, Any]]) -> Any:
    """Do something with the core, opened as a process opens it."""
    settings = read_settings({"KPAY_DATABASE_URL": url})

    async def opened() -> Any:
        async with compose.open_kpay(settings, b64decode(SECRET)) as (kpay, _, _):
            return await work(kpay)

    return asyncio.run(opened())


def begin(url: str) -> tuple[Scope, dict[str, Any]]:
    """Make a merchant with one charge, the model of all others."""
    asyncio.run(compose.migrate_all(read_settings({"KPAY_DATABASE_URL": url})))

    async def work(kpay: Kpay) -> tuple[Scope, dict[str, Any]]:
        scope = Scope((await kpay.ensure_demo_merchant()).merchant.id, livemode=False)
        made = await kpay.create_charge(scope, CHARGE, idempotency_key=key_number(KEPT_PREFIX, 0))
        return scope, json.loads(made.body)

    return run(url, work)


def test_copies_are_listed_before_their_model_and_read_like_it(url: str) -> None:
    scope, model = begin(url)
    copies.charges(url, like=model["id"], count=COUNT)

    async def work(kpay: Kpay) -> None:
        page = await kpay.list_charges(scope, {"limit": "100"})
        newest_first = [model["id"], *(copies.charge_id(number) for number in range(COUNT, 0, -1))]
        assert [charge.id for charge in page.data] == newest_first
        times = [charge.created_at for charge in page.data]
        assert times == sorted(times, reverse=True)
        assert len(set(times)) >= COUNT
        charge, refunds = await kpay.get_charge(scope, copies.charge_id(7))
        assert (charge.amount, charge.status, refunds) == (CHARGE["amount"], "succeeded", ())

    run(url, work)


def test_in_several_batches_everything_is_copied_once(url: str) -> None:
    _, model = begin(url)
    copies.charges(url, like=model["id"], count=COUNT, batch=10)
    held = {
        table: one(url, f"SELECT count(*) FROM {table}")
        for table in ("charges", "transfers", "events", "idempotency_keys")
    }
    made = COUNT + 1
    assert held == {"charges": made, "transfers": 2 * made, "events": made, "idempotency_keys": made}


def test_an_audit_finds_nothing_wrong_with_copies(url: str) -> None:
    _, model = begin(url)
    copies.charges(url, like=model["id"], count=MANY)
    settings = read_settings({"KPAY_DATABASE_URL": url})

    async def work(kpay: Kpay) -> None:
        report = await kpay.audit(witnesses=compose.witnesses_of(settings, kpay))
        assert report.disagreements == []
        assert report.checked["Charge"] == MANY + 1

    run(url, work)


def test_a_copied_key_is_answered_with_the_answer_of_its_model(url: str) -> None:
    scope, model = begin(url)
    copies.keys(url, like=key_number(KEPT_PREFIX, 0), prefix=COLD_PREFIX, count=COUNT)

    async def work(kpay: Kpay) -> None:
        for number in (1, COUNT):
            answer = await kpay.create_charge(scope, CHARGE, idempotency_key=key_number(COLD_PREFIX, number))
            assert answer.replayed
            assert json.loads(answer.body) == model
        beyond = await kpay.create_charge(scope, CHARGE, idempotency_key=key_number(COLD_PREFIX, COUNT + 1))
        assert not beyond.replayed

    run(url, work)
