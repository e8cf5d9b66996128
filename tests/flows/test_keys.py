"""API keys: who gets in, for how long, and into which world."""

from datetime import timedelta
from typing import TypeVar

import pytest
from msgspec.structs import replace

from kpay_adapters.memory import MemoryStore
from kpay_adapters.testing import START, FrozenClock
from kpay_core import Scope
from kpay_core.commit import Record
from kpay_core.domain import keys
from kpay_core.domain.errors import Invalid, NotFound, Unauthenticated
from kpay_core.domain.keys import ApiKey
from kpay_core.remembered import TRUSTED_SECONDS
from tests.flows.world import World

pytestmark = pytest.mark.anyio

R = TypeVar("R", bound=Record)


async def opens(world: World, key: str) -> bool:
    try:
        await world.kpay.authenticate(key)
    except Unauthenticated:
        return False
    return True


async def test_a_secret_key_opens_its_mode_of_its_merchant() -> None:
    world = await World().open()
    for livemode, pair in ((False, world.keys.test), (True, world.keys.live)):
        assert await world.kpay.authenticate(pair.secret) == Scope(world.scope.merchant, livemode)


async def test_a_publishable_key_opens_nothing() -> None:
    world = await World().open()
    for pair in (world.keys.test, world.keys.live):
        assert pair.publishable.startswith("pk_")
        assert not await opens(world, pair.publishable)


class Unasked:
    """A store that must not be asked."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError("a mistyped key is refused without a look-up")


async def test_a_mistyped_key_is_refused_without_a_look_up() -> None:
    world = await World().open()
    secret = world.keys.test.secret
    world.kpay.store = Unasked()  # pyright: ignore[reportAttributeAccessIssue]
    for place in range(len(secret)):
        for other in {"0", "x", "_", "é"} - {secret[place]}:
            assert not await opens(world, secret[:place] + other + secret[place + 1 :])
    for other in ("", "sk_test_", secret + " ", "Bearer " + secret, "\0"):
        assert not await opens(world, other)


async def test_a_well_formed_key_that_was_never_issued_opens_nothing() -> None:
    world = await World().open()
    assert not await opens(world, keys.make_key("secret", "test", bytes(32)))


async def test_a_rotated_key_opens_24_hours_more_to_the_second_and_the_new_one_at_once() -> None:
    world = await World().open()
    old = world.keys.test.secret
    rotated = await world.kpay.rotate_key(world.scope.merchant, "test")
    assert rotated.previous is not None
    assert rotated.previous.expires_at == START + timedelta(hours=24)
    assert await opens(world, old)
    assert await opens(world, rotated.key)
    world.advance(hours=24, milliseconds=-1)
    assert await opens(world, old)
    world.advance(milliseconds=1)
    assert not await opens(world, old)
    assert await opens(world, rotated.key)


async def test_rotating_again_does_not_give_an_old_key_another_day() -> None:
    world = await World().open()
    await world.kpay.rotate_key(world.scope.merchant, "test")
    world.advance(hours=23)
    await world.kpay.rotate_key(world.scope.merchant, "test", at_once=True)
    world.advance(hours=1)
    assert not await opens(world, world.keys.test.secret)


async def test_a_rotation_touches_only_its_kind_and_mode() -> None:
    world = await World().open()
    await world.kpay.rotate_key(world.scope.merchant, "test", at_once=True)
    await world.kpay.rotate_key(world.scope.merchant, "live", kind="publishable", at_once=True)
    assert not await opens(world, world.keys.test.secret)
    assert await opens(world, world.keys.live.secret)


async def test_a_revoked_key_is_refused_at_once_and_stays_so() -> None:
    world = await World().open()
    held = keys.key_hash(world.keys.test.secret)
    revoked = await world.kpay.revoke_key(held)
    assert not await opens(world, world.keys.test.secret)
    world.advance(days=-1)
    assert await world.kpay.revoke_key(held) == revoked
    assert not await opens(world, world.keys.test.secret)
    with pytest.raises(NotFound):
        await world.kpay.revoke_key("no such key")


class Asked(MemoryStore):
    """A store that counts how often it is asked for an API key, and takes its time."""

    def __init__(self, clock: FrozenClock | None = None) -> None:
        super().__init__()
        self.asked = 0
        self.clock = clock
        self.takes = timedelta(0)

    async def get(self, kind: type[R], id: str) -> R | None:
        self.asked += kind is ApiKey
        found = await super().get(kind, id)
        if self.clock:
            self.clock.advance(self.takes)
        return found


async def test_a_key_that_was_let_in_is_not_looked_up_again_for_a_second() -> None:
    store = Asked()
    world = await World(store=store).open()
    for _ in range(3):
        assert await opens(world, world.keys.test.secret)
    assert store.asked == 1
    world.advance(milliseconds=999)
    assert await opens(world, world.keys.test.secret)
    assert store.asked == 1
    world.advance(milliseconds=1)
    assert await opens(world, world.keys.test.secret)
    assert store.asked == 2


@pytest.mark.parametrize("end", ["revoke", "rotate"])
async def test_a_key_that_was_ended_by_another_process_opens_nothing_once_it_says_so(end: str) -> None:
    store, clock = Asked(), FrozenClock()
    here = await World(store=store, clock=clock).open()
    there = World(store=store, clock=clock)
    key = here.keys.test.secret
    assert await opens(there, key)
    began = clock.monotonic()
    if end == "revoke":
        await here.kpay.revoke_key(keys.key_hash(key))
    else:
        await here.kpay.rotate_key(here.scope.merchant, "test", at_once=True)
    assert not await opens(there, key)
    assert not await opens(here, key)
    assert clock.monotonic() - began > TRUSTED_SECONDS
    # However the clock is turned, also to where it was when they had it in mind.
    for back in (timedelta(seconds=-2), timedelta(hours=-1)):
        clock.advance(back)
        assert not await opens(there, key)
        assert not await opens(here, key)
    # Whoever ends it again waits as long: the first may still be waiting, and somebody let it in meanwhile.
    began = clock.monotonic()
    await here.kpay.revoke_key(keys.key_hash(key))
    assert clock.monotonic() - began > TRUSTED_SECONDS


async def test_a_key_is_as_old_as_the_question_for_it() -> None:
    clock = FrozenClock()
    store = Asked(clock)
    world = await World(store=store, clock=clock).open()
    store.takes = timedelta(seconds=TRUSTED_SECONDS)
    for asked in (1, 2):
        assert await opens(world, world.keys.test.secret)
        assert store.asked == asked


async def test_a_key_that_opens_nothing_is_looked_up_each_time() -> None:
    store = Asked()
    world = await World(store=store).open()
    await world.kpay.revoke_key(keys.key_hash(world.keys.test.secret))
    asked = store.asked
    for _ in range(2):
        assert not await opens(world, world.keys.test.secret)
    assert store.asked == asked + 2


async def test_a_new_key_is_issued_also_where_the_current_one_was_revoked() -> None:
    world = await World().open()
    await world.kpay.revoke_key(keys.key_hash(world.keys.test.secret))
    rotated = await world.kpay.rotate_key(world.scope.merchant, "test")
    assert rotated.previous is None
    assert await opens(world, rotated.key)


async def test_the_current_key_ends_when_it_is_rotated_however_many_ended_before() -> None:
    world = await World().open()
    long_ago = world.clock.now() - timedelta(days=9)
    for number in range(1000):
        old = keys.issue(f"old {number}", kind="secret", scope=world.scope, now=long_ago)
        await world.store.commit(replace(old, expires_at=long_ago))
    await world.kpay.rotate_key(world.scope.merchant, "test", at_once=True)
    assert not await opens(world, world.keys.test.secret)


async def test_keys_are_listed_oldest_first_without_what_opens_them() -> None:
    world = await World().open()
    world.advance(seconds=1)
    rotated = await world.kpay.rotate_key(world.scope.merchant, "live", kind="publishable")
    listed = await world.kpay.list_keys(world.scope.merchant)
    assert len(listed) == 5
    assert listed[-1].hint == f"pk_live_…{rotated.key[-4:]}"
    assert world.keys.test.secret not in repr(listed)
    with pytest.raises(NotFound):
        await world.kpay.list_keys("mer_unknown")


async def test_keys_come_with_approval_and_not_before() -> None:
    world = await World().open()
    applied = await world.kpay.apply(name="New")
    assert await world.kpay.list_keys(applied.id) == []
    with pytest.raises(Invalid):
        await world.kpay.rotate_key(applied.id, "test")
    await world.kpay.approve(applied.id)
    with pytest.raises(Invalid):
        await world.kpay.approve(applied.id)
    with pytest.raises(NotFound):
        await world.kpay.approve("mer_unknown")
    assert len(await world.kpay.list_keys(applied.id)) == 4
    assert [merchant.name for merchant in await world.kpay.list_merchants()] == ["New", "Acme"]


async def test_the_demo_merchant_is_made_once_and_told_the_same_keys_again() -> None:
    world = World()
    first = await world.kpay.ensure_demo_merchant()
    world.advance(days=400)
    again = await world.kpay.ensure_demo_merchant(name="Another name")
    assert (again.keys, again.merchant) == (first.keys, first.merchant)
    assert len(await world.kpay.list_keys(first.merchant.id)) == 4
    assert await world.kpay.authenticate(again.keys.live.secret) == Scope(first.merchant.id, livemode=True)


async def test_a_demo_key_that_was_revoked_stays_so() -> None:
    world = World()
    first = await world.kpay.ensure_demo_merchant()
    await world.kpay.revoke_key(keys.key_hash(first.keys.test.secret))
    again = await world.kpay.ensure_demo_merchant()
    assert not await opens(world, again.keys.test.secret)
