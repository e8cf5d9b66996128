"""One system in memory and one on SQLite, given the same seed, clock and requests, give the same answers."""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from msgspec.structs import replace

from kpay_adapters.sql.migrate import migrate
from kpay_adapters.sql.store import SqlStore
from kpay_adapters.testing import Crash, Crashing, CrashPoint
from kpay_core.commit import Conflict, Record, bump
from kpay_core.domain.charges import Charge
from kpay_core.domain.errors import KpayError
from kpay_core.domain.idempotency import IdempotencyKey
from kpay_core.domain.keys import ApiKey
from kpay_core.domain.merchants import Merchant
from kpay_core.domain.refunds import Refund
from tests.flows.world import DECLINED, DOWN, GOOD, LOST, REFUND_PENDING, World, check_books

KINDS: tuple[type[Record], ...] = (Merchant, ApiKey, Charge, Refund, IdempotencyKey)
KEYS = st.sampled_from([None, "a", "b"])
METADATA = st.dictionaries(
    st.text(min_size=1, max_size=5).filter(lambda text: "\0" not in text and text.isprintable()),
    st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "é", "'"]),
    max_size=3,
)


@cache
def template() -> tuple[tempfile.TemporaryDirectory[str], Path]:
    """Make a migrated, empty database to copy."""
    folder = tempfile.TemporaryDirectory(prefix="kpay-")
    path = Path(folder.name) / "template.db"
    asyncio.run(migrate(f"sqlite:///{path}"))
    return folder, path


class Lockstep(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory(prefix="kpay-")
        path = Path(self.folder.name) / "books.db"
        shutil.copy(template()[1], path)
        self.sql = SqlStore(f"sqlite:///{path}")
        self.runner.run(self.sql.open())
        self.worlds = [World(), World(store=self.sql)]
        self.on_both(lambda world: world.open())
        self.charges: list[str] = []
        self.holds = 0

    def on_both(self, act: Callable[[World], Awaitable[Any]]) -> Any:
        """Do the same in both worlds; what comes out must be the same."""
        results = [self.runner.run(outcome(act(world))) for world in self.worlds]
        if isinstance(results[0], World):
            assert results[0].scope == results[1].scope
        else:
            assert results[0] == results[1]
        return results[0]

    @rule(number=st.sampled_from([GOOD, DECLINED, LOST, DOWN, REFUND_PENDING]), key=KEYS, metadata=METADATA)
    def charge(self, number: str, key: str | None, metadata: dict[str, object]) -> None:
        self.on_both(lambda world: world.charge(number, key=key, metadata=metadata))

    @rule(which=st.integers(0, 5), amount=st.sampled_from([None, 1, 4999]), key=KEYS)
    def refund(self, which: int, amount: int | None, key: str | None) -> None:
        async def act(world: World) -> object:
            page = await world.kpay.list_charges(world.scope, {})
            id = page.data[which % len(page.data)].id if page.data else "none"
            return await world.refund(id, amount=amount, key=key)

        self.on_both(act)

    @rule(seconds=st.sampled_from([1, 6, 21, 61, 121, 86_400, -7]))
    def time_moves(self, seconds: float) -> None:
        for world in self.worlds:
            world.clock.advance(timedelta(seconds=seconds))

    @rule()
    def sweep(self) -> None:
        self.on_both(lambda world: world.kpay.sweep())

    @rule(call=st.integers(1, 8), after_effect=st.booleans(), key=KEYS)
    def crash(self, call: int, after_effect: bool, key: str | None) -> None:
        async def act(world: World) -> object:
            sound = world.kpay.store
            world.kpay.store = Crashing(sound, CrashPoint(call, after_effect=after_effect))  # type: ignore[assignment]
            try:
                return await world.charge(key=key)
            finally:
                world.kpay.store = sound

        self.on_both(act)

    @rule(lag=st.integers(-1, 1), move=st.booleans())
    def hold(self, lag: int, move: bool) -> None:
        """Write a record that rests on the merchant at some version, and let the merchant move."""
        self.holds += 1
        id = f"mer_holding_{self.holds}"

        async def act(world: World) -> None:
            merchant = await world.store.get(Merchant, world.scope.merchant)
            assert merchant is not None
            rests_on = replace(merchant, version=merchant.version + lag)
            if move:
                await world.store.commit(bump(merchant))
            await world.store.commit(replace(merchant, id=id, version=1), held=[rests_on])

        self.on_both(act)

    @rule(at_once=st.booleans())
    def rotate(self, at_once: bool) -> None:
        self.on_both(lambda world: world.kpay.rotate_key(world.scope.merchant, "test", at_once=at_once))

    @rule(
        limit=st.integers(1, 3),
        status=st.sampled_from([None, "succeeded", "failed", "processing"]),
        backwards=st.booleans(),
        which=st.integers(0, 5),
    )
    def read(self, limit: int, status: str | None, backwards: bool, which: int) -> None:
        async def act(world: World) -> object:
            whole = await world.kpay.list_charges(world.scope, {"status": status})
            cursor = whole.data[which % len(whole.data)].id if whole.data else None
            name = "ending_before" if backwards else "starting_after"
            params = {"limit": limit, "status": status, name: cursor}
            found = [await world.kpay.get_charge(world.scope, charge.id) for charge in whole.data[:1]]
            return whole, await world.kpay.list_charges(world.scope, params), found

        self.on_both(act)

    def teardown(self) -> None:
        try:
            self.on_both(lambda world: world.settle())
            for kind in KINDS:
                self.on_both(lambda world, kind=kind: world.all(kind))
            self.on_both(check_books)
        finally:
            self.runner.run(self.sql.close())
            self.runner.close()
            self.folder.cleanup()


async def outcome(work: Awaitable[Any]) -> Any:
    """Return what comes out: a result, a refusal as its facts, or that it died."""
    try:
        return await work
    except KpayError as error:
        return type(error), error.message, error.details
    except Conflict as conflict:
        return Conflict, conflict.kind, conflict.id
    except Crash:
        return Crash


TestLockstep = Lockstep.TestCase
TestLockstep.settings = settings(
    max_examples=20,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
