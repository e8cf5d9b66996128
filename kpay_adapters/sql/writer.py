"""
The group commit: whatever is waiting while the database works goes into the next transaction together.

    commit(records) ──▶ queue ──take──▶ batch ──▶ one transaction ──▶ every caller is told
                                          │ a guard missed: look the versions up, drop the losers, write the rest
                                          │ a row was refused: the same; then halves, until the bad unit is alone
                                          └ the connection was lost: every caller of the batch is told `Unknown`

Two units on one record share a batch only if both hold it.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from sqlalchemy import Table

from kpay_adapters.sql.database import ANSWER_SECONDS, Away, Clash, Database, Lost, Refused, Trouble
from kpay_adapters.sql.units import Key, Layout, Unit, Versions
from kpay_core.commit import Conflict, Record, Rejected, Unavailable, Unknown

# Beyond this a batch gains little throughput, and its first unit waits longer.
MAX_BATCH_UNITS = 64

# At 5,000 units a second this is two seconds of work; whoever comes later is better told so at once.
MAX_QUEUED_UNITS = 10_000

# How often a batch is written again although no unit of it has lost: deadlocks, and records that move between the
# look-up and the write. Each time, another process got something done.
MAX_RETRIES = 8
FIRST_RETRY_SECONDS = 0.002


class Writer:
    """The one task that writes. It lives from `start` to `close`."""

    def __init__(self, database: Database, tables: Mapping[type[Record], Table]) -> None:
        self._session = database.session()
        self._layout = Layout(database, tables)
        self._versions = Versions()
        self._queue: deque[Unit] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        # Whether the last batch had losers: then there are others who write, and looking first is cheaper.
        self._wary = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="store writer")

    async def close(self) -> None:
        """Write what is queued, as far as that goes in one answer's time, and let go of the connection."""
        self._closing = True
        self._wake.set()
        if self._task:
            await asyncio.wait([self._task], timeout=ANSWER_SECONDS)
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        while self._queue:
            self._queue.popleft().fail(Unavailable("the store is closed"))
        await self._session.close()

    async def commit(self, records: Sequence[Record], held: Sequence[Record] = ()) -> None:
        """Queue a unit and wait for what becomes of it."""
        unit = self._layout.unit(records, held)
        if self._closing or self._task is None:
            raise Unavailable("the store is closed")
        if len(self._queue) >= MAX_QUEUED_UNITS:
            raise Unavailable("the store is full")
        if unit.rows:
            self._queue.append(unit)
            self._wake.set()
            await unit.done

    async def _run(self) -> None:
        while not self._closing or self._queue:
            await self._wake.wait()
            while units := self._take():
                try:
                    await self._write(units)
                except Exception as error:  # noqa: BLE001 whatever it is, those who wait must hear of it
                    failure = Unknown("the writer failed")
                    failure.__cause__ = error
                    _fail(units, failure)
                except asyncio.CancelledError:
                    _fail(units, Unknown("the store was closed in the middle of a commit"))
                    raise
            self._wake.clear()

    def _take(self) -> list[Unit]:
        """
        Take the next batch: nobody who has left, nobody who has lost already, and nobody who writes what another writes
        or holds. Whoever has to wait for that keeps his place before those who came later.
        """
        units: list[Unit] = []
        waiting: list[Unit] = []
        written: set[Key] = set()
        held: set[Key] = set()
        while self._queue and len(units) < MAX_BATCH_UNITS:
            unit = self._queue.popleft()
            if unit.done.done():
                continue
            if moved := self._versions.stale(unit):
                unit.fail(Conflict(*moved))
                continue
            writes = unit.guards.keys() - unit.held
            fits = written.isdisjoint(unit.guards) and held.isdisjoint(writes)
            (units if fits else waiting).append(unit)
            written |= writes
            held |= unit.held
        self._queue.extendleft(reversed(waiting))
        return units

    async def _write(self, units: list[Unit]) -> None:
        """Write a batch and tell everybody in it. It is done when no part of it is left to write."""
        left = [units]
        retries = 0
        while left:
            batch = left.pop()
            try:
                if self._wary:
                    batch = await self._winners(batch)
                if await self._attempt(batch):
                    continue
                still = await self._winners(batch)
                retries += len(still) == len(batch)
                left.append(still)
            except Refused as refusal:
                left.extend(await self._narrow(batch, refusal))
            except Clash:
                retries += 1
                await asyncio.sleep(FIRST_RETRY_SECONDS * 2**retries)
                left.append(batch)
            except Lost as error:
                _fail(batch, Unknown(str(error)))
            except Away as error:
                _fail(batch, Unavailable(str(error)))
            if retries > MAX_RETRIES:
                _fail([unit for batch in left for unit in batch], Unavailable("too much contention"))
                return

    async def _attempt(self, batch: list[Unit]) -> bool:
        """Write a batch in one transaction; False when a guard missed and nothing was written."""
        if batch and not await self._session.write(self._layout.parts(batch)):
            return False
        for unit in batch:
            for key, version in unit.guards.items():
                self._versions.note(key, version if key in unit.held else version + 1)
            unit.succeed()
        return True

    async def _narrow(self, batch: list[Unit], refusal: Refused) -> list[list[Unit]]:
        """
        Return what is to be written instead of a batch that was refused.

        Guards come first: a unit that is sent again may be refused only because it had taken effect.
        """
        try:
            still = await self._winners(batch)
        except Away as error:
            _fail(batch, Unavailable(str(error)))
            return []
        if len(still) < len(batch):
            return [still]
        if len(batch) == 1:
            _fail(batch, Rejected(str(refusal)))
            return []
        half = len(batch) // 2
        return [batch[half:], batch[:half]]

    async def _winners(self, batch: list[Unit]) -> list[Unit]:
        """Look the versions up and return the units whose guards hold; the others are told. Raises `Away`."""
        found = await self._look_up({key for unit in batch for key in unit.guards})
        still: list[Unit] = []
        for unit in batch:
            moved = next((key for key, version in unit.guards.items() if found.get(key, 0) != version), None)
            if moved is None:
                still.append(unit)
            else:
                self._versions.note(moved, found.get(moved, 0))
                unit.fail(Conflict(*moved))
        self._wary = len(still) < len(batch)
        return still

    async def _look_up(self, keys: Iterable[Key]) -> dict[Key, int]:
        ids: dict[type[Record], list[str]] = {}
        for kind, name in keys:
            ids.setdefault(kind, []).append(name)
        found: dict[Key, int] = {}
        try:
            for kind, wanted in ids.items():
                versions = await self._session.versions(self._layout.tables[kind], wanted)
                found.update(((kind, name), version) for name, version in versions.items())
        except Trouble as error:
            # Whatever it was, a look-up writes nothing.
            raise Away(str(error)) from error
        return found


def _fail(units: Iterable[Unit], error: Exception) -> None:
    for unit in units:
        unit.fail(error)
