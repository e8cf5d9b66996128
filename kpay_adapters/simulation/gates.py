"""
Ports that stop before each call, until the scheduler says how it ends.

A coroutine that awaits one of these hands the scheduler what it asks, and is resumed with an outcome. What is between
two calls happens at once, so that a process which is abandoned here may as well have died anywhere in between.
"""

from collections.abc import Callable, Coroutine, Generator, Sequence
from types import coroutine
from typing import Any, NamedTuple, TypeVar

from kpay_adapters.sandbox import SandboxBank
from kpay_adapters.simulation.faults import Call, Outcome
from kpay_adapters.testing import NewsDesk
from kpay_core.commit import Conflict, Record, Unavailable, Unknown, is_guarded
from kpay_core.domain.banking import BankVerdict
from kpay_core.domain.cards import Card
from kpay_core.domain.news import Mail
from kpay_core.domain.processing import Verdict
from kpay_core.ports import Clock, NoAnswer, Store
from kpay_core.query import Query

R = TypeVar("R", bound=Record)
T = TypeVar("T")


class Stop(NamedTuple):
    """Where a coroutine stands: before a call of a kind, of what, and until when where it sleeps."""

    call: Call
    what: Any
    until: int = 0


@coroutine
def stop(at: Stop) -> Generator[Stop, Outcome, Outcome]:
    """Hand the scheduler what comes next, and return how it is to end."""
    return (yield at)


OnCommit = Callable[[Sequence[Record], Sequence[Record]], None]


class WatchedStore:
    """
    A store that tells of every unit that takes effect, as it does, and of every call.

    `on_call` may raise what ends work that never ends by itself.
    """

    def __init__(self, store: Store, on_commit: OnCommit, on_call: Callable[[], None]) -> None:
        self._store = store
        self._on_commit = on_commit
        self._on_call = on_call

    async def get(self, kind: type[R], id: str) -> R | None:
        self._on_call()
        return await self._store.get(kind, id)

    async def find(self, query: Query[R]) -> Sequence[R]:
        self._on_call()
        return await self._store.find(query)

    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        self._on_call()
        await self._store.commit(*records, held=held)
        self._on_commit(records, held)


# The ends of a commit by which it took effect, and where one stands that is durable and was not told so yet.
EFFECTIVE = (Outcome.DONE, Outcome.SLOW, Outcome.UNKNOWN_WITH)
SLOW = Stop(Call.SLEEP, "until it hears of its commit")


class GatedStore:
    """A store behind a gate. `on_commit` is told of every unit that took effect, as it did."""

    def __init__(self, store: Store, on_commit: OnCommit) -> None:
        self._store = store
        self._on_commit = on_commit

    async def get(self, kind: type[R], id: str) -> R | None:
        if await stop(Stop(Call.READ, kind)) is not Outcome.DONE:
            raise Unavailable("the store is away")
        return await self._store.get(kind, id)

    async def find(self, query: Query[R]) -> Sequence[R]:
        if await stop(Stop(Call.READ, query.kind)) is not Outcome.DONE:
            raise Unavailable("the store is away")
        return await self._store.find(query)

    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        outcome = await stop(Stop(Call.COMMIT, records))
        if outcome in EFFECTIVE:
            await self._store.commit(*records, held=held)
            self._on_commit(records, held)
        if outcome is Outcome.DONE:
            return
        if outcome is Outcome.SLOW:
            await stop(SLOW)
            return
        if outcome is Outcome.CONFLICT:
            # As if somebody else had written it, and undone that again, before we could look.
            moved = next((record for record in records if is_guarded(type(record))), records[0])
            raise Conflict(type(moved), moved.id)
        if outcome is Outcome.UNAVAILABLE:
            raise Unavailable("the store is away")
        raise Unknown("the connection was lost")


# Has the network or the bank do something by itself, later than whoever asked for it waits.
Later = Callable[[Callable[[], Coroutine[Any, Any, Any]]], None]


async def ask(what: str, effect: Callable[[], Coroutine[Any, Any, T]], later: Later) -> T:
    """Ask the network or the bank through a gate."""
    outcome = await stop(Stop(Call.ASK, what))
    if outcome is Outcome.DONE:
        return await effect()
    if outcome is Outcome.LOST:
        await effect()
    elif outcome is Outcome.LATE:
        later(effect)
    raise NoAnswer


class Network(NewsDesk):
    """The sandbox's network, which remembers the cases that it was given evidence on, in time or not."""

    def __init__(self, *, journal: Store, clock: Clock) -> None:
        super().__init__(journal=journal, clock=clock)
        self.asked: set[str] = set()

    async def dispute(self, *, dispute: str, evidence: str) -> bool:
        self.asked.add(dispute)
        return await super().dispute(dispute=dispute, evidence=evidence)


class GatedNetwork:
    """The network behind a gate."""

    takes_test_cards = Network.takes_test_cards

    def __init__(self, network: Network, later: Later) -> None:
        self._network = network
        self._later = later

    async def authorise(self, *, reference: str, amount: int, currency: str, card: Card) -> Verdict:
        return await ask(
            "authorise",
            lambda: self._network.authorise(reference=reference, amount=amount, currency=currency, card=card),
            self._later,
        )

    async def refund(self, *, reference: str, charge: str, amount: int) -> Verdict:
        return await ask(
            "refund",
            lambda: self._network.refund(reference=reference, charge=charge, amount=amount),
            self._later,
        )

    async def lookup(self, *, reference: str) -> Verdict:
        return await ask("lookup", lambda: self._network.lookup(reference=reference), self._later)

    async def reverse(self, *, reference: str) -> Verdict:
        return await ask("reverse", lambda: self._network.reverse(reference=reference), self._later)

    async def dispute(self, *, dispute: str, evidence: str) -> bool:
        return await ask(
            "dispute", lambda: self._network.dispute(dispute=dispute, evidence=evidence), self._later
        )

    async def mail(self, *, limit: int) -> Mail:
        return await ask("mail", lambda: self._network.mail(limit=limit), self._later)

    async def acknowledge(self, *, news: Sequence[str]) -> None:
        await ask("acknowledge", lambda: self._network.acknowledge(news=news), self._later)


class GatedBank:
    """The bank behind a gate."""

    def __init__(self, bank: SandboxBank, later: Later) -> None:
        self._bank = bank
        self._later = later

    async def send(self, *, reference: str, amount: int, currency: str, account: str) -> BankVerdict:
        return await ask(
            "send",
            lambda: self._bank.send(reference=reference, amount=amount, currency=currency, account=account),
            self._later,
        )
