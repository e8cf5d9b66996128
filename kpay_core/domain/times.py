"""Times as text."""

from datetime import UTC, datetime

import msgspec

_encode = msgspec.json.Encoder().encode


def rfc3339(moment: datetime) -> str:
    """Write a moment as RFC 3339 has it, in UTC, cut to milliseconds: of one width, so that text sorts as time does."""
    # The first 19 characters inside the quotes are the seconds. `isoformat` takes three times as long.
    text = _encode(moment.astimezone(UTC)).decode()
    return f"{text[1:20]}.{moment.microsecond // 1_000:03}Z"
