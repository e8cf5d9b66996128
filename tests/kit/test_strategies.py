"""What the strategies call valid is taken, to the limits of what is; what they call wrong is refused by its name."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from kpay_adapters.testing import CHARGE, START, mistakes, strategies
from kpay_adapters.testing.mistakes import Mistaken
from kpay_core.domain import charges, disputes, endpoints, refunds
from kpay_core.domain.cards import brand_of
from kpay_core.domain.charges import ChargeListParams
from kpay_core.domain.errors import Invalid
from kpay_core.domain.idempotency import check_key
from kpay_core.domain.pages import read_params
from kpay_http import body as bodies

Read = Callable[[Any], object]


def read_charge(body: object) -> object:
    return charges.read_new_charge(body, now=START)


def read_endpoint(body: object) -> object:
    return endpoints.read_new_endpoint(body, local=False)


def read_changes(body: object) -> object:
    return endpoints.read_changes(body, local=False)


def read_list(params: Any) -> object:
    return read_params(ChargeListParams, params)


VALID = {
    "charge": (read_charge, strategies.charges()),
    "refund": (refunds.read_new_refund, strategies.refunds("ch_1")),
    "endpoint": (read_endpoint, strategies.endpoints()),
    "changes of an endpoint": (read_changes, strategies.endpoint_changes()),
    "evidence": (disputes.read_dispute_changes, strategies.evidence()),
    "list": (read_list, strategies.list_params(["id"], status=st.sampled_from(["succeeded", "failed"]))),
}
WRONG = {
    "charge": (read_charge, mistakes.charges(), mistakes.CHARGE),
    "refund": (refunds.read_new_refund, mistakes.refunds("ch_1"), mistakes.REFUND),
    "endpoint": (read_endpoint, mistakes.endpoints(), mistakes.ENDPOINT),
    "evidence": (disputes.read_dispute_changes, mistakes.evidence(), mistakes.EVIDENCE),
}

SOUND = {
    "charge": CHARGE,
    "refund": {"charge": "ch_1"},
    "endpoint": {"url": "https://shop.example/hooks"},
    "evidence": {"evidence": {"uncategorized_text": "They signed for it."}},
}


@pytest.mark.parametrize("what", VALID)
@given(data=st.data())
@settings(max_examples=50)
def test_what_is_valid_is_taken_and_fits_into_a_request(what: str, data: st.DataObject) -> None:
    read, valid = VALID[what]
    body = data.draw(valid)
    read(body)
    assert bodies.decode(msgspec.json.encode(body), "application/json") == body
    assert len(msgspec.json.encode(body)) <= bodies.LIMIT_BYTES


@pytest.mark.parametrize("what", WRONG)
@given(data=st.data())
@settings(max_examples=50)
def test_what_is_wrong_is_refused_and_every_field_that_is_wrong_is_named(
    what: str, data: st.DataObject
) -> None:
    read, wrong, _ = WRONG[what]
    mistaken = data.draw(wrong)
    with pytest.raises(Invalid) as refused:
        read(mistaken.body)
    assert set(refused.value.fields) == set(mistaken.fields)


@pytest.mark.parametrize(
    ("what", "path"), [(what, path) for what, (*_, known) in WRONG.items() for path in known]
)
def test_each_kind_of_mistake_is_one_by_itself(what: str, path: str) -> None:
    read, _, known = WRONG[what]

    @given(mistakes.mistaken(st.just(SOUND[what]), {path: known[path]}))
    @settings(max_examples=20, phases=[Phase.generate], database=None, derandomize=True)
    def is_refused(mistaken: Mistaken) -> None:
        with pytest.raises(Invalid) as refused:
            read(mistaken.body)
        assert list(refused.value.fields) == [path]

    is_refused()


@given(mistakes.list_params())
def test_wrong_parameters_of_a_list_are_named_unless_it_is_the_cursor_that_is_unknown(
    mistaken: Mistaken,
) -> None:
    if mistaken.fields in (("starting_after",), ("ending_before",)):
        read_list(mistaken.body)
        return
    with pytest.raises(Invalid) as refused:
        read_list(mistaken.body)
    assert set(refused.value.fields) == set(mistaken.fields)


@given(strategies.idempotency_keys())
def test_idempotency_keys_are_taken_and_come_through_a_header(key: str) -> None:
    assert check_key(key) == key.strip()


@pytest.mark.parametrize(
    "reached",
    [
        lambda body: body["amount"] == 50,
        lambda body: len(body["source"]["number"]) == 19,
        lambda body: brand_of(body["source"]["number"]) == "amex",
        lambda body: body["source"]["exp_year"] == 9999,
        lambda body: len(body.get("metadata") or ()) == 50,
        lambda body: any(type(value) is float for value in (body.get("metadata") or {}).values()),
        lambda body: not body["billing_address"]["line1"].isascii(),
        lambda body: "-" in body["billing_address"]["postal_code"],
    ],
)
def test_charges_reach_the_limits_of_what_is_valid(reached: Callable[[Any], bool]) -> None:
    quickly = settings(max_examples=2_000, phases=[Phase.generate], database=None, derandomize=True)
    find(strategies.charges(), reached, settings=quickly)


def test_a_mistake_is_told_of_without_what_was_sent() -> None:
    assert (
        repr(Mistaken({"source": {"number": "4242424242424242"}}, ("amount", "foo")))
        == "<wrong: amount, foo>"
    )
