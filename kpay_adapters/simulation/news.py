"""News that come twice, late, under another name, of what never was, or of what is so after all."""

from kpay_adapters.sandbox import Entry
from kpay_adapters.sandbox.cards import Behaviour
from kpay_adapters.simulation.beginnings import finish
from kpay_adapters.simulation.faults import Fault
from kpay_adapters.simulation.world import World
from kpay_core.commit import bump
from kpay_core.domain.charges import Charge, Status
from kpay_core.domain.news import News, NewsKind
from kpay_core.domain.notices import Notice
from kpay_core.domain.processing import Outcome
from kpay_core.domain.refunds import Refund

OF_DISPUTES = (NewsKind.DISPUTE_OPENED, NewsKind.DISPUTE_WON, NewsKind.DISPUTE_LOST)
OF_REFUNDS = (NewsKind.REFUNDED, NewsKind.REFUND_FAILED)

KINDS = tuple(NewsKind)


def tell_otherwise(world: World) -> None:
    """Let the network tell something once more, or what is not so, or what is so after all, as this run has it."""
    kinds = [tell for fault, tell in TELLINGS if world.has(fault)]
    if kinds:
        world.draws.one_of(kinds)(world)


def repeat(world: World) -> None:
    """Tell again what was kept before: under its own name, or under another."""
    kept = list(world.index.all(Notice))
    if not kept:
        return
    notice = world.draws.one_of(kept)
    mode = "live" if notice.livemode else "test"
    renamed = world.draws.below(2) == 1
    world.retold += 1
    before = notice.id.removeprefix(f"{mode}/")
    id = f"again-{world.retold}" if renamed else before
    if before in world.lies:
        world.lies.add(id)
    world.say(f"{world.step:3} the network tells again of {notice.kind} {notice.reference} as {id}")
    world.networks[mode].tell(
        News(
            id=id,
            kind=notice.kind,
            reference=notice.reference,
            dispute=notice.dispute,
            amount=notice.amount,
            code=notice.code,
            evidence_due_by=notice.evidence_due_by,
            happened_at=notice.happened_at,
        )
    )


def lie(world: World) -> None:
    """Tell what the network does not believe itself. Whoever is lied about is known, and not held against it."""
    draws = world.draws
    kind = draws.one_of(KINDS)
    known = list(world.index.all(Refund if kind in OF_REFUNDS else Charge))
    of = draws.one_of(known) if known and draws.below(4) else None
    reference = of.id if of else "unknown"
    case = f"case_{reference}" if kind in OF_DISPUTES else None
    amount = draws.one_of((of.amount if of else 1, 1, 5000))
    if kind in (*OF_DISPUTES, *OF_REFUNDS):
        world.lied_about |= {reference, case or reference}
    if kind is NewsKind.CAPTURED:
        world.strayed.add(reference)
    world.retold += 1
    id = f"lie-{world.retold}"
    world.lies.add(id)
    mode = "live" if of is not None and of.livemode else "test"
    world.say(f"{world.step:3} the network lies: {kind} of {reference}, {amount}")
    world.networks[mode].tell(
        News(
            id=id,
            kind=kind,
            reference=reference,
            dispute=case,
            amount=amount,
            code="fraudulent",
            happened_at=world.network_clock.moment,
        )
    )


def stray(world: World) -> None:
    """
    Let the network capture after all what it had declined or reversed, and tell so.

    Once for each charge, lies of it counted: a capture that was sent back does not come again (the port's promise).
    """
    failed = [
        charge
        for charge in world.index.all(Charge)
        if charge.status is Status.FAILED and charge.id not in world.strayed
    ]
    if not failed:
        return
    charge = world.draws.one_of(failed)
    mode = charge.scope.mode
    entry = next((each for each in world.noted(mode, Entry) if each.id == charge.id), None)
    if entry is None or entry.outcome not in (Outcome.REVERSED, Outcome.DECLINED):
        return
    world.strayed.add(charge.id)
    captured = bump(entry, outcome=Outcome.CAPTURED, amount=charge.amount, behaviour=Behaviour.ORDINARY)
    finish(world.journals[mode].commit(captured))
    world.retold += 1
    world.say(f"{world.step:3} the network captures {charge.id} after all")
    world.networks[mode].tell(
        News(
            id=f"stray-{world.retold}",
            kind=NewsKind.CAPTURED,
            reference=charge.id,
            amount=charge.amount,
            happened_at=world.network_clock.moment,
        )
    )


TELLINGS = ((Fault.REPEAT, repeat), (Fault.LIE, lie), (Fault.STRAY, stray))
