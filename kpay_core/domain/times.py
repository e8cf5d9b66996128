"""Times as text, and to the millisecond, which is all that records carry."""

from datetime import UTC, datetime, timedelta

import msgspec

MILLISECOND = timedelta(milliseconds=1)

FIRST, LAST = datetime.min, datetime.max  # noqa: DTZ901 of every time zone

_encode = msgspec.json.Encoder().encode


def rfc3339(moment: datetime) -> str:
    """Write a moment as RFC 3339 has it, in UTC, cut to milliseconds: of one width, so that text sorts as time does."""
    # A text in quotes, with six digits of a second or with none. `isoformat` takes three times as long.
    text = _encode(moment.astimezone(UTC)).decode()
    return text[1:24] + "Z" if moment.microsecond else text[1:20] + ".000Z"


def in_utc(moment: datetime) -> datetime:
    """Bring a moment to UTC. One that is past all times there becomes the first of them, or the last."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return (FIRST if moment.year == 1 else LAST).replace(tzinfo=UTC)


def cut_to_milliseconds(moment: datetime) -> datetime:
    """Drop what is finer than a millisecond: no record and no answer carries it."""
    return moment.replace(microsecond=moment.microsecond // 1_000 * 1_000)


def up_to_milliseconds(moment: datetime) -> datetime:
    """Return the first whole millisecond that is not before a moment; the last that there is, where there is none."""
    whole = cut_to_milliseconds(moment)
    last = cut_to_milliseconds(LAST.replace(tzinfo=moment.tzinfo))
    return whole if whole in (moment, last) else whole + MILLISECOND
