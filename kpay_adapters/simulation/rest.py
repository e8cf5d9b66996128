"""The second part of a run: nothing goes wrong any more, and all that was begun comes to rest."""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from kpay_adapters.sandbox import Announcement, Case, Entry, Payment, bank
from kpay_adapters.sandbox.journal import ripe, verdict_on
from kpay_adapters.simulation.faults import Outcome
from kpay_adapters.simulation.violations import violate
from kpay_adapters.simulation.watch import BY_THE_CLOCK
from kpay_adapters.simulation.world import MAX_CALLS, World
from kpay_core.domain import laws, looks
from kpay_core.domain.audit import UNFINISHED as UNEXPLAINED
from kpay_core.domain.audit import UNKNOWN_TO_US, Report
from kpay_core.domain.banking import BankOutcome
from kpay_core.domain.charges import Charge, Status
from kpay_core.domain.deliveries import Delivery
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.idempotency import IdempotencyKey, State
from kpay_core.domain.laws import Broken, Difference
from kpay_core.domain.ledger import Account
from kpay_core.domain.merchants import TEST_BANK_ACCOUNT, Merchant
from kpay_core.domain.news import NewsKind, Testimony
from kpay_core.domain.notices import Notice
from kpay_core.domain.notices import Status as Reading
from kpay_core.domain.payouts import Payout
from kpay_core.domain.processing import Outcome as Word
from kpay_core.domain.refunds import Refund

# Evidence has to be there within days, and is sent again within seconds. Retries come within a day. A dispute is lost
# after a week, a verdict comes after ten days, and funds mature and are paid out meanwhile; then payouts arrive. What
# is still on its way after many more days never ends.
A_MINUTE, A_DAY, SOME_DAYS, LONG = (timedelta(minutes=1), *(timedelta(days=days) for days in (1, 3, 11)))
PATIENT_ROUNDS, MAX_ROUNDS = 2, 12

UNFINISHED = (Charge, Refund, Dispute, Payout)
CLOSED = {NewsKind.DISPUTE_WON: "won", NewsKind.DISPUTE_LOST: "lost"}


def come_to_rest(world: World) -> None:
    """Let everybody go on, and time pass, until nothing is on its way."""
    world.say("    from here on nothing goes wrong")
    world.heal()
    let_go_on(world)
    for merchant in list(world.index.all(Merchant)):
        if merchant.bank_account in bank.FAILING:
            change = world.healthy.update_merchant(merchant.id, {"bank_account": TEST_BANK_ACCOUNT})
            world.do("a good account", change)
    for number in range(MAX_ROUNDS):
        world.do("all that is due", world.healthy.run_due(world))
        if not any(on_its_way(world)):
            return
        pause = _pause(world, number)
        world.say(f"    {pause} pass")
        world.pass_time(pause // timedelta(milliseconds=1))
    for what in on_its_way(world):
        violate(Broken("everything_is_resolved", Difference(what, "done", "on its way")))


def _pause(world: World, number: int) -> timedelta:
    if not all(looks.is_settled(dispute) for dispute in world.index.all(Dispute)):
        return A_MINUTE
    if any(delivery.next_attempt_at for delivery in world.index.all(Delivery)):
        return A_DAY
    return LONG if number < PATIENT_ROUNDS else SOME_DAYS


def let_go_on(world: World) -> None:
    """Let everybody who has begun something go on to the end."""
    for _ in range(MAX_CALLS):
        ready = world.ready()
        if ready:
            world.resume(ready[0], Outcome.DONE)
        elif not world.wake_next():
            return
    violate(Broken("everything_ends", Difference(world.tasks[0].name, "an end", "none")))


def on_its_way(world: World) -> Iterable[str]:
    """Name all that has no outcome yet."""
    index = world.index
    for kind in UNFINISHED:
        yield from (each.id for each in index.all(kind) if not looks.is_settled(each))
    # What the network was made to say of a dispute that never was has no end.
    disputes = (each for each in index.all(Dispute) if each.case not in world.lied_about)
    yield from (dispute.id for dispute in disputes if laws.is_open(dispute))
    waiting = (notice for notice in index.all(Notice) if notice.look_at is not None)
    yield from (
        notice.id
        for notice in waiting
        if notice.status is Reading.STRAY or notice.id.partition("/")[2] not in world.lies
    )
    yield from (charge.id for charge in index.all(Charge) if charge.matures_at is not None)
    yield from (delivery.id for delivery in index.all(Delivery) if delivery.next_attempt_at is not None)
    yield from (
        f"what {id} has" for id, accounts in index.accounts.items() if accounts[Account.AVAILABLE] > 0
    )
    for mode, desk in world.networks.items():
        yield from (news.id for news in desk.given)
        yield from (each.id for each in world.noted(mode, Announcement) if each.due_at is not None)


def check_at_rest(world: World, *, audited: bool) -> None:
    """Hold the books against what the network, the bank and the merchants know; `audited` has the audit look, too."""
    charges, refunds = list(world.index.all(Charge)), list(world.index.all(Refund))
    for mode in world.networks:
        check_witness(world, mode)
        check_disputes(world, mode)
    check_keys(world)
    for id, accounts in world.index.accounts.items():
        check_balance(id, accounts)
    world.merchants.check_answers(charges, refunds)
    if audited:
        check_audit(world.do("the audit", world.healthy.audit(witnesses=world.witnesses)), world)


def check_witness(world: World, mode: str) -> None:
    """Hold each object against what the network or the bank has under its name, both ways."""
    seen = {testimony.reference: testimony for testimony in testimonies(world, mode)}
    explained = {
        notice.reference for notice in world.index.all(Notice) if notice.status in UNEXPLAINED
    } | world.lied_about
    law = laws.money_moved_as_witnessed
    for kind in (Charge, Refund, Payout):
        for source in world.index.all(kind):
            testimony = seen.pop(source.id, None) if source.scope.mode == mode else None
            if source.scope.mode != mode or source.id in explained:
                continue
            case = world.index.case(source)
            case.is_witnessed, case.testimony = True, testimony
            for difference in law(case):
                violate(Broken(law.__name__, difference))
    for reference, testimony in seen.items():
        if testimony.moved:
            violate(Broken(UNKNOWN_TO_US, Difference(reference, testimony.amount, None)))


def testimonies(world: World, mode: str) -> Iterable[Testimony]:
    """Return what the network and the bank of a mode have on record."""
    now = world.network_clock.moment
    for entry in world.noted(mode, Entry):
        stands = ripe(entry, now=now).outcome in (Word.CAPTURED, Word.REFUNDED)
        yield Testimony(reference=entry.id, moved=stands, amount=entry.amount)
    for payment in world.noted(mode, Payment):
        paid = verdict_on(payment, now=now).outcome is not BankOutcome.FAILED
        yield Testimony(reference=payment.id, moved=paid, amount=payment.amount)


def check_disputes(world: World, mode: str) -> None:
    """Each dispute ended as the network announced, and what was submitted in time got there."""
    closed = {
        each.dispute: each for each in world.noted(mode, Announcement) if each.kind in CLOSED and each.told
    }
    cases = {case.id: case for case in world.noted(mode, Case)}
    for dispute in world.index.all(Dispute):
        if dispute.scope.mode != mode or dispute.case not in cases or dispute.case in world.lied_about:
            continue
        announced = closed.pop(dispute.case, None)
        expected = None if announced is None else CLOSED[announced.kind]
        if expected != dispute.status.value:
            violate(
                Broken("disputes_end_as_announced", Difference(dispute.id, expected, dispute.status.value))
            )
        # What is handed in too late is asked all the same, and not taken; where nobody of ours was at work for days,
        # the verdict may be there before it.
        submitted, answered = dispute.submitted_at is not None, cases[dispute.case].answered
        has_to_be_there = submitted and world.healed_at < dispute.evidence_due_by
        if answered > submitted or has_to_be_there > (dispute.case in world.networks[mode].asked):
            violate(
                Broken("evidence_gets_there", Difference(dispute.id, str(dispute.submitted_at), "not there"))
            )
    for case, announced in closed.items():
        charge = world.index.get(Charge, announced.reference)
        # That of a charge which was undone is kept as a notice.
        if charge is not None and charge.status is Status.SUCCEEDED and case not in world.lied_about:
            violate(Broken("disputes_are_known", Difference(str(case), "a dispute", None)))


def check_keys(world: World) -> None:
    """Each key has its one answer, or is free again."""
    for key in world.index.all(IdempotencyKey):
        if key.state not in (State.ANSWERED, State.FREE):
            violate(Broken("every_key_is_answered", Difference(key.id, State.ANSWERED, key.state)))


def check_balance(id: str, accounts: Mapping[Account, int]) -> None:
    """Nothing is pending or in transit, what could be paid out was, and nothing is left in suspense."""
    for account in (Account.PENDING, Account.PAYOUTS_IN_TRANSIT, Account.REFUNDS_IN_FLIGHT, Account.SUSPENSE):
        if accounts[account]:
            violate(Broken("funds_come_to_rest", Difference(f"{account} of {id}", 0, accounts[account])))


def check_audit(report: Report, world: World) -> None:
    """The audit finds what the watch finds: nothing."""
    excused = set[str]()
    if world.lied_about:
        excused |= {laws.money_moved_as_witnessed.__name__, UNKNOWN_TO_US}
    if not world.keeps_time:
        excused |= BY_THE_CLOCK
    for found in report.disagreements:
        if found.law not in excused:
            violate(Broken(found.law, Difference(f"{found.id}: {found.what}", found.expected, found.found)))
