"""The sweeper: finishes or undoes whatever a crash, a lost answer or a processor that was away has left open."""

from contextlib import suppress

import msgspec

from kpay_core.commit import CommitFailed
from kpay_core.domain import charges, looks, refunds
from kpay_core.domain.charges import Charge
from kpay_core.domain.errors import KpayError
from kpay_core.domain.refunds import Refund
from kpay_core.flows.charges import resolve_charge
from kpay_core.flows.refunds import resolve_refund
from kpay_core.ports import Ports
from kpay_core.query import Condition, Query

# One round looks at this many of each kind, one after the other; what is left waits for the next round, or for another
# sweeper. Few, because each look may wait for a network that hangs.
ROUND = 20


class Swept(msgspec.Struct, kw_only=True):
    """What a round did: how many it looked at, how many of them are finished now, and which need a person."""

    looked_at: int = 0
    finished: int = 0
    overdue: list[str] = msgspec.field(default_factory=list[str])

    def note(self, id: str, *, settled: bool, overdue: bool) -> None:
        """Count one that was looked at."""
        self.looked_at += 1
        self.finished += settled
        if overdue:
            self.overdue.append(id)


async def sweep(ports: Ports) -> Swept:
    """
    Look at every charge and refund whose time has come, up to 20 of each.

    Any number of sweepers may run at once: each look is leased by a commit, and losers skip it. One that cannot be
    resolved now, for whatever reason the world has, holds nobody else up.
    """
    swept = Swept()
    now = ports.clock.now()
    due: tuple[Condition, ...] = (("look_at", "<=", now),)
    for found in await ports.store.find(Query(kind=Charge, where=due, order="look_at", limit=ROUND)):
        charge = found
        with suppress(CommitFailed, KpayError):
            charge = await resolve_charge(ports, found.id)
        settled, overdue = looks.is_settled(charge), charges.is_overdue(charge, now=now)
        swept.note(charge.id, settled=settled, overdue=overdue)
    for found in await ports.store.find(Query(kind=Refund, where=due, order="look_at", limit=ROUND)):
        refund = found
        with suppress(CommitFailed, KpayError):
            refund = await resolve_refund(ports, found.id)
        settled, overdue = looks.is_settled(refund), refunds.is_overdue(refund, now=now)
        swept.note(refund.id, settled=settled, overdue=overdue)
    return swept
