"""The time of a sandbox, which tests can turn forward."""

from datetime import datetime, timedelta

from kpay_core.commit import Conflict, Record, bump
from kpay_core.ports import Clock, Store

OFFSET = "clock"

MILLISECOND = timedelta(milliseconds=1)


class Offset(Record, frozen=True, kw_only=True):
    """How much later than the machine's the time of the sandbox is. There is one, for all processes."""

    version: int = 1
    milliseconds: int


class SandboxClock:
    """
    Another clock's time, and as much later as it was turned.

    How far is kept beside the journal: whoever `follow`s, or is started anew, lives in the same time.
    """

    def __init__(self, clock: Clock, *, journal: Store) -> None:
        self._clock = clock
        self._journal = journal
        self._offset = timedelta(0)

    @property
    def offset(self) -> timedelta:
        """How far the time was turned, as far as is known here."""
        return self._offset

    def now(self) -> datetime:
        return self._clock.now() + self._offset

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    async def follow(self) -> None:
        """Learn how far others have turned the time. Raises `CommitFailed` when the journal is away."""
        await self._learn()

    async def turn_to(self, moment: datetime) -> None:
        """Turn the time forward to a moment, for all processes; one that is past already changes nothing."""
        while True:
            kept = await self._learn()
            offset = moment - self._clock.now()
            if offset <= self._offset:
                return
            milliseconds = -(-offset // MILLISECOND)
            moved = (
                bump(kept, milliseconds=milliseconds)
                if kept
                else Offset(id=OFFSET, milliseconds=milliseconds)
            )
            try:
                await self._journal.commit(moved)
            except Conflict:
                continue
            # Never back: another may have turned it further by now.
            self._offset = max(self._offset, milliseconds * MILLISECOND)
            return

    async def _learn(self) -> Offset | None:
        kept = await self._journal.get(Offset, OFFSET)
        # Never back: what was turned here meanwhile may be read late.
        self._offset = max(self._offset, kept.milliseconds * MILLISECOND if kept else timedelta(0))
        return kept
