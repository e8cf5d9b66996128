"""Keys that were answered of late, so that a retry need not ask the store."""

from collections import OrderedDict
from datetime import datetime, timedelta

from kpay_core.domain.idempotency import LIFE, IdempotencyKey, State

# Of all answers together, in characters: some five thousand of them.
LIMIT = 4 * 1024 * 1024

# Another process, whose clock is ahead of ours, may use a key anew so much sooner than we would.
MARGIN = timedelta(minutes=1)


class Remembered:
    """
    A bounded memory of answered keys; the one that was asked for longest ago goes first.

    The answer of a key is final for as long as the key lives, so what is remembered is what the store would say. A
    process that has just started remembers nothing, and reads. Only clocks that are turned forward by a day and back
    again can make a difference: a key that another process used anew meanwhile is then answered here as it was before.
    """

    def __init__(self, *, limit: int = LIMIT) -> None:
        self._limit = limit
        self._size = 0
        self._keys: OrderedDict[str, IdempotencyKey] = OrderedDict()

    def find(self, id: str, *, now: datetime) -> IdempotencyKey | None:
        """Return a key if it is remembered, and will not be used anew for a while."""
        key = self._keys.get(id)
        if key is None:
            return None
        if now >= key.first_used_at + LIFE - MARGIN:
            self._forget(id)
            return None
        self._keys.move_to_end(id)
        return key

    def keep(self, key: IdempotencyKey) -> None:
        """Remember an answered key."""
        assert key.state is State.ANSWERED, "only a final answer is remembered"
        if self._keys.get(key.id) is key:
            return
        self._forget(key.id)
        self._keys[key.id] = key
        self._size += _size(key)
        while self._size > self._limit:
            self._forget(next(iter(self._keys)))

    def _forget(self, id: str) -> None:
        key = self._keys.pop(id, None)
        if key is not None:
            self._size -= _size(key)


def _size(key: IdempotencyKey) -> int:
    return len(key.id) + len(key.answer or "")
