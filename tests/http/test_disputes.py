"""Disputes over HTTP: section 7 of the contract, with the cards and the evidence of section 9."""

import re
from typing import Any

import pytest

from kpay_core.domain.news import News, NewsKind
from tests.http.world import FRAUDULENT, NOT_RECEIVED, Client, World, error_of, field_errors

# What a dispute costs.
FEE = 1500


def told(client: Client, kind: str = "dispute.") -> list[dict[str, Any]]:
    """The events of disputes, oldest first."""
    return [event for event in client.data("/v1/events") if event["type"].startswith(kind)][::-1]


def status(client: Client, dispute: dict[str, Any]) -> str:
    return client.get(f"/v1/disputes/{dispute['id']}").json()["status"]


@pytest.mark.parametrize(
    ("number", "reason"), [(FRAUDULENT, "fraudulent"), (NOT_RECEIVED, "product_not_received")]
)
def test_a_magic_card_is_disputed_a_minute_later(
    client: Client, world: World, number: str, reason: str
) -> None:
    paid = client.charged(amount=10_000, number=number)
    assert paid["disputed"] is False
    world.live_through(seconds=59)
    assert client.data("/v1/disputes") == []
    world.live_through(seconds=1)
    (dispute,) = client.data("/v1/disputes")
    assert re.fullmatch("dp_[0-9a-f]{32}", dispute["id"])
    assert dispute == {
        "id": dispute["id"],
        "object": "dispute",
        "charge": paid["id"],
        "amount": 10_000,
        "fee": FEE,
        "currency": "USD",
        "reason": reason,
        "status": "needs_response",
        "evidence": {"uncategorized_text": None},
        "evidence_due_by": "2026-01-08T12:01:00.000Z",
        "submitted_at": None,
        "livemode": False,
        "created_at": "2026-01-01T12:01:00.000Z",
    }
    assert client.get(f"/v1/disputes/{dispute['id']}").json() == dispute
    assert client.get(f"/v1/charges/{paid['id']}").json()["disputed"] is True
    (event,) = told(client)
    assert (event["type"], event["data"]) == ("dispute.created", {"object": dispute})
    assert client.balance()[1:] == (-10_000 - FEE, 10_000 + FEE, 0)


def test_a_draft_is_saved_until_it_is_submitted(client: Client) -> None:
    dispute = client.disputed()
    for text in ("first", "second", "a\n" * 10_000):
        saved = client.answer(dispute["id"], text)
        assert saved.status_code == 200
        assert saved.json() == {**dispute, "evidence": {"uncategorized_text": text}}
    before = told(client)
    assert [event["type"] for event in before] == ["dispute.created", *["dispute.updated"] * 3]
    assert before[2]["data"]["previous_attributes"] == {"evidence": {"uncategorized_text": "first"}}
    assert before[2]["request"]["id"].startswith("req_")
    # The same again, and nothing at all, change nothing and tell of nothing.
    for body in (
        {"evidence": {"uncategorized_text": "a\n" * 10_000}},
        {},
        {"evidence": None, "submit": None},
    ):
        answer = client.post(f"/v1/disputes/{dispute['id']}", body)
        assert answer.json()["evidence"] == {"uncategorized_text": "a\n" * 10_000}
    assert told(client) == before
    assert client.answer(dispute["id"], "", submit=False).json() == dispute


def test_a_draft_can_be_submitted_as_it_is(client: Client) -> None:
    dispute = client.disputed()
    client.answer(dispute["id"], "winning_evidence")
    submitted = client.post(f"/v1/disputes/{dispute['id']}", {"submit": True}).json()
    assert (submitted["status"], submitted["submitted_at"]) == ("under_review", "2026-01-01T12:01:00.000Z")
    assert submitted["evidence"] == {"uncategorized_text": "winning_evidence"}


def test_a_dispute_that_is_won_gives_everything_back(client: Client, world: World) -> None:
    before = client.balance()
    dispute = client.disputed()
    assert client.answer(dispute["id"], "winning_evidence", submit=True).json()["status"] == "under_review"
    world.live_through(seconds=59)
    assert status(client, dispute) == "under_review"
    world.live_through(seconds=1)
    closed = client.get(f"/v1/disputes/{dispute['id']}").json()
    assert closed["status"] == "won"
    assert client.balance() == (10_000 - 320, *before[1:])
    created, updated, ended = told(client)
    assert updated["type"] == "dispute.updated"
    assert updated["data"]["previous_attributes"] == {
        "status": "needs_response",
        "evidence": {"uncategorized_text": None},
        "submitted_at": None,
    }
    assert (ended["type"], ended["data"]["object"]) == ("dispute.closed", closed)
    assert ended["data"]["previous_attributes"] == {"status": "under_review"}
    assert created["data"]["object"] == dispute
    # It was disputed, for ever.
    assert client.get(f"/v1/charges/{dispute['charge']}").json()["disputed"] is True


def test_a_dispute_that_is_lost_keeps_everything(client: Client, world: World) -> None:
    dispute = client.disputed()
    client.answer(dispute["id"], " losing_evidence\n", submit=True)
    world.live_through(minutes=1)
    assert status(client, dispute) == "lost"
    assert client.balance() == (10_000 - 320, -10_000 - FEE, 0, 0)
    assert told(client)[-1]["type"] == "dispute.closed"


def test_any_other_evidence_is_lost_after_ten_days(client: Client, world: World) -> None:
    dispute = client.disputed()
    client.answer(dispute["id"], "They have signed for it.", submit=True)
    world.live_through(days=9, hours=23)
    assert status(client, dispute) == "under_review"
    world.live_through(hours=1)
    assert status(client, dispute) == "lost"


def test_a_dispute_that_nobody_answers_is_lost_when_evidence_was_due(client: Client, world: World) -> None:
    dispute = client.disputed()
    world.live_through(days=6, hours=23, minutes=59)
    assert client.answer(dispute["id"], "a draft is no answer").status_code == 200
    assert status(client, dispute) == "needs_response"
    world.live_through(minutes=1)
    assert status(client, dispute) == "lost"
    assert told(client)[-1]["data"]["previous_attributes"] == {"status": "needs_response"}


def test_evidence_that_comes_after_the_deadline_and_before_the_verdict_is_too_late(
    client: Client, world: World
) -> None:
    dispute = client.disputed()
    world.pass_time(days=7)
    answer = client.answer(dispute["id"], "winning_evidence", submit=True)
    assert field_errors(answer) == {"evidence": ["too late"], "submit": ["too late"]}
    assert answer.json()["error"]["details"]["code"] == "evidence_too_late"
    assert answer.json()["error"]["message"] == "The time to answer the dispute is over."


@pytest.mark.parametrize("evidence", ["winning_evidence", "losing_evidence", "hmm"])
def test_what_was_submitted_is_final(client: Client, world: World, evidence: str) -> None:
    dispute = client.disputed()
    client.answer(dispute["id"], evidence, submit=True)
    for _ in range(2):
        for fields in ({"submit": True}, {}):
            answer = client.answer(dispute["id"], "winning_evidence", **fields)
            no = "the dispute needs no response"
            assert field_errors(answer) == {name: [no] for name in ("evidence", *fields)}
            assert answer.json()["error"]["details"]["code"] == "dispute_not_answerable"
        world.live_through(minutes=1)
    assert client.get(f"/v1/disputes/{dispute['id']}").json()["evidence"] == {"uncategorized_text": evidence}


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"submit": True}, {"evidence.uncategorized_text": ["required"]}),
        (
            {"submit": True, "evidence": {"uncategorized_text": " \n"}},
            {"evidence.uncategorized_text": ["required"]},
        ),
        (
            {"submit": "yes", "evidence": {"uncategorized_text": 5, "text": "x"}, "foo": 1},
            {
                "submit": ["must be true or false"],
                "evidence.uncategorized_text": ["must be a string"],
                "evidence.text": ["unknown field"],
                "foo": ["unknown field"],
            },
        ),
        ({"submit": 1}, {"submit": ["must be true or false"]}),
        ({"evidence": "x"}, {"evidence": ["must be an object"]}),
        ({"evidence": []}, {"evidence": ["must be an object"]}),
        (
            {"evidence": {"uncategorized_text": "x" * 20_001}, "submit": True},
            {"evidence.uncategorized_text": ["at most 20000 characters"]},
        ),
        ({"status": "won"}, {"status": ["unknown field"]}),
    ],
)
def test_what_is_wrong_is_a_400_on_its_field_and_nothing_is_saved(
    client: Client, body: dict[str, Any], errors: dict[str, list[str]]
) -> None:
    dispute = client.disputed()
    assert field_errors(client.post(f"/v1/disputes/{dispute['id']}", body)) == errors
    assert client.get(f"/v1/disputes/{dispute['id']}").json() == dispute


def test_what_is_disputed_cannot_be_refunded_too(client: Client) -> None:
    paid = client.charged(amount=10_000, number=FRAUDULENT)["id"]
    client.refunded(paid, amount=4_000)
    client.world.live_through(minutes=1)
    (dispute,) = client.data("/v1/disputes")
    assert dispute["amount"] == 6_000
    for answer, blamed in ((client.refund(paid, amount=1), "amount"), (client.refund(paid), "charge")):
        assert field_errors(answer) == {blamed: ["disputed"]}
        error = answer.json()["error"]
        assert error["details"]["code"] == "charge_disputed"
        assert error["message"] == "Nothing is left to refund: the rest of the charge is disputed."
    client.answer(dispute["id"], "winning_evidence", submit=True)
    client.world.live_through(minutes=1)
    assert field_errors(client.refund(paid, amount=6_001)) == {"amount": ["max 6000"]}
    client.refunded(paid, amount=6_000)


def test_what_is_left_beside_a_dispute_can_be_refunded_and_no_more(client: Client, world: World) -> None:
    paid = client.charged(amount=10_000)["id"]
    # The sandbox disputes all of a charge; other networks also a part.
    opened = News(
        id="news_1",
        kind=NewsKind.DISPUTE_OPENED,
        reference=paid,
        dispute="case_1",
        amount=4_000,
        happened_at=world.clock.now(),
    )
    world.run(world.kpay.take_news("test", opened))
    assert field_errors(client.refund(paid, amount=6_001)) == {"amount": ["max 6000"]}
    assert client.refunded(paid)["amount"] == 6_000
    assert field_errors(client.refund(paid)) == {"charge": ["disputed"]}
    shown = client.get(f"/v1/charges/{paid}").json()
    assert (shown["amount_refunded"], shown["disputed"], shown["refunded"]) == (6_000, True, False)


def test_a_charge_that_was_refunded_in_full_is_not_disputed(client: Client, world: World) -> None:
    client.refunded(client.charged(number=FRAUDULENT)["id"])
    world.live_through(days=2)
    assert client.data("/v1/disputes") == []


@pytest.mark.parametrize("id", ["dp_01941f297c0070008000000000000001", "dp_x", "nonsense", "é"])
def test_an_unknown_dispute_is_404_whatever_is_sent(client: Client, id: str) -> None:
    error_of(client.get(f"/v1/disputes/{id}"), 404, "not_found")
    for body in ({}, {"foo": 1}, {"submit": True}):
        error_of(client.post(f"/v1/disputes/{id}", body), 404, "not_found")


def test_disputes_are_made_by_nobody_and_stay(client: Client) -> None:
    dispute = client.disputed()
    path = f"/v1/disputes/{dispute['id']}"
    for method, where in (("POST", "/v1/disputes"), ("DELETE", path), ("PATCH", path)):
        error_of(client.send(method, where, json={}), 405, "invalid_request_error")


def test_the_list_takes_no_filters(client: Client) -> None:
    assert field_errors(client.get("/v1/disputes?status=won")) == {"status": ["unknown field"]}
