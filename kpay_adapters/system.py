"""The machine's own clock and randomness."""

import asyncio
import os
import time
from datetime import UTC, datetime
from threading import Lock

from kpay_core.domain.times import MILLISECOND

# RFC 9562, section 5.7: 12 bits after the time, which we count up within a millisecond (section 6.2, method 1).
COUNTER_LIMIT = 1 << 12
# A millisecond starts its count in the lower half, so that there is room to count.
COUNTER_START_LIMIT = 1 << 11

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SystemClock:
    """The time of this machine, which is expected to be kept by NTP."""

    def now(self) -> datetime:
        # Whole milliseconds from the start: making a moment and cutting it takes twice as long.
        return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1_000, UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SystemIds:
    """UUIDv7 and random bytes. Names from one instance only ever grow, also when the clock steps back."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._millisecond = 0
        self._counter = 0

    def uuid7(self, now: datetime) -> str:
        millisecond = (now - EPOCH) // MILLISECOND
        random = int.from_bytes(os.urandom(10))
        with self._lock:
            if millisecond > self._millisecond:
                self._millisecond, self._counter = millisecond, random % COUNTER_START_LIMIT
            else:
                self._counter += 1
                if self._counter == COUNTER_LIMIT:
                    self._millisecond, self._counter = self._millisecond + 1, 0
            return uuid7(self._millisecond, self._counter, random >> 16)

    def random_bytes(self, size: int) -> bytes:
        return os.urandom(size)


def uuid7(millisecond: int, counter: int, random: int) -> str:
    """Write a UUIDv7: 48 bits of time, a 12-bit counter, 62 random bits (RFC 9562, section 5.7)."""
    value = millisecond << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | random & (1 << 62) - 1
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
