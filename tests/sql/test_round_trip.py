"""Whatever a record holds comes back as it was, from every database."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kpay_adapters.sql.store import SqlStore
from kpay_adapters.testing.records import (
    a_book,
    a_charge,
    a_delivery,
    a_dispute,
    a_lane,
    a_merchant,
    a_notice,
    a_payout,
    a_settlement,
    a_sheet,
    a_transfer,
    an_attempt,
    an_endpoint,
    an_event,
    new_id,
    some_subscriptions,
)
from kpay_core.domain import charges, disputes, notices, payouts
from kpay_core.domain.charges import Charge
from kpay_core.domain.disputes import Evidence
from kpay_core.domain.endpoints import Retired, Subscription
from kpay_core.domain.events import EVENT_TYPES
from kpay_core.domain.lanes import Claim
from kpay_core.domain.ledger import Account, Kind
from kpay_core.domain.news import NewsKind
from kpay_core.domain.postal import Address
from kpay_core.domain.posts import Failure
from kpay_core.query import Condition, Query

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


WEBHOOKS = st.fixed_dictionaries(
    {
        "event": st.fixed_dictionaries(
            {"type": st.sampled_from(EVENT_TYPES), "body": TEXTS, "created_at": TIMES}
        ),
        "endpoint": st.fixed_dictionaries(
            {
                "url": TEXTS,
                "enabled_events": st.lists(st.sampled_from(["*", *EVENT_TYPES]), max_size=4).map(tuple),
                "description": st.none() | TEXTS,
                "secret": TEXTS.map("1{}".format),
            }
        ),
        "retired": st.lists(st.builds(Retired, secret=TEXTS, until=TIMES), max_size=3).map(tuple),
        "entries": st.lists(
            st.builds(
                Subscription, endpoint=TEXTS, events=st.none() | st.lists(TEXTS, max_size=3).map(tuple)
            ),
            max_size=4,
        ).map(tuple),
        "lane": st.fixed_dictionaries(
            {
                "holder": st.none() | TEXTS,
                "due_at": TIMES,
                "sending": st.lists(
                    st.builds(Claim, delivery=TEXTS, since=TIMES, lost=st.integers(0, 9)), max_size=8
                ).map(tuple),
            }
        ),
        "delivery": st.fixed_dictionaries(
            {
                "livemode": st.booleans(),
                "next_attempt_at": TIMES,
                "expires_at": TIMES,
                "fresh_at": st.none() | TIMES,
                "created_at": TIMES,
            }
        ),
        "attempt": st.fixed_dictionaries(
            {
                "number": st.integers(1, 9),
                "started_at": TIMES,
                "milliseconds": st.integers(0, 2**40),
                "status": st.none() | st.integers(0, 999),
                "failure": st.none() | st.sampled_from(Failure),
                "answer": TEXTS,
            }
        ),
    }
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(many=st.lists(WEBHOOKS, min_size=1, max_size=6))
def test_whatever_is_kept_of_webhooks_comes_back_equal(database: str, many: list[dict[str, Any]]) -> None:
    async def check() -> None:
        records: list[Any] = []
        for fields in many:
            merchant = a_merchant()
            event = an_event(merchant, **fields["event"])
            endpoint = an_endpoint(merchant, **fields["endpoint"], retired=fields["retired"])
            known = some_subscriptions(endpoint, entries=fields["entries"])
            delivery = a_delivery(event, endpoint, **fields["delivery"])
            attempt = an_attempt(delivery, **fields["attempt"])
            lane = a_lane(endpoint, **fields["lane"])
            records += [merchant, event, endpoint, known, lane, delivery, attempt]
        async with SqlStore(database) as store:
            await store.commit(*records)
            assert await asyncio.gather(*(store.get(type(each), each.id) for each in records)) == records

    asyncio.run(check())


CENTS = st.integers(1, 2**63 - 1)

MONEY = st.fixed_dictionaries(
    {
        "charge": st.fixed_dictionaries(
            {
                "fee": st.integers(0, 4999),
                "matures_at": st.none() | TIMES,
                "amount_disputed": st.integers(0, 2**63 - 1),
                "disputes": st.integers(1, 2**63 - 1),
            }
        ),
        "book": st.fixed_dictionaries(
            {
                "livemode": st.booleans(),
                "sheet": CENTS,
                "fee_basis_points": st.integers(0, 10_000),
                "fee_cents": st.integers(0, 10_000_000),
            }
        ),
        "transfer": st.fixed_dictionaries(
            {"kind": st.sampled_from(Kind), "amount": CENTS, "created_at": TIMES}
        ),
        "sheet": st.fixed_dictionaries(
            {
                "totals": st.dictionaries(st.sampled_from(Account), st.integers(-(2**63), 2**63 - 1)),
                "transfers": st.integers(0, 2**63 - 1),
            }
        ),
        "settlement": st.fixed_dictionaries(
            {"place": TEXTS, "carried": st.integers(-(2**63), 0), "due_at": TIMES}
        ),
        "payout": st.fixed_dictionaries(
            {
                "amount": CENTS,
                "status": st.just(payouts.Status.FAILED),
                "account": TEXTS,
                "lines": st.integers(1, 9_999),
                "carried": st.integers(-(2**63), 0),
                "failure_code": TEXTS,
                "failure_message": TEXTS,
                "arrives_at": TIMES,
                "created_at": TIMES,
                "look_at": st.none(),
            }
        ),
        "dispute": st.fixed_dictionaries(
            {
                "amount": CENTS,
                "fee": st.integers(0, 2**63 - 1),
                "status": st.just(disputes.Status.SUBMITTING),
                "evidence": st.builds(Evidence, uncategorized_text=st.none() | TEXTS),
                "evidence_due_by": TIMES,
                "submitted_at": TIMES,
                "look_at": TIMES,
            }
        ),
        "notice": st.fixed_dictionaries(
            {
                "livemode": st.booleans(),
                "kind": st.sampled_from(NewsKind),
                "reference": TEXTS,
                "dispute": st.none() | TEXTS,
                "amount": st.integers(-(2**63), 2**63 - 1),
                "code": st.none() | TEXTS,
                "evidence_due_by": st.none() | TIMES,
                "status": st.sampled_from([notices.Status.WAITING, notices.Status.STRAY]),
                "reason": st.none() | TEXTS,
                "told": CENTS,
                "look_at": TIMES,
            }
        ),
    }
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(many=st.lists(MONEY, min_size=1, max_size=6))
def test_whatever_is_kept_of_money_comes_back_equal(database: str, many: list[dict[str, Any]]) -> None:
    async def check() -> None:
        records: list[Any] = []
        for fields in many:
            merchant = a_merchant()
            charge = a_charge(merchant, status=charges.Status.SUCCEEDED, look_at=None, **fields["charge"])
            book = a_book(merchant, **fields["book"])
            records += [merchant, charge, book]
            records += [a_transfer(book, **fields["transfer"]), a_sheet(book, **fields["sheet"])]
            records += [a_settlement(book, **fields["settlement"]), a_payout(book, **fields["payout"])]
            records += [a_dispute(charge, **fields["dispute"]), a_notice(**fields["notice"])]
        async with SqlStore(database) as store:
            await store.commit(*records)
            assert await asyncio.gather(*(store.get(type(each), each.id) for each in records)) == records

    asyncio.run(check())


@pytest.mark.anyio
async def test_ids_may_be_any_text(store: SqlStore) -> None:
    texts = [new_id("ch") + end for end in ("", " ", "'", '"', "\\", "\\u0000", "%", "é", "😀", "\n", "\x7f")]
    merchant = a_merchant()
    charges = [a_charge(merchant, id=text) for text in texts]

    await store.commit(merchant, *charges)

    assert await asyncio.gather(*(store.get(Charge, text) for text in texts)) == charges
