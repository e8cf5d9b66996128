"""Many requests at once against real servers: one on SQLite, two on one PostgreSQL."""

from collections import Counter
from collections.abc import Callable

import pytest

from kpay_adapters.testing import CHARGE
from tests.servers import Site

CROWD = 100


@pytest.fixture
def new_entries(site: Site) -> Callable[[], list[tuple[str, str, int]]]:
    """What the journal has that it had not when the test began."""
    before = set(site.entries())
    return lambda: [entry for entry in site.entries() if entry not in before]


def test_a_crowd_with_one_idempotency_key_makes_one_charge(
    site: Site, new_entries: Callable[[], list[tuple[str, str, int]]]
) -> None:
    before = site.one("GET", "/v1/charges?limit=100")["data"]
    headers = {"Idempotency-Key": "order-1024"}
    answers = site.crowd("POST", "/v1/charges", CROWD, json=CHARGE, headers=headers)
    assert Counter(answer.status_code for answer in answers) == {201: CROWD}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == CROWD - 1
    made = answers[0].json()["id"]
    assert new_entries() == [(made, "captured", CHARGE["amount"])]
    listed = site.one("GET", "/v1/charges?limit=100")["data"]
    assert [each["id"] for each in listed if each not in before] == [made]


def test_a_crowd_with_one_idempotency_key_makes_one_refund(
    site: Site, new_entries: Callable[[], list[tuple[str, str, int]]]
) -> None:
    paid = site.one("POST", "/v1/charges", json=CHARGE)["id"]
    headers = {"Idempotency-Key": "refund-1024"}
    body = {"charge": paid, "amount": 1000}
    answers = site.crowd("POST", "/v1/refunds", CROWD, json=body, headers=headers)
    assert Counter(answer.status_code for answer in answers) == {201: CROWD}
    assert len({answer.content for answer in answers}) == 1
    refunds = [entry for entry in new_entries() if entry[0].startswith("re_")]
    assert refunds == [(answers[0].json()["id"], "refunded", 1000)]
    assert site.one("GET", f"/v1/charges/{paid}")["amount_refunded"] == 1000


def test_50_refunds_of_60_on_a_charge_of_100_are_one_refund_and_49_refusals(
    site: Site, new_entries: Callable[[], list[tuple[str, str, int]]]
) -> None:
    paid = site.one("POST", "/v1/charges", json={**CHARGE, "amount": 10_000})["id"]
    answers = site.crowd("POST", "/v1/refunds", 50, json={"charge": paid, "amount": 6000})
    assert Counter(answer.status_code for answer in answers) == {201: 1, 400: 49}
    for answer in answers:
        if answer.status_code == 400:
            assert answer.json()["error"]["details"]["fieldErrors"] == {"amount": ["max 4000"]}
    charge = site.one("GET", f"/v1/charges/{paid}")
    assert (charge["amount_refunded"], len(charge["refunds"])) == (6000, 1)
    refunds = [entry for entry in new_entries() if entry[0].startswith("re_")]
    assert refunds == [(charge["refunds"][0]["id"], "refunded", 6000)]


def test_100_refunds_of_a_dollar_on_a_charge_of_100_dollars_all_go_through(
    site: Site, new_entries: Callable[[], list[tuple[str, str, int]]]
) -> None:
    paid = site.one("POST", "/v1/charges", json={**CHARGE, "amount": 10_000})["id"]
    answers = site.crowd("POST", "/v1/refunds", 100, json={"charge": paid, "amount": 100})
    assert Counter(answer.status_code for answer in answers) == {201: 100}
    charge = site.one("GET", f"/v1/charges/{paid}")
    assert (charge["amount_refunded"], charge["refunded"], len(charge["refunds"])) == (10_000, True, 100)
    refunds = [entry for entry in new_entries() if entry[0].startswith("re_")]
    assert sorted(refunds) == sorted((each["id"], "refunded", 100) for each in charge["refunds"])
