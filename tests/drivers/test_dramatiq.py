"""Kicks over a real Redis and a real RabbitMQ, at the end of a cable that these tests cut."""

import asyncio
import gc
import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kpay_adapters import dramatiq_
from kpay_adapters.drain import Drain
from kpay_adapters.dramatiq_ import MAX_QUEUED, Kicked, Kicker, hang_up, open_broker, queued
from kpay_adapters.sender import Sender
from kpay_core.ports import Wake
from tests.contract.stores import sqlite_url
from tests.faults.cables import Cable
from tests.faults.receivers import Merchants
from tests.faults.stages import migrated, open_stage, until

# pika leaves the sockets of a connection that broke to the garbage collector.
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:.*socket:pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def nothing_left_for_other_tests() -> Iterator[None]:
    yield
    gc.collect()


# The one takes as long as the other; a person waits for one.
@pytest.fixture(params=["redis", pytest.param("amqp", marks=pytest.mark.heavy)])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def queue(url: str) -> Iterator[str]:
    """A queue that nobody else uses, gone afterwards."""
    name = f"kpay-test-{secrets.token_hex(6)}"
    yield name
    remove(url, name)


def remove(url: str, queue: str) -> None:
    """Flush the queue, and all that stands beside it."""
    broker: Any = open_broker(url)
    if url.startswith("amqp"):
        for each in (queue, f"{queue}.DQ", f"{queue}.XQ"):
            broker.channel.queue_delete(each)
    else:
        for key in list(broker.client.scan_iter(f"{broker.namespace}:{queue}*")):
            broker.client.delete(key)
    hang_up(broker)


def count(url: str, queue: str) -> int:
    """Count the kicks that wait."""
    broker = open_broker(url)
    try:
        return queued(broker, queue)
    finally:
        hang_up(broker)


@pytest.fixture
def cable(url: str) -> Iterator[Cable]:
    with Cable(url) as cable:
        yield cable


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less patience with the broker than in earnest; comes before what opens one."""
    monkeypatch.setattr(dramatiq_, "BROKER_SECONDS", 0.3)


class Contacts:
    """What was told of the broker; only changes are kept."""

    def __init__(self) -> None:
        self.changes: list[bool] = [True]
        self.failures: list[Exception] = []

    def __call__(self, failure: Exception | None) -> None:
        if failure is not None:
            self.failures.append(failure)
        if self.changes[-1] != (failure is None):
            self.changes.append(failure is None)


class Ends:
    """Both ends of a queue, and what came out of it."""

    def __init__(self, cable: Cable, queue: str) -> None:
        self.queue = queue
        self.came: list[str] = []
        self.threads: set[str] = set()
        self.sending, self.taking = Contacts(), Contacts()
        self.broker = open_broker(cable.url)
        self.kicker = Kicker(self.broker, on_contact=self.sending, queue=queue)
        self.kicked = Kicked(
            open_broker(cable.url),
            self._wake,
            loop=asyncio.get_running_loop(),
            on_contact=self.taking,
            queue=queue,
        )

    def _wake(self, endpoints: Sequence[str]) -> None:
        self.came.extend(endpoints)
        self.threads.add(threading.current_thread().name)

    def kick(self, *endpoints: str) -> None:
        """Kick, and see that it does not hold its caller up."""
        started = time.monotonic()
        self.kicker(endpoints)
        assert time.monotonic() - started < 1

    async def comes(self, name: str, *, seconds: float = 15) -> float:
        """Kick until one arrives, as one charge after another would, and return how long the last one took."""
        give_up = time.monotonic() + seconds
        for number in range(1000):
            assert time.monotonic() < give_up, "no kick arrives any more"
            self.kick(f"{name}-{number}")
            started = time.monotonic()
            while time.monotonic() - started < 0.3:
                if f"{name}-{number}" in self.came:
                    return time.monotonic() - started
                await asyncio.sleep(0.005)
        raise AssertionError


@pytest.fixture
async def ends(cable: Cable, queue: str) -> AsyncIterator[Ends]:
    ends = Ends(cable, queue)
    ends.kicker.start()
    ends.kicked.start()
    yield ends
    await asyncio.to_thread(ends.kicker.stop)
    await asyncio.to_thread(ends.kicked.stop)


async def test_a_kick_reaches_the_workers_loop(ends: Ends) -> None:
    await ends.comes("first")
    for number in range(20):
        ends.kick(f"we_{number}")
        await until(lambda number=number: f"we_{number}" in ends.came)
    assert ends.threads == {threading.current_thread().name}


async def test_kicks_that_come_together_arrive_all(ends: Ends) -> None:
    await ends.comes("first")
    for number in range(300):
        ends.kick(f"we_{number}", "we_everybody")
    await until(lambda: len([name for name in ends.came if name.startswith("we_")]) >= 301)
    assert {f"we_{number}" for number in range(300)} <= set(ends.came)


async def test_a_connection_that_was_closed_while_idle_costs_no_kick(ends: Ends, cable: Cable) -> None:
    await ends.comes("first")
    for number in range(2):
        # Wait until the worker is back; whoever kicks finds out only then.
        cable.hang_up()
        await asyncio.sleep(1.2)
        ends.kick(f"we_{number}")
        await until(lambda number=number: f"we_{number}" in ends.came, seconds=3)
    assert ends.sending.failures == []


async def test_a_broker_that_is_away_and_returns_holds_nobody_up_and_is_used_again(
    ends: Ends, cable: Cable
) -> None:
    await ends.comes("first")
    for round in range(2):
        cable.cut()
        for number in range(50):
            ends.kick(f"lost-{number}")
            await asyncio.sleep(0.01)
        await until(lambda: ends.sending.changes[-1] is False and ends.taking.changes[-1] is False)
        cable.mend()
        await ends.comes(f"back-{round}")
        await until(lambda: ends.sending.changes[-1] and ends.taking.changes[-1])
    # Whoever logs changes has one line for each.
    assert ends.sending.changes == ends.taking.changes == [True, False] * 2 + [True]


async def test_a_broker_that_hangs_holds_nobody_up_and_is_used_again(
    hasty: None, ends: Ends, cable: Cable
) -> None:
    await ends.comes("first")
    cable.stick()
    for number in range(20):
        ends.kick(f"lost-{number}")
        await asyncio.sleep(0.05)
    cable.mend()
    await ends.comes("back")


async def test_a_broker_that_is_away_at_the_start_is_found_later(cable: Cable, queue: str) -> None:
    cable.cut()
    ends = Ends(cable, queue)
    ends.kicker.start()
    ends.kicked.start()
    ends.kick("lost")
    await until(lambda: ends.sending.failures and ends.taking.failures)
    cable.mend()
    await ends.comes("back")
    ends.kicker.stop()
    ends.kicked.stop()


async def test_a_broker_that_was_flushed_is_used_again(ends: Ends, url: str, queue: str) -> None:
    await ends.comes("first")
    remove(url, queue)
    await ends.comes("second")


async def test_a_queue_that_nobody_reads_stays_short(
    cable: Cable, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dramatiq_, "MAX_QUEUED", 20)
    assert MAX_QUEUED == 1000
    ends = Ends(cable, queue)
    ends.kicker.start()
    for number in range(80):
        ends.kick(f"we_{number}")
        await asyncio.sleep(0.015)
    await asyncio.to_thread(ends.kicker.stop)
    assert ends.sending.failures == []
    assert 5 <= count(cable.url, queue) <= 20


async def test_old_kicks_are_dropped(cable: Cable, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dramatiq_, "MAX_AGE_SECONDS", 0.3)
    ends = Ends(cable, queue)
    ends.kicker.start()
    for number in range(10):
        ends.kick(f"old-{number}")
        await asyncio.sleep(0.02)
    await until(lambda: count(cable.url, queue) > 0)
    await asyncio.sleep(0.6)
    ends.kicked.start()
    await ends.comes("new")
    assert not [name for name in ends.came if name.startswith("old")]
    # And nothing keeps them anywhere.
    assert count(cable.url, queue) == 0
    await asyncio.to_thread(ends.kicker.stop)
    await asyncio.to_thread(ends.kicked.stop)


@pytest.mark.parametrize("state", ["whole", "cut", "stuck"])
async def test_stopping_is_prompt_whatever_the_broker_does(
    hasty: None, cable: Cable, queue: str, state: str
) -> None:
    ends = Ends(cable, queue)
    ends.kicker.start()
    ends.kicked.start()
    await ends.comes("first")
    if state == "cut":
        cable.cut()
    if state == "stuck":
        cable.stick()
    ends.kick("another")
    await asyncio.sleep(0.3)
    started = time.monotonic()
    await asyncio.gather(asyncio.to_thread(ends.kicker.stop), asyncio.to_thread(ends.kicked.stop))
    # What hangs is left to itself after 5 s.
    assert time.monotonic() - started < (6 if state == "stuck" else 2)


async def test_libraries_keep_quiet_about_a_broker_that_is_away(
    ends: Ends, cable: Cable, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await ends.comes("first")
        cable.cut()
        ends.kick("lost")
        await until(lambda: ends.sending.failures and ends.taking.failures)
        await asyncio.sleep(1.5)
        cable.mend()
        await ends.comes("back")
    assert [record.message for record in caplog.records if record.name.startswith(("dramatiq", "pika"))] == []


async def test_deliveries_go_on_without_the_broker_and_go_out_at_once_with_it(
    ends: Ends, cable: Cable, tmp_path: Path
) -> None:
    wake: Wake = ends.kicker
    with Merchants() as merchants:
        async with (
            Sender(local=True) as sender,
            open_stage(await migrated(sqlite_url(tmp_path)), wake=wake) as stage,
        ):
            (endpoint,) = await stage.endpoints(merchants, ["shop"])
            failures: list[Exception] = []
            drain = Drain(sender, on_failure=failures.append)
            ends.kicked._wake = drain.wake
            task = asyncio.create_task(drain.run(stage.kpay))
            sent = 0
            for state in ("whole", "cut", "whole"):
                if state == "cut":
                    cable.cut()
                elif sent:
                    cable.mend()
                for _ in range(2):
                    sent += 1
                    await stage.send([endpoint])
                    wake([endpoint.id])
                    await until(lambda sent=sent: len(merchants.events("shop")) == sent, seconds=2)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert failures == []
