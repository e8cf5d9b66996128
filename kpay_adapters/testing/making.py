"""A K-Payments put together for a test."""

from kpay_adapters.keyring import SecretKeyring
from kpay_adapters.memory import MemoryStore
from kpay_adapters.sandbox import SandboxBank, SandboxNetwork
from kpay_adapters.testing.clocks import FrozenClock
from kpay_adapters.testing.ids import SeededIds
from kpay_core import Kpay
from kpay_core.domain import examples
from kpay_core.ports import BankRail, Clock, Ids, Processor, Store

# A valid request, with the card that always succeeds.
CHARGE = examples.CHARGE


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
