"""The clock of the sandbox, as a tester reads and turns it (contract, section 9)."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kpay_core.domain.errors import Invalid
from kpay_core.domain.times import rfc3339 as time
from kpay_core.domain.validation import read
from kpay_core.domain.views import Time

# A year at a time: enough for whatever is due to happen.
MAX_ADVANCE_SECONDS = 366 * 24 * 60 * 60

# Some time before the last that can be written.
LAST_YEAR = 9900


class Advance(msgspec.Struct, frozen=True, kw_only=True):
    """How far to turn the clock. It only ever goes forward."""

    advance_seconds: Annotated[int, Meta(ge=1, le=MAX_ADVANCE_SECONDS, examples=[172_800])]


class TestClockView(msgspec.Struct, kw_only=True):
    """What time it is in the sandbox."""

    # pytest takes whatever begins so for a test.
    __test__ = False

    object: Literal["test_clock"] = "test_clock"
    now: Time
    livemode: Literal[False] = False


def read_advance(body: object, *, now: datetime) -> timedelta:
    """Read a request for how much time is to pass, or raise `Invalid`."""
    by = timedelta(seconds=read(Advance, body).finish(Advance).advance_seconds)
    if (now + by).year > LAST_YEAR:
        raise Invalid({"advance_seconds": [f"no further than the year {LAST_YEAR}"]})
    return by


def view_clock(now: datetime) -> TestClockView:
    """Show the time."""
    return TestClockView(now=time(now))
