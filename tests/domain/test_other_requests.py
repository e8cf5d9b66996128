"""Requests for refunds, lists and merchants: the same strictness as for charges."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from operator import ge, gt, le, lt
from typing import Annotated, Any

import msgspec
import pytest

from kpay_core.domain import refunds, validation
from kpay_core.domain.charges import ChargeListParams
from kpay_core.domain.errors import Invalid
from kpay_core.domain.merchants import NewMerchant
from kpay_core.domain.pages import read_params
from kpay_core.domain.refunds import RefundListParams, read_new_refund


def told(invalid: pytest.ExceptionInfo[Invalid]) -> Mapping[str, object]:
    return {name: list(messages) for name, messages in invalid.value.fields.items()}


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, {"charge": ["required"]}),
        ({"charge": None}, {"charge": ["required"]}),
        ({"charge": 1}, {"charge": ["must be a string"]}),
        ({"charge": "c", "amount": 0}, {"amount": ["min 1"]}),
        ({"charge": "c", "amount": "1"}, {"amount": ["must be an integer"]}),
        (
            {"charge": "c", "reason": "because"},
            {"reason": ["one of: duplicate, fraudulent, other, requested_by_customer"]},
        ),
        ({"charge": "c", "notes": "x" * 1001}, {"notes": ["at most 1000 characters"]}),
        ({"charge": "c", "metadata": {}}, {"metadata": ["unknown field"]}),
        (
            {"amount": -5, "reason": 3, "extra": 1},
            {
                "charge": ["required"],
                "amount": ["min 1"],
                "reason": ["one of: duplicate, fraudulent, other, requested_by_customer"],
                "extra": ["unknown field"],
            },
        ),
    ],
)
def test_a_refund_request_is_told_everything_that_is_wrong(body: object, wrong: object) -> None:
    with pytest.raises(Invalid) as caught:
        read_new_refund(body)
    assert told(caught) == wrong


def test_a_refund_request_may_leave_out_all_but_the_charge() -> None:
    everything = {"charge": "c", "amount": None, "reason": None, "notes": None}
    assert read_new_refund(everything) == read_new_refund({"charge": "c"})
    for reason in ("requested_by_customer", "duplicate", "fraudulent", "other"):
        assert read_new_refund({"charge": "c", "reason": reason, "notes": "x" * 1000}).reason == reason


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"limit": "0"}, {"limit": ["min 1"]}),
        ({"limit": "101"}, {"limit": ["max 100"]}),
        ({"limit": "-1"}, {"limit": ["min 1"]}),
        ({"limit": ""}, {"limit": ["must be an integer"]}),
        ({"limit": "ten"}, {"limit": ["must be an integer"]}),
        ({"limit": "1.0"}, {"limit": ["must be an integer"]}),
        ({"limit": "٣"}, {"limit": ["must be an integer"]}),
        ({"limit": "1\n"}, {"limit": ["must be an integer"]}),
        ({"limit": "9" * 5000}, {"limit": ["must be an integer"]}),
        ({"limit": ["1", "2"]}, {"limit": ["given more than once"]}),
        ({"page": "2"}, {"page": ["unknown field"]}),
        ({"status": "reversing"}, {"status": ["one of: failed, processing, succeeded"]}),
        ({"created_at[gt]": "yesterday"}, {"created_at[gt]": ["must be an RFC 3339 time with an offset"]}),
        (
            {"created_at[lt]": "2026-01-01T00:00:00"},
            {"created_at[lt]": ["must be an RFC 3339 time with an offset"]},
        ),
        (
            {"starting_after": "a", "ending_before": "b"},
            {"ending_before": ["not together with starting_after"]},
        ),
        ({"limit": "x", "foo": "y"}, {"limit": ["must be an integer"], "foo": ["unknown field"]}),
    ],
)
def test_a_lists_bad_parameters_are_all_told(given: Mapping[str, object], wrong: object) -> None:
    with pytest.raises(Invalid) as caught:
        read_params(ChargeListParams, given)
    assert told(caught) == wrong


def test_a_list_holds_twenty_unless_asked_and_one_to_a_hundred_if_asked() -> None:
    assert read_params(RefundListParams, {}).limit == 20
    assert [read_params(RefundListParams, {"limit": limit}).limit for limit in ("1", "007", "100")] == [
        1,
        7,
        100,
    ]


def test_a_time_bound_means_its_instant_whatever_its_offset() -> None:
    params = read_params(ChargeListParams, {"created_at[gte]": "2026-01-01T02:00:00+02:00"})
    assert params.filters == (("created_at", ">=", datetime(2026, 1, 1, tzinfo=UTC)),)
    ((_, _, bound),) = params.filters
    assert isinstance(bound, datetime)
    assert bound.utcoffset() == timedelta(0)
    assert bound == datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))


SIGNS: dict[str, Callable[[datetime, datetime], bool]] = {">": gt, ">=": ge, "<": lt, "<=": le}


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("microsecond", [0, 1, 999, 1_000, 1_001, 123_456, 999_999])
@pytest.mark.parametrize("year", [2026, 9999])
def test_a_bound_between_two_milliseconds_parts_them_on_every_store(
    sign: str, microsecond: int, year: int
) -> None:
    # Stores keep milliseconds; what is finer is cut by one, and not by another.
    bound = datetime(year, 12, 31, 23, 59, 59, microsecond, tzinfo=UTC)
    name = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}[sign]
    ((_, said, whole),) = read_params(ChargeListParams, {f"created_at[{name}]": bound.isoformat()}).filters
    assert isinstance(whole, datetime)
    assert (said, whole.microsecond % 1_000) == (sign, 0)
    for millisecond in range(1_000 if year < 9999 else 999):
        made = bound.replace(microsecond=millisecond * 1_000)
        assert SIGNS[sign](made, whole) == SIGNS[sign](made, bound)


def test_a_charge_that_is_being_undone_is_listed_as_processing() -> None:
    params = read_params(ChargeListParams, {"status": "processing"})
    # A charge that begins to be undone while they are asked is found by the second.
    assert params.alternatives == ((("status", "=", "processing"),), (("status", "=", "reversing"),))


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"name": "", "bank_account": "000123456789"}, {"name": ["at least 1 characters"]}),
        ({"name": "A", "bank_account": "12"}, {"bank_account": ["4 to 17 digits"]}),
    ],
)
def test_an_application_is_checked_too(body: object, wrong: object) -> None:
    with pytest.raises(Invalid) as caught:
        validation.read(NewMerchant, body).finish(NewMerchant)
    assert told(caught) == wrong


class Kinds(msgspec.Struct):
    flag: bool = False
    words: Annotated[list[Annotated[str, msgspec.Meta(max_length=3)]], msgspec.Meta(max_length=2)] = []
    word: Annotated[str, msgspec.Meta(pattern="^[a-z]+$")] = "a"


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"flag": 1}, {"flag": ["must be true or false"]}),
        ({"flag": "true"}, {"flag": ["must be true or false"]}),
        ({"words": "abc"}, {"words": ["must be an array"]}),
        ({"words": ["a", 5, "long"]}, {"words": ["at most 2 items"]}),
        ({"words": [5, "long"]}, {"words.0": ["must be a string"], "words.1": ["at most 3 characters"]}),
        ({"word": "A"}, {"word": ["malformed"]}),
        ({"word": "a\n"}, {"word": ["malformed"]}),
    ],
)
def test_every_kind_of_field_has_its_words(body: object, wrong: Mapping[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        validation.read(Kinds, body).finish(Kinds)
    assert told(caught) == wrong


def test_a_field_that_nobody_can_read_is_our_own_bug() -> None:
    class Odd(msgspec.Struct):
        bits: bytes

    with pytest.raises(TypeError, match="no reader"):
        validation.read(Odd, {})


def test_the_reasons_are_those_of_the_public_document() -> None:
    assert set(refunds.Reason.__args__) == {"requested_by_customer", "duplicate", "fraudulent", "other"}
