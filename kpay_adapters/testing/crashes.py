"""Ports that die on purpose, at the call that a test chooses."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


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
