"""How posts are handed over and replies fetched: the port's contract, and what happens at the end."""

import asyncio
import gc
import time

import pytest

from kpay_adapters.sender import Sender
from kpay_core.domain.posts import Failure
from kpay_core.ports import Courier
from tests.sender.conftest import Receive
from tests.sender.receivers import OK, Line, always_ok, post_to, send

pytestmark = pytest.mark.anyio


async def silent(line: Line) -> None:
    await asyncio.sleep(60)


async def test_sending_does_not_wait(sender: Sender, receive: Receive) -> None:
    receiver = await receive(silent)
    courier: Courier = sender.courier()
    started = time.monotonic()
    courier.send(post_to(receiver.url))
    assert time.monotonic() - started < 5


async def test_each_reply_comes_once_and_to_its_own_courier(sender: Sender, receive: Receive) -> None:
    receiver = await receive(always_ok)
    one, other = sender.courier(), sender.courier()
    one.send(post_to(receiver.url, key="one"))
    other.send(post_to(receiver.url, key="other"))
    assert [reply.key for reply in await one.replies(seconds=5)] == ["one"]
    assert [reply.key for reply in await other.replies(seconds=5)] == ["other"]
    assert list(await one.replies(seconds=0)) == []


async def test_waiting_ends_after_its_time(sender: Sender) -> None:
    started = time.monotonic()
    assert list(await sender.courier().replies(seconds=0.1)) == []
    assert 0.09 <= time.monotonic() - started < 5


async def test_a_nudge_wakes_who_waits(sender: Sender) -> None:
    courier = sender.courier()
    waiting = asyncio.create_task(courier.replies(seconds=30))
    await asyncio.sleep(0.01)
    courier.nudge()
    assert list(await asyncio.wait_for(waiting, 1)) == []


async def test_a_nudge_wakes_the_next_who_waits_once(sender: Sender) -> None:
    courier = sender.courier()
    courier.nudge()
    courier.nudge()
    assert list(await asyncio.wait_for(courier.replies(seconds=30), 1)) == []
    started = time.monotonic()
    await courier.replies(seconds=0.1)
    assert time.monotonic() - started >= 0.09


async def test_a_nudge_reaches_no_other_courier(sender: Sender) -> None:
    sender.courier().nudge()
    started = time.monotonic()
    await sender.courier().replies(seconds=0.1)
    assert time.monotonic() - started >= 0.09


async def test_a_waiter_who_is_cancelled_loses_no_reply(sender: Sender, receive: Receive) -> None:
    receiver = await receive(always_ok)
    courier = sender.courier()
    waiting = asyncio.create_task(courier.replies(seconds=30))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    courier.send(post_to(receiver.url))
    assert len(await courier.replies(seconds=5)) == 1


async def test_a_post_on_its_way_is_not_forgotten_by_the_garbage_collector(
    sender: Sender, receive: Receive
) -> None:
    async def slowly(line: Line) -> None:
        await line.read()
        await asyncio.sleep(0.1)
        await line.write(OK)

    receiver = await receive(slowly)
    courier = sender.courier()
    courier.send(post_to(receiver.url))
    await asyncio.sleep(0.05)
    gc.collect()
    assert len(await courier.replies(seconds=5)) == 1


async def test_closing_cancels_what_is_on_its_way_and_leaves_nothing(receive: Receive) -> None:
    receiver = await receive(silent)
    before = asyncio.all_tasks()
    async with Sender(local=True) as sender:
        courier = sender.courier()
        for number in range(10):
            courier.send(post_to(receiver.url, key=str(number)))
        await asyncio.sleep(0.05)
        started = time.monotonic()
    assert time.monotonic() - started < 10
    assert list(await courier.replies(seconds=0)) == []
    ours = {task for task in asyncio.all_tasks() - before if "Receiver" not in repr(task)}
    assert ours == set()


async def test_closing_twice_is_safe() -> None:
    sender = Sender()
    await sender.close()
    async with sender:
        pass
    await sender.close()


async def test_a_post_after_closing_has_a_reply(receive: Receive) -> None:
    receiver = await receive(always_ok)
    async with Sender(local=True) as sender:
        pass
    assert (await send(sender, receiver.url)).failure is Failure.INTERRUPTED
    assert receiver.connections == 0
