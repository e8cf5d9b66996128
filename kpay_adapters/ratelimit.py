"""
Token buckets: how many requests one key may make.

A bucket holds `burst` requests and gains `rate` a second until it is full again. It is kept as one number, the
moment at which it will be full (this form is known as GCRA): each request moves that moment one interval
further, and is refused if it would then be more than `burst` intervals away. A full bucket is the same as
none, so idle keys are forgotten.

`MemoryLimiter` counts for one process, `RedisLimiter` for all that share a Redis.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, cast

import msgspec

# A round trip takes well under a millisecond; a request shall not wait longer for the luxury of being counted.
TIMEOUT_SECONDS = 0.05

# While Redis is away, one request a second finds out whether it is back; the others pass at once.
PAUSE_SECONDS = 1.0

# Requests in one call. It keeps Redis busy for about a millisecond, and others want it too.
BATCH_AT_MOST = 500

# Buckets kept before full ones are looked for and dropped.
BUCKETS_AT_LEAST = 1024


class Decision(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Whether a request may pass, and what its client should know."""

    allowed: bool
    # What a full bucket holds, and the seconds an empty one needs to be full.
    limit: int
    window_seconds: int
    # Requests that would pass at this moment.
    remaining: int
    # Until the bucket is full again.
    reset_seconds: float
    # Until the next request can pass; 0 when this one did.
    retry_after_seconds: float

    def headers(self) -> dict[str, str]:
        """
        Say it in `RateLimit-Policy`, `RateLimit` and, on a refusal, `Retry-After`.

        draft-ietf-httpapi-ratelimit-headers-11 knows quotas in windows, not buckets. Our reading: the quota q
        is the full bucket and the window w is the time that fills it, so q/w is the rate and what is available
        never exceeds q; t is the time until the bucket is full. On a refusal t is Retry-After, because section
        6 wants that no earlier than the window's end, and the client may come back long before all is restored.
        """
        reset_seconds = math.ceil(self.reset_seconds if self.allowed else self.retry_after_seconds)
        fields = {
            "RateLimit-Policy": f'"default";q={self.limit};w={self.window_seconds}',
            "RateLimit": f'"default";r={self.remaining};t={reset_seconds}',
        }
        if not self.allowed:
            fields["Retry-After"] = str(reset_seconds)
        return fields


class TokenBucket:
    """`rate` requests a second, `burst` at once. All its times are whole microseconds, as Redis tells time."""

    def __init__(self, *, rate: int, burst: int) -> None:
        assert rate > 0, "a rate of 0 means no limiter at all"
        assert burst > 0, "a bucket that holds nothing lets nobody pass"
        self.burst = burst
        # Rounded up: rather a little less than is promised at most.
        self.interval = -(-1_000_000 // rate)
        self.capacity = burst * self.interval
        self.window_seconds = math.ceil(self.capacity / 1_000_000)

    def decision(self, *, allowed: bool, until_full: int) -> Decision:
        """Tell the outcome of a request that left the bucket full in so many microseconds."""
        return Decision(
            allowed=allowed,
            limit=self.burst,
            window_seconds=self.window_seconds,
            remaining=(self.capacity - until_full) // self.interval,
            reset_seconds=until_full / 1_000_000,
            retry_after_seconds=0 if allowed else (until_full + self.interval - self.capacity) / 1_000_000,
        )


class MemoryLimiter:
    """Buckets of one process. They hold as many entries as keys were active within a window, or 1024."""

    def __init__(self, bucket: TokenBucket, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._bucket = bucket
        self._clock = clock
        self._full_at: dict[str, int] = {}
        self._sweep_at = BUCKETS_AT_LEAST

    def __len__(self) -> int:
        """How many buckets are remembered."""
        return len(self._full_at)

    async def take(self, key: str) -> Decision:
        bucket = self._bucket
        now = int(self._clock() * 1_000_000)
        until_full = max(0, self._full_at.get(key, 0) - now)
        allowed = until_full + bucket.interval <= bucket.capacity
        if allowed:
            until_full += bucket.interval
            self._full_at[key] = now + until_full
            if len(self._full_at) > self._sweep_at:
                self._forget_full_ones(now)
        return bucket.decision(allowed=allowed, until_full=until_full)

    async def close(self) -> None:
        """There is nothing to let go of."""

    def _forget_full_ones(self, now: int) -> None:
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        # Twice what is left: the next sweep is then paid for by as many new keys.
        self._sweep_at = max(BUCKETS_AT_LEAST, 2 * len(self._full_at))


# Redis runs a script alone, so it reads and writes as one step, by the one clock that all processes share. A
# moment further away than an empty bucket's can only come from a clock that was set back, and is cut.
_TAKE = """
local interval, capacity = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local outcomes = {}
for i, key in ipairs(KEYS) do
    local until_full = math.max(0, math.min(capacity, (redis.call('GET', key) or 0) - now))
    local allowed = until_full + interval <= capacity
    if allowed then
        until_full = until_full + interval
        redis.call('SET', key, string.format('%.0f', now + until_full), 'PX', math.ceil(until_full / 1000))
    end
    outcomes[i] = {allowed and 1 or 0, until_full}
end
return outcomes
"""


class _Script(Protocol):
    def __call__(self, keys: Sequence[str], args: Sequence[int]) -> Awaitable[Sequence[tuple[int, int]]]: ...


class RedisLimiter:
    """
    Buckets shared by all processes that use one Redis (not a cluster: a call spans many keys).

    One script, one round trip; requests that come while it is under way share the next. A request waits for
    two round trips at most, so for twice the timeout.

    It fails open: where Redis is away or slow the request passes as if its bucket were full, `on_failure` is
    told why, and for a second nobody asks Redis again. Keys expire by themselves once their bucket is full.
    """

    def __init__(
        self,
        url: str,
        bucket: TokenBucket,
        *,
        prefix: str = "kpay:rate:",
        timeout_seconds: float = TIMEOUT_SECONDS,
        on_failure: Callable[[Exception], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._timeout_seconds = timeout_seconds
        self._on_failure = on_failure
        self._clock = clock
        self._paused_until: float | None = None
        self._waiting: list[tuple[str, asyncio.Future[Decision]]] = []
        self._asking: asyncio.Task[None] | None = None
        # Only here: it takes as long to import as all of ours, and most installations count in memory.
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError

        self._trouble = (RedisError, OSError, TimeoutError)
        # Our own timeout spans connecting and asking. redis-py's are for each step, and its retries multiply
        # them.
        self._redis = cast("type[Any]", Redis).from_url(
            url, socket_timeout=None, socket_connect_timeout=None, retry=Retry(NoBackoff(), 0)
        )
        self._script: _Script = self._redis.register_script(_TAKE)

    async def take(self, key: str) -> Decision:
        if self._paused_until is not None:
            now = self._clock()
            if now < self._paused_until:
                return self._pass()
            # Whoever comes while this request finds out whether Redis is back passes at once.
            self._paused_until = now + PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Decision] = loop.create_future()
        self._waiting.append((self._prefix + key, outcome))
        if self._asking is None:
            self._asking = loop.create_task(self._ask_for_all())
        return await outcome

    async def close(self) -> None:
        """Answer who still waits, and close the connection. Safe to call twice."""
        if self._asking is not None:
            await self._asking
        await self._redis.aclose()

    def _pass(self) -> Decision:
        return self._bucket.decision(allowed=True, until_full=0)

    async def _ask_for_all(self) -> None:
        """Ask for all who wait, and again for those who came meanwhile, until nobody waits."""
        batch: list[tuple[str, asyncio.Future[Decision]]] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_AT_MOST], self._waiting[BATCH_AT_MOST:]
                decisions = await self._ask([key for key, _ in batch])
                for (_, outcome), decision in zip(batch, decisions, strict=True):
                    if not outcome.done():  # the caller may be gone
                        outcome.set_result(decision)
        finally:
            # Nothing is left here, unless this task was cancelled or met a bug; then too, nobody waits for ever.
            for _, outcome in (*batch, *self._waiting):
                if not outcome.done():
                    outcome.set_result(self._pass())
            self._waiting.clear()
            self._asking = None

    async def _ask(self, keys: list[str]) -> list[Decision]:
        bucket = self._bucket
        try:
            async with asyncio.timeout(self._timeout_seconds):
                outcomes = await self._script(keys, [bucket.interval, bucket.capacity])
        except self._trouble as failure:
            self._paused_until = self._clock() + PAUSE_SECONDS
            self._on_failure(failure)
            return [self._pass() for _ in keys]
        self._paused_until = None
        return [bucket.decision(allowed=allowed == 1, until_full=left) for allowed, left in outcomes]
