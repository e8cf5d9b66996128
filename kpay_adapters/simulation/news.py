"""News that come twice, late, under another name, or of what never was."""

from kpay_adapters.simulation.faults import Fault
from kpay_adapters.simulation.world import World
from kpay_core.domain.charges import Charge
from kpay_core.domain.news import News, NewsKind
from kpay_core.domain.notices import Notice
from kpay_core.domain.refunds import Refund

OF_DISPUTES = (NewsKind.DISPUTE_OPENED, NewsKind.DISPUTE_WON, NewsKind.DISPUTE_LOST)
OF_REFUNDS = (NewsKind.REFUNDED, NewsKind.REFUND_FAILED)

KINDS = tuple(NewsKind)


def repeat_or_lie(world: World) -> None:
    """Let the network tell something once more, or something that is not so, where this run has either."""
    if world.has(Fault.LIE) and (not world.has(Fault.REPEAT) or world.draws.below(2)):
        lie(world)
    elif world.has(Fault.REPEAT):
        repeat(world)


def repeat(world: World) -> None:
    """Tell again what was kept before: under its own name, or under another."""
    kept = list(world.index.all(Notice))
    if not kept:
        return
    notice = world.draws.one_of(kept)
    mode = "live" if notice.livemode else "test"
    renamed = world.draws.below(2) == 1
    world.told_lies += 1
    id = f"again-{world.told_lies}" if renamed else notice.id.removeprefix(f"{mode}/")
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
    world.told_lies += 1
    mode = "live" if of is not None and of.livemode else "test"
    world.say(f"{world.step:3} the network lies: {kind} of {reference}, {amount}")
    world.networks[mode].tell(
        News(
            id=f"lie-{world.told_lies}",
            kind=kind,
            reference=reference,
            dispute=case,
            amount=amount,
            code="fraudulent",
            happened_at=world.network_clock.moment,
        )
    )
