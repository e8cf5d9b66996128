"""Names and secrets that repeat from a seed."""

import random
from datetime import datetime

from kpay_adapters.system import EPOCH, MILLISECOND, uuid7


class SeededIds:
    """Names and random bytes that are the same for the same seed."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._random = random.Random(seed)
        self._millisecond = 0
        self._count = 0

    def uuid7(self, now: datetime) -> str:
        # The count stands before the seed where the random bits are: names grow within a millisecond, and when the
        # clock steps back, and those of two seeds are never the same.
        self._count += 1
        self._millisecond = max(self._millisecond, (now - EPOCH) // MILLISECOND)
        return uuid7(self._millisecond, 0, self._count << 20 | self._seed % (1 << 20))

    def random_bytes(self, size: int) -> bytes:
        return self._random.randbytes(size)
