"""Names, times and shapes as merchants see them."""

import re
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kpay_adapters.system import SystemIds
from kpay_adapters.testing import SeededIds
from kpay_core.domain import charges, names, pages, refunds, views
from kpay_core.domain.pages import Page, PageParams
from kpay_core.ports import Ids
from tests.domain.samples import NOW, SCOPE, a_charge, a_refund

# Hypothesis wants its bounds without a zone.
FIRST, LAST = (datetime(year, 1, 1) for year in (1971, 9999))  # noqa: DTZ001
moments = st.datetimes(min_value=FIRST, max_value=LAST, timezones=st.just(UTC))

UUID7 = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def to_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def shown(view: msgspec.Struct) -> dict[str, Any]:
    return msgspec.json.decode(views.encode(view))


@given(moments)
def test_a_time_is_written_in_utc_with_milliseconds(moment: datetime) -> None:
    written = views.time(moment)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", written)
    assert datetime.fromisoformat(written) == to_milliseconds(moment)


def test_a_time_of_another_zone_is_written_in_utc() -> None:
    assert (
        views.time(datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == "2026-01-01T00:00:00.000Z"
    )


@pytest.mark.parametrize("ids", [SystemIds(), SeededIds()], ids=["system", "seeded"])
@given(clock=st.lists(moments, min_size=2, max_size=20))
def test_names_are_uuids_of_version_seven_and_only_grow_also_when_the_clock_steps_back(
    ids: Ids, clock: list[datetime]
) -> None:
    made = [ids.uuid7(moment) for moment in clock]
    assert all(UUID7.fullmatch(name) for name in made)
    assert all(before < after for before, after in pairwise(made))


def test_a_name_carries_its_time() -> None:
    assert int(SeededIds().uuid7(NOW).replace("-", "")[:12], 16) == NOW.timestamp() * 1000
    assert int(SystemIds().uuid7(NOW).replace("-", "")[:12], 16) == NOW.timestamp() * 1000


def test_two_seeds_never_make_the_same_name() -> None:
    one, other = SeededIds(1), SeededIds(2)
    assert {one.uuid7(NOW) for _ in range(50)}.isdisjoint(other.uuid7(NOW) for _ in range(50))
    assert SeededIds(1).uuid7(NOW) == SeededIds(1).uuid7(NOW)


def test_a_prefixed_name_keeps_the_digits_and_their_order() -> None:
    ids = SeededIds()
    made = [names.prefixed("re", ids.uuid7(NOW)) for _ in range(3)]
    assert made == sorted(made)
    assert all(re.fullmatch("re_[0-9a-f]{32}", name) for name in made)


def test_a_charge_shows_what_the_contract_lists_in_its_order() -> None:
    fields = (
        "object id amount amount_refunded currency status refunded disputed livemode description metadata"
        " source billing_address failure_code failure_message created_at"
    ).split()
    view = shown(views.view_charge(a_charge()))
    assert sorted(view) == sorted(fields)
    assert sorted(view["source"]) == ["brand", "exp_month", "exp_year", "fingerprint", "last4", "object"]
    assert shown(views.view_charge_with_refunds(a_charge(), []))["refunds"] == []


def test_a_refund_shows_what_the_contract_lists() -> None:
    fields = "id object charge amount currency status reason notes failure_code livemode created_at".split()
    assert sorted(shown(views.view_refund(a_refund()[0]))) == sorted(fields)


def test_what_goes_on_inside_is_processing_or_pending_outside() -> None:
    seen = {status: shown(views.view_charge(a_charge(status)))["status"] for status in charges.Status}
    assert seen == {
        "processing": "processing",
        "reversing": "processing",
        "succeeded": "succeeded",
        "failed": "failed",
    }
    seen = {status: shown(views.view_refund(a_refund(status)[0]))["status"] for status in refunds.Status}
    assert seen == {
        "sending": "pending",
        "reversing": "pending",
        "pending": "pending",
        "succeeded": "succeeded",
        "failed": "failed",
    }


def test_a_charge_is_refunded_once_all_of_it_is() -> None:
    partly = shown(views.view_charge(a_charge(amount_refunded=4998)))
    fully = shown(views.view_charge(a_charge(amount_refunded=4999)))
    assert (partly["refunded"], fully["refunded"]) == (False, True)
    assert shown(views.view_charge(a_charge(amount_refunding=4999)))["amount_refunded"] == 0


def test_a_decline_is_the_error_of_the_contract() -> None:
    declined = a_charge(
        charges.Status.FAILED,
        failure_code="insufficient_funds",
        failure_message="The card has insufficient funds.",
    )
    assert shown(views.view_decline(declined)) == {
        "error": {
            "type": "card_error",
            "message": "The card has insufficient funds.",
            "details": {"code": "card_declined", "decline_code": "insufficient_funds", "charge": "ch_1"},
        }
    }


def test_a_list_names_itself() -> None:
    page = Page(data=[a_charge()], has_more=True)
    view = shown(views.view_charges(page))
    assert (view["object"], view["url"], view["has_more"], len(view["data"])) == (
        "list",
        "/v1/charges",
        True,
        1,
    )
    assert shown(views.view_refunds(Page(data=[], has_more=False)))["url"] == "/v1/refunds"


@given(rows=st.integers(0, 12), limit=st.integers(1, 10), backwards=st.booleans())
def test_a_page_holds_its_limit_newest_first_and_tells_of_more(
    rows: int, limit: int, backwards: bool
) -> None:
    params = PageParams(limit=limit, ending_before="x" if backwards else None)
    (asked,) = pages.questions(charges.Charge, SCOPE.conditions, params)
    found = [replace(a_charge(), id=f"{n:02}") for n in range(rows)]
    answer = sorted(found, key=lambda charge: charge.id, reverse=asked.descending)[: asked.limit]
    page = pages.page(answer, params)
    ids = [charge.id for charge in page.data]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == min(rows, limit)
    assert page.has_more is (rows > limit)
