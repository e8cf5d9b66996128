"""Merchants' servers that do as they are told, and the couriers that go to them."""

from collections.abc import Callable
from datetime import datetime, timedelta

from kpay_core.domain.posts import Failure, Post, Reply, judge
from kpay_core.ports import Clock

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


def break_off(post: Post, failure: Failure = Failure.CONNECTION_LOST) -> Reply:
    """Begin to answer a post with 200, and never end."""
    return Reply(key=post.key, status=200, failure=failure, answer="o", milliseconds=1)


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
