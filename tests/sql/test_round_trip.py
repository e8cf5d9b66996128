"""Whatever a record holds comes back as it was, from every database."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kpay_adapters.sql.store import SqlStore
from kpay_core.domain.charges import Charge
from kpay_core.domain.places import Address
from kpay_core.query import Condition, Query
from tests.contract.records import a_charge, a_merchant, new_id

# All that a request may carry: NUL and half surrogate pairs are refused at the door.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
TIMES = st.integers(0, 253402300799999).map(
    lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
METADATA = st.dictionaries(TEXTS, TEXTS | FLOATS | st.integers() | st.booleans(), max_size=6)

FIELDS = st.fixed_dictionaries(
    {
        "amount": st.integers(50, 10_000_000),
        "livemode": st.booleans(),
        "told": st.booleans(),
        "description": st.none() | TEXTS,
        "idempotency_key": st.none() | TEXTS,
        "metadata": METADATA,
        "billing_address": st.builds(
            Address,
            line1=TEXTS.map("1 {}".format),
            line2=st.none() | TEXTS,
            city=TEXTS.map("{}ville".format),
            state=TEXTS,
            postal_code=st.just("94105-0001"),
            country=st.just("US"),
        ),
        "created_at": TIMES,
        "look_at": TIMES,
        "looks": st.integers(0, 2**63 - 1),
    }
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(many=st.lists(FIELDS, min_size=1, max_size=12))
def test_a_record_comes_back_equal(database: str, many: list[dict[str, Any]]) -> None:
    async def check() -> None:
        merchant = a_merchant()
        charges = [a_charge(merchant, **fields) for fields in many]
        async with SqlStore(database) as store:
            await store.commit(merchant, *charges)
            assert await asyncio.gather(*(store.get(Charge, charge.id) for charge in charges)) == charges
            where: tuple[Condition, ...] = (("merchant", "=", merchant.id),)
            assert await store.find(Query(kind=Charge, where=where, limit=100)) == charges
            by_time = await store.find(Query(kind=Charge, where=where, order="created_at", limit=100))
            assert by_time == sorted(charges, key=lambda charge: (charge.created_at, charge.id))

    asyncio.run(check())


@pytest.mark.anyio
async def test_ids_may_be_any_text(store: SqlStore) -> None:
    texts = [new_id("ch") + end for end in ("", " ", "'", '"', "\\", "\\u0000", "%", "é", "😀", "\n", "\x7f")]
    merchant = a_merchant()
    charges = [a_charge(merchant, id=text) for text in texts]

    await store.commit(merchant, *charges)

    assert await asyncio.gather(*(store.get(Charge, text) for text in texts)) == charges
