"""
The network's journal: what was asked of it and what it did, one guarded record for each of our references.

An entry is durable before the network answers. It has its own database, apart from the books of K-Payments,
so that one can be held against the other. It knows no card: only how a card behaves.
"""

from datetime import datetime

from kpay_adapters.sandbox.cards import Behaviour
from kpay_core.commit import Record
from kpay_core.domain.processing import Outcome


class Entry(Record, frozen=True, kw_only=True):
    """
    What stands under a reference. `charge` is set for refunds: the reference of the authorisation.

    Before `known_at` the network cannot tell of it; a pending refund is refunded from `due_at` on.
    """

    version: int = 1
    outcome: Outcome
    code: str | None = None
    amount: int = 0
    charge: str | None = None
    behaviour: Behaviour = Behaviour.ORDINARY
    heard_at: datetime
    known_at: datetime
    due_at: datetime | None = None
