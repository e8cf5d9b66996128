"""
What came before a run: charges made while all was well, of which refunds, disputes and payouts are yet to come.

Nothing matures within sixty steps, and hardly anything is refunded; with no past, faults would meet little but charges.
"""

from datetime import timedelta

from kpay_adapters.sandbox.cards import BEHAVING, Behaviour
from kpay_adapters.simulation.merchants import Request
from kpay_adapters.simulation.world import World
from kpay_adapters.testing import CHARGE
from kpay_core import Scope
from kpay_core.domain.charges import MATURES_AFTER, Charge
from kpay_core.domain.disputes import Dispute

# What a world may have been charged with: nothing, or one charge of a card that behaves as named.
PASTS = (
    None,
    None,
    None,
    Behaviour.ORDINARY,
    Behaviour.DISPUTED,
    Behaviour.REFUND_PENDING,
    Behaviour.REFUND_FAILING,
)
NUMBERS: dict[Behaviour, str] = {Behaviour.ORDINARY: CHARGE["source"]["number"]} | {
    behaviour: number for number, behaviour in BEHAVING.items()
}

# Wins a dispute within a minute.
EVIDENCE = {"evidence": {"uncategorized_text": "winning_evidence"}, "submit": True}

# What has become of the charges: nothing yet; they have matured; payouts were made of them that nobody has sent; or
# their disputes were won.
AGES = FRESH, MATURED, PAID_OUT, WON = range(4)

# Long enough to mature by any clock that is a little off.
LONG_AGO = MATURES_AFTER + timedelta(minutes=1)


def live_through(world: World) -> None:
    """Make the charges of the past, world by world, and let them be as old as the run has drawn."""
    pasts = [PASTS[number] for number in world.swarm.pasts]
    for scope, behaviour in zip(world.scopes, pasts, strict=True):
        if behaviour is not None:
            _charge(world, scope, behaviour)
    if any(pasts) and world.swarm.age != FRESH:
        world.say(f"    {LONG_AGO} pass")
        world.pass_time(LONG_AGO // timedelta(milliseconds=1))
        world.do("maturing", world.healthy.mature())
        if world.swarm.age == PAID_OUT:
            world.do("settling", world.healthy.settle())
        # What was disputed is told of late, and can be answered for some days yet.
        world.do("collecting news", world.healthy.collect_news())
        if world.swarm.age == WON:
            _win_disputes(world)


def _win_disputes(world: World) -> None:
    for dispute in list(world.index.all(Dispute)):
        world.do("evidence", world.healthy.update_dispute(dispute.scope, dispute.id, EVIDENCE))
    world.pass_time(timedelta(minutes=2) // timedelta(milliseconds=1))
    world.do("collecting news", world.healthy.collect_news())


def _charge(world: World, scope: Scope, behaviour: Behaviour) -> None:
    number = len(world.merchants.requests)
    source = {**CHARGE["source"], "number": NUMBERS[behaviour]}
    body = {**CHARGE, "source": source, "description": f"request {number}"}
    now = world.network_clock.moment
    request = Request(number=number, scope=scope, key=None, kind=Charge, body=body, asked_at=now)
    world.merchants.ask(request)
    answer = world.do(f"a charge of before, {behaviour}", world.healthy.create_charge(scope, body))
    world.merchants.hear(request, answer, in_time=True, promise_holds=True, now=world.latest)
