"""Lists: newest first, by cursor, and right while rows are added."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import pytest

from kpay_adapters.memory import MemoryStore
from kpay_core import Scope
from kpay_core.commit import Record, bump
from kpay_core.domain.charges import SHOWN, Charge, Status
from kpay_core.domain.errors import Invalid
from kpay_core.domain.views import time
from kpay_core.query import Query
from tests.flows.world import DECLINED, GOOD, LOST, World

pytestmark = pytest.mark.anyio

R = TypeVar("R", bound=Record)


async def make(world: World, how_many: int, *, number: str = GOOD) -> list[str]:
    """Make charges, a second apart, and return their ids, oldest first."""
    ids = []
    for _ in range(how_many):
        world.advance(seconds=1)
        ids.append(str((await world.charge(number)).value["id"]))
    return ids


async def listed(world: World, **params: object) -> tuple[list[str], bool]:
    page = await world.kpay.list_charges(world.scope, params)
    return [charge.id for charge in page.data], page.has_more


async def refused(world: World, params: Mapping[str, object]) -> object:
    with pytest.raises(Invalid) as caught:
        await world.kpay.list_charges(world.scope, params)
    return caught.value.fields


async def test_a_list_is_newest_first_and_twenty_long() -> None:
    world = await World().open()
    assert await listed(world) == ([], False)
    ids = await make(world, 21)
    assert await listed(world) == (ids[:0:-1], True)
    assert await listed(world, limit="100") == (ids[::-1], False)


async def test_pages_hold_every_row_once_while_rows_are_added() -> None:
    world = await World().open()
    ids = await make(world, 10)
    seen, more, cursor = [], True, {}
    while more:
        page, more = await listed(world, limit="3", **cursor)
        seen += page
        cursor = {"starting_after": page[-1]}
        await make(world, 2)
    assert seen == ids[::-1]


async def test_pages_go_backwards_too_and_meet_what_was_added() -> None:
    world = await World().open()
    ids = await make(world, 7)
    assert await listed(world, limit="3", ending_before=ids[0]) == (ids[3:0:-1], True)
    assert await listed(world, limit="3", ending_before=ids[3]) == (ids[6:3:-1], False)
    assert await listed(world, limit="3", ending_before=ids[6]) == ([], False)
    later = await make(world, 1)
    assert await listed(world, limit="3", ending_before=ids[6]) == (later, False)
    assert await listed(world, starting_after=ids[0]) == ([], False)


async def test_a_cursor_must_be_of_the_same_list() -> None:
    world = await World().open()
    await world.charge(DECLINED)
    declined = (await world.kpay.list_charges(world.scope, {})).data[0].id
    (mine,) = await make(world, 1)
    refund = str((await world.refund(mine, amount=1)).value["id"])
    scope = world.scope
    await world.open()
    (others,) = await make(world, 1)
    world.scope = scope
    none = ["no such id in this list"]
    for cursor in ("starting_after", "ending_before"):
        for unknown in ("", "no such id", others, refund):
            assert await refused(world, {cursor: unknown}) == {cursor: none}
        for impossible in ("\0", "\ud800"):
            assert await refused(world, {cursor: impossible}) == {cursor: ["must be plain Unicode text"]}
        assert await refused(world, {cursor: declined, "status": "succeeded"}) == {cursor: none}
        # A charge that gets its outcome leaves this list, while somebody pages through it.
        await world.kpay.list_charges(world.scope, {cursor: declined, "status": "processing"})
        assert await refused(world, {cursor: [mine, mine]}) == {cursor: ["given more than once"]}
    with pytest.raises(Invalid):
        await world.kpay.list_refunds(world.scope, {"starting_after": mine})
    assert [r.id for r in (await world.kpay.list_refunds(world.scope, {})).data] == [refund]


async def test_a_list_shows_nothing_of_other_worlds() -> None:
    world = await World().open()
    (mine,) = await make(world, 1)
    live = Scope(world.scope.merchant, livemode=True)
    assert (await world.kpay.list_charges(live, {})).data == []
    await world.open()
    assert await listed(world) == ([], False)
    page = await world.kpay.list_refunds(world.scope, {"charge": mine})
    assert page.data == []


async def test_charges_are_found_by_status_and_time() -> None:
    world = await World().open()
    (good,) = await make(world, 1)
    world.advance(milliseconds=1)
    start = world.clock.now()
    await world.charge(DECLINED)
    (lost,) = await make(world, 1, number=LOST)
    assert (await listed(world, status="succeeded"))[0] == [good]
    assert (await listed(world, status="processing"))[0] == [lost]
    (declined,) = (await listed(world, status="failed"))[0]
    assert (await listed(world, **{"created_at[gte]": time(start)}))[0] == [lost, declined]
    assert (await listed(world, **{"created_at[gt]": time(start)}))[0] == [lost]
    assert (await listed(world, **{"created_at[lte]": time(start)}))[0] == [declined, good]
    assert (await listed(world, **{"created_at[lt]": time(start)}))[0] == [good]
    between = {"created_at[gte]": time(start), "created_at[lt]": time(world.clock.now())}
    assert (await listed(world, status="failed", **between))[0] == [declined]


@pytest.mark.parametrize("status", [None, "succeeded", "processing"])
@pytest.mark.parametrize("bounds", [{}, {"created_at[gte]": "2000-01-01T00:00:00Z"}])
async def test_filtered_pages_hold_every_row_once_in_both_directions(
    status: str | None, bounds: dict[str, str]
) -> None:
    world = await World().open()
    filters = {**bounds, **({"status": status} if status else {})}
    for _ in range(3):
        # Four of one moment, and more of another status between them.
        for number in (GOOD, LOST) * 4:
            await world.charge(number)
        world.advance(seconds=1)
    # Some of those that are processing are being undone.
    lost = [each for each in await world.all(Charge) if each.status is Status.PROCESSING]
    for charge in lost[::3]:
        await world.store.commit(bump(charge, status=Status.REVERSING))
    every = await listed(world, limit="100")
    whole, _ = await listed(world, limit="100", **filters)
    shown = {charge.id: SHOWN[charge.status] for charge in await world.all(Charge)}
    assert whole == [id for id in every[0] if status in (None, shown[id])]

    for name, wanted, start in (("starting_after", whole, 0), ("ending_before", whole[::-1], -1)):
        seen, more = [wanted[0]], True
        while more:
            page, more = await listed(world, limit="3", **filters, **{name: seen[-1]})
            seen += page if start == 0 else page[::-1]
        assert seen == wanted, name


class MovedBetween(MemoryStore):
    """A store in which a charge begins to be undone between the questions of one page."""

    moving: str | None = None

    async def find(self, query: Query[R]) -> Sequence[R]:
        found = await super().find(query)
        if self.moving is not None:
            id, self.moving = self.moving, None
            charge = await self.get(Charge, id)
            assert charge is not None
            await self.commit(bump(charge, status=Status.REVERSING))
        return found


@pytest.mark.parametrize("moving", [0, 1, 2])
async def test_a_charge_that_moves_within_a_status_is_listed_once(moving: int) -> None:
    store = MovedBetween()
    world = await World(store=store).open()
    ids = await make(world, 3, number=LOST)
    store.moving = ids[moving]
    assert await listed(world, status="processing") == (ids[::-1], False)
    assert store.moving is None


async def test_a_page_goes_on_after_a_charge_that_has_left_the_list() -> None:
    world = await World().open()
    ids = await make(world, 5, number=LOST)
    charge = await world.store.get(Charge, ids[2])
    assert charge is not None
    await world.store.commit(bump(charge, status=Status.SUCCEEDED, look_at=None))
    assert await listed(world, status="processing", starting_after=ids[2]) == ([ids[1], ids[0]], False)
    assert await listed(world, status="processing", ending_before=ids[2]) == ([ids[4], ids[3]], False)
