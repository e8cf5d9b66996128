"""Token buckets: in memory by a clock of our own, and in Redis over processes and outages."""

import asyncio
import gc
import socket
import time
from collections.abc import AsyncIterator
from fractions import Fraction
from uuid import uuid4

import pytest
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.connection import parse_url

from kpay_adapters.ratelimit import (
    BUCKETS_AT_LEAST,
    PAUSE_SECONDS,
    Decision,
    MemoryLimiter,
    RedisLimiter,
    TokenBucket,
)

pytestmark = pytest.mark.anyio

# So slow that no test gains a request by the time it takes.
SLOW = TokenBucket(rate=1, burst=20)


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def test_the_burst_passes_at_once_and_not_one_request_more() -> None:
    limiter = MemoryLimiter(TokenBucket(rate=100, burst=200), clock=Clock())
    decisions = [await limiter.take("mer_1:test") for _ in range(201)]
    assert [decision.allowed for decision in decisions] == [True] * 200 + [False]
    assert [decision.remaining for decision in decisions] == [*range(199, -1, -1), 0]


async def test_a_refused_request_costs_nothing_and_names_the_moment_that_has_one() -> None:
    clock = Clock()
    limiter = MemoryLimiter(TokenBucket(rate=4, burst=2), clock=clock)
    for _ in range(2):
        assert (await limiter.take("mer_1:test")).allowed
    for _ in range(50):
        refused = await limiter.take("mer_1:test")
    assert (refused.allowed, refused.retry_after_seconds, refused.reset_seconds) == (False, 0.25, 0.5)
    clock.now += refused.retry_after_seconds
    assert (await limiter.take("mer_1:test")).allowed
    assert not (await limiter.take("mer_1:test")).allowed


async def test_a_bucket_never_holds_more_than_its_burst() -> None:
    clock = Clock()
    limiter = MemoryLimiter(TokenBucket(rate=100, burst=3), clock=clock)
    await limiter.take("mer_1:test")
    clock.now += 3600
    assert [(await limiter.take("mer_1:test")).allowed for _ in range(4)] == [True] * 3 + [False]


async def test_one_key_does_not_use_up_another_ones_requests() -> None:
    limiter = MemoryLimiter(TokenBucket(rate=1, burst=1), clock=Clock())
    assert (await limiter.take("mer_1:test")).allowed
    assert not (await limiter.take("mer_1:test")).allowed
    assert (await limiter.take("mer_1:live")).allowed
    assert (await limiter.take("mer_2:test")).allowed


@given(
    rate=st.sampled_from([1, 2, 5, 100, 1000]),
    burst=st.integers(1, 20),
    pauses=st.lists(st.integers(0, 3_000_000) | st.sampled_from([0, 1, 9_999, 10_000]), max_size=60),
)
def test_it_is_a_token_bucket(rate: int, burst: int, pauses: list[int]) -> None:
    microseconds = 0
    limiter = MemoryLimiter(TokenBucket(rate=rate, burst=burst), clock=lambda: Fraction(microseconds, 10**6))  # type: ignore[arg-type]
    tokens = Fraction(burst)
    for pause in pauses:
        microseconds += pause
        tokens = min(Fraction(burst), tokens + Fraction(pause * rate, 10**6))
        expected = tokens >= 1
        tokens -= expected
        decision = asyncio_run(limiter.take("mer_1:test"))
        assert (decision.allowed, decision.remaining) == (expected, int(tokens))


@pytest.mark.parametrize(("rate", "seconds"), [(300, 60), (7, 100), (400_000, 0.01), (700_000, 0.01)])
def test_never_more_pass_than_are_promised_also_where_a_second_has_no_whole_share_for_each(
    rate: int, seconds: float
) -> None:
    microseconds = 0
    limiter = MemoryLimiter(TokenBucket(rate=rate, burst=5), clock=lambda: Fraction(microseconds, 10**6))  # type: ignore[arg-type]
    passed = 0
    while microseconds < seconds * 10**6:
        passed += asyncio_run(limiter.take("mer_1:test")).allowed
        microseconds += max(1, 10**6 // rate // 4)
    assert passed <= 5 + rate * seconds


def asyncio_run(take: object) -> Decision:
    """Finish a take that never waits, without the price of an event loop."""
    try:
        take.send(None)  # type: ignore[attr-defined]
    except StopIteration as done:
        return done.value
    raise AssertionError("the memory limiter waited")


async def test_idle_buckets_are_forgotten() -> None:
    clock = Clock()
    limiter = MemoryLimiter(TokenBucket(rate=100, burst=200), clock=clock)
    for number in range(20 * BUCKETS_AT_LEAST):
        clock.now += 0.001
        await limiter.take(f"mer_{number}:test")
        assert len(limiter) <= BUCKETS_AT_LEAST + 1


async def test_active_buckets_are_kept_however_many() -> None:
    limiter = MemoryLimiter(TokenBucket(rate=1, burst=1), clock=Clock())
    keys = [f"mer_{number}:test" for number in range(3 * BUCKETS_AT_LEAST)]
    for key in keys:
        assert (await limiter.take(key)).allowed
    for key in keys:
        assert not (await limiter.take(key)).allowed


async def test_headers_tell_the_bucket_and_what_is_left() -> None:
    limiter = MemoryLimiter(TokenBucket(rate=100, burst=200), clock=Clock())
    assert (await limiter.take("mer_1:test")).headers() == {
        "RateLimit-Policy": '"default";q=200;w=2',
        "RateLimit": '"default";r=199;t=1',
    }


async def test_a_refusals_headers_round_the_wait_up_to_whole_seconds() -> None:
    limiter = MemoryLimiter(TokenBucket(rate=100, burst=200), clock=Clock())
    for _ in range(201):
        refused = await limiter.take("mer_1:test")
    assert refused.headers() == {
        "RateLimit-Policy": '"default";q=200;w=2',
        "RateLimit": '"default";r=0;t=1',
        "Retry-After": "1",
    }


# Redis


@pytest.fixture
def prefix() -> str:
    """Other runs use the same Redis."""
    return f"test:{uuid4().hex}:"


@pytest.fixture
async def limiters(redis_url: str, prefix: str) -> AsyncIterator[tuple[RedisLimiter, RedisLimiter]]:
    """Two processes' limiters. A laptop under load may be slower than 50 ms, and that is not the point."""
    two = [RedisLimiter(redis_url, SLOW, prefix=prefix, timeout_seconds=5) for _ in range(2)]
    yield two[0], two[1]
    for limiter in two:
        await limiter.close()


async def test_two_processes_share_one_bucket(limiters: tuple[RedisLimiter, RedisLimiter]) -> None:
    decisions = await asyncio.gather(*[limiters[n % 2].take("mer_1:test") for n in range(100)])
    assert sum(decision.allowed for decision in decisions) == SLOW.burst
    refused = [decision for decision in decisions if not decision.allowed]
    assert all(decision.remaining == 0 and 0 < decision.retry_after_seconds <= 1 for decision in refused)
    assert (await limiters[0].take("mer_1:live")).remaining == SLOW.burst - 1


async def test_redis_refills_by_its_own_clock(redis_url: str, prefix: str) -> None:
    limiter = RedisLimiter(redis_url, TokenBucket(rate=20, burst=2), prefix=prefix, timeout_seconds=5)
    while (decision := await limiter.take("mer_1:test")).allowed:
        pass
    await asyncio.sleep(decision.retry_after_seconds)
    assert (await limiter.take("mer_1:test")).allowed
    await limiter.close()


async def test_keys_in_redis_expire_by_themselves(
    redis_url: str, prefix: str, limiters: tuple[RedisLimiter, RedisLimiter]
) -> None:
    await limiters[0].take("mer_1:test")
    async with redis.asyncio.from_url(redis_url) as looker:  # pyright: ignore[reportUnknownMemberType]
        assert 0 < await looker.pttl(prefix + "mer_1:test") <= 1000


async def test_a_clock_set_back_locks_nobody_out_for_longer_than_a_window(
    redis_url: str, prefix: str, limiters: tuple[RedisLimiter, RedisLimiter]
) -> None:
    tomorrow = int((time.time() + 86_400) * 1_000_000)
    async with redis.asyncio.from_url(redis_url) as other:  # pyright: ignore[reportUnknownMemberType]
        await other.set(prefix + "mer_1:test", tomorrow, ex=10)
    assert (await limiters[0].take("mer_1:test")).reset_seconds <= SLOW.window_seconds


async def test_a_caller_who_gives_up_does_not_trouble_the_others(
    limiters: tuple[RedisLimiter, RedisLimiter],
) -> None:
    takes = [asyncio.ensure_future(limiters[0].take("mer_1:test")) for _ in range(10)]
    await asyncio.sleep(0)
    for take in takes[::2]:
        take.cancel()
    outcomes = await asyncio.gather(*takes, return_exceptions=True)
    assert [isinstance(outcome, Decision) for outcome in outcomes] == [False, True] * 5


class Relay:
    """A Redis that can fall silent: passes bytes on to the real one while `up`."""

    def __init__(self, redis_url: str) -> None:
        self.target = parse_url(redis_url)
        self.up = True
        self.asked = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if "path" in self.target:
            far = await asyncio.open_unix_connection(self.target["path"])
        else:
            far = await asyncio.open_connection(self.target.get("host"), self.target.get("port", 6379))
        await asyncio.gather(self.pump(reader, far[1], counted=True), self.pump(far[0], writer))

    async def pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool = False
    ) -> None:
        while data := await reader.read(65536):
            self.asked += counted
            if self.up:
                writer.write(data)
        writer.close()


async def test_requests_pass_while_redis_is_silent_and_are_counted_when_it_is_back(
    redis_url: str, prefix: str
) -> None:
    relay, clock = Relay(redis_url), Clock()
    failures: list[Exception] = []
    async with await asyncio.start_server(relay.serve, "127.0.0.1", 0) as server:
        url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        limiter = RedisLimiter(
            url, SLOW, prefix=prefix, clock=clock, timeout_seconds=0.5, on_failure=failures.append
        )
        assert not all([(await limiter.take("mer_1:test")).allowed for _ in range(SLOW.burst + 5)])

        relay.up = False
        relay.asked = 0
        start = time.monotonic()
        for _ in range(100):
            passed = await limiter.take("mer_1:test")
            assert (passed.allowed, passed.remaining, passed.headers().get("Retry-After")) == (True, 20, None)
        assert 0.4 < time.monotonic() - start < 1.5, "one request pays the timeout, the others do not"
        assert [type(failure) for failure in failures] == [TimeoutError]
        assert relay.asked == 1

        clock.now += PAUSE_SECONDS
        finds_out = asyncio.create_task(limiter.take("mer_1:test"))
        await asyncio.sleep(0)
        async with asyncio.timeout(0.4):
            crowd = await asyncio.gather(*[limiter.take("mer_1:test") for _ in range(100)])
        assert all(decision.allowed for decision in [*crowd, await finds_out])
        assert len(failures) == 2, "one request finds out for all"

        relay.up = True
        clock.now += PAUSE_SECONDS
        assert [(await limiter.take("mer_2:test")).remaining for _ in range(3)] == [19, 18, 17]
        assert len(failures) == 2
        await limiter.close()


async def test_requests_pass_where_there_is_no_redis_at_all(unused_tcp_port_number: int) -> None:
    failures: list[Exception] = []
    limiter = RedisLimiter(
        f"redis://127.0.0.1:{unused_tcp_port_number}/0", SLOW, clock=Clock(), on_failure=failures.append
    )
    decisions = await asyncio.gather(*[limiter.take("mer_1:test") for _ in range(50)])
    decisions += [await limiter.take("mer_1:test") for _ in range(50)]
    assert all(decision.allowed for decision in decisions)
    assert len(failures) == 1
    await limiter.close()


async def test_nobody_waits_for_ever_when_the_failure_itself_fails(unused_tcp_port_number: int) -> None:
    def broken(failure: Exception) -> None:
        raise RuntimeError from failure

    reported: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    limiter = RedisLimiter(f"redis://127.0.0.1:{unused_tcp_port_number}/0", SLOW, on_failure=broken)
    async with asyncio.timeout(5):
        decisions = await asyncio.gather(*[limiter.take("mer_1:test") for _ in range(5)])
    assert all(decision.allowed for decision in decisions)
    await limiter.close()
    gc.collect()  # an exception nobody asked for is reported when its task is thrown away
    loop.set_exception_handler(None)
    assert [type(error) for error in reported] == [RuntimeError]


@pytest.fixture
def unused_tcp_port_number() -> int:
    with socket.create_server(("127.0.0.1", 0)) as briefly:
        return briefly.getsockname()[1]
