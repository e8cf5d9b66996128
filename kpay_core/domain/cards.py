"""
Cards: what one is, what may be kept of it, and a representation that never shows the number.

Number and cvc are poison. They live in a `Card` between the request and the processor, and nowhere else.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NoReturn

import msgspec
from msgspec import Meta

Brand = Literal["visa", "mastercard", "amex", "discover", "diners", "jcb", "unionpay", "unknown"]

# A brand's first and last leading digits (ISO/IEC 7812 ranges as issued today).
RANGES: tuple[tuple[int, int, Brand], ...] = (
    (34, 34, "amex"),
    (37, 37, "amex"),
    (300, 305, "diners"),
    (36, 36, "diners"),
    (38, 39, "diners"),
    (3528, 3589, "jcb"),
    (4, 4, "visa"),
    (2221, 2720, "mastercard"),
    (51, 55, "mastercard"),
    (6011, 6011, "discover"),
    (644, 649, "discover"),
    (65, 65, "discover"),
    (62, 62, "unionpay"),
    (81, 81, "unionpay"),
)
BRANDS: Mapping[str, Brand] = {
    str(leading): brand for first, last, brand in RANGES for leading in range(first, last + 1)
}
MOST_LEADING_DIGITS = max(map(len, BRANDS))


# What a doubled digit adds to the sum: 2 for 1, and 1 for 5, because 10 counts as 1 + 0.
DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")


def passes_luhn(number: str) -> bool:
    """Check the last digit of an all-digits number (ISO/IEC 7812-1, annex B)."""
    digits = number.encode()
    total = sum(digits[::-2]) + sum(digits[-2::-2].translate(DOUBLED)) - ord("0") * len(digits)
    return total % 10 == 0


def brand_of(number: str) -> Brand:
    """Tell the brand by the leading digits."""
    for digits in range(1, MOST_LEADING_DIGITS + 1):
        if brand := BRANDS.get(number[:digits]):
            return brand
    return "unknown"


# The numbers that every developer knows, and that no bank has given to anybody: each brand's usual one, and the first
# ten thousand of a range, among which are the sandbox's magic cards.
TEST_NUMBERS = frozenset(
    (
        "4242424242424242",
        "5555555555554444",
        "378282246310005",
        "6011111111111117",
        "3056930009020004",
        "3566002020360505",
        "6200000000000005",
    )
)
TEST_RANGE = "400000000000"


def is_for_tests(number: str) -> bool:
    """Tell whether a number is one of those that stand for no card."""
    return number in TEST_NUMBERS or (number.startswith(TEST_RANGE) and len(number) == len(TEST_RANGE) + 4)


def check_number(number: str) -> str | None:
    """Say what is wrong with a number of the right shape."""
    return None if passes_luhn(number) else "not a card number"


Number = Annotated[
    str,
    Meta(
        pattern="^[0-9]{12,19}$",
        examples=["4242424242424242"],
        extra={"message": "12 to 19 digits", "check": check_number},
    ),
]
ExpMonth = Annotated[int, Meta(ge=1, le=12, examples=[12])]
ExpYear = Annotated[int, Meta(ge=1000, le=9999, examples=[2030], extra={"message": "four digits"})]
Cvc = Annotated[
    str, Meta(pattern="^[0-9]{3,4}$", examples=["123"], extra={"message": "3 digits, 4 for amex"})
]


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A card in hand, for one request. It shows no digits, and refuses to be pickled."""

    number: Number
    exp_month: ExpMonth
    exp_year: ExpYear
    cvc: Cvc

    def __repr__(self) -> str:
        return "<card>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []

    def __reduce__(self) -> NoReturn:
        raise TypeError("a card is never pickled")


class CardSummary(msgspec.Struct, frozen=True, kw_only=True):
    """All that is kept of a card. The fingerprint is a keyed hash, the same for one card within one merchant."""

    brand: Brand
    last4: str
    exp_month: int
    exp_year: int
    fingerprint: str


def check_card(card: dict[str, object], now: datetime) -> dict[str, str]:
    """
    Say what is wrong between the fields of a card whose single fields may be missing but are sound.

    A card is good to the end of its month in UTC; an amex has a cvc of four digits, the others of three.
    """
    wrong: dict[str, str] = {}
    month, year, number, cvc = (card.get(name) for name in ("exp_month", "exp_year", "number", "cvc"))
    if isinstance(year, int) and year < now.year:
        wrong["exp_year"] = "expired"
    elif isinstance(month, int) and year == now.year and month < now.month:
        wrong["exp_month"] = "expired"
    if isinstance(number, str) and isinstance(cvc, str):
        digits = 4 if brand_of(number) == "amex" else 3
        if len(cvc) != digits:
            wrong["cvc"] = f"{digits} digits"
    return wrong


def summarise(card: Card, *, fingerprint: str) -> CardSummary:
    """Keep what may be kept."""
    return CardSummary(
        brand=brand_of(card.number),
        last4=card.number[-4:],
        exp_month=card.exp_month,
        exp_year=card.exp_year,
        fingerprint=fingerprint,
    )
