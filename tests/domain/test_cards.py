"""Cards: what one is, and that its digits are shown nowhere."""

import copy
import pickle
import traceback
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpay_adapters.sandbox.cards import BEHAVING, DECLINED, REASONS
from kpay_core.domain.cards import (
    TEST_NUMBERS,
    Card,
    brand_of,
    check_card,
    is_for_tests,
    passes_luhn,
    summarise,
)

NUMBER = "4242424242424242"
CARD = Card(number=NUMBER, exp_month=12, exp_year=2030, cvc="737")


def with_check_digit(stem: str) -> str:
    """Append the last digit as ISO/IEC 7812-1 reckons it, written another way than the code under test."""
    total = 0
    for place, digit in enumerate(reversed(stem)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value // 10 + value % 10
    return stem + str(-total % 10)


@given(st.text("0123456789", min_size=11, max_size=18))
def test_a_number_has_exactly_one_good_last_digit(stem: str) -> None:
    good = [digit for digit in "0123456789" if passes_luhn(stem + digit)]
    assert [stem + digit for digit in good] == [with_check_digit(stem)]


@given(st.text("0123456789", min_size=11, max_size=18), st.data())
def test_any_single_wrong_digit_is_noticed(stem: str, data: st.DataObject) -> None:
    number = with_check_digit(stem)
    place = data.draw(st.integers(0, len(number) - 1))
    other = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != number[place]]))
    assert not passes_luhn(number[:place] + other + number[place + 1 :])


@pytest.mark.parametrize(
    ("prefix", "brand"),
    [
        ("4", "visa"),
        ("51", "mastercard"),
        ("55", "mastercard"),
        ("2221", "mastercard"),
        ("2720", "mastercard"),
        ("2220", "unknown"),
        ("2721", "unknown"),
        ("50", "unknown"),
        ("56", "unknown"),
        ("34", "amex"),
        ("37", "amex"),
        ("35", "unknown"),
        ("3528", "jcb"),
        ("3589", "jcb"),
        ("3527", "unknown"),
        ("3590", "unknown"),
        ("300", "diners"),
        ("305", "diners"),
        ("306", "unknown"),
        ("36", "diners"),
        ("38", "diners"),
        ("39", "diners"),
        ("6011", "discover"),
        ("644", "discover"),
        ("649", "discover"),
        ("643", "unknown"),
        ("65", "discover"),
        ("62", "unionpay"),
        ("81", "unionpay"),
        ("9", "unknown"),
        ("0", "unknown"),
    ],
)
def test_the_leading_digits_tell_the_brand(prefix: str, brand: str) -> None:
    assert brand_of(prefix.ljust(16, "0")) == brand


@pytest.mark.parametrize(
    ("number", "brand"),
    [
        ("4242424242424242", "visa"),
        ("5555555555554444", "mastercard"),
        ("2223003122003222", "mastercard"),
        ("378282246310005", "amex"),
        ("6011111111111117", "discover"),
        ("3056930009020004", "diners"),
        ("36227206271667", "diners"),
        ("3566002020360505", "jcb"),
        ("6200000000000005", "unionpay"),
    ],
)
def test_each_brands_usual_test_number_is_good(number: str, brand: str) -> None:
    assert passes_luhn(number)
    assert brand_of(number) == brand


@pytest.mark.parametrize(
    ("month", "year", "now", "wrong"),
    [
        (1, 2026, datetime(2026, 1, 31, 23, 59, 59, 999000, tzinfo=UTC), {}),
        (1, 2026, datetime(2026, 2, 1, tzinfo=UTC), {"exp_month": "expired"}),
        (2, 2028, datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC), {}),
        (12, 2025, datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC), {}),
        (12, 2025, datetime(2026, 1, 1, tzinfo=UTC), {"exp_year": "expired"}),
        (12, 9999, datetime(2026, 1, 1, tzinfo=UTC), {}),
    ],
)
def test_a_card_is_good_to_the_end_of_its_month_in_utc(
    month: int, year: int, now: datetime, wrong: dict[str, str]
) -> None:
    assert check_card({"exp_month": month, "exp_year": year}, now) == wrong


def test_a_year_that_is_over_is_said_to_be_whatever_the_month() -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    assert check_card({"exp_year": 2025}, now) == {"exp_year": "expired"}
    assert check_card({"exp_year": 2026}, now) == check_card({"exp_month": 5}, now) == {}


@pytest.mark.parametrize(
    ("number", "cvc", "wrong"),
    [
        (NUMBER, "123", {}),
        (NUMBER, "1234", {"cvc": "3 digits"}),
        ("378282246310005", "1234", {}),
        ("378282246310005", "123", {"cvc": "4 digits"}),
    ],
)
def test_an_amex_has_a_cvc_of_four_digits_and_the_others_of_three(
    number: str, cvc: str, wrong: dict[str, str]
) -> None:
    assert check_card({"number": number, "cvc": cvc}, datetime(2026, 1, 1, tzinfo=UTC)) == wrong


def test_a_card_shows_no_digits_however_it_is_looked_at() -> None:
    shown = [
        repr(CARD),
        str(CARD),
        f"{CARD}",
        f"{CARD!r:>40}",
        format(CARD),
        repr([CARD]),
        repr({"card": CARD}),
    ]
    assert not any(digits in text for text in shown for digits in ("4242", "737", "2030"))


def test_a_traceback_with_all_its_locals_shows_no_digits() -> None:
    def charge(card: Card) -> None:
        raise RuntimeError(f"no luck with {card}")

    try:
        charge(CARD)
    except RuntimeError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "<card>" in shown
    assert NUMBER not in shown
    assert "737" not in shown


def test_a_card_is_never_pickled() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="never pickled"):
            pickle.dumps(CARD, protocol)
    with pytest.raises(TypeError, match="never pickled"):
        copy.deepcopy(CARD)


def test_only_the_last_four_digits_are_kept() -> None:
    kept = msgspec.json.encode(summarise(CARD, fingerprint="f")).decode()
    assert '"last4":"4242"' in kept
    assert NUMBER[:-4] not in kept
    assert "737" not in kept


@pytest.mark.parametrize("number", sorted({*TEST_NUMBERS, *BEHAVING, *DECLINED, *REASONS}))
def test_each_magic_card_is_a_test_card(number: str) -> None:
    assert passes_luhn(number)
    assert is_for_tests(number)


@pytest.mark.parametrize(
    "number", ["4539578763621486", "4000010000000001", "40000000000000002", "400000000002"]
)
def test_a_card_that_a_bank_may_have_issued_is_none(number: str) -> None:
    assert not is_for_tests(number)
