"""How every run begins: two merchants were let in, and nothing has happened yet."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from kpay_adapters.keyring import SecretKeyring
from kpay_adapters.memory import MemoryStore
from kpay_adapters.simulation.gates import WatchedStore
from kpay_adapters.simulation.index import Index
from kpay_adapters.simulation.violations import violate
from kpay_adapters.simulation.watch import Unit, Watch
from kpay_adapters.testing import START, FrozenClock, SeededIds
from kpay_core import Kpay, Scope
from kpay_core.commit import Record
from kpay_core.ports import Store

MakeStore = Callable[[], Store]

# Of two merchants, the second one's live world is left out: three are enough to mix up.
WORLDS = 3


class Beginning(msgspec.Struct, kw_only=True):
    """Two merchants, approved, as a store and an index know them, and the worlds that requests come from."""

    store: Store
    index: Index
    scopes: tuple[Scope, ...]
    keyring: SecretKeyring


def begin(store: Store) -> Beginning:
    """Let two merchants in, who have three worlds between them."""
    watch = Watch(violate)

    def note(records: Sequence[Record], held: Sequence[Record]) -> None:
        watch.note(Unit(written=records, held=held, now=START, latest=START, began=0, step=0))

    keyring = SecretKeyring(bytes(32))
    kpay = Kpay(
        store=WatchedStore(store, note, lambda: None),
        processors={},
        clock=FrozenClock(),
        ids=SeededIds(),
        keyring=keyring,
    )
    ids = [finish(kpay.apply(name=name)).id for name in ("Acme", "Emca")]
    for id in ids:
        finish(kpay.approve(id))
    scopes = (Scope(ids[0], False), Scope(ids[0], True), Scope(ids[1], False))
    return Beginning(store=store, index=watch.index, scopes=scopes, keyring=keyring)


class Beginnings:
    """Makes the same beginning again and again: quickly in memory, anew in a store of somebody else's."""

    def __init__(self, make_store: MakeStore = MemoryStore) -> None:
        self._make_store = make_store
        self._first = begin(make_store())

    def next(self) -> Beginning:
        """Return a beginning that belongs to nobody yet."""
        first = self._first
        if not isinstance(first.store, MemoryStore):
            return begin(self._make_store())
        return msgspec.structs.replace(first, store=first.store.copy(), index=first.index.copy_records())


def finish(work: Coroutine[Any, Any, Any]) -> Any:
    """Run what never waits; raises `AssertionError` where it does, as a store with an event loop of its own would."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits, and nobody else is there")
