"""What is due: everything that happens by itself when its time has come, in one place, for schedulers and for tests."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import msgspec

from kpay_core.commit import Record
from kpay_core.domain.lanes import Lane
from kpay_core.domain.payouts import Settlement
from kpay_core.flows.asking import ask
from kpay_core.flows.delivering import deliver_to, endpoints_due
from kpay_core.flows.notices import collect
from kpay_core.flows.payouts import mature, settle
from kpay_core.flows.sweep import WATCHED, sweep
from kpay_core.ports import Couriers, Ports
from kpay_core.query import Query

# By which field of which record one can tell when somebody has to do something.
DUE: tuple[tuple[type[Record], str], ...] = (
    *((kind, "look_at") for kind, *_ in WATCHED),
    (Settlement, "due_at"),
)
DUE_TO_DELIVER: tuple[tuple[type[Record], str], ...] = ((Lane, "due_at"),)

# Time passes in whole seconds, so that a thousand things that are due within one are done together.
SECOND = timedelta(seconds=1)

TurnTo = Callable[[datetime], Awaitable[None]]


class Ran(msgspec.Struct, kw_only=True):
    """What was done because it was due."""

    looked_at: int = 0
    news: int = 0
    matured: int = 0
    settled: int = 0
    attempts: int = 0

    @property
    def anything(self) -> bool:
        return any((self.looked_at, self.news, self.matured, self.settled, self.attempts))


async def run_due(ports: Ports, couriers: Couriers | None = None) -> Ran:
    """
    Do everything that is due by now, and what is due because of that, until nothing is.

    Unfinished charges, refunds, disputes and payouts are looked at, news taken in, funds matured, payouts made, and
    with `couriers` events delivered. Safe beside any number of others who do the same.
    """
    ran = Ran()
    while True:
        round = await _run_once(ports, couriers)
        if not round.anything:
            return ran
        ran = Ran(**{name: getattr(ran, name) + getattr(round, name) for name in Ran.__struct_fields__})


async def _run_once(ports: Ports, couriers: Couriers | None) -> Ran:
    ran = Ran(news=(await collect(ports)).taken, looked_at=(await sweep(ports)).looked_at)
    # Payouts are made of funds that have matured, so all that has is matured first.
    while (matured := await mature(ports)).more:
        ran.matured += matured.charges
    ran.matured += matured.charges
    ran.settled = (await settle(ports)).merchants
    if couriers is not None:
        for endpoint in await endpoints_due(ports):
            ran.attempts += await deliver_to(ports, endpoint, couriers.courier())
    return ran


async def next_due(ports: Ports, *, delivering: bool) -> datetime | None:
    """
    Tell when something is due next, later than now, as far as is known; `delivering` counts what is to be delivered.

    Not when funds mature: that they have shows only in the next payout, and whoever makes it lets them mature first.
    """
    now = ports.clock.now()
    moments: list[datetime | None] = [await _next_news(ports)]
    for kind, field in (*DUE, *(DUE_TO_DELIVER if delivering else ())):
        found = await ports.store.find(Query(kind=kind, where=((field, ">", now),), order=field, limit=1))
        moments += [getattr(record, field) for record in found]
    return min((moment for moment in moments if moment is not None and moment > now), default=None)


async def _next_news(ports: Ports) -> datetime | None:
    """Ask the networks when they will have news; one that does not answer is asked again when something else is due."""
    mails = [await ask(processor.mail(limit=0)) for processor in ports.processors.values()]
    return min((mail.next_at for mail in mails if mail and mail.next_at), default=None)


async def pass_time(
    ports: Ports, until: datetime, *, turn_to: TurnTo, couriers: Couriers | None = None
) -> None:
    """
    Let time pass up to a moment, so that everything due by then happens when it is due, to the second; only funds
    mature no sooner than something else is due, or at the end.

    `turn_to` turns the clock of these ports forward to a time. Nobody else should be at work meanwhile: a jump over
    the lease of one who is makes others begin his work anew.
    """
    await run_due(ports, couriers)
    while True:
        at = await next_due(ports, delivering=couriers is not None)
        if at is None or at > until:
            break
        await turn_to(min(_up_to_second(at), until))
        await run_due(ports, couriers)
    await turn_to(until)
    await run_due(ports, couriers)


def _up_to_second(moment: datetime) -> datetime:
    whole = moment.replace(microsecond=0)
    return moment if whole == moment else whole + SECOND
