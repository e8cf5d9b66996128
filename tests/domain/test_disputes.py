"""Disputes: what is kept back, what a merchant may say and until when, and what is shown and told of it."""

import json
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from kpay_core.domain import charges, disputes, happenings, looks
from kpay_core.domain.dispute_views import view_dispute, view_disputes
from kpay_core.domain.disputes import Dispute, DisputeChanges, Evidence, Status
from kpay_core.domain.errors import Invalid
from kpay_core.domain.news import News, NewsKind
from kpay_core.domain.pages import Page
from kpay_core.domain.views import encode, view_charge
from tests.domain.samples import NOW, a_charge

DUE_BY = NOW + timedelta(days=7)
OPENED = News(
    id="n",
    kind=NewsKind.DISPUTE_OPENED,
    reference="ch_1",
    dispute="case_1",
    amount=4999,
    code="fraudulent",
    evidence_due_by=DUE_BY,
    happened_at=NOW,
)


def a_dispute(status: Status = Status.NEEDS_RESPONSE, **changes: Any) -> Dispute:
    """Make a dispute of a whole charge, with what else is true of one in that status."""
    dispute, _ = disputes.open_dispute(OPENED, a_charge(), id="dp_1", now=NOW)
    facts: dict[str, Any] = {"status": status}
    if status is not Status.NEEDS_RESPONSE:
        facts |= {"evidence": Evidence(uncategorized_text="It was them."), "submitted_at": NOW}
    if status is Status.SUBMITTING:
        facts |= {"look_at": NOW}
    return replace(dispute, **{**facts, **changes})


def text(said: str | None, *, submit: bool | None = None) -> DisputeChanges:
    return DisputeChanges(evidence=Evidence(uncategorized_text=said), submit=submit)


def test_opening_keeps_the_amount_and_a_fee_back() -> None:
    charge = a_charge()
    dispute, moved = disputes.open_dispute(replace(OPENED, amount=4000), charge, id="dp_1", now=NOW)
    assert (dispute.amount, dispute.fee, dispute.case, dispute.charge) == (4000, 1500, "case_1", "ch_1")
    assert (dispute.scope, dispute.currency, dispute.evidence_due_by) == (charge.scope, "USD", DUE_BY)
    assert (dispute.version, moved.version) == (1, charge.version + 1)
    assert (moved.amount_disputed, moved.disputes, moved.refundable) == (4000, 1, 999)
    _, again = disputes.open_dispute(OPENED, moved, id="dp_2", now=NOW)
    assert (again.amount_disputed, again.disputes, again.refundable) == (8999, 2, 0)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("fraudulent", "fraudulent"),
        ("product_not_received", "product_not_received"),
        ("general", "general"),
        ("UA02", "general"),
        ("", "general"),
        (None, "general"),
    ],
)
def test_a_reason_that_nobody_knows_is_general(code: str | None, reason: str) -> None:
    dispute, _ = disputes.open_dispute(replace(OPENED, code=code), a_charge(), id="dp_1", now=NOW)
    assert dispute.reason == reason


def test_a_merchant_has_a_week_where_the_network_does_not_say() -> None:
    opened = replace(OPENED, evidence_due_by=None, happened_at=NOW - timedelta(days=30))
    dispute, _ = disputes.open_dispute(opened, a_charge(), id="dp_1", now=NOW)
    assert dispute.evidence_due_by == NOW + timedelta(days=7)


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        ({}, DisputeChanges()),
        ({"evidence": None, "submit": None}, DisputeChanges()),
        ({"evidence": {}}, DisputeChanges(evidence=Evidence())),
        ({"evidence": {"uncategorized_text": None}}, DisputeChanges(evidence=Evidence())),
        ({"evidence": {"uncategorized_text": "x" * 20_000}, "submit": True}, text("x" * 20_000, submit=True)),
        ({"submit": False}, DisputeChanges(submit=False)),
    ],
)
def test_a_request_is_read(body: Any, changes: DisputeChanges) -> None:
    assert disputes.read_dispute_changes(body) == changes


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ([], {"body": ["must be an object"]}),
        ({"evidence": "x"}, {"evidence": ["must be an object"]}),
        (
            {"evidence": {"uncategorized_text": 1}, "submit": "true", "x": 1},
            {
                "evidence.uncategorized_text": ["must be a string"],
                "submit": ["must be true or false"],
                "x": ["unknown field"],
            },
        ),
        ({"evidence": {"text": "x"}}, {"evidence.text": ["unknown field"]}),
        (
            {"evidence": {"uncategorized_text": "x" * 20_001}},
            {"evidence.uncategorized_text": ["at most 20000 characters"]},
        ),
        (
            {"evidence": {"uncategorized_text": "a\0"}},
            {"evidence.uncategorized_text": ["must be plain Unicode text"]},
        ),
        ({"submit": 1}, {"submit": ["must be true or false"]}),
    ],
)
def test_a_request_is_read_strictly(body: Any, fields: Any) -> None:
    with pytest.raises(Invalid) as caught:
        disputes.read_dispute_changes(body)
    assert caught.value.fields == fields


def test_a_draft_is_saved_over_and_over_and_cleared_by_an_empty_text() -> None:
    dispute = a_dispute()
    drafted = disputes.change(dispute, text("one"), now=NOW)
    assert (drafted.evidence.uncategorized_text, drafted.version, drafted.status) == (
        "one",
        2,
        "needs_response",
    )
    assert (drafted.look_at, drafted.submitted_at) == (None, None)
    assert disputes.change(drafted, text("one"), now=NOW) is drafted
    assert disputes.change(drafted, text("two"), now=NOW).evidence.uncategorized_text == "two"
    assert disputes.change(drafted, text(""), now=NOW).evidence.uncategorized_text is None
    assert disputes.change(drafted, text("two", submit=False), now=NOW).status == "needs_response"


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("changes", [DisputeChanges(), text(None), DisputeChanges(submit=False)])
def test_a_body_with_nothing_in_it_changes_nothing(status: Status, changes: DisputeChanges) -> None:
    dispute = a_dispute(status)
    assert disputes.change(dispute, changes, now=DUE_BY + timedelta(days=1)) is dispute


@pytest.mark.parametrize(
    ("drafted", "changes", "submitted"),
    [
        (None, text("new", submit=True), "new"),
        ("old", text("new", submit=True), "new"),
        ("old", DisputeChanges(submit=True), "old"),
        ("old", text(None, submit=True), "old"),
        ("old", text("old", submit=True), "old"),
    ],
)
def test_what_is_submitted_is_what_was_given_or_else_drafted(
    drafted: str | None, changes: DisputeChanges, submitted: str
) -> None:
    dispute = a_dispute(evidence=Evidence(uncategorized_text=drafted))
    sent = disputes.change(dispute, changes, now=NOW)
    assert (sent.status, sent.evidence.uncategorized_text) == ("submitting", submitted)
    assert (sent.submitted_at, sent.look_at) == (NOW, NOW + timedelta(seconds=5))


@pytest.mark.parametrize(
    ("drafted", "changes"),
    [
        (None, DisputeChanges(submit=True)),
        (None, text(None, submit=True)),
        (None, text(" \n", submit=True)),
        (None, text("", submit=True)),
        ("old", text("", submit=True)),
        (" ", DisputeChanges(submit=True)),
    ],
)
def test_nothing_cannot_be_submitted(drafted: str | None, changes: DisputeChanges) -> None:
    dispute = a_dispute(evidence=Evidence(uncategorized_text=drafted))
    with pytest.raises(Invalid) as caught:
        disputes.change(dispute, changes, now=NOW)
    assert caught.value.fields == {"evidence.uncategorized_text": ["required"]}


@pytest.mark.parametrize("status", [each for each in Status if each is not Status.NEEDS_RESPONSE])
@pytest.mark.parametrize(
    ("changes", "blamed"),
    [
        (text("x"), ["evidence"]),
        (text("It was them."), ["evidence"]),
        (DisputeChanges(submit=True), ["submit"]),
        (text("x", submit=True), ["evidence", "submit"]),
    ],
)
def test_a_dispute_is_answered_once(status: Status, changes: DisputeChanges, blamed: list[str]) -> None:
    with pytest.raises(Invalid) as caught:
        disputes.change(a_dispute(status), changes, now=NOW)
    assert caught.value.details["code"] == "dispute_not_answerable"
    assert list(caught.value.fields) == blamed


@pytest.mark.parametrize(
    ("changes", "blamed"), [(text("x"), "evidence"), (DisputeChanges(submit=True), "submit")]
)
def test_a_dispute_is_answered_in_time(changes: DisputeChanges, blamed: str) -> None:
    dispute = a_dispute(evidence=Evidence(uncategorized_text="draft"))
    millisecond = timedelta(milliseconds=1)
    assert disputes.change(dispute, changes, now=DUE_BY - millisecond).version == 2
    for now in (DUE_BY, DUE_BY + millisecond):
        with pytest.raises(Invalid) as caught:
            disputes.change(dispute, changes, now=now)
        assert caught.value.details == {"code": "evidence_too_late", "fieldErrors": {blamed: ["too late"]}}


@pytest.mark.parametrize("waited", [timedelta(0), timedelta(seconds=90), timedelta(days=6)])
def test_looks_are_planned_from_the_submission_on(waited: timedelta) -> None:
    """As those of a charge that was made at that moment: the opening, however near, has no say."""
    now = NOW + waited
    sent = disputes.change(a_dispute(), text("x", submit=True), now=now)
    charge = a_charge(charges.Status.PROCESSING, created_at=now, look_at=sent.look_at)
    many = len(looks.LOOK_AGAIN) + 4
    for _ in range(many):
        assert sent.look_at is not None
        assert sent.look_at == charge.look_at
        now = sent.look_at
        sent, charge = disputes.lease(sent, now=now), looks.lease(charge, now=now)
    assert (sent.looks, sent.look_at) == (many, now + timedelta(hours=1))


@pytest.mark.parametrize("taken", [True, False])
def test_evidence_that_was_handed_in_is_looked_at_no_more(taken: bool) -> None:
    handed_in = disputes.hand_in(a_dispute(Status.SUBMITTING), taken=taken)
    assert (handed_in.status, handed_in.look_at) == ("under_review", None)


def test_evidence_that_does_not_get_out_is_overdue_after_a_quarter_of_an_hour() -> None:
    sent = a_dispute(Status.SUBMITTING, created_at=NOW - timedelta(days=3))
    assert not disputes.is_overdue(sent, now=NOW + timedelta(minutes=14, seconds=59))
    assert disputes.is_overdue(sent, now=NOW + timedelta(minutes=15))
    assert not disputes.is_overdue(a_dispute(Status.UNDER_REVIEW), now=NOW + timedelta(days=9))
    assert not disputes.is_overdue(a_dispute(), now=NOW + timedelta(days=9))


def test_what_is_won_can_be_refunded_again_and_what_is_lost_stays_away() -> None:
    dispute, charge = disputes.open_dispute(OPENED, a_charge(), id="dp_1", now=NOW)
    won, freed = disputes.close(dispute, charge, NewsKind.DISPUTE_WON)
    assert freed is not None
    assert (won.status, freed.amount_disputed, freed.disputes, freed.refundable) == ("won", 0, 1, 4999)
    lost, same = disputes.close(dispute, charge, NewsKind.DISPUTE_LOST)
    assert (lost.status, same, charge.refundable) == ("lost", None, 0)
    assert view_charge(freed).disputed is view_charge(charge).disputed is True
    assert view_charge(a_charge()).disputed is False


def test_a_dispute_is_shown_in_the_order_of_the_docs() -> None:
    shown = json.loads(encode(view_dispute(a_dispute(Status.SUBMITTING))))
    assert list(shown.items()) == [
        ("id", "dp_1"),
        ("object", "dispute"),
        ("charge", "ch_1"),
        ("amount", 4999),
        ("fee", 1500),
        ("currency", "USD"),
        ("reason", "fraudulent"),
        ("status", "under_review"),
        ("evidence", {"uncategorized_text": "It was them."}),
        ("evidence_due_by", "2026-01-08T12:00:00.000Z"),
        ("submitted_at", "2026-01-01T12:00:00.000Z"),
        ("livemode", False),
        ("created_at", "2026-01-01T12:00:00.000Z"),
    ]
    fresh = view_dispute(a_dispute())
    assert (fresh.status, fresh.evidence.uncategorized_text, fresh.submitted_at) == (
        "needs_response",
        None,
        None,
    )


def test_a_list_of_disputes_is_a_list() -> None:
    shown = view_disputes(Page(data=[a_dispute()], has_more=True))
    assert (shown.url, shown.has_more, [each.id for each in shown.data]) == ("/v1/disputes", True, ["dp_1"])


TOLD: list[Any] = [
    ("needs_response", "needs_response", "dispute.updated", {"evidence"}),
    ("needs_response", "submitting", "dispute.updated", {"evidence", "status", "submitted_at"}),
    ("submitting", "under_review", None, set()),
    ("needs_response", "won", "dispute.closed", {"status", "evidence", "submitted_at"}),
    ("submitting", "won", "dispute.closed", {"status"}),
    ("submitting", "lost", "dispute.closed", {"status"}),
    ("under_review", "lost", "dispute.closed", {"status"}),
]


@pytest.mark.parametrize(("before", "after", "type", "changed"), TOLD)
def test_a_merchant_is_told_of_what_he_sees_change(
    before: str, after: str, type: str | None, changed: set[str]
) -> None:
    was, is_now = a_dispute(Status(before)), a_dispute(Status(after))
    if before == after:
        is_now = replace(is_now, evidence=Evidence(uncategorized_text="draft"))
    told = happenings.of_dispute(was, is_now)
    if type is None:
        assert told == ()
        return
    (happening,) = told
    assert happening.type == type
    assert happening.object == view_dispute(is_now)
    shown = json.loads(encode(view_dispute(was)))
    assert json.loads(encode(happening.before)) == {name: shown[name] for name in changed}


def test_a_new_dispute_is_told_of() -> None:
    (happening,) = happenings.of_new_dispute(a_dispute())
    assert (happening.type, happening.object, happening.before) == (
        "dispute.created",
        view_dispute(a_dispute()),
        None,
    )
