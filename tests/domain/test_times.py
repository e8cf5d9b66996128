"""Times as text and to the millisecond."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import example, given
from hypothesis import strategies as st

from kpay_core.domain.times import in_utc, rfc3339

Offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# A day from the ends of the calendar, so that every offset leaves a time in it.
Moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=Offsets)  # noqa: DTZ001 theirs


@given(Moments)
@example(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
@example(datetime(2026, 1, 2, 3, 4, 5, 999, tzinfo=UTC))
@example(datetime(2026, 1, 2, 3, 4, 5, 120_000, tzinfo=UTC))
@example(datetime.min.replace(tzinfo=UTC))
@example(datetime.max.replace(tzinfo=UTC))
def test_a_time_is_written_in_utc_cut_to_milliseconds(moment: datetime) -> None:
    usual = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    assert rfc3339(moment) == usual.replace("+00:00", "Z")


@given(Moments, Moments)
def test_text_sorts_as_time_does(one: datetime, other: datetime) -> None:
    earlier, later = sorted((one, other))
    assert rfc3339(earlier) <= rfc3339(later)


def test_what_is_past_all_times_in_utc_becomes_the_first_or_the_last() -> None:
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    far = timezone(timedelta(hours=14))
    assert in_utc(datetime(1, 1, 1, 13, 59, tzinfo=far)) == first
    assert in_utc(datetime(1, 1, 1, 14, 1, tzinfo=far)) == first + timedelta(minutes=1)
    assert in_utc(datetime(9999, 12, 31, 12, tzinfo=timezone(-timedelta(hours=14)))) == last
