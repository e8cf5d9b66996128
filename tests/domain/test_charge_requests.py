"""Requests for charges: every rule of the contract, and every error of a request at once."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpay_adapters.testing import CHARGE
from kpay_core.domain.charges import NewCharge, read_new_charge
from kpay_core.domain.errors import Invalid
from kpay_core.domain.postal import STATES
from tests.domain.samples import NOW

LEFT_OUT: Any = object()

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)

# What every database can hold.
PLAIN = st.characters(codec="utf-8", exclude_characters="\0")


def request(**changes: Any) -> dict[str, Any]:
    """Make a valid request with changes by dotted path (written with two underscores)."""
    body = deepcopy(CHARGE)
    for path, value in changes.items():
        *parents, name = path.split("__")
        place = body
        for parent in parents:
            place = place[parent]
        if value is LEFT_OUT:
            del place[name]
        else:
            place[name] = value
    return body


def read(body: object) -> NewCharge:
    return read_new_charge(body, now=NOW)


def errors(body: object) -> dict[str, list[str]]:
    with pytest.raises(Invalid) as caught:
        read(body)
    return {name: list(messages) for name, messages in caught.value.fields.items()}


def errors_or_none(body: object) -> dict[str, list[str]]:
    try:
        read(body)
    except Invalid as invalid:
        return {name: list(messages) for name, messages in invalid.fields.items()}
    return {}


def test_the_contracts_example_comes_out_to_the_letter() -> None:
    body = request(amount=49, source__exp_month=13, billing_address__state="ZZ", foo=1, currency="EUR")
    assert errors(body) == {
        "amount": ["min 50"],
        "source.exp_month": ["max 12"],
        "billing_address.state": ["unknown US state"],
        "foo": ["unknown field"],
        "currency": ["one of: USD"],
    }


def test_an_empty_request_is_told_all_that_is_required() -> None:
    assert errors({}) == {"amount": ["required"], "source": ["required"], "billing_address": ["required"]}
    assert errors({"amount": 50, "source": {}, "billing_address": {}}) == {
        **{f"source.{name}": ["required"] for name in ("number", "exp_month", "exp_year", "cvc")},
        **{
            f"billing_address.{name}": ["required"]
            for name in ("line1", "city", "state", "postal_code", "country")
        },
    }


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("amount", 49, "min 50"),
        ("amount", -1, "min 50"),
        ("amount", 10_000_001, "max 10000000"),
        ("amount", 10**400, "max 10000000"),
        ("amount", "50", "must be an integer"),
        ("amount", True, "must be an integer"),
        ("amount", 50.5, "must be an integer"),
        ("amount", float("nan"), "must be an integer"),
        ("amount", float("inf"), "must be an integer"),
        ("amount", [50], "must be an integer"),
        ("currency", "usd", "one of: USD"),
        ("currency", 1, "one of: USD"),
        ("currency", ["USD"], "one of: USD"),
        ("source", "4242424242424242", "must be an object"),
        ("source__number", "4242424242424241", "not a card number"),
        ("source__number", "42424242424", "12 to 19 digits"),
        ("source__number", "0" * 20, "12 to 19 digits"),
        ("source__number", "4242 4242 4242 4242", "12 to 19 digits"),
        ("source__number", "٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢", "12 to 19 digits"),
        ("source__number", "4242424242424242\n", "12 to 19 digits"),
        ("source__number", 4242424242424242, "must be a string"),
        ("source__exp_month", 0, "min 1"),
        ("source__exp_month", 13, "max 12"),
        ("source__exp_month", "12", "must be an integer"),
        ("source__exp_year", 30, "four digits"),
        ("source__exp_year", 10_000, "four digits"),
        ("source__exp_year", 2025, "expired"),
        ("source__cvc", "12", "3 digits, 4 for amex"),
        ("source__cvc", "12345", "3 digits, 4 for amex"),
        ("source__cvc", "12a", "3 digits, 4 for amex"),
        ("source__cvc", "1234", "3 digits"),
        ("source__cvc", 123, "must be a string"),
        ("source__name", "A. Card", "unknown field"),
        ("billing_address", [], "must be an object"),
        ("billing_address__line1", "", "at least 1 characters"),
        ("billing_address__line1", "x" * 201, "at most 200 characters"),
        ("billing_address__line2", "x" * 201, "at most 200 characters"),
        ("billing_address__city", "", "at least 1 characters"),
        ("billing_address__city", "x" * 201, "at most 200 characters"),
        ("billing_address__state", "ca", "unknown US state"),
        ("billing_address__state", "ON", "unknown US state"),
        ("billing_address__postal_code", "9410", "ZIP or ZIP+4"),
        ("billing_address__postal_code", "94105-12", "ZIP or ZIP+4"),
        ("billing_address__postal_code", "941051234", "ZIP or ZIP+4"),
        ("billing_address__postal_code", "94105\n", "ZIP or ZIP+4"),
        ("billing_address__postal_code", 94105, "must be a string"),
        ("billing_address__country", "CA", "one of: US"),
        ("billing_address__zip", "94105", "unknown field"),
        ("description", "x" * 501, "at most 500 characters"),
        ("description", 5, "must be a string"),
        ("metadata", [], "must be an object"),
        ("metadata", {str(n): n for n in range(51)}, "at most 50 keys"),
        ("description", "a\0b", "must be plain Unicode text"),
        ("description", "half a pair: \ud83d", "must be plain Unicode text"),
        ("ammount", 50, "unknown field"),
    ],
)
def test_a_field_that_breaks_its_rule_is_named_with_what_is_wrong(
    field: str, value: object, message: str
) -> None:
    assert errors(request(**{field: value})) == {field.replace("__", "."): [message]}


def test_each_key_of_metadata_is_named_with_what_is_wrong() -> None:
    lengths, values = "keys have 1 to 40 characters", "values are strings, numbers or booleans"
    plain = "keys and strings must be plain Unicode text"
    wrong: dict[str, tuple[object, str]] = {
        "": (1, lengths),
        "k" * 41: (1, lengths),
        "long": ("v" * 501, "strings have at most 500 characters"),
        "nan": (float("nan"), "numbers must be finite"),
        "infinite": (float("-inf"), "numbers must be finite"),
        "nothing": (None, values),
        "list": ([], values),
        "deep": ({"deep": 1}, values),
        "no text": ("a\0b", plain),
    }
    sound = {"a": 1, "b": "text", "c": False, "d": 0.5}
    given = {key: value for key, (value, _) in wrong.items()} | sound
    expected = {f"metadata.{key}": [message] for key, (_, message) in wrong.items()}
    assert errors(request(metadata=given)) == expected
    # What cannot be shown is not.
    hidden = {"half a pair: \ud83d": 1, "4242 4242 4242 4242": None}
    assert errors(request(metadata=hidden)) == {"metadata.…": [plain, values]}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", 50),
        ("amount", 10_000_000),
        ("source__number", "676767670000"),
        ("source__number", "6304000000000000000"),
        ("source__exp_month", 1),
        ("source__exp_year", 9999),
        ("billing_address__line1", "x"),
        ("billing_address__line1", "ü" * 200),
        ("billing_address__line2", ""),
        ("billing_address__line2", "Floor 3"),
        ("billing_address__postal_code", "94105-1234"),
        ("description", ""),
        ("description", "x" * 500),
        ("metadata", {}),
        ("metadata", {str(n): n for n in range(50)}),
        ("metadata", {"k" * 40: "v" * 500}),
    ],
)
def test_the_edge_of_a_rule_is_within_it(field: str, value: object) -> None:
    assert read(request(**{field: value}))


@pytest.mark.parametrize("state", sorted(STATES))
def test_every_postal_state_and_territory_is_known(state: str) -> None:
    assert read(request(billing_address__state=state)).billing_address.state == state


def test_there_are_fifty_states_and_twelve_more_postal_codes() -> None:
    beyond = {"DC", "AS", "FM", "GU", "MH", "MP", "PR", "PW", "VI", "AA", "AE", "AP"}
    assert beyond <= STATES
    assert len(STATES - beyond) == 50


def test_an_integer_may_be_written_with_a_point() -> None:
    amount = read(request(amount=50.0)).amount
    assert (amount, type(amount)) == (50, int)


@pytest.mark.parametrize("value", [None, LEFT_OUT], ids=["null", "left out"])
def test_null_is_the_same_as_leaving_it_out(value: object) -> None:
    names = ("currency", "description", "metadata", "billing_address__line2")
    body = request(**dict.fromkeys(names))
    if value is LEFT_OUT:
        body = request(currency=LEFT_OUT, description=LEFT_OUT, metadata=LEFT_OUT)
    new = read(body)
    assert (new.currency, new.description, new.metadata) == ("USD", None, None)
    assert new.billing_address.line2 is None
    assert errors(request(amount=value, source__cvc=value)) == {
        "amount": ["required"],
        "source.cvc": ["required"],
    }


def test_metadata_comes_back_with_the_same_types_and_values() -> None:
    sent = {"i": 5, "f": 5.0, "big": 2**53 + 1, "b": True, "s": "5", "tiny": 5e-324, "minus": -0.0}
    found = read(request(metadata=sent)).metadata
    assert found is not None
    assert [(name, type(value), repr(value)) for name, value in found.items()] == [
        (name, type(value), repr(value)) for name, value in sent.items()
    ]


@given(
    st.dictionaries(
        st.text(PLAIN, min_size=1, max_size=40),
        st.text(PLAIN, max_size=500) | st.integers() | st.booleans(),
        max_size=50,
    )
)
def test_any_metadata_within_the_rules_is_kept_as_it_is(metadata: dict[str, object]) -> None:
    assert read(request(metadata=metadata)).metadata == metadata


@given(JSON)
def test_whatever_json_comes_is_refused_by_fields(body: object) -> None:
    assert errors(body)


@given(st.sampled_from(["amount", "currency", "source", "billing_address", "description", "metadata"]), JSON)
def test_whatever_stands_in_a_field_is_read_or_refused_under_its_name(field: str, value: object) -> None:
    wrong = {name.partition(".")[0] for name in errors_or_none(request(**{field: value}))}
    assert wrong <= {field}


@given(st.text("0123456789", min_size=12, max_size=19), st.text("0123456789", min_size=3, max_size=4))
def test_no_error_repeats_a_digit_of_the_card(number: str, cvc: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(request(source__number=number, source__cvc=cvc, source__exp_month=0))
    told = str(caught.value) + repr(caught.value) + str(caught.value.details)
    assert number not in told
    assert cvc not in told
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "number", ["4242424242424242", "4242 4242 4242 4242", "4242-4242-4242-4242", "3782 822463 10005"]
)
def test_a_number_in_the_place_of_a_name_is_not_told_again(number: str) -> None:
    body = request()
    body["source"][number] = body["x" * 1000] = 1
    assert errors(body) == {"source.…": ["unknown field"], "…": ["unknown field"]}
