"""
What becomes of deliveries when workers die, stand still, or lose their database, and when merchants' servers hang.

The witness is a merchants' server: every post that it gets is noted before it is answered. Sizes follow
KPAY_FAULT_ROUNDS: 5 is a sample for every change, 20 or more is for a person who has the time.
"""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from kpay_adapters.sender import Sender
from kpay_adapters.sender.posting import AiohttpCourier
from kpay_adapters.testing import CHARGE
from kpay_core import Scope
from kpay_core.commit import CommitFailed
from kpay_core.domain.deliveries import Delivery
from kpay_core.domain.endpoints import Endpoint
from kpay_core.domain.lanes import LEASE, Lane
from kpay_core.domain.posts import MAX_IN_FLIGHT, Post
from kpay_core.ports import Wake, wake_nobody
from kpay_http import compose
from kpay_http.metrics import Metrics
from tests import backends
from tests.contract.stores import sqlite_url
from tests.faults.cables import Cable
from tests.faults.receivers import Merchants, after, hang
from tests.faults.stages import Stage, draining, migrated, open_stage, until
from tests.servers import STOP_SECONDS, Installation, Process, Server

pytestmark = [pytest.mark.heavy, pytest.mark.anyio]

ROUNDS = int(os.environ.get("KPAY_FAULT_ROUNDS", "20"))
IS_SAMPLE = ROUNDS < 20

# A worker dies so often.
KILL_SECONDS = 2

# All is final by then: the lease of what was on its way at the last kill, and half a minute for the rest.
FINAL_SECONDS = 75

# Where no worker has died for a while.
PROMPTLY_SECONDS = 15

KILL_ENDPOINTS = 10

# Merchants' servers take so long to answer, so that much is on its way at a kill.
SLOWLY = 0.2 if IS_SAMPLE else 0.1

starting = asyncio.Lock()


class Workers:
    """Processes that deliver, any of which may be killed; another then takes its place."""

    def __init__(self, installation: Installation, chance: random.Random) -> None:
        self.installation = installation
        self.chance = chance
        self.processes: list[Process] = []
        self.logs: list[Path] = []
        self.kills: list[float] = []

    def start(self, count: int = 1) -> None:
        for _ in range(count):
            log = self.installation.folder / f"worker-{time.monotonic_ns()}.log"
            self.logs.append(log)
            with log.open("wb") as output:
                self.processes.append(self.installation.process("worker", output=output))

    async def until_working(self) -> None:
        await until(lambda: all('"working"' in log.read_text() for log in self.logs), seconds=60)

    def kill_one(self) -> None:
        working = [
            process
            for process, log in zip(self.processes, self.logs, strict=True)
            if '"working"' in log.read_text()
        ]
        number = self.processes.index(self.chance.choice(working or self.processes))
        victim, _ = self.processes.pop(number), self.logs.pop(number)
        victim.kill()
        victim.wait(STOP_SECONDS)
        self.kills.append(time.time())
        self.start()

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes:
            process.wait(2 * STOP_SECONDS)


class Dev:
    """`kpay dev`: the API and what delivers are one process, which is killed and started again."""

    def __init__(self, installation: Installation, chance: random.Random) -> None:
        self.installation = installation
        self.chance = chance
        self.kills: list[float] = []
        self.server: Server

    def start(self) -> None:
        self.server = self.installation.start("dev")

    def kill_one(self) -> None:
        # One that has not come up yet has nothing on its way.
        self.server.wait_until_up()
        time.sleep(self.chance.uniform(0.1, 1.0))
        self.server.kill()
        self.kills.append(time.time())
        self.start()

    def stop(self) -> None:
        self.server.stop()


@pytest.fixture
def merchants() -> Iterator[Merchants]:
    with Merchants(after(0.05)) as merchants:
        yield merchants


def local(folder: Path, url: str, **settings: str) -> Installation:
    return Installation(folder, url, KPAY_ALLOW_LOCAL_WEBHOOKS="1", **settings)


def tell(text: str) -> None:
    """Say what was measured, to whoever looks (`-s`, or a failure)."""
    print(text)  # noqa: T201


def a_seed() -> int:
    seed = int(os.environ.get("KPAY_FAULT_SEED", str(random.randrange(10**6))))
    tell(f"KPAY_FAULT_SEED={seed}")
    return seed


async def charge_again_and_again(
    stage: Stage, scope: Scope, url: Callable[[], str], key: str, *, count: int, seconds: float
) -> list[str]:
    """Make charges all the while, every tenth of them over the API, and return those that were acknowledged."""
    made: list[str] = []

    async def one(number: int) -> None:
        await asyncio.sleep(seconds * number / count)
        if number % 10 == 0:
            # Without a key: one that was cut off is left to the sweeper, which takes minutes, and another is made.
            headers = {"Authorization": f"Bearer {key}"}
            async with httpx.AsyncClient(headers=headers, timeout=30) as http:
                while True:
                    with suppress(httpx.TransportError):
                        answer = await http.post(f"{url()}/v1/charges", json=CHARGE)
                        if answer.status_code == 201:
                            made.append(answer.json()["id"])
                            return
                    await asyncio.sleep(0.5)
        while True:
            with suppress(CommitFailed):
                answer = await stage.kpay.create_charge(scope, CHARGE, idempotency_key=f"order-{number}")
                made.append(str(answer.value["id"]))
                return
            await asyncio.sleep(0.1)

    await asyncio.gather(*(one(number) for number in range(count)))
    return made


async def deliver_through_kills(
    merchants: Merchants, installation: Installation, workers: Workers | Dev, *, wake: Wake = wake_nobody
) -> None:
    """Kill a worker every 2 s while charges are made; everything arrives, and twice only what was on its way."""
    chance = random.Random(a_seed())
    count = ROUNDS * 50 if not IS_SAMPLE else 100
    async with open_stage(installation.database_url, wake=wake) as stage:
        applied = await stage.kpay.apply(name="Acme")
        approved = await stage.kpay.approve(applied.id)
        scope, key = Scope(applied.id, livemode=False), approved.keys.test.secret
        for number in range(KILL_ENDPOINTS):
            body = {"url": merchants.url(f"shop-{number}"), "enabled_events": ["charge.succeeded"]}
            await stage.kpay.create_endpoint(scope, body)
        # One installation after the other: a process needs seconds of a machine that has few cores.
        async with starting:
            if isinstance(workers, Dev):
                workers.start()
                server = workers.server
            else:
                server = installation.start()
            await asyncio.to_thread(server.wait_until_up)
            if isinstance(workers, Workers):
                workers.start(3)
                await workers.until_working()

        def url() -> str:
            return workers.server.url if isinstance(workers, Dev) else server.url

        # A process that is both the API and what delivers has to come up again before it is killed again.
        seconds = ROUNDS * KILL_SECONDS * (2 if isinstance(workers, Dev) else 1)
        charging = asyncio.create_task(
            charge_again_and_again(stage, scope, url, key, count=count, seconds=seconds)
        )
        for _ in range(ROUNDS):
            await asyncio.sleep(chance.uniform(0.75, 1.25) * KILL_SECONDS)
            await asyncio.to_thread(workers.kill_one)
        last_kill = time.monotonic()
        charges = await charging
        assert len(set(charges)) == count
        made_at = stage.kpay.clock.now()
        left = FINAL_SECONDS - (time.monotonic() - last_kill)
        await stage.until_delivered(seconds=max(left, PROMPTLY_SECONDS))
        tell(
            f"{count * KILL_ENDPOINTS} deliveries, final {time.monotonic() - last_kill:.0f} s after the last kill"
        )
        await asyncio.to_thread(workers.stop)
        # What was cut off may be finished, and told of, at any time from now on.
        delivered = [each for each in await stage.all(Delivery) if each.created_at <= made_at]
        assert len(delivered) >= count * KILL_ENDPOINTS
        check_arrived(merchants, delivered, workers.kills)


def check_arrived(merchants: Merchants, delivered: Sequence[Delivery], kills: Sequence[float]) -> None:
    """Nothing is lost; what came twice was on its way at a kill, and came again after the lease, once a kill."""
    assert {delivery.status for delivery in delivered} == {"succeeded"}
    events = {delivery.event for delivery in delivered}
    came: dict[tuple[str, str], list[float]] = {}
    for got in (got for got in merchants.got if got.event in events):
        came.setdefault((got.path, got.event), []).append(got.at)
    # Endpoints are not named in posts, but each has a path of its own, and each event goes to each.
    assert len(came) == len(delivered)
    assert {event for _, event in came} == events

    again = Counter[str]()
    for (path, _), times in came.items():
        again[path] += len(times) - 1
        for one, next in pairwise(times):
            # Nobody makes an attempt while another may still be at it: not before the lease has lapsed.
            assert next - one > LEASE.total_seconds() - 5
            assert any(one - 1 < kill < next for kill in kills)
    tell(f"{len(kills)} kills, {sum(again.values())} posts came again")
    assert all(count <= MAX_IN_FLIGHT * len(kills) for count in again.values())
    assert max(merchants.most.values()) <= 2 * MAX_IN_FLIGHT


@asynccontextmanager
async def kicking(broker_url: str) -> AsyncIterator[Wake]:
    async with compose.open_kicker(broker_url, Metrics()) as kicker:
        yield kicker


async def kill_sqlite(folder: Path) -> None:
    with Merchants(after(SLOWLY)) as merchants, local(folder, sqlite_url(folder)) as installation:
        await deliver_through_kills(merchants, installation, Dev(installation, random.Random(a_seed())))


async def kill_postgres(folder: Path, url: str, broker_url: str) -> None:
    with (
        Merchants(after(SLOWLY)) as merchants,
        local(folder, url, KPAY_BROKER_URL=broker_url) as installation,
    ):
        workers = Workers(installation, random.Random(a_seed()))
        try:
            async with kicking(broker_url) as wake:
                await deliver_through_kills(merchants, installation, workers, wake=wake)
        finally:
            await asyncio.to_thread(workers.stop)


async def stand_still(folder: Path, url: str) -> None:
    async def first_post_hangs(path: str, number: int) -> int:
        if number <= MAX_IN_FLIGHT:
            await asyncio.sleep(2)
        return 200

    with Merchants(first_post_hangs) as merchants, local(folder, url) as installation:
        workers = Workers(installation, random.Random(0))
        try:
            async with open_stage(url) as stage:
                paths = [f"shop-{number}" for number in range(5)]
                endpoints = await stage.endpoints(merchants, paths)
                await stage.send(endpoints, 20)
                workers.start()
                stopped = workers.processes[0]
                await until(lambda: sum(merchants.in_flight.values()) == 5 * MAX_IN_FLIGHT, seconds=30)
                await asyncio.sleep(0.5)
                stopped.send_signal(signal.SIGSTOP)
                assert merchants.answered == 0
                holders = {lane.id: lane.holder for lane in await stage.all(Lane)}
                assert None not in holders.values()
                workers.start()
                await stage.until_delivered(seconds=LEASE.total_seconds() + 30)
                # The other lets go of its lanes in the step after the last reply.
                await asyncio.sleep(1)
                before = await stage.dump()
                stopped.send_signal(signal.SIGCONT)
                # Its posts were answered long ago, and their deadlines are over: it has something to write down.
                await asyncio.sleep(5)
                assert stopped.poll() is None
                assert await stage.dump() == before

                # And it works again.
                workers.processes.remove(stopped)
                await asyncio.to_thread(workers.stop)
                workers.processes = [stopped]
                await stage.send(endpoints)
                await stage.until_delivered(seconds=10)
        finally:
            await asyncio.to_thread(workers.stop)
    came = Counter(got.event for got in merchants.got)
    assert sorted(came.values()) == [1] * 65 + [2] * 40


Proof = Callable[[], Coroutine[Any, Any, None]]


class Proofs:
    """The proofs that wait for a lease most of their time: a sample of them runs together."""

    def __init__(self) -> None:
        self.known: dict[str, Proof] = {}
        self.running: dict[str, asyncio.Task[None]] = {}

    async def hold(self, name: str) -> None:
        if name not in self.known:
            pytest.skip("no server for it")
        for each in self.known if IS_SAMPLE else (name,):
            if each not in self.running:
                self.running[each] = asyncio.create_task(self.known[each]())
        await self.running[name]


@pytest.fixture(scope="module")
async def proofs(
    request: pytest.FixtureRequest, postgres_server: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Proofs]:
    proofs = Proofs()
    made: list[str] = []

    async def database() -> str:
        made.append(backends.create_database(postgres_server))
        return await migrated(made[-1])

    chosen = {getattr(item, "originalname", "") for item in request.session.items}

    def add(test: Callable[..., object], name: str, proof: Callable[..., Any], *given: Any) -> None:
        if test.__name__ in chosen:
            proofs.known[name] = partial(proof, folders[name], *given)

    folders = {name: tmp_path_factory.mktemp(name) for name in ("sqlite", "still", "redis", "amqp")}
    await migrated(sqlite_url(folders["sqlite"]))
    add(test_killing_the_one_process_on_sqlite_loses_no_delivery, "sqlite", kill_sqlite)
    add(
        test_a_worker_that_stood_still_for_longer_than_its_lease_changes_nothing_any_more,
        "still",
        stand_still,
        await database(),
    )
    for broker in ("redis", "amqp"):
        with suppress(pytest.skip.Exception):
            broker_url = request.getfixturevalue(f"{broker}_url")
            test = test_killing_workers_on_postgres_loses_no_delivery
            add(test, broker, kill_postgres, await database(), broker_url)
    yield proofs
    for task in proofs.running.values():
        task.cancel()
    await asyncio.gather(*proofs.running.values(), return_exceptions=True)
    for url in made:
        backends.drop_database(postgres_server, url)


async def test_killing_the_one_process_on_sqlite_loses_no_delivery(proofs: Proofs) -> None:
    await proofs.hold("sqlite")


@pytest.mark.parametrize("broker", ["redis", "amqp"])
async def test_killing_workers_on_postgres_loses_no_delivery(proofs: Proofs, broker: str) -> None:
    await proofs.hold(broker)


async def test_a_worker_that_stood_still_for_longer_than_its_lease_changes_nothing_any_more(
    proofs: Proofs,
) -> None:
    await proofs.hold("still")


async def test_four_workers_at_once_post_each_delivery_once(
    fresh_postgres: Callable[[], str], tmp_path: Path, merchants: Merchants
) -> None:
    merchants.behave = after(0)
    shops, each = (20, 50) if IS_SAMPLE else (100, 500)
    url = await migrated(fresh_postgres())
    with local(tmp_path, url) as installation:
        workers = Workers(installation, random.Random(0))
        try:
            async with open_stage(url) as stage:
                endpoints = await stage.endpoints(merchants, [f"shop-{number}" for number in range(shops)])
                await stage.send(endpoints, each)
                started = time.monotonic()
                workers.start(4)
                await stage.until_delivered(seconds=500)
                took = time.monotonic() - started
                delivered = await stage.all(Delivery)
        finally:
            workers.stop()
    tell(f"{len(delivered)} deliveries by four workers in {took:.1f} s")
    assert {(delivery.status, delivery.attempts) for delivery in delivered} == {("succeeded", 1)}
    came = Counter(got.event for got in merchants.got)
    assert came.keys() == {delivery.event for delivery in delivered}
    assert set(came.values()) == {1}, "two workers had the same delivery"
    assert max(merchants.most.values()) <= MAX_IN_FLIGHT


async def test_a_database_that_is_lost_again_and_again_costs_no_delivery_and_doubles_none(
    fresh_postgres: Callable[[], str], merchants: Merchants
) -> None:
    chance = random.Random(a_seed())
    url = await migrated(fresh_postgres())
    failures: list[Exception] = []
    with Cable(url) as cable:
        async with (
            open_stage(url) as stage,
            open_stage(cable.url) as cut_off,
            Sender(local=True) as sender,
            draining(cut_off.kpay, sender, failures=failures),
        ):
            endpoints = await stage.endpoints(merchants, [f"shop-{number}" for number in range(10)])
            for _ in range(ROUNDS):
                await stage.send(endpoints, 20)
                await asyncio.sleep(chance.uniform(0.05, 0.5))
                cable.hang_up()
                await asyncio.sleep(chance.uniform(0.05, 0.5))
                cable.cut()
                await asyncio.sleep(chance.uniform(0.1, 1.5))
                cable.mend()
            await stage.until_delivered(seconds=LEASE.total_seconds() + 30)
            delivered = await stage.all(Delivery)
    assert {(delivery.status, delivery.attempts) for delivery in delivered} == {("succeeded", 1)}
    came = Counter(got.event for got in merchants.got)
    assert came.keys() == {delivery.event for delivery in delivered}
    # Nobody died, and no cut was longer than the patience of a commit.
    assert set(came.values()) == {1}
    assert all(isinstance(failure, CommitFailed) for failure in failures)


class Latencies(NamedTuple):
    median: float
    p99: float


async def send_steadily(
    stage: Stage, merchants: Merchants, wake: Wake, endpoints: Sequence[Endpoint], *, name: str
) -> Latencies:
    """Let events happen one after another for healthy endpoints, and see how long each takes to arrive."""
    happened: dict[str, float] = {}
    seen = len(merchants.got)
    for number in range(250 if IS_SAMPLE else 3000):
        endpoint = endpoints[number % len(endpoints)]
        records = stage.happen([endpoint])
        happened[records[0].id] = time.time()
        await stage.store.commit(*records)
        wake([endpoint.id])
        await asyncio.sleep(0.01)
    arrived: dict[str, float] = {}

    def all_arrived() -> bool:
        arrived.update({got.event: got.at for got in merchants.got[seen:] if got.event in happened})
        return arrived.keys() == happened.keys()

    await until(all_arrived, seconds=30)
    took = sorted(arrived[event] - happened[event] for event in happened)
    latencies = Latencies(took[len(took) // 2], took[len(took) * 99 // 100])
    tell(f"{name}: median {latencies.median * 1000:.0f} ms, p99 {latencies.p99 * 1000:.0f} ms")
    return latencies


async def test_an_endpoint_that_hangs_with_any_backlog_holds_no_healthy_one_up(
    fresh_postgres: Callable[[], str], redis_url: str, tmp_path: Path, merchants: Merchants
) -> None:
    async def behave(path: str, number: int) -> int:
        return await (hang if path == "hangs" else after(0.01))(path, number)

    merchants.behave = behave
    shops, backlog = (200, 10_000) if IS_SAMPLE else (999, 100_000)
    url = await migrated(fresh_postgres())
    with local(tmp_path, url, KPAY_BROKER_URL=redis_url) as installation:
        workers = Workers(installation, random.Random(0))
        try:
            async with kicking(redis_url) as wake, open_stage(url, wake=wake) as stage:
                paths = [f"shop-{number}" for number in range(shops)]
                endpoints = await stage.endpoints(merchants, paths)
                (hanging,) = await stage.endpoints(merchants, ["hangs"])
                workers.start()
                await stage.send(endpoints[:20])
                await until(lambda: len(merchants.got) == 20, seconds=30)
                without = await send_steadily(stage, merchants, wake, endpoints, name="without")
                await stage.send([hanging], backlog)
                await until(lambda: merchants.in_flight["hangs"] == MAX_IN_FLIGHT, seconds=30)
                beside = await send_steadily(stage, merchants, wake, endpoints, name="beside it")
                tell(f"p99 beside a backlog of {backlog}: {beside.p99 / without.p99:.2f} times")
                # It is still tried: one round of eight after the other.
                await until(lambda: len(merchants.events("hangs")) > MAX_IN_FLIGHT, seconds=40)
        finally:
            workers.stop()
    assert merchants.most["hangs"] == MAX_IN_FLIGHT


class Noting:
    """Couriers that note when posts are sent, and where."""

    def __init__(self, sender: Sender, sent: list[tuple[float, str]]) -> None:
        self._sender = sender
        self._sent = sent

    def courier(self) -> AiohttpCourier:
        courier, sent = self._sender.courier(), self._sent

        class NotingCourier(AiohttpCourier):
            def send(self, post: Post) -> None:
                sent.append((time.monotonic(), post.url))
                super().send(post)

        courier.__class__ = NotingCourier
        return courier


async def test_nothing_is_sent_to_an_endpoint_after_it_was_deleted_and_nothing_of_it_comes_back(
    fresh_postgres: Callable[[], str], merchants: Merchants
) -> None:
    chance = random.Random(a_seed())
    merchants.behave = after(0.02)
    url = await migrated(fresh_postgres())
    sent: list[tuple[float, str]] = []
    deleted_at: dict[str, float] = {}
    deleted_when: dict[str, float] = {}
    times = 100 if IS_SAMPLE else 1000
    async with (
        open_stage(url) as stage,
        open_stage(url) as one,
        open_stage(url) as other,
        Sender(local=True) as sender,
        draining(one.kpay, Noting(sender, sent)) as drain,
        draining(other.kpay, Noting(sender, sent)) as other_drain,
    ):

        async def delete(endpoint: Endpoint) -> None:
            await stage.store.commit(*(record for _ in range(24) for record in stage.happen([endpoint])))
            chance.choice([drain, other_drain]).wake([endpoint.id])
            await asyncio.sleep(chance.uniform(0, 0.1))
            await stage.kpay.delete_endpoint(endpoint.scope, endpoint.id)
            deleted_at[endpoint.url], deleted_when[endpoint.url[-12:]] = time.monotonic(), time.time()

        for start in range(0, times, 20):
            scope_paths = [f"shop-{start + number:07}" for number in range(20)]
            endpoints = await stage.endpoints(merchants, scope_paths)
            await asyncio.gather(*(delete(endpoint) for endpoint in endpoints))
        await stage.until_delivered(seconds=30)
        await asyncio.sleep(1.5)
        first = await stage.dump()
        await asyncio.sleep(2)
        assert await stage.dump() == first, "something comes back"
        delivered = await stage.all(Delivery)

    late = [url for at, url in sent if at > deleted_at[url]]
    assert late == [], "sent after it was deleted"
    assert len(deleted_at) == times
    # What was sent before may have been on its way for a moment.
    assert all(got.at < deleted_when[got.path] + 1 for got in merchants.got)
    statuses = Counter((delivery.status, delivery.reason) for delivery in delivered)
    tell(f"{times} endpoints deleted, {dict(statuses)}")
    assert statuses.keys() == {("succeeded", None), ("abandoned", "endpoint_deleted")}
    arrived = {got.event for got in merchants.got}
    assert {d.event for d in delivered if d.status == "succeeded"} <= arrived
