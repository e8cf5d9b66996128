"""What a process has in mind, so that it asks its store less: final answers, and API keys for a moment."""

from collections import OrderedDict
from datetime import datetime, timedelta

from kpay_core.domain.idempotency import IdempotencyKey, State
from kpay_core.domain.keys import ApiKey

# Of all answers together, in characters: some five thousand of them.
LIMIT = 4 * 1024 * 1024

# Another process, whose clock is ahead of ours, may use a key anew so much sooner than we would.
MARGIN = timedelta(minutes=1)

# How long an API key opens without a look at the store, and how many do at most.
TRUSTED_SECONDS = 1.0
MANY_API_KEYS = 10_000

# By then nobody trusts what he read of a key before it was ended, also where seconds are a little longer.
FORGOTTEN_AFTER_SECONDS = 2.0


class Answers:
    """
    A bounded memory of answered keys; the one that was asked for longest ago goes first.

    The answer of a key is final for as long as the key lives, so what is remembered is what the store would say. A
    process that has just started remembers nothing, and reads. Only a clock that is turned back by more than a minute
    at the end of a key's day can make a difference: if another process has used the key anew by then, it is answered
    here as it was before.
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
        if now >= key.open_at - MARGIN:
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


class ApiKeys:
    """
    A bounded memory of API keys, each as it was read within the last second.

    Whoever ends a key returns when no process can have it in mind any more (`FORGOTTEN_AFTER_SECONDS`), so that an
    ended key opens nothing from then on. Moments are those of `Clock.monotonic`, which nobody turns.
    """

    def __init__(self, *, most: int = MANY_API_KEYS) -> None:
        self._most = most
        self._keys: dict[str, tuple[ApiKey, float]] = {}

    def find(self, id: str, *, now: float) -> ApiKey | None:
        """Return a key if it was read within the last second."""
        key, read_at = self._keys.get(id, (None, now))
        return key if now < read_at + TRUSTED_SECONDS else None

    def keep(self, key: ApiKey, *, read_at: float) -> None:
        """Remember a key as it was at `read_at`, a moment before it was read."""
        if len(self._keys) >= self._most:
            # They would be of no use in a second anyway.
            self._keys.clear()
        self._keys[key.id] = key, read_at

    def forget(self, id: str) -> None:
        """Read a key anew when it comes next."""
        self._keys.pop(id, None)

    def forget_all(self) -> None:
        """Read every key anew: what was read may be of another time."""
        self._keys.clear()


class Remembered:
    """All that a process has in mind. Nothing is lost with it."""

    def __init__(self) -> None:
        self.answers = Answers()
        self.api_keys = ApiKeys()
