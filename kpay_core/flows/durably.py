"""Committing through a connection that may break, and trying again when somebody else was first."""

from datetime import datetime, timedelta

from kpay_core.commit import Conflict, Record, Unknown, is_guarded
from kpay_core.domain.errors import Contention
from kpay_core.ports import Ports

# A broken connection is back at once or not soon; a caller is better told than kept waiting.
COMMIT_TRIES = 4
COMMIT_PAUSE_SECONDS = 0.1

# A request gives way to others on its object for this long. 100 refunds of one charge need about a second.
PATIENCE = timedelta(seconds=20)
FIRST_PAUSE_SECONDS = 0.001
LONGEST_PAUSE_SECONDS = 0.1


async def commit(ports: Ports, *records: Record) -> None:
    """
    Commit, and see an unknown outcome through: the same records are sent again, and read back on a conflict.

    Raises `Conflict` when somebody else was first, `Unknown` when the store stays out of reach.
    """
    unsure = False
    for attempt in range(1, COMMIT_TRIES + 1):
        try:
            await ports.store.commit(*records)
            return
        except Unknown:
            if attempt == COMMIT_TRIES:
                raise
            unsure = True
            await ports.clock.sleep(COMMIT_PAUSE_SECONDS * attempt)
        except Conflict:
            if unsure and await _is_ours(ports, records):
                return
            raise


async def _is_ours(ports: Ports, records: tuple[Record, ...]) -> bool:
    """Tell whether the unit that conflicts with itself had been written: one guarded record speaks for all."""
    written = next(record for record in records if is_guarded(type(record)))
    return await ports.store.get(type(written), written.id) == written


class Turns:
    """Tries of one request to get its turn on an object that others change too."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self.since: datetime = ports.clock.now()
        self.pause_seconds = FIRST_PAUSE_SECONDS

    async def wait(self) -> None:
        """Stand back for a moment after a conflict; raises `Contention` when patience is over."""
        if self.ports.clock.now() - self.since > PATIENCE:
            raise Contention
        # A random share of the pause keeps those who collided from colliding again.
        share = int.from_bytes(self.ports.ids.random_bytes(2)) / 0xFFFF
        await self.ports.clock.sleep(self.pause_seconds * share)
        self.pause_seconds = min(self.pause_seconds * 2, LONGEST_PAUSE_SECONDS)
