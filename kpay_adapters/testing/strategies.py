"""
What merchants send, as Hypothesis strategies: everything that is valid, to the limits of what is.

What is wrong, in places that are known, is in `kpay_adapters.testing.mistakes`.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from kpay_adapters.testing.clocks import START
from kpay_adapters.testing.extras import NotInstalled

try:
    from hypothesis import strategies as st
except ImportError as missing:
    raise NotInstalled("hypothesis") from missing

from hypothesis.strategies import SearchStrategy

from kpay_core.domain import metadata as metadata_limits
from kpay_core.domain.cards import brand_of, passes_luhn
from kpay_core.domain.endpoints import MAX_DESCRIPTION_LENGTH, MAX_EVENTS
from kpay_core.domain.events import EVENT_TYPES
from kpay_core.domain.idempotency import MAX_KEY_LENGTH
from kpay_core.domain.money import MAX_CHARGE, MIN_CHARGE
from kpay_core.domain.postal import STATES
from kpay_core.domain.validation import MANY_DIGITS

Body = dict[str, Any]

# A body has 64 KiB at most, and a character may take twelve bytes of it: so few values that a body always fits.
FEW = 8

# Cards are good for some years, and a few for as long as can be written.
YEARS_AHEAD = 12
LAST_YEAR = 9999


def texts(least: int = 0, most: int = 200) -> SearchStrategy[str]:
    """
    Text of so many characters, of all kinds that every store can hold: no NUL, no half of a surrogate pair.

    Nothing in it can be taken for a card number, which must not be found in anything that a server says.
    """
    kinds = st.characters(codec="utf-8", exclude_characters="\0")
    return st.text(kinds, min_size=least, max_size=most).filter(lambda text: not MANY_DIGITS.search(text))


def digits(many: int, most: int | None = None) -> SearchStrategy[str]:
    """So many digits, or up to `most`."""
    return st.text("0123456789", min_size=many, max_size=many if most is None else most)


def idempotency_keys() -> SearchStrategy[str]:
    """Idempotency keys. None begins or ends with a space, which HTTP takes from a header."""
    inner = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=MAX_KEY_LENGTH - 2)
    ends = st.characters(min_codepoint=33, max_codepoint=126)
    return ends | st.tuples(ends, inner, ends).map("".join)


def metadata() -> SearchStrategy[Body]:
    """A merchant's own keys and values. They come back equal, and of the same types."""
    values = (
        texts(most=metadata_limits.MAX_VALUE_LENGTH)
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.booleans()
    )
    names = texts(1, metadata_limits.MAX_KEY_LENGTH)
    most = st.integers(0, 9).map(lambda value: {f"key {n}": value for n in range(metadata_limits.MAX_KEYS)})
    return st.dictionaries(names, values, max_size=FEW) | most


def addresses() -> SearchStrategy[Body]:
    """US billing addresses."""
    zips = digits(5) | st.tuples(digits(5), digits(4)).map("-".join)
    return st.fixed_dictionaries(
        {
            "line1": texts(1),
            "city": texts(1),
            "state": st.sampled_from(sorted(STATES)),
            "postal_code": zips,
            "country": st.just("US"),
        },
        optional={"line2": st.none() | texts()},
    )


def card_numbers() -> SearchStrategy[str]:
    """Numbers that could be a card's: of 12 to 19 digits, with the right one at the end."""
    return digits(11, 18).map(with_check_digit)


def with_check_digit(digits: str) -> str:
    """Put the digit after a number that makes it pass (ISO/IEC 7812-1, annex B)."""
    return next(f"{digits}{check}" for check in range(10) if passes_luhn(f"{digits}{check}"))


@st.composite
def cards(draw: st.DrawFn, numbers: SearchStrategy[str] | None = None, now: datetime = START) -> Body:
    """Cards of some numbers, or of any, that are good at `now`."""
    number = draw(card_numbers() if numbers is None else numbers)
    year = draw(st.integers(now.year, now.year + YEARS_AHEAD) | st.just(LAST_YEAR))
    return {
        "number": number,
        "exp_month": draw(st.integers(now.month if year == now.year else 1, 12)),
        "exp_year": year,
        "cvc": draw(digits(4 if brand_of(number) == "amex" else 3)),
    }


def charges(
    numbers: SearchStrategy[str] | None = None,
    *,
    amounts: SearchStrategy[int] | None = None,
    now: datetime = START,
) -> SearchStrategy[Body]:
    """Requests for a charge, with cards of some numbers or of any, and with some amounts or any."""
    return st.fixed_dictionaries(
        {
            "amount": st.integers(MIN_CHARGE, MAX_CHARGE) if amounts is None else amounts,
            "source": cards(numbers, now),
            "billing_address": addresses(),
        },
        optional={
            "currency": st.sampled_from(["USD", None]),
            "description": st.none() | texts(most=500),
            "metadata": st.none() | metadata(),
        },
    )


def refunds(charge: str, most: int = MAX_CHARGE) -> SearchStrategy[Body]:
    """Requests to refund a charge, or up to `most` cents of it."""
    return st.fixed_dictionaries(
        {"charge": st.just(charge)},
        optional={
            "amount": st.none() | st.integers(1, most),
            "reason": st.sampled_from([None, "requested_by_customer", "duplicate", "fraudulent", "other"]),
            "notes": st.none() | texts(most=1000),
        },
    )


def urls() -> SearchStrategy[str]:
    """URLs for webhooks, at hosts that will never be there (RFC 2606)."""
    labels = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20)
    hosts = st.lists(labels, min_size=1, max_size=3).map(".".join)
    ends = st.sampled_from([".example", ".invalid", ".test", ".EXAMPLE.", ".example:443", ".example:65535"])
    steps = st.text("abcXYZ019-._~!$&'()*+,;=:@%", max_size=20).map("/{}".format)
    paths = st.lists(steps, max_size=4).map("".join)
    queries = st.sampled_from(["", "?", "?shop=1&key=a%20b"])
    return st.tuples(st.just("https://"), hosts, ends, paths, queries).map("".join)


def enabled_events(types: Iterable[str] = EVENT_TYPES) -> SearchStrategy[list[str]]:
    """What an endpoint wants to hear of, some of it perhaps twice; of all types that is `*` too."""
    of_all = tuple(types) == EVENT_TYPES
    return st.lists(st.sampled_from([*(["*"] if of_all else []), *types]), min_size=1, max_size=MAX_EVENTS)


def endpoints(types: Iterable[str] = EVENT_TYPES) -> SearchStrategy[Body]:
    """Requests to register an endpoint, for some types of events or for any."""
    return st.fixed_dictionaries(
        {"url": urls(), "enabled_events": enabled_events(types)},
        optional={"description": st.none() | texts(most=MAX_DESCRIPTION_LENGTH)},
    )


def endpoint_changes(types: Iterable[str] = EVENT_TYPES) -> SearchStrategy[Body]:
    """Requests to change an endpoint."""
    return st.fixed_dictionaries(
        {},
        optional={
            "url": st.none() | urls(),
            "enabled_events": st.none() | enabled_events(types),
            "description": st.none() | texts(most=MAX_DESCRIPTION_LENGTH),
            "status": st.sampled_from([None, "enabled", "disabled"]),
        },
    )


def evidence() -> SearchStrategy[Body]:
    """Answers to a dispute, drafted and submitted; two texts of them are magic in the sandbox."""
    said = st.sampled_from(["winning_evidence", "losing_evidence"]) | texts(most=1000)
    drafted = st.fixed_dictionaries({"uncategorized_text": said})
    submit = st.sampled_from([None, False, True])
    return st.fixed_dictionaries({"evidence": drafted}, optional={"submit": submit})


@st.composite
def list_params(draw: st.DrawFn, ids: Iterable[str] = (), **filters: SearchStrategy[Any]) -> Body:
    """Parameters of a list, with cursors out of `ids`, which are of that list, and with some filters of it."""
    params = draw(
        st.fixed_dictionaries(
            {}, optional={"limit": st.integers(1, 100) | st.integers(1, 100).map(str), **filters}
        )
    )
    known = list(ids)
    way = draw(st.sampled_from(["starting_after", "ending_before", None])) if known else None
    return params if way is None else {**params, way: draw(st.sampled_from(known))}
