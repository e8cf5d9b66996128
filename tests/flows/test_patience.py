"""Nobody waits longer than he should because somebody has turned the clock back meanwhile."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from kpay_adapters.memory import MemoryStore
from kpay_adapters.testing import FrozenClock
from kpay_core.commit import Conflict, Record, Unknown
from kpay_core.domain.charges import Charge
from kpay_core.domain.errors import Contention, IdempotencyKeyInUse
from kpay_core.domain.idempotency import WAIT_SECONDS
from kpay_core.flows.durably import COMMIT_PATIENCE_SECONDS, PATIENCE_SECONDS
from tests.flows.test_idempotency import Standing
from tests.flows.world import World

pytestmark = pytest.mark.anyio


class TurnedBack(FrozenClock):
    """A clock that is turned back by an hour while somebody sleeps, once."""

    is_turned = True

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        if not self.is_turned:
            self.is_turned = True
            self.advance(timedelta(hours=-1))


class Failing(MemoryStore):
    """A store that says of every commit that it failed, from when it is told to."""

    failure: Exception | None = None

    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        if self.failure is not None:
            raise self.failure
        await super().commit(*records, held=held)


class Waiting:
    """A world whose clock will be turned back, and for how long somebody waits there."""

    def __init__(self) -> None:
        self.clock = TurnedBack()
        self.store = Failing()
        self.world = World(clock=self.clock, store=self.store)

    def begin(self) -> None:
        self.clock.is_turned = False
        self.began = self.clock.monotonic()

    @property
    def seconds(self) -> float:
        assert self.clock.is_turned
        return self.clock.monotonic() - self.began


async def waiting() -> Waiting:
    here = Waiting()
    await here.world.open()
    return here


async def test_a_key_that_is_at_work_is_waited_for_for_ten_seconds() -> None:
    here = await waiting()
    first = here.world.charge(key="k")
    ports: Any = here.world.kpay
    ports.processors = {"test": Standing()}
    first.send(None)
    here.begin()
    with pytest.raises(IdempotencyKeyInUse):
        await here.world.charge(key="k")
    assert WAIT_SECONDS <= here.seconds < WAIT_SECONDS + 0.5
    first.close()


@pytest.mark.parametrize(
    ("failure", "told", "seconds"),
    [
        (Unknown("lost"), Unknown, COMMIT_PATIENCE_SECONDS),
        (Conflict(Charge, "ch_1"), Contention, PATIENCE_SECONDS),
    ],
)
async def test_a_store_that_takes_nothing_is_given_up_after_twenty_seconds(
    failure: Exception, told: type[Exception], seconds: float
) -> None:
    here = await waiting()
    here.store.failure = failure
    here.begin()
    with pytest.raises(told):
        await here.world.charge()
    assert seconds <= here.seconds < seconds + 2.5
