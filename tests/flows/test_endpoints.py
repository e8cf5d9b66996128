"""Endpoints: registered, changed, rotated and deleted, by many at once and through a store that loses answers."""

import re
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from kpay_adapters.keyring import SecretKeyring
from kpay_core import Scope
from kpay_core.commit import Conflict, Unknown
from kpay_core.domain import endpoints, lanes
from kpay_core.domain.endpoints import Endpoint
from kpay_core.domain.errors import Invalid, NotFound
from kpay_core.domain.lanes import Lane
from kpay_core.ports import CannotUnseal
from tests.flows.test_store_outcomes import Moody
from tests.flows.world import Interleaved, SharedClock, World, check_deliveries, drive

pytestmark = pytest.mark.anyio


async def the_endpoint(world: World, id: str) -> Endpoint:
    found = await world.store.get(Endpoint, id)
    assert found is not None
    return found


def secrets(world: World, endpoint: Endpoint) -> list[str]:
    """Return the secrets in force, in the clear."""
    in_force = endpoints.secrets_in_force(endpoint, now=world.clock.now())
    return [world.kpay.keyring.unseal(f"endpoint/{endpoint.id}", sealed) for sealed in in_force]


async def test_a_new_endpoint_is_told_its_secret_once_and_keeps_it_sealed() -> None:
    world = await World().open()
    new = await world.endpoint("charge.failed", description="ours")
    assert re.fullmatch("whsec_[A-Za-z0-9_-]{43}", new.secret)
    kept = await world.kpay.get_endpoint(world.scope, new.endpoint.id)
    assert kept == new.endpoint
    assert new.secret not in repr(kept)
    assert new.secret[6:] not in repr(vars(world.store))
    assert secrets(world, kept) == [new.secret]
    assert (await world.endpoint()).secret != new.secret
    await check_deliveries(world)


async def test_a_sealed_secret_opens_for_its_own_endpoint_only() -> None:
    world = await World().open()
    one, other = (await world.endpoint()).endpoint, (await world.endpoint()).endpoint
    with pytest.raises(CannotUnseal):
        world.kpay.keyring.unseal(f"endpoint/{other.id}", one.secret)


async def test_a_scope_has_at_most_100_endpoints_at_any_concurrency() -> None:
    world = await World(clock=SharedClock()).open()
    for _ in range(96):
        await world.endpoint()
    world.kpay.store = Interleaved(world.store)  # type: ignore[assignment]
    results = drive(world.clock, Random(1), *(world.endpoint() for _ in range(8)))
    refused = [result for result in results if isinstance(result, Invalid)]
    assert len(refused) == 4
    assert {error.details["code"] for error in refused} == {"too_many_endpoints"}
    assert len(await world.all(Endpoint)) == len(await world.all(Lane)) == 100
    await check_deliveries(world)
    # The other mode has room of its own, and a deleted one makes room.
    live = Scope(world.scope.merchant, livemode=True)
    world.kpay.store = world.store
    await world.kpay.create_endpoint(live, {"url": "https://shop.example"})
    with pytest.raises(Invalid):
        await world.endpoint()
    await world.kpay.delete_endpoint(world.scope, (await world.all(Endpoint))[0].id)
    await world.endpoint()
    await check_deliveries(world)


async def test_an_endpoint_of_another_scope_is_as_unknown_as_none() -> None:
    world = await World().open()
    mine = (await world.endpoint()).endpoint.id
    other = await world.kpay.apply(name="Other")
    for scope, asked in [
        (Scope(other.id, livemode=False), mine),
        (Scope(world.scope.merchant, livemode=True), mine),
        (world.scope, "no such endpoint"),
        (world.scope, "\0"),
    ]:
        with pytest.raises(NotFound):
            await world.kpay.get_endpoint(scope, asked)
        with pytest.raises(NotFound):
            await world.kpay.update_endpoint(scope, asked, {})
        with pytest.raises(NotFound):
            await world.kpay.delete_endpoint(scope, asked)
        with pytest.raises(NotFound):
            await world.kpay.rotate_endpoint_secret(scope, asked)
        with pytest.raises(NotFound):
            await world.kpay.list_deliveries(scope, asked, {})


async def test_a_deleted_endpoint_is_gone_without_its_secrets() -> None:
    world = await World().open()
    id = (await world.endpoint()).endpoint.id
    await world.kpay.rotate_endpoint_secret(world.scope, id)
    await world.kpay.delete_endpoint(world.scope, id)
    kept = await the_endpoint(world, id)
    assert (kept.status, kept.secret, kept.retired) == ("deleted", "", ())
    for gone in (
        world.kpay.get_endpoint(world.scope, id),
        world.patch(id, status="enabled"),
        world.kpay.delete_endpoint(world.scope, id),
        world.kpay.rotate_endpoint_secret(world.scope, id),
        world.kpay.list_deliveries(world.scope, id, {}),
    ):
        with pytest.raises(NotFound):
            await gone
    assert (await world.kpay.list_endpoints(world.scope, {})).data == []
    await check_deliveries(world)


async def test_a_rotation_leaves_every_secret_in_force_for_24_hours_more() -> None:
    world = await World().open()
    new = await world.endpoint()
    id = new.endpoint.id
    second = await world.kpay.rotate_endpoint_secret(world.scope, id)
    assert secrets(world, await the_endpoint(world, id)) == [second.secret, new.secret]
    world.advance(hours=1)
    third = await world.kpay.rotate_endpoint_secret(world.scope, id)
    assert secrets(world, await the_endpoint(world, id)) == [third.secret, second.secret, new.secret]
    world.clock.advance(timedelta(hours=24) - timedelta(milliseconds=1))
    assert secrets(world, await the_endpoint(world, id)) == [third.secret, second.secret]
    world.clock.advance(timedelta(milliseconds=1))
    assert secrets(world, await the_endpoint(world, id)) == [third.secret]


@pytest.mark.parametrize("seed", range(40))
async def test_changes_at_once_all_take_effect(seed: int) -> None:
    world = await World(clock=SharedClock()).open()
    id = (await world.endpoint(description="old")).endpoint.id
    world.kpay.store = Interleaved(world.store)  # type: ignore[assignment]
    results = drive(
        world.clock,
        Random(seed),
        world.patch(id, url="https://new.example/"),
        world.patch(id, enabled_events=["charge.failed"]),
        world.patch(id, description=None),
        world.kpay.rotate_endpoint_secret(world.scope, id),
        world.endpoint("refund.created"),
    )
    assert not [result for result in results if isinstance(result, Exception)]
    endpoint = await the_endpoint(world, id)
    assert (endpoint.url, endpoint.enabled_events, endpoint.description) == (
        "https://new.example/",
        ("charge.failed",),
        None,
    )
    assert endpoint.version == 5
    assert secrets(world, endpoint)[0] == results[3].secret
    await check_deliveries(world)


@pytest.mark.parametrize("seed", range(40))
async def test_of_many_deletes_one_at_least_succeeds_and_nothing_comes_back(seed: int) -> None:
    world = await World(clock=SharedClock()).open()
    id = (await world.endpoint()).endpoint.id
    world.kpay.store = Interleaved(world.store)  # type: ignore[assignment]
    results = drive(
        world.clock,
        Random(seed),
        world.kpay.delete_endpoint(world.scope, id),
        world.kpay.delete_endpoint(world.scope, id),
        world.patch(id, status="enabled"),
        world.kpay.rotate_endpoint_secret(world.scope, id),
    )
    # Who saw it alive may both say that it is deleted.
    assert sum(isinstance(result, NotFound) for result in results[:2]) <= 1
    assert all(isinstance(result, NotFound) for result in results if isinstance(result, Exception))
    kept = await the_endpoint(world, id)
    assert (kept.status, kept.secret, kept.retired) == ("deleted", "", ())
    await check_deliveries(world)


async def test_a_delete_whose_answer_was_lost_says_that_it_is_deleted() -> None:
    world = await World().open()
    id = (await world.endpoint()).endpoint.id

    async def work_there() -> None:
        (lane,) = await world.all(Lane)
        await world.store.commit(lanes.call(lane, now=world.clock.now()))

    ports: Any = world.kpay
    ports.store = Moody(world.store, 1, Unknown, written=True, then=work_there)
    assert (await world.kpay.delete_endpoint(world.scope, id)).status == "deleted"
    with pytest.raises(NotFound):
        await world.kpay.delete_endpoint(world.scope, id)


async def test_every_change_raises_the_fence_of_the_lane_and_has_somebody_look() -> None:
    world = await World().open()
    id = (await world.endpoint()).endpoint.id
    changes = [
        lambda: world.patch(id, url="https://new.example/"),
        lambda: world.patch(id, enabled_events=["*"]),
        lambda: world.patch(id, status="disabled"),
        lambda: world.patch(id, status="enabled"),
        lambda: world.patch(id),
        lambda: world.kpay.rotate_endpoint_secret(world.scope, id),
        lambda: world.kpay.delete_endpoint(world.scope, id),
    ]
    for number, change in enumerate(changes, start=2):
        await change()
        (lane,) = await world.all(Lane)
        assert lane.version == number
        assert lanes.is_due(lane, now=world.clock.now())
        assert id in await world.kpay.endpoints_due()


MOODS: dict[str, dict[str, Any]] = {
    "unknown, written": {"failure": Unknown, "written": True},
    "unknown, not written": {"failure": Unknown},
    "conflict": {"failure": Conflict},
}


@pytest.mark.parametrize("mood", MOODS.values(), ids=MOODS)
async def test_a_hiccup_of_the_store_is_seen_through(mood: dict[str, Any]) -> None:
    world = await World().open()
    sound = world.store
    world.kpay.store = Moody(sound, 1, **mood)
    new = await world.endpoint()
    world.kpay.store = Moody(sound, 1, **mood)
    second = await world.kpay.rotate_endpoint_secret(world.scope, new.endpoint.id)
    assert secrets(world, second.endpoint) == [second.secret, new.secret]
    world.kpay.store = Moody(sound, 1, **mood)
    await world.patch(new.endpoint.id, status="disabled")
    world.kpay.store = Moody(sound, 1, **mood)
    await world.kpay.delete_endpoint(world.scope, new.endpoint.id)
    world.kpay.store = sound
    assert len(await world.all(Endpoint)) == 1
    await check_deliveries(world)


async def test_a_rotation_written_before_the_connection_was_lost_keeps_the_old_secret_in_force() -> None:
    """Somebody changes the endpoint in between, so that the rotation cannot recognise its own commit."""
    world = await World().open()
    new = await world.endpoint()
    other = World(store=world.store, journal=world.journal, clock=world.clock)
    other.scope = world.scope

    async def somebody_renames_it() -> None:
        await other.patch(new.endpoint.id, description="renamed")

    world.kpay.store = Moody(world.store, 1, Unknown, written=True, then=somebody_renames_it)
    second = await world.kpay.rotate_endpoint_secret(world.scope, new.endpoint.id)
    kept = await the_endpoint(world, new.endpoint.id)
    assert kept.description == "renamed"
    assert secrets(world, kept) == [second.secret, new.secret]


async def test_endpoints_are_listed_newest_first_without_the_deleted_ones() -> None:
    world = await World().open()
    ids = [(await world.endpoint()).endpoint.id for _ in range(5)]
    await world.kpay.delete_endpoint(world.scope, ids[2])
    await world.patch(ids[1], status="disabled")
    page = await world.kpay.list_endpoints(world.scope, {"limit": "3"})
    assert ([each.id for each in page.data], page.has_more) == ([ids[4], ids[3], ids[1]], True)
    rest = await world.kpay.list_endpoints(world.scope, {"starting_after": ids[1]})
    assert ([each.id for each in rest.data], rest.has_more) == ([ids[0]], False)


async def test_secrets_are_sealed_again_with_the_new_key_and_stay_the_same() -> None:
    world = await World().open()
    fresh = [await world.endpoint() for _ in range(3)]
    rotated = await world.kpay.rotate_endpoint_secret(world.scope, fresh[0].endpoint.id)
    await world.kpay.delete_endpoint(world.scope, fresh[2].endpoint.id)
    world.kpay.keyring = SecretKeyring(bytes(32), sealing_keys=[b"n" * 32])
    assert await world.kpay.reseal_endpoints() == 2
    assert await world.kpay.reseal_endpoints() == 0
    first, second, _ = sorted(await world.all(Endpoint), key=lambda endpoint: endpoint.id)
    assert secrets(world, first) == [rotated.secret, fresh[0].secret]
    assert secrets(world, second) == [fresh[1].secret]
    assert all(
        world.kpay.keyring.is_current(sealed) for each in (first, second) for sealed in endpoints.sealed(each)
    )
