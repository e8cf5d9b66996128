"""Committing through a connection that may break, and trying again when somebody else was first."""

from collections.abc import Sequence

from kpay_core.commit import Conflict, Record, Unavailable, Unknown, is_guarded
from kpay_core.domain.errors import Contention
from kpay_core.ports import Ports

# A database that fails over is back within half a minute, and a caller waits that long for a processor too.
COMMIT_PATIENCE_SECONDS = 20.0
COMMIT_PAUSE_SECONDS = 0.1
LONGEST_COMMIT_PAUSE_SECONDS = 2.0

# A request gives way to others on its object for this long. 100 refunds of one charge need about a second.
PATIENCE_SECONDS = 20.0
FIRST_PAUSE_SECONDS = 0.001
LONGEST_PAUSE_SECONDS = 0.1


async def commit(ports: Ports, *records: Record, held: Sequence[Record] = ()) -> None:
    """
    Commit, and see an unknown outcome through: the same unit is sent again, and read back on a conflict.

    Raises `Conflict` when somebody else was first, `Unknown` when the store stays out of reach for 20 seconds after
    it may have taken the records, and `Unavailable` when it certainly has not. A unit of nothing but appended records
    is `Rejected` when it had taken effect and is sent again, unless a record that it held has moved since.
    """
    unsure_since: float | None = None
    pause_seconds = COMMIT_PAUSE_SECONDS
    while True:
        try:
            await ports.store.commit(*records, held=held)
            return
        except Conflict:
            if unsure_since is not None and await _is_ours(ports, records):
                return
            raise
        except (Unknown, Unavailable) as failure:
            if unsure_since is None and isinstance(failure, Unavailable):
                raise
            now = ports.clock.monotonic()
            unsure_since = now if unsure_since is None else unsure_since
            if now - unsure_since >= COMMIT_PATIENCE_SECONDS:
                raise Unknown("the store stays out of reach") from failure
        await ports.clock.sleep(pause_seconds)
        pause_seconds = min(pause_seconds * 2, LONGEST_COMMIT_PAUSE_SECONDS)


async def _is_ours(ports: Ports, records: tuple[Record, ...]) -> bool:
    """
    Tell whether the unit that conflicts had been written.

    An appended record speaks for all: nobody else makes its id, and it stays. So does a new one, whose id is its
    maker's. Of others somebody else may have written the same, and where he wrote not all of it, it is not ours.
    """
    new = [record for record in records if getattr(record, "version", 1) == 1]
    speaking = sorted(new, key=lambda record: is_guarded(type(record)))[:1] or records
    try:
        return all([await ports.store.get(type(record), record.id) == record for record in speaking])
    except Unavailable as failure:
        raise Unknown("the store stays out of reach") from failure


class Turns:
    """Tries of one request to get its turn on an object that others change too."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self.since: float | None = None
        self.pause_seconds = FIRST_PAUSE_SECONDS

    async def wait(self) -> None:
        """Stand back for a moment after a conflict; raises `Contention` when patience is over."""
        now = self.ports.clock.monotonic()
        self.since = now if self.since is None else self.since
        if now - self.since > PATIENCE_SECONDS:
            raise Contention
        # A random share of the pause keeps those who collided from colliding again.
        share = int.from_bytes(self.ports.ids.random_bytes(2)) / 0xFFFF
        await self.ports.clock.sleep(self.pause_seconds * share)
        self.pause_seconds = min(self.pause_seconds * 2, LONGEST_PAUSE_SECONDS)
