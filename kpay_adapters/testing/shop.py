"""One merchant with a K-Payments of its own, in a time that stands still."""

from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from kpay_adapters.testing.clocks import FrozenClock
from kpay_adapters.testing.couriers import Receiver, ScriptedCourier, accept
from kpay_adapters.testing.making import make_kpay
from kpay_core import Kpay, Scope
from kpay_core.domain.posts import Post, Reply
from kpay_core.flows.merchants import KeySet

T = TypeVar("T")


class Shop:
    """
    A merchant that was let in, in test mode, with the sandbox behind it and a server for its webhooks.

    `kpay` is what an application is given, `scope` who it is, `keys` what opens the API, `clock` what time it is.
    `receiver` is what the server does with a post, `posts` are all that came. Implements the `Couriers` port.
    """

    def __init__(self, kpay: Kpay, *, clock: FrozenClock, scope: Scope, keys: KeySet) -> None:
        self.kpay = kpay
        self.clock = clock
        self.scope = scope
        self.keys = keys
        self.receiver: Receiver = accept
        self.posts: list[Post] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something to its end without an event loop; sleeping lets the clock move."""
        return run(work)

    async def pass_time(self, **time: float) -> None:
        """Let time pass, as `timedelta` has it (`days=3`); everything due by then happens, webhooks too."""
        until = self.clock.now() + timedelta(**time)
        await self.kpay.pass_time(until, turn_to=self.clock.turn_to, couriers=self)

    def courier(self) -> ScriptedCourier:
        return ScriptedCourier(self._receive, clock=self.clock)

    def _receive(self, post: Post) -> Reply | timedelta | None:
        self.posts.append(post)
        return self.receiver(post)


def open_shop(**parts: Any) -> Shop:
    """
    Open a shop in memory. `parts` are those of `make_kpay`, for whoever has an own store or processor.

    None of them may need an event loop; a shop of those is made in one, by `Shop(kpay, …)`.
    """
    clock = parts.setdefault("clock", FrozenClock())
    kpay = make_kpay(**parts)
    merchant = run(kpay.apply(name="Acme"))
    approved = run(kpay.approve(merchant.id))
    return Shop(kpay, clock=clock, scope=Scope(merchant.id, livemode=False), keys=approved.keys)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing but its turn."""
    while True:
        try:
            work.send(None)
        except StopIteration as stop:
            return stop.value
