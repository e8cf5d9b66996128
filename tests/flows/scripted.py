"""A network that tells what a test puts into its mailbox, and whether the books agree with all that was told."""

from collections import Counter
from typing import Any

from kpay_adapters.testing import ScriptedNetwork
from kpay_core.domain import charges, disputes, refunds
from kpay_core.domain.charges import Charge
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.events import Event
from kpay_core.domain.ledger import Transfer
from kpay_core.domain.notices import Notice, Status
from kpay_core.domain.refunds import Refund
from tests.flows.world import World


async def scripted(**given: Any) -> tuple[World, ScriptedNetwork]:
    """Open a world whose network is scripted."""
    world = await World(**given).open()
    network = ScriptedNetwork(journal=world.journal, clock=world.clock)
    world.kpay.processors = {"test": network}
    return world, network


async def a_charge(world: World, **fields: Any) -> Charge:
    """Make a charge, and return it as it is then, also where it is declined."""
    await world.charge(**fields)
    return max(await world.all(Charge), key=lambda charge: charge.id)


async def events(world: World) -> Counter[str]:
    return Counter(event.type for event in await world.all(Event))


async def transfers(world: World, *sources: str) -> dict[str, int]:
    """Return what was booked for some sources, or for all."""
    found = await world.all(Transfer)
    return {each.kind.value: each.amount for each in found if not sources or each.source in sources}


Booked = Counter[tuple[str, str, int]]


async def check_told(world: World) -> None:
    """Hold every transfer and the events of disputes against the records: each once, none missing, none too many."""
    kept = await world.all(Notice)
    bounced = {each.reference for each in kept if (each.kind, each.status) == ("refund_failed", "applied")}
    opened = await world.all(Dispute)
    expected: Booked = Counter()
    for charge in await world.all(Charge):
        expected += of_charge(charge)
        its = [each for each in opened if each.charge == charge.id]
        kept_back = sum(each.amount for each in its if each.status is not disputes.Status.WON)
        assert (charge.disputes, charge.amount_disputed) == (len(its), kept_back)
    for refund in await world.all(Refund):
        expected += of_refund(refund, bounced=refund.id in bounced)
    for dispute in opened:
        expected += of_dispute(dispute)
    for notice in kept:
        expected += of_stray(notice)
    assert Counter((each.kind, each.source, each.amount) for each in await world.all(Transfer)) == expected
    happened = await events(world)
    assert happened["dispute.created"] == len(opened)
    assert happened["dispute.closed"] == len([each for each in opened if disputes.is_closed(each)])


def booked(source: str, **amounts: int) -> Booked:
    return Counter({(kind, source, amount): 1 for kind, amount in amounts.items() if amount})


def of_charge(charge: Charge) -> Booked:
    if charge.status is not charges.Status.SUCCEEDED:
        return Counter()
    made = booked(charge.id, charge=charge.amount, fee=charge.fee)
    if charge.matures_at is None:
        made += booked(charge.id, charge_matured=charge.amount, fee_matured=charge.fee)
    return made


def of_refund(refund: Refund, *, bounced: bool) -> Booked:
    made = booked(refund.id, refund=refund.amount)
    if refund.status is refunds.Status.SUCCEEDED or bounced:
        made += booked(refund.id, refund_paid=refund.amount)
    if refund.status is refunds.Status.FAILED:
        made += booked(refund.id, **{"refund_bounced" if bounced else "refund_returned": refund.amount})
    return made


def of_dispute(dispute: Dispute) -> Booked:
    made = booked(dispute.id, dispute=dispute.amount, dispute_fee=dispute.fee)
    if dispute.status is disputes.Status.WON:
        made += booked(dispute.id, dispute_won=dispute.amount, dispute_fee_returned=dispute.fee)
    if dispute.status is disputes.Status.LOST:
        made += booked(dispute.id, dispute_lost=dispute.amount, dispute_fee_kept=dispute.fee)
    return made


def of_stray(notice: Notice) -> Booked:
    made: Booked = Counter()
    if notice.status in (Status.STRAY, Status.RETURNED):
        made += booked(notice.reference, stray_capture=notice.amount)
    if notice.status is Status.RETURNED:
        made += booked(notice.reference, stray_reversed=notice.amount)
    return made
