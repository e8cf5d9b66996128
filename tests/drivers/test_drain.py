"""The drain loop on a real database, with real requests: what is served, when, beside what, and how it stops."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from kpay_adapters.drain import Drain
from kpay_adapters.sender import Sender
from kpay_adapters.testing import CHARGE
from kpay_core.commit import bump
from kpay_core.domain.deliveries import Attempt, Delivery
from kpay_core.domain.lanes import Lane
from kpay_core.ports import CannotUnseal
from tests.contract.stores import sqlite_url
from tests.faults.receivers import Merchants, after, hang
from tests.faults.stages import Stage, draining, migrated, open_stage, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def merchants() -> Iterator[Merchants]:
    with Merchants() as merchants:
        yield merchants


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(await migrated(sqlite_url(tmp_path))) as stage:
        yield stage


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    async with Sender(local=True) as sender:
        yield sender


# A loop that looks when it begins, and not again while a test lasts: what it finds later, it was told of.
ONCE = 3600.0


async def test_a_hint_is_served_at_once(stage: Stage, sender: Sender, merchants: Merchants) -> None:
    (endpoint,) = await stage.endpoints(merchants, ["shop"])
    async with draining(stage.kpay, sender, look_seconds=ONCE) as drain:
        await stage.send([endpoint])
        drain.wake([endpoint.id])
        await until(lambda: merchants.events("shop"))


async def test_without_a_hint_it_is_found_by_looking(
    stage: Stage, sender: Sender, merchants: Merchants
) -> None:
    endpoints = await stage.endpoints(merchants, ["one", "two"])
    async with draining(stage.kpay, sender):
        await stage.send(endpoints)
        await until(lambda: merchants.events("one") and merchants.events("two"))


async def test_every_charge_is_told_of_when_it_is_made(tmp_path: Path, merchants: Merchants) -> None:
    url = await migrated(sqlite_url(tmp_path))
    async with Sender(local=True) as sender:
        drain = Drain(sender, on_failure=lambda _: None)
        async with open_stage(url, wake=drain.wake) as stage:
            scope = await stage.merchant()
            await stage.kpay.create_endpoint(scope, {"url": merchants.url("shop")})
            task = asyncio.create_task(drain.run(stage.kpay))
            for number in range(1, 6):
                await stage.kpay.create_charge(scope, CHARGE, idempotency_key=None)
                await until(lambda number=number: len(merchants.events("shop")) == number)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_hint_that_comes_while_the_endpoint_is_served_is_not_lost(
    stage: Stage, sender: Sender, merchants: Merchants
) -> None:
    (endpoint,) = await stage.endpoints(merchants, ["shop"])
    async with draining(stage.kpay, sender, look_seconds=ONCE) as drain:
        for number in range(1, 41):
            await stage.send([endpoint])
            drain.wake([endpoint.id])
            await until(lambda number=number: len(merchants.events("shop")) == number)
    assert len(set(merchants.events("shop"))) == 40


async def test_a_hint_that_comes_when_the_service_has_just_ended_is_not_lost(
    stage: Stage, sender: Sender, merchants: Merchants
) -> None:
    (endpoint,) = await stage.endpoints(merchants, ["shop"])
    await stage.send([endpoint])
    hinted: list[str] = []

    class Late:
        """A core at whose first endpoint something happens in the moment in which it has been served."""

        endpoints_due = stage.kpay.endpoints_due

        async def deliver_to(self, *arguments: Any, **options: Any) -> int:
            made = await stage.kpay.deliver_to(*arguments, **options)
            if not hinted:
                await stage.send([endpoint])
                hinted.append(endpoint.id)
                drain.wake(hinted)
                await asyncio.sleep(0.05)
            return made

    late: Any = Late()
    async with draining(late, sender, look_seconds=ONCE) as drain:
        await until(lambda: len(merchants.events("shop")) == 2)


async def test_what_comes_while_everything_on_its_way_hangs_goes_out_beside_it(
    stage: Stage, sender: Sender, merchants: Merchants
) -> None:
    merchants.behave = hang
    (endpoint,) = await stage.endpoints(merchants, ["shop"])
    async with Sender(local=True, deadline_seconds=3) as sender, draining(stage.kpay, sender) as drain:
        await stage.send([endpoint], 2)
        await until(lambda: len(merchants.events("shop")) == 2)
        await asyncio.sleep(0.1)
        await stage.send([endpoint], 2)
        drain.wake([endpoint.id])
        await until(lambda: len(merchants.events("shop")) == 4)
        assert merchants.in_flight["shop"] == 4


async def test_an_endpoint_that_hangs_holds_no_other_up_and_gets_eight_at_a_time(
    stage: Stage, merchants: Merchants
) -> None:
    async def behave(path: str, number: int) -> int:
        return await (hang if path == "hangs" else after(0.01))(path, number)

    merchants.behave = behave
    (hanging,) = await stage.endpoints(merchants, ["hangs"])
    paths = [f"shop-{number}" for number in range(20)]
    endpoints = await stage.endpoints(merchants, paths)
    await stage.send([hanging], 300)
    async with Sender(local=True, deadline_seconds=1) as sender, draining(stage.kpay, sender):
        await until(lambda: len(merchants.events("hangs")) == 8)
        await stage.send(endpoints, 5)
        await until(lambda: all(len(merchants.events(path)) == 5 for path in paths))
        await until(lambda: len(merchants.events("hangs")) >= 24)
    assert merchants.most["hangs"] == 8
    assert max(merchants.most.values()) == 8


async def test_a_backlog_goes_out_eight_at_a_time_and_each_delivery_once(
    stage: Stage, sender: Sender, merchants: Merchants
) -> None:
    merchants.behave = after(0.005)
    endpoints = await stage.endpoints(merchants, ["one", "two", "three"])
    await stage.send(endpoints, 100)
    async with draining(stage.kpay, sender):
        await stage.until_delivered(seconds=30)
    assert max(merchants.most.values()) == 8
    assert len(merchants.got) == len({(got.path, got.event) for got in merchants.got}) == 300


async def test_where_there_are_more_endpoints_than_places_the_next_has_its_turn_when_one_is_free(
    stage: Stage, sender: Sender, merchants: Merchants
) -> None:
    merchants.behave = after(0.05)
    paths = [f"shop-{number}" for number in range(12)]
    await stage.send(await stage.endpoints(merchants, paths))
    async with draining(stage.kpay, sender, places=2, look_seconds=ONCE):
        await until(lambda: len(merchants.got) == 12)


@pytest.mark.heavy
async def test_two_loops_make_each_attempt_once_however_long_it_takes(
    stage: Stage, sender: Sender, merchants: Merchants, tmp_path: Path
) -> None:
    merchants.behave = after(2.5)
    (endpoint,) = await stage.endpoints(merchants, ["shop"])
    await stage.send([endpoint], 12)
    async with (
        open_stage(sqlite_url(tmp_path)) as other,
        draining(stage.kpay, sender),
        draining(other.kpay, sender),
    ):
        await stage.until_delivered(seconds=20)
    assert len(merchants.got) == len(set(merchants.events("shop"))) == 12
    assert merchants.most["shop"] == 8


async def test_an_endpoint_with_retries_is_looked_at_when_the_first_is_due(
    stage: Stage, sender: Sender, merchants: Merchants
) -> None:
    async def refuse(path: str, number: int) -> int:
        return 500

    merchants.behave = refuse
    (endpoint,) = await stage.endpoints(merchants, ["shop"])
    async with draining(stage.kpay, sender):
        await stage.send([endpoint], 3)
        await until(lambda: merchants.answered == 3)
    (lane,) = await stage.all(Lane)
    assert lane.holder is None
    assert lane.due_at == min(d.next_attempt_at for d in await stage.all(Delivery) if d.next_attempt_at)


async def test_stopping_sees_what_is_on_its_way_to_its_end_and_starts_nothing_more(
    stage: Stage, sender: Sender, merchants: Merchants
) -> None:
    merchants.behave = after(0.7)
    (endpoint,) = await stage.endpoints(merchants, ["shop"])
    await stage.send([endpoint], 30)
    async with draining(stage.kpay, sender) as drain:
        await until(lambda: merchants.in_flight["shop"] == 8)
        drain.wake([endpoint.id])
    assert len(merchants.got) == 8
    assert merchants.answered == 8
    succeeded = [d for d in await stage.all(Delivery) if d.status == "succeeded"]
    assert {d.event for d in succeeded} == {got.event for got in merchants.got}
    assert len(await stage.all(Attempt)) == 8
    (lane,) = await stage.all(Lane)
    # The rest is anybody's, at once.
    assert lane.holder is None
    assert list(await stage.kpay.endpoints_due()) == [endpoint.id]


async def test_one_endpoint_that_cannot_be_served_stops_no_other_and_is_reported(
    stage: Stage, sender: Sender, merchants: Merchants
) -> None:
    broken, sound = await stage.endpoints(merchants, ["broken", "sound"])
    await stage.store.commit(bump(broken, secret=f"{broken.secret[:-6]}AAAAAA"))
    await stage.send([broken, sound])
    failures: list[Exception] = []
    async with draining(stage.kpay, sender, failures=failures) as drain:
        drain.wake([broken.id, sound.id])
        await until(lambda: merchants.events("sound"))
        await until(lambda: failures)
        # It goes on, and the broken one is tried again and again.
        await stage.send([sound])
        await until(lambda: len(merchants.events("sound")) == 2)
        await until(lambda: len(failures) >= 2)
        mended = await stage.kpay.rotate_endpoint_secret(broken.scope, broken.id)
        assert mended.endpoint.retired
    assert {type(failure) for failure in failures} == {CannotUnseal}
    assert not merchants.events("broken")


async def test_a_paused_loop_starts_nothing_and_goes_on_when_the_pause_is_over(
    stage: Stage, sender: Sender, merchants: Merchants
) -> None:
    one, two = await stage.endpoints(merchants, ["one", "two"])
    async with draining(stage.kpay, sender, look_seconds=0.02) as drain:
        await stage.send([one])
        await until(lambda: merchants.events("one"))
        async with drain.paused():
            await stage.send([one, two])
            drain.wake([one.id, two.id])
            # As long as it takes to look several times.
            await asyncio.sleep(0.2)
            assert merchants.events("two") == []
            assert len(merchants.events("one")) == 1
        # What was hinted at meanwhile is begun without waiting for a look.
        await until(lambda: len(merchants.events("one")) == 2 and merchants.events("two"))


async def test_a_pause_begins_when_what_is_on_its_way_has_ended(
    stage: Stage, sender: Sender, merchants: Merchants
) -> None:
    merchants.behave = after(0.3)
    (endpoint,) = await stage.endpoints(merchants, ["shop"])
    async with draining(stage.kpay, sender, look_seconds=0.02) as drain:
        await stage.send([endpoint])
        await until(lambda: merchants.in_flight["shop"])
        async with drain.paused():
            assert merchants.in_flight["shop"] == 0
            (attempt,) = await stage.all(Attempt)
            assert attempt.failure is None


async def test_a_loop_that_does_not_run_yet_can_be_paused(
    stage: Stage, sender: Sender, merchants: Merchants
) -> None:
    (endpoint,) = await stage.endpoints(merchants, ["shop"])
    drain = Drain(sender, on_failure=lambda _: None)
    async with drain.paused():
        await stage.send([endpoint])
        task = asyncio.create_task(drain.run(stage.kpay))
        await asyncio.sleep(0.1)
        assert merchants.events("shop") == []
    await until(lambda: merchants.events("shop"))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
