"""Text that every store can hold."""

import re

SURROGATE = re.compile("[\\ud800-\\udfff]")


def is_plain(text: str) -> bool:
    """Tell whether a text has no NUL and no half of a surrogate pair, which databases refuse."""
    return "\0" not in text and (text.isascii() or not SURROGATE.search(text))
