"""
What merchants send by mistake, as Hypothesis strategies: requests that are wrong in known places.

A request that is refused names every field that is wrong, and no other. So each of these comes with the names that
the answer must have, and is told of by them alone: the body may hold a card.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from kpay_adapters.testing.extras import NotInstalled

try:
    from hypothesis import strategies as st
except ImportError as missing:
    raise NotInstalled("hypothesis") from missing

import msgspec
from hypothesis.strategies import SearchStrategy

from kpay_adapters.testing import strategies
from kpay_adapters.testing.strategies import Body
from kpay_core.domain.cards import passes_luhn
from kpay_core.domain.money import MAX_CHARGE, MIN_CHARGE


class Mistaken(msgspec.Struct, frozen=True):
    """A body, and the dotted paths of all that is wrong with it."""

    body: Body
    fields: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<wrong: {', '.join(self.fields)}>"


# Instead of a value: the field is not there at all.
LEFT_OUT: Any = object()

# Values of the wrong kind, wherever another kind is wanted.
OBJECTS: list[Any] = [{}, {"a": 1}]
LISTS: list[Any] = [[], [1]]
NUMBERS: list[Any] = [5, -1, 0.5]
FLAGS: list[Any] = [True, False]
NOTHING: list[Any] = [None, LEFT_OUT]
NO_TEXT = [*NUMBERS, *FLAGS, *LISTS, *OBJECTS]
NO_INTEGER = ["50", 50.5, "", *FLAGS, *LISTS, *OBJECTS]
NO_OBJECT = ["tok_visa", *NUMBERS, *FLAGS, *LISTS]

Mistakes = Mapping[str, SearchStrategy[Any]]


def some(*values: Any) -> SearchStrategy[Any]:
    return st.sampled_from(values)


def too_long(most: int) -> SearchStrategy[str]:
    return st.integers(most + 1, most + 50).map(lambda length: "x" * length)


def digits(*lengths: int) -> SearchStrategy[str]:
    """Return digits of one of these lengths."""
    return st.one_of([strategies.digits(length) for length in lengths])


CHARGE: Mistakes = {
    "amount": some(*NO_INTEGER, *NOTHING)
    | st.integers(max_value=MIN_CHARGE - 1)
    | st.integers(MAX_CHARGE + 1, 2**63),
    "currency": some("EUR", "usd", "", *NO_TEXT),
    "description": too_long(500) | some(*NO_TEXT),
    "metadata": some("x", *NUMBERS, *FLAGS, *LISTS, {f"key {n}": n for n in range(51)}),
    # A name that metadata has where they have all that they may.
    "metadata.key 0": some(None, {"nested": 1}, ["list"], "x" * 501),
    "source.number": some(*NO_TEXT, *NOTHING, "4242 4242 4242 4242", "")
    | digits(1, 11, 20)
    | digits(16).filter(lambda number: not passes_luhn(number)),
    "source.exp_month": some(*NO_INTEGER, *NOTHING, 0, 13, -1),
    "source.exp_year": some(*NO_INTEGER, *NOTHING, 30, 999, 10_000),
    "source.cvc": digits(1, 2, 5) | some(*NO_TEXT, *NOTHING, "", "12a", "12 "),
    "billing_address.line1": some(*NO_TEXT, *NOTHING, "") | too_long(200),
    "billing_address.line2": some(*NO_TEXT) | too_long(200),
    "billing_address.city": some(*NO_TEXT, *NOTHING, "") | too_long(200),
    "billing_address.state": some(*NO_TEXT, *NOTHING, "", "ca", "XX", "California"),
    "billing_address.postal_code": some(*NO_TEXT, *NOTHING, "", "94105-", "94105 ", "9410A")
    | digits(4, 6, 9),
    "billing_address.country": some(*NO_TEXT, *NOTHING, "", "us", "DE", "USA"),
    "source": some(*NO_OBJECT, *NOTHING),
    "billing_address": some(*NO_OBJECT, *NOTHING),
    "ammount": some(4999, None),
    "source.name": some("Jane Doe"),
    "billing_address.zip": some("94105"),
}

REFUND: Mistakes = {
    "charge": some(*NO_TEXT, *NOTHING),
    "amount": some(*NO_INTEGER, 0, -1),
    "reason": some(*NO_TEXT, "", "because", "Duplicate"),
    "notes": some(*NO_TEXT) | too_long(1000),
    "currency": some("USD"),
}

ENDPOINT: Mistakes = {
    "url": some(
        *(*NO_TEXT, *NOTHING, "", "https://", "http://shop.example/hooks", "ftp://shop.example", "/hooks"),
        *(
            "https://localhost/",
            "https://127.0.0.1/",
            "https://10.0.0.1/",
            "https://[::1]/",
            "https://2130706433/",
        ),
        *("https://user@shop.example/", "https://shop.example/#here", "https://shop.example:0/"),
        f"https://shop.example/{'x' * 2048}",
    ),
    "enabled_events": some("*", *NUMBERS, *FLAGS, *OBJECTS, [], ["*"] * 51),
    "enabled_events.1": some("charge", "charge.*", "", None, 5),
    "description": some(*NO_TEXT) | too_long(200),
    "events": some(["*"]),
}

EVIDENCE: Mistakes = {
    "evidence": some(*NO_OBJECT),
    "evidence.uncategorized_text": some(*NO_TEXT) | too_long(20_000),
    "evidence.text": some("They signed for it."),
    "submit": some("true", *NUMBERS, *LISTS, *OBJECTS),
}

LIST_PARAMS: Mistakes = {
    "limit": some("0", "101", "-1", "ten", "1.5", ""),
    "page": some("1"),
}


def charges(valid: SearchStrategy[Body] | None = None) -> SearchStrategy[Mistaken]:
    """Requests for a charge that are refused, each made of a valid one."""
    sound = strategies.charges() if valid is None else valid
    return mistaken(sound, CHARGE) | spoilt_cards(sound)


def refunds(charge: str) -> SearchStrategy[Mistaken]:
    """Requests to refund a charge that are refused, whatever the charge is."""
    return mistaken(strategies.refunds(charge), REFUND)


def endpoints() -> SearchStrategy[Mistaken]:
    """Requests to register an endpoint that are refused."""
    return mistaken(strategies.endpoints(), ENDPOINT)


def evidence() -> SearchStrategy[Mistaken]:
    """Answers to a dispute that are refused, whatever the dispute is."""
    return mistaken(strategies.evidence(), EVIDENCE)


def list_params() -> SearchStrategy[Mistaken]:
    """Parameters that every list refuses; whether a cursor is known is looked at only where all else is right."""
    unknown = st.sampled_from(["starting_after", "ending_before"]).map(
        lambda way: Mistaken({way: "unknown"}, (way,))
    )
    return mistaken(strategies.list_params(), LIST_PARAMS) | unknown


@st.composite
def mistaken(draw: st.DrawFn, valid: SearchStrategy[Body], mistakes: Mistakes) -> Mistaken:
    """Make one to three mistakes in a valid body, none of them inside another."""
    wanted = draw(st.lists(st.sampled_from(sorted(mistakes)), min_size=1, max_size=3, unique=True))
    apart = [path for path in wanted if not any(path.startswith(f"{other}.") for other in wanted)]
    body = deepcopy(draw(valid))
    for path in apart:
        _put(body, path, draw(mistakes[path]))
    return Mistaken(body, tuple(sorted(apart)))


@st.composite
def spoilt_cards(draw: st.DrawFn, valid: SearchStrategy[Body]) -> Mistaken:
    """Make a card in a valid body whose fields do not fit each other, or the calendar."""
    body = deepcopy(draw(valid))
    card = body["source"]
    if draw(st.booleans()):
        card["exp_year"] = draw(st.integers(1000, 2000))
        return Mistaken(body, ("source.exp_year",))
    card["cvc"] = card["cvc"][:3] if len(card["cvc"]) == 4 else f"{card['cvc']}1"
    return Mistaken(body, ("source.cvc",))


def _put(body: Body, path: str, value: Any) -> None:
    """Put a value at a dotted path, where a number is a place in a list."""
    *parents, name = path.split(".")
    place: Any = body
    for parent in parents:
        if name.isdigit():
            # Beside one that is sound, so that the place is there whatever the valid body has.
            place[parent] = ["charge.succeeded", value]
            return
        if place.get(parent) is None:
            place[parent] = {}
        place = place[parent]
    if value is LEFT_OUT:
        place.pop(name, None)
    else:
        place[name] = value
