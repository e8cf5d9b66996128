"""Metadata: a merchant's own keys and values, which come back as they were sent, value and type."""

from math import isfinite
from typing import Annotated

from msgspec import Meta

from kpay_core.domain.text import is_plain

# Contract, section 5.
MAX_KEYS = 50
MAX_KEY_LENGTH = 40
MAX_VALUE_LENGTH = 500


def check_metadata(metadata: dict[str, object]) -> str | dict[str, str] | None:
    """Say what is wrong with a merchant's metadata: that there is too much of it, or with which of its keys what."""
    if len(metadata) > MAX_KEYS:
        return f"at most {MAX_KEYS} keys"
    return {key: wrong for key, value in metadata.items() if (wrong := check_pair(key, value))} or None


def check_pair(key: str, value: object) -> str | None:
    """Say what is wrong with a key and its value; the first thing is enough."""
    if not 1 <= len(key) <= MAX_KEY_LENGTH:
        return f"keys have 1 to {MAX_KEY_LENGTH} characters"
    if not all(is_plain(text) for text in (key, value) if isinstance(text, str)):
        return "keys and strings must be plain Unicode text"
    match value:
        case str() if len(value) > MAX_VALUE_LENGTH:
            return f"strings have at most {MAX_VALUE_LENGTH} characters"
        case float() if not isfinite(value):
            return "numbers must be finite"
        case str() | int() | float():
            return None
        case _:
            return "values are strings, numbers or booleans"


Metadata = Annotated[
    dict[
        Annotated[str, Meta(min_length=1, max_length=MAX_KEY_LENGTH)],
        Annotated[str, Meta(max_length=MAX_VALUE_LENGTH)] | int | float | bool,
    ],
    Meta(
        max_length=MAX_KEYS,
        description="Arbitrary key/value pairs.",
        examples=[{"order_id": "1024"}],
        extra={"check": check_metadata},
    ),
]
