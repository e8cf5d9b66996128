"""Notices: what each kind of news comes to, whatever we hold of its subject; and news of any shape."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import product
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from kpay_core.domain import charges, disputes, ledger, notices, postings, refunds
from kpay_core.domain.ledger import Entry, Kind
from kpay_core.domain.news import News, NewsKind
from kpay_core.domain.notices import Decision, Finding, Held, Notice, Status
from kpay_core.domain.text import is_plain
from tests.domain.samples import NOW, a_charge, a_refund
from tests.domain.test_disputes import a_dispute


def news(kind: NewsKind = NewsKind.CAPTURED, **facts: Any) -> News:
    told: dict[str, Any] = {"reference": "ch_1", "amount": 4999, "happened_at": NOW, **facts}
    return News(id=facts.pop("id", "n1"), kind=kind, **{k: v for k, v in told.items() if k != "id"})


def a_notice(kind: NewsKind, **facts: Any) -> Notice:
    return notices.take_in(news(kind, **facts), "test", now=NOW)


# Written out from the contract of each kind, state by state: what is to be found, and for what is read, its words.
CHARGES: dict[str, Any] = {
    "unknown": None,
    **{status.value: a_charge(status) for status in charges.Status},
}
OF_CHARGE = {
    ("captured", "unknown"): "wait: the charge is not known",
    ("captured", "processing"): "wait: the charge has no outcome yet",
    ("captured", "reversing"): "wait: the charge has no outcome yet",
    ("captured", "succeeded"): "repeat",
    ("captured", "failed"): "stray",
    ("declined", "unknown"): "wait: the charge is not known",
    ("declined", "processing"): "wait: the charge has no outcome yet",
    ("declined", "reversing"): "wait: the charge has no outcome yet",
    ("declined", "succeeded"): "contradict: the charge has succeeded",
    ("declined", "failed"): "repeat",
}
REFUNDS: dict[str, Any] = {
    "unknown": None,
    **{status.value: a_refund(status)[0] for status in refunds.Status},
}
REFUNDS["sending"], REFUNDS["pending"] = (
    replace(REFUNDS[name], look_at=NOW) for name in ("sending", "pending")
)
REFUNDS["succeeded"], REFUNDS["failed"] = (
    replace(REFUNDS[name], look_at=None) for name in ("succeeded", "failed")
)
UNDECIDED = "wait: the refund has no outcome yet"
OF_REFUND = {
    ("refunded", "unknown"): "wait: the refund is not known",
    ("refunded", "sending"): UNDECIDED,
    ("refunded", "pending"): "apply",
    ("refunded", "reversing"): UNDECIDED,
    ("refunded", "succeeded"): "repeat",
    ("refunded", "failed"): "contradict: the refund has failed",
    ("refund_failed", "unknown"): "wait: the refund is not known",
    ("refund_failed", "sending"): UNDECIDED,
    ("refund_failed", "pending"): "apply",
    ("refund_failed", "reversing"): UNDECIDED,
    ("refund_failed", "succeeded"): "apply",
    ("refund_failed", "failed"): "repeat",
}
DISPUTES: dict[str, Any] = {
    "unknown": None,
    **{status.value: a_dispute(status) for status in disputes.Status},
}
OF_VERDICT = {
    ("dispute_won", "unknown"): "wait: the dispute is not known",
    ("dispute_won", "needs_response"): "apply",
    ("dispute_won", "submitting"): "apply",
    ("dispute_won", "under_review"): "apply",
    ("dispute_won", "won"): "repeat",
    ("dispute_won", "lost"): "contradict: it was closed the other way",
    ("dispute_lost", "unknown"): "wait: the dispute is not known",
    ("dispute_lost", "needs_response"): "apply",
    ("dispute_lost", "submitting"): "apply",
    ("dispute_lost", "under_review"): "apply",
    ("dispute_lost", "won"): "contradict: it was closed the other way",
    ("dispute_lost", "lost"): "repeat",
}
OF_OPENING = {
    "unknown": "wait: the charge is not known",
    "processing": "wait: the charge has no outcome yet",
    "reversing": "wait: the charge has no outcome yet",
    "succeeded": "apply",
    "failed": "contradict: the charge has failed",
}


def said(decision: Decision) -> str:
    return decision.finding.value + (f": {decision.reason}" if decision.reason else "")


@pytest.mark.parametrize(("kind", "state"), [*product(["captured", "declined"], CHARGES)])
def test_what_is_told_of_a_charge(kind: str, state: str) -> None:
    held = Held(charge=CHARGES[state])
    assert said(notices.decide(a_notice(NewsKind(kind)), held)) == OF_CHARGE[kind, state]


@pytest.mark.parametrize(("kind", "state"), [*product(["refunded", "refund_failed"], REFUNDS)])
def test_what_is_told_of_a_refund(kind: str, state: str) -> None:
    held = Held(refund=REFUNDS[state], charge=a_charge() if REFUNDS[state] else None)
    notice = a_notice(NewsKind(kind), reference="re_1", amount=1000)
    assert said(notices.decide(notice, held)) == OF_REFUND[kind, state]


@pytest.mark.parametrize(("kind", "state"), [*product(["dispute_won", "dispute_lost"], DISPUTES)])
def test_what_is_told_of_the_end_of_a_dispute(kind: str, state: str) -> None:
    held = Held(charge=a_charge(), dispute=DISPUTES[state])
    notice = a_notice(NewsKind(kind), dispute="case_1")
    assert said(notices.decide(notice, held)) == OF_VERDICT[kind, state]


@pytest.mark.parametrize(("charge", "dispute"), [*product(CHARGES, DISPUTES)])
def test_what_is_told_of_the_beginning_of_a_dispute(charge: str, dispute: str) -> None:
    """One that is known was opened before, whatever became of it and its charge."""
    held = Held(charge=CHARGES[charge], dispute=DISPUTES[dispute])
    found = said(notices.decide(a_notice(NewsKind.DISPUTE_OPENED, dispute="case_1"), held))
    assert found == (OF_OPENING[charge] if dispute == "unknown" else "repeat")


def test_every_kind_of_news_has_its_rule() -> None:
    assert set(notices.RULES) == set(NewsKind)


ODD: list[Any] = [
    ("captured", {"amount": 4998}, {"charge": a_charge()}, "contradict: the amount is not the one we have"),
    ("captured", {}, {"charge": CHARGES["failed"], "strayed": True}, "repeat"),
    ("captured", {"amount": 1}, {"charge": CHARGES["failed"]}, "stray"),
    ("captured", {"amount": 0}, {"charge": CHARGES["failed"]}, "contradict: a capture of nothing"),
    ("captured", {"amount": -1}, {"charge": CHARGES["failed"]}, "contradict: a capture of nothing"),
    (
        "refund_failed",
        {"amount": 999},
        {"refund": REFUNDS["succeeded"]},
        "contradict: the amount is not the one we have",
    ),
    (
        "refunded",
        {"amount": 999},
        {"refund": REFUNDS["succeeded"]},
        "contradict: the amount is not the one we have",
    ),
    ("refund_failed", {"amount": 999}, {"refund": REFUNDS["sending"]}, UNDECIDED),
    ("dispute_opened", {"amount": 1}, {"charge": a_charge()}, "apply"),
    ("dispute_opened", {"amount": 0}, {"charge": a_charge()}, "contradict: more than the charge, or nothing"),
    (
        "dispute_opened",
        {"amount": -1},
        {"charge": a_charge()},
        "contradict: more than the charge, or nothing",
    ),
    (
        "dispute_opened",
        {"amount": 5000},
        {"charge": a_charge()},
        "contradict: more than the charge, or nothing",
    ),
    ("dispute_opened", {"dispute": None}, {"charge": a_charge()}, "contradict: the dispute has no name"),
    (
        "dispute_opened",
        {"reference": "ch_2"},
        {"charge": a_charge(), "dispute": a_dispute()},
        "contradict: the dispute is of another charge",
    ),
    ("dispute_won", {"dispute": None}, {}, "contradict: the dispute has no name"),
    (
        "dispute_won",
        {"reference": "ch_2"},
        {"dispute": a_dispute()},
        "contradict: the dispute is of another charge",
    ),
    (
        "dispute_lost",
        {"amount": 1},
        {"dispute": a_dispute()},
        "contradict: the amount is not the one we have",
    ),
]


@pytest.mark.parametrize(("kind", "told", "held", "found"), ODD)
def test_what_does_not_fit_what_we_have(kind: str, told: Any, held: Any, found: str) -> None:
    case = {"dispute": "case_1"} if kind.startswith("dispute") else {}
    assert said(notices.decide(a_notice(NewsKind(kind), **{**case, **told}), Held(**held))) == found


def test_a_disputed_charge_that_was_refunded_is_disputed_all_the_same() -> None:
    """The network's amount is the law, however much of the charge went back or is disputed already."""
    charge = a_charge(amount_refunded=4999, amount_disputed=4999, disputes=1)
    notice = a_notice(NewsKind.DISPUTE_OPENED, dispute="case_2")
    assert notices.decide(notice, Held(charge=charge)).finding is Finding.APPLY
    _, moved = disputes.open_dispute(notice, charge, id="dp_2", now=NOW)
    assert moved.refundable == 0


def test_news_are_kept_under_their_mode_and_id() -> None:
    told = news(NewsKind.REFUND_FAILED, id="n7", code="closed", reference="re_1", amount=12)
    notice = notices.take_in(told, "live", now=NOW)
    assert (notice.id, notice.version, notice.livemode, notice.status) == ("live/n7", 0, True, "waiting")
    assert (notice.kind, notice.reference, notice.amount, notice.code) == (
        "refund_failed",
        "re_1",
        12,
        "closed",
    )
    assert (notice.told, notice.looks, notice.look_at) == (1, 0, NOW + timedelta(seconds=5))
    assert notices.take_in(told, "test", now=NOW).id == "test/n7"


def test_what_waits_is_looked_at_for_ever_and_says_why() -> None:
    notice = notices.conclude(a_notice(NewsKind.CAPTURED), notices.wait("why"), now=NOW)
    assert (notice.version, notice.status, notice.reason) == (1, "waiting", "why")
    assert notice.look_at == NOW + timedelta(seconds=5)


def test_a_stray_is_sent_back_at_once_and_booked_both_ways() -> None:
    waited = replace(
        a_notice(NewsKind.CAPTURED), version=9, looks=8, reason="why", look_at=NOW + timedelta(hours=1)
    )
    stray = notices.conclude(waited, notices.STRAY, now=NOW)
    assert (stray.version, stray.look_at, stray.looks, stray.reason) == (10, NOW, 0, None)
    assert postings.of_stray(stray) == (Entry(Kind.STRAY_CAPTURE, "ch_1", 4999),)
    returned = notices.conclude(stray, Decision(Finding.RETURNED), now=NOW)
    assert (returned.status, returned.look_at) == ("returned", None)
    assert postings.of_stray(returned) == (Entry(Kind.STRAY_REVERSED, "ch_1", 4999),)
    assert postings.of_stray(waited) == ()
    there, back = ledger.POSTINGS[Kind.STRAY_CAPTURE], ledger.POSTINGS[Kind.STRAY_REVERSED]
    assert there == back[::-1]


@pytest.mark.parametrize(
    ("status", "after"),
    [
        (Status.WAITING, timedelta(days=1)),
        (Status.STRAY, timedelta(minutes=15)),
        (Status.CONTRADICTING, timedelta(0)),
        (Status.APPLIED, None),
        (Status.KNOWN, None),
        (Status.RETURNED, None),
    ],
)
def test_what_needs_a_person_and_when(status: Status, after: timedelta | None) -> None:
    notice = replace(a_notice(NewsKind.CAPTURED), status=status)
    if after is None:
        assert not notices.is_overdue(notice, now=NOW + timedelta(days=99))
    else:
        assert notices.is_overdue(notice, now=NOW + after)
        assert not after or not notices.is_overdue(notice, now=NOW + after - timedelta(milliseconds=1))


HOSTILE = ["a\0b", "\ud800", "x" * 256, "\0" * 100_000, "\udfff" * 300, "é" * 300 + "\0"]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("field", ["id", "reference", "dispute", "code"])
def test_any_text_can_be_kept(field: str, text: str) -> None:
    notice = notices.take_in(
        news(NewsKind.DISPUTE_OPENED, **{"dispute": "case_1", field: text}), "test", now=NOW
    )
    kept = [notice.id, notice.reference, notice.dispute or "", notice.code or ""]
    assert all(is_plain(each) and len(each) <= 255 for each in kept)
    assert msgspec.json.decode(msgspec.json.encode(notice), type=Notice) == notice
    # What only says why is cut; what must name something of ours, and does not, moves nothing.
    malformed = field in ("reference", "dispute")
    assert (notice.status, notice.look_at is None) == (
        ("contradicting", True) if malformed else ("waiting", False)
    )
    assert notice.version == (1 if malformed else 0)


def test_two_ids_that_nobody_can_hold_are_two_and_each_is_the_same_again() -> None:
    ids = [notices.notice_id("test", text) for text in HOSTILE]
    assert len(set(ids)) == len(HOSTILE)
    assert ids == [notices.notice_id("test", text) for text in HOSTILE]
    assert notices.notice_id("test", "x" * 255) == "test/" + "x" * 255


@pytest.mark.parametrize("amount", [2**63, 2**64, 10**40, -(2**63), -(10**40)])
def test_no_amount_is_too_much_for_a_store(amount: int) -> None:
    notice = a_notice(NewsKind.CAPTURED, amount=amount)
    assert -(2**63) < notice.amount < 2**63
    assert (notice.status, notice.look_at) == ("contradicting", None)


def test_an_amount_that_a_store_holds_is_kept() -> None:
    assert a_notice(NewsKind.CAPTURED, amount=2**63 - 1).amount == 2**63 - 1
    assert a_notice(NewsKind.CAPTURED, amount=-1).status == "waiting"


WEST = timezone(timedelta(hours=-12))
EAST = timezone(timedelta(hours=14))
LAST = datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (
            datetime(2026, 1, 1, 12, 0, 0, 123_999, tzinfo=UTC),
            datetime(2026, 1, 1, 12, 0, 0, 123_000, tzinfo=UTC),
        ),
        (NOW.replace(tzinfo=None), NOW),
        (datetime(2026, 1, 1, 2, 0, tzinfo=EAST), datetime(2025, 12, 31, 12, 0, tzinfo=UTC)),
        (datetime.max.replace(tzinfo=WEST), None),
        (datetime.min.replace(tzinfo=EAST), None),
        (LAST.replace(tzinfo=None), LAST.replace(microsecond=999_000)),
    ],
)
def test_any_time_is_brought_to_utc_and_milliseconds(told: datetime, kept: datetime | None) -> None:
    notice = a_notice(NewsKind.DISPUTE_OPENED, dispute="case_1", happened_at=told, evidence_due_by=told)
    assert (notice.happened_at, notice.evidence_due_by) == (kept or NOW, kept)
    assert notice.happened_at.tzinfo is UTC
    assert notice.status == "waiting"
    dispute, _ = disputes.open_dispute(notice, a_charge(), id="dp_1", now=NOW)
    assert dispute.evidence_due_by == (kept or NOW + timedelta(days=7))


def test_what_came_again_is_counted_and_nothing_else() -> None:
    notice = replace(a_notice(NewsKind.CAPTURED), version=3)
    assert notices.tell_again(notice) == replace(notice, version=4, told=2)
