"""The sweeper: finishes or undoes whatever a crash, a lost answer or a network that was away has left open."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec

from kpay_core.commit import CommitFailed, Record
from kpay_core.domain import charges, disputes, looks, notices, payouts, refunds
from kpay_core.domain.charges import Charge
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.errors import KpayError
from kpay_core.domain.notices import Notice
from kpay_core.domain.payouts import Payout
from kpay_core.domain.refunds import Refund
from kpay_core.flows.charges import resolve_charge
from kpay_core.flows.disputes import resolve_dispute
from kpay_core.flows.notices import resolve_notice
from kpay_core.flows.payouts import resolve_payout
from kpay_core.flows.refunds import resolve_refund
from kpay_core.ports import Ports
from kpay_core.query import Condition, Query

# One round looks at this many of each kind, one after the other; what is left waits for the next round, or for another
# sweeper. Few, because each look may wait for a network that hangs.
ROUND = 20

# What is looked at: how it is resolved, and when it deserves a person's attention. What a notice waits for comes before
# it, so that one round can see both through.
Resolve = Callable[[Ports, str], Awaitable[Any]]
WATCHED: tuple[tuple[type[Record], Resolve, Callable[..., bool]], ...] = (
    (Charge, resolve_charge, charges.is_overdue),
    (Refund, resolve_refund, refunds.is_overdue),
    (Dispute, resolve_dispute, disputes.is_overdue),
    (Notice, resolve_notice, notices.is_overdue),
    (Payout, resolve_payout, payouts.is_overdue),
)


class Swept(msgspec.Struct, kw_only=True):
    """What a round did: how many it looked at, how many of them are finished now, and which need a person."""

    looked_at: int = 0
    finished: int = 0
    overdue: list[str] = msgspec.field(default_factory=list[str])


async def sweep(ports: Ports) -> Swept:
    """
    Look at everything unfinished whose time has come, up to 20 of each kind.

    Any number of sweepers may run at once: each look is leased by a commit, and losers skip it. One that cannot be
    resolved now, for whatever reason the world has, holds nobody else up.
    """
    swept = Swept()
    now = ports.clock.now()
    due: tuple[Condition, ...] = (("look_at", "<=", now),)
    for kind, resolve, is_overdue in WATCHED:
        for found in await ports.store.find(Query(kind=kind, where=due, order="look_at", limit=ROUND)):
            record: Any = found
            with suppress(CommitFailed, KpayError):
                record = await resolve(ports, found.id)
            swept.looked_at += 1
            swept.finished += looks.is_settled(record)
            if is_overdue(record, now=now):
                swept.overdue.append(found.id)
    return swept
