"""Payouts and the balance over HTTP: the public document, and section 7 of the contract."""

import re
from typing import Any

import pytest

from kpay_core.domain.ledger import Entry, Kind
from kpay_core.domain.payouts import MAX_LINES
from kpay_core.domain.scope import Scope
from kpay_core.flows.booking import book_of, make_transfers
from tests.http import curl
from tests.http.world import (
    AT_ONCE,
    CLOSED_ACCOUNT,
    FRAUDULENT,
    REFUND_FAILING,
    REFUND_PENDING,
    Client,
    Merchant,
    World,
    error_of,
    field_errors,
)

EXAMPLE_LIST = """\
curl "https://api.k-payments.com/v1/payouts?limit=20" \\
  -H "Authorization: Bearer sk_test_..."
"""

EXAMPLE_GET = """\
curl https://api.k-payments.com/v1/payouts/po_... \\
  -H "Authorization: Bearer sk_test_..."
"""

# The fee of 4999 cents: 2.9 % are 144.97, and 30.
FEE = 175


def paid_out(client: Client) -> dict[str, Any]:
    """Return the newest payout with its lines."""
    return client.get(f"/v1/payouts/{client.data('/v1/payouts')[0]['id']}").json()


def lines(payout: dict[str, Any]) -> list[tuple[str, int, str]]:
    return [(line["type"], line["amount"], line["source"]) for line in payout["line_items"]]


def test_the_examples_of_the_public_document_work_as_printed(
    client: Client, acme: Merchant, world: World
) -> None:
    paid = client.charged()
    world.live_through(days=2)
    world.live_through(days=1)
    listed = curl.send(client, EXAMPLE_LIST, key=acme.test).json()
    (payout,) = listed["data"]
    assert listed == {"object": "list", "url": "/v1/payouts", "data": [payout], "has_more": False}
    assert re.fullmatch("po_[0-9a-f]{32}", payout["id"])
    assert payout == {
        "id": payout["id"],
        "object": "payout",
        "amount": 4999 - FEE,
        "currency": "USD",
        "status": "in_transit",
        "arrival_date": "2026-01-05",
        "failure_code": None,
        "failure_message": None,
        "livemode": False,
        "created_at": "2026-01-04T00:00:00.000Z",
    }
    shown = curl.send(client, EXAMPLE_GET, key=acme.test, payout_id=payout["id"]).json()
    items = shown.pop("line_items")
    assert shown == payout
    ids = [item.pop("id") for item in items]
    assert ids == sorted(set(ids))
    assert all(re.fullmatch("txn_[0-9a-f]{32}", id) for id in ids)
    matured_at = "2026-01-03T12:00:00.000Z"
    common = {"source": paid["id"], "created_at": matured_at}
    assert items == [
        {"type": "charge", "amount": 4999, "description": "Charge", **common},
        {"type": "fee", "amount": -FEE, "description": "Fee of a charge", **common},
    ]


def test_the_life_of_a_charges_money(client: Client, world: World) -> None:
    assert client.balance() == (0, 0, 0, 0)
    client.charged()
    net = 4999 - FEE
    assert client.balance() == (net, 0, 0, 0)
    world.live_through(hours=47, minutes=59)
    assert client.balance() == (net, 0, 0, 0)
    # Funds that have matured show with the next thing that reads them; at the latest at midnight they are paid out.
    world.live_through(hours=12, minutes=1)
    assert client.balance() == (0, 0, 0, net)
    assert paid_out(client)["status"] == "in_transit"
    world.live_through(hours=24)
    assert client.balance() == (0, 0, 0, 0)
    assert paid_out(client)["status"] == "paid"


def test_the_balance_is_as_documented(client: Client) -> None:
    shown = client.get("/v1/balance").json()
    assert shown == {
        "object": "balance",
        "currency": "USD",
        "pending": 0,
        "available": 0,
        "reserved": 0,
        "in_transit": 0,
        "livemode": False,
    }


def test_every_type_of_line_but_an_adjustment_and_each_line_in_one_payout(world: World) -> None:
    client = world.client(world.merchant("Shop", bank_account=CLOSED_ACCOUNT).test)
    plain = client.charged()["id"]
    refunded = client.refunded(plain, amount=1000)["id"]
    bounced = client.refunded(client.charged(number=REFUND_FAILING)["id"], amount=500)["id"]
    disputed = client.charged(amount=10_000, number=FRAUDULENT)["id"]
    world.live_through(minutes=1)
    (dispute,) = client.data("/v1/disputes")
    assert client.answer(dispute["id"], "winning_evidence", submit=True).status_code == 200
    world.live_through(days=3)
    first = paid_out(client)
    world.live_through(days=1)
    failed = client.get(f"/v1/payouts/{first['id']}").json()
    assert (failed["status"], failed["failure_code"]) == ("failed", "account_closed")
    assert failed["failure_message"] == "The bank account has been closed."
    # It came back before the payouts of that midnight were made.
    second = paid_out(client)

    assert first["id"] != second["id"]
    assert lines(second) == [("payout_return", first["amount"], first["id"])]
    dispute = dispute["id"]
    before = [
        ("refund", -1000, refunded),
        ("refund", -500, bounced),
    ]
    assert lines(first)[:2] == before
    assert sorted(lines(first)[2:]) == sorted(
        [
            ("refund_reversal", 500, bounced),
            ("dispute", -10_000, dispute),
            ("fee", -1500, dispute),
            ("dispute_reversal", 10_000, dispute),
            ("dispute_reversal", 1500, dispute),
            ("charge", 4999, plain),
            ("fee", -FEE, plain),
            ("charge", 4999, client.get(f"/v1/refunds/{bounced}").json()["charge"]),
            ("fee", -FEE, client.get(f"/v1/refunds/{bounced}").json()["charge"]),
            ("charge", 10_000, disputed),
            ("fee", -320, disputed),
        ]
    )
    for payout in (first, second):
        assert payout["amount"] == sum(line["amount"] for line in payout["line_items"])
        order = [line["created_at"] for line in payout["line_items"]]
        assert order == sorted(order)
    ids = [line["id"] for payout in (first, second) for line in payout["line_items"]]
    assert len(set(ids)) == len(ids)


def test_a_refund_that_is_pending_is_kept_back_until_it_has_gone_out(client: Client, world: World) -> None:
    paid = client.charged(number=REFUND_PENDING)["id"]
    refund = client.refunded(paid, amount=1000)["id"]
    assert client.balance() == (4999 - FEE, -1000, 1000, 0)
    world.live_through(minutes=1)
    assert client.get(f"/v1/refunds/{refund}").json()["status"] == "succeeded"
    assert client.balance() == (4999 - FEE, -1000, 0, 0)


def test_nothing_is_paid_out_where_the_lines_come_to_nothing_or_less(client: Client, world: World) -> None:
    client.refunded(client.charged()["id"])
    world.live_through(days=10)
    assert client.data("/v1/payouts") == []
    assert client.balance() == (0, -FEE, 0, 0)
    # What is missing is made up for by what comes, in the payout that lists both.
    client.charged(number=AT_ONCE)
    world.live_through(days=1)
    payout = paid_out(client)
    assert payout["amount"] == 4999 - 2 * FEE == sum(line["amount"] for line in payout["line_items"])
    assert [line["type"] for line in payout["line_items"]] == ["refund", "charge", "fee", "charge", "fee"]


def test_more_lines_than_a_payout_lists_that_come_to_less_than_nothing_are_one_adjustment(
    world: World,
) -> None:
    shop = world.merchant("Free", fee_basis_points=0, fee_cents=0)
    client, scope = world.client(shop.test), Scope(shop.id, livemode=False)
    # As ten thousand refunds of a cent leave them, which would take minutes to make.
    refund = Entry(Kind.REFUND, "re_01941f297c0070008000000000000001", 1)
    many = make_transfers(
        world.kpay, [refund] * MAX_LINES, world.run(book_of(world.kpay, scope)), now=world.clock.now()
    )
    world.run(world.kpay.store.commit(*many))
    paid = client.charged(amount=20_000, number=AT_ONCE)["id"]
    world.live_through(days=1)
    payout = paid_out(client)
    assert lines(payout) == [("adjustment", -MAX_LINES, payout["id"]), ("charge", 20_000, paid)]
    assert payout["amount"] == 10_000
    assert payout["line_items"][0]["id"] == payout["id"].replace("po_", "adj_")


def test_a_merchants_own_terms_are_charged(world: World) -> None:
    client = world.client(world.merchant("Cheap", fee_basis_points=100, fee_cents=5).test)
    client.charged(amount=1050)
    # 10.5 cents are 11, and 5.
    assert client.balance() == (1050 - 16, 0, 0, 0)


def test_live_money_and_test_money_are_two(client: Client, live: Client, world: World) -> None:
    client.charged()
    live.charged(amount=10_000)
    assert (client.balance()[0], live.balance()[0]) == (4999 - FEE, 10_000 - 320)
    world.live_through(days=3)
    (test_payout,), (live_payout,) = client.data("/v1/payouts"), live.data("/v1/payouts")
    assert (test_payout["livemode"], live_payout["livemode"]) == (False, True)
    assert live_payout["amount"] == 10_000 - 320
    assert live.get("/v1/balance").json()["livemode"] is True


@pytest.mark.parametrize("id", ["po_01941f297c0070008000000000000001", "po_x", "nonsense", "é", "x" * 999])
def test_an_unknown_payout_is_404(client: Client, id: str) -> None:
    error_of(client.get(f"/v1/payouts/{id}"), 404, "not_found")


def test_an_id_of_another_kind_is_no_payout(client: Client, world: World) -> None:
    client.charged()
    world.live_through(days=3)
    line = paid_out(client)["line_items"][0]["id"]
    for id in (line, client.data("/v1/charges")[0]["id"]):
        error_of(client.get(f"/v1/payouts/{id}"), 404, "not_found")


def test_what_the_list_does_not_take_is_named(client: Client) -> None:
    wrong = client.get("/v1/payouts?limit=0&status=paid&created_at[gte]=now")
    assert field_errors(wrong) == {
        "limit": ["min 1"],
        "status": ["unknown field"],
        "created_at[gte]": ["unknown field"],
    }


@pytest.mark.parametrize("path", ["/v1/balance", "/v1/payouts", "/v1/payouts/po_x"])
def test_money_is_only_read(client: Client, path: str) -> None:
    answer = client.post(path, {})
    error_of(answer, 405, "invalid_request_error")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "OPTIONS"}


def test_a_payout_is_told_of_as_it_is_made_and_when_it_has_arrived(client: Client, world: World) -> None:
    client.charged()
    world.live_through(days=5)
    told = {event["type"]: event for event in client.data("/v1/events")}
    assert told.keys() == {"charge.succeeded", "payout.created", "payout.paid"}
    made, arrived = (told[f"payout.{what}"]["data"]["object"] for what in ("created", "paid"))
    assert (made["status"], arrived["status"]) == ("pending", "paid")
    shown = paid_out(client)
    shown.pop("line_items")
    assert arrived == shown == {**made, "status": "paid"}
    assert told["payout.paid"]["request"] == {"id": None, "idempotency_key": None}
