"""
The kit for tests: a clock that stands still, names that repeat from a seed, ports that crash on purpose.

These are shipped adapters like any other, for our tests and yours. None of them needs an event loop.
"""

import random
from collections.abc import Awaitable, Callable, Generator, Sequence
from datetime import UTC, datetime, timedelta
from types import coroutine
from typing import Any, TypeVar

from kpay_adapters.keyring import SecretKeyring
from kpay_adapters.memory import MemoryStore
from kpay_adapters.sandbox import SandboxBank, SandboxNetwork
from kpay_adapters.system import EPOCH, MILLISECOND, cut_to_milliseconds, uuid7
from kpay_core import Kpay
from kpay_core.domain import examples
from kpay_core.domain.news import Mail, News
from kpay_core.domain.posts import Failure, Post, Reply, judge
from kpay_core.ports import BankRail, Clock, Ids, Processor, Store

T = TypeVar("T")

START = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)

# A valid request, with the card that always succeeds.
CHARGE = examples.CHARGE


@coroutine
def step_aside() -> Generator[None, None, None]:
    """Let others go first: one turn of an event loop, or one step of a driver without one."""
    yield


class FrozenClock:
    """A clock that moves only when told to, and when somebody sleeps."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def advance(self, by: timedelta) -> None:
        """Move the time; also backwards, as clocks do."""
        self._now = cut_to_milliseconds(self._now + by)

    async def turn_to(self, moment: datetime) -> None:
        """Turn the time forward to a moment; one that is past already changes nothing."""
        self._now = max(self._now, cut_to_milliseconds(moment))

    async def sleep(self, seconds: float) -> None:
        self.advance(timedelta(seconds=seconds))
        await step_aside()


class SeededIds:
    """Names and random bytes that are the same for the same seed."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._random = random.Random(seed)
        self._millisecond = 0
        self._count = 0

    def uuid7(self, now: datetime) -> str:
        # The count stands before the seed where the random bits are: names grow within a millisecond, and when the
        # clock steps back, and those of two seeds are never the same.
        self._count += 1
        self._millisecond = max(self._millisecond, (now - EPOCH) // MILLISECOND)
        return uuid7(self._millisecond, 0, self._count << 20 | self._seed % (1 << 20))

    def random_bytes(self, size: int) -> bytes:
        return self._random.randbytes(size)


class Crash(BaseException):
    """The process died here. Nothing catches it, and nothing runs after it."""


class CrashPoint:
    """Counts the calls of every port it wraps, and dies at the n-th: before its effect, or right after it."""

    def __init__(self, at: int | None = None, *, after_effect: bool = False) -> None:
        self.at = at
        self.after_effect = after_effect
        self.calls = 0

    async def call(self, effect: Callable[[], Awaitable[T]]) -> T:
        self.calls += 1
        dies = self.calls == self.at
        if dies and not self.after_effect:
            raise Crash
        try:
            return await effect()
        finally:
            # Also where the effect ended in an exception: a lost answer is lost on a process that dies, too.
            if dies:
                raise Crash


class Crashing:
    """A port whose every method goes through a crash point."""

    def __init__(self, port: object, point: CrashPoint) -> None:
        self._port = port
        self._point = point

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._port, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._point.call(lambda: method(*args, **kwargs))

        return call


Receiver = Callable[[Post], Reply | timedelta | None]


def accept(post: Post) -> Reply:
    """Answer a post with 200, as a merchant's server should."""
    return answer(post, 200)


def answer(post: Post, status: int, text: str = "") -> Reply:
    """Answer a post with a status."""
    return Reply(key=post.key, status=status, failure=judge(status), answer=text, milliseconds=1)


def miss(post: Post, failure: Failure = Failure.CONNECTION_FAILED) -> Reply:
    """Let a post fail without an answer."""
    return Reply(key=post.key, status=None, failure=failure, answer="", milliseconds=1)


class ScriptedCourier:
    """
    A courier to a server that does as it is told, in the time of a clock that stands still.

    The receiver sees each post, and returns a reply, or how long it takes until its sender gives up on it, or None
    for a post of which nobody ever hears again.
    """

    def __init__(self, receiver: Receiver = accept, *, clock: Clock) -> None:
        self.posts: list[Post] = []
        self._receiver = receiver
        self._clock = clock
        self._coming: list[tuple[datetime, Reply]] = []

    def send(self, post: Post) -> None:
        self.posts.append(post)
        what = self._receiver(post)
        now = self._clock.now()
        if isinstance(what, timedelta):
            self._coming.append((now + what, miss(post, Failure.TIMED_OUT)))
        elif what is not None:
            self._coming.append((now, what))

    async def replies(self, *, seconds: float) -> list[Reply]:
        if not self._due():
            await self._clock.sleep(seconds)
        due = self._due()
        self._coming = [(at, reply) for at, reply in self._coming if reply not in due]
        return due

    def deliver(self, reply: Reply) -> None:
        """Let the reply to a post come now of which nothing was heard so far."""
        self._coming.append((self._clock.now(), reply))

    def nudge(self) -> None:
        """Whoever waits looks once a second."""

    def _due(self) -> list[Reply]:
        return [reply for at, reply in self._coming if at <= self._clock.now()]


class NewsDesk(SandboxNetwork):
    """
    A sandbox that also tells whatever news it is given: twice, late, out of order, contradicting, of nothing it knows.

    These come before its own, in the order in which they were given, again and again until they are acknowledged.
    """

    def __init__(self, *, journal: Store, clock: Clock) -> None:
        super().__init__(journal=journal, clock=clock)
        self.given: list[News] = []

    def tell(self, *news: News) -> None:
        """Put news into the mail; the same again after it was acknowledged comes again."""
        self.given += news

    async def mail(self, *, limit: int) -> Mail:
        own = await super().mail(limit=max(limit - len(self.given), 0))
        next_at = self._clock.now() if len(self.given) > limit else own.next_at
        return Mail(news=(*self.given[:limit], *own.news), next_at=next_at)

    async def acknowledge(self, *, news: Sequence[str]) -> None:
        self.given = [each for each in self.given if each.id not in news]
        await super().acknowledge(news=news)


def make_kpay(
    *,
    store: Store | None = None,
    journal: Store | None = None,
    processor: Processor | None = None,
    rail: BankRail | None = None,
    clock: Clock | None = None,
    ids: Ids | None = None,
) -> Kpay:
    """Put a K-Payments together in memory, with a clock that stands still; give what you want to be otherwise."""
    clock = clock or FrozenClock()
    journal = journal or MemoryStore()
    return Kpay(
        store=store or MemoryStore(),
        processors={"test": processor or SandboxNetwork(journal=journal, clock=clock)},
        rails={"test": rail or SandboxBank(journal=journal, clock=clock)},
        clock=clock,
        ids=ids or SeededIds(),
        keyring=SecretKeyring(bytes(32)),
    )
