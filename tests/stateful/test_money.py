"""
Anything at any time: charges of every card, refunds, disputes and evidence, payouts and banks that refuse them, new
terms, news that are true, doubled, out of order or lies, a clock that runs and jumps by days to and fro, and processes
that stop between any two calls and go on later or never. After every step the laws of money must hold.
"""

import os
from collections.abc import Coroutine
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kpay_adapters.sandbox import Announcement, Entry
from kpay_adapters.sandbox.cards import BEHAVING, Behaviour
from kpay_adapters.testing import NewsDesk
from kpay_core import Kpay
from kpay_core.domain import charges, payouts
from kpay_core.domain.charges import Charge
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.errors import KpayError
from kpay_core.domain.ledger import Kind, Transfer
from kpay_core.domain.news import News, NewsKind
from kpay_core.domain.notices import Notice, Status
from kpay_core.domain.payouts import Settlement
from kpay_core.domain.refunds import Refund
from kpay_core.query import Query
from tests.flows.money import (
    CLOSED_ACCOUNT,
    GOOD_ACCOUNT,
    check_at_rest,
    check_money,
    come_to_rest,
    unfinished,
)
from tests.flows.world import DECLINED, GOOD, Interleaved, World, request, run

# Many times more in the long run.
ROUNDS = int(os.environ.get("KPAY_FAULT_ROUNDS", "0"))

CARDS = st.sampled_from([GOOD, GOOD, DECLINED, *BEHAVING])
WHICH = st.integers(0, 9)
# The network's moments, a lease, an hour, a day.
SECONDS = st.sampled_from([0.5, 1, 31, 61, 121, 3600, 43_200, 86_400])
# Days until funds mature, a week for evidence, ten days for a verdict; and as far back as a clock may be wrong.
JUMPS = st.sampled_from([61, 3600, 86_400, 172_800, 605_000, 864_000, -0.5, -61, -3600, -86_400, -172_800])
EVIDENCE = st.sampled_from([None, "", "A draft.", "winning_evidence", "losing_evidence"])
OF_DISPUTES = (NewsKind.DISPUTE_OPENED, NewsKind.DISPUTE_WON, NewsKind.DISPUTE_LOST)
OF_REFUNDS = (NewsKind.REFUNDED, NewsKind.REFUND_FAILED)

# Looks are an hour apart at most, payouts and settlements a day.
LONGEST_WAIT = timedelta(days=1)


class Money(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        # Short sheets and payouts of few lines, so that each has several.
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("kpay_core.domain.ledger.SHEET_TRANSFERS", 5)
        self.patch.setattr("kpay_core.domain.payouts.MAX_LINES", 6)
        self.patch.setattr("kpay_core.flows.payouts.PAGE", 4)
        self.patch.setattr("kpay_core.flows.booking.PAGE", 4)
        self.patch.setattr("kpay_core.flows.booking.MANY_TRANSFERS", 8)
        self.world = World()
        self.desk = NewsDesk(journal=self.world.journal, clock=self.world.clock)
        self.world.network, self.world.kpay.processors = self.desk, {"test": self.desk}
        self.scopes = [run(self.world.open()).scope, run(self.world.open()).scope]
        self.halting = self.one_who_halts()
        self.tasks: list[Coroutine[Any, Any, Any]] = []
        self.latest = self.now
        self.told: dict[str, News] = {}
        self.lied_about: set[str] = set()
        self.concluded: dict[str, Status] = {}

    def one_who_halts(self) -> Kpay:
        """Make another process on the same stores, which may stop before and behind each call of a port."""
        kpay, interleaved = self.world.kpay, Interleaved
        store: Any = interleaved(self.world.store)
        processors: Any = {"test": interleaved(self.desk)}
        rails: Any = {"test": interleaved(kpay.rails["test"])}
        return Kpay(
            store=store,
            processors=processors,
            rails=rails,
            clock=kpay.clock,
            ids=kpay.ids,
            keyring=kpay.keyring,
        )

    @property
    def now(self) -> datetime:
        return self.world.clock.now()

    def all(self, kind: type[Any]) -> list[Any]:
        return run(self.world.all(kind))

    def do(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do what may be refused."""
        with suppress(KpayError):
            run(work)
        self.note_time()

    def note_time(self) -> None:
        self.latest = max(self.latest, self.now)

    # What merchants do.

    @initialize(number=st.sampled_from(list(BEHAVING)))
    def there_are_charges(self, number: str) -> None:
        self.charge(0, number, 4999, halts=False)
        self.charge(1, GOOD, 4999, halts=False)

    @rule(who=st.integers(0, 1), number=CARDS, amount=st.sampled_from([50, 4999]), halts=st.booleans())
    def charge(self, who: int, number: str, amount: int, halts: bool) -> None:
        body = request(number, amount=amount)
        self.begin_or_do(halts, lambda kpay: kpay.create_charge(self.scopes[who], body))

    @rule(which=WHICH, amount=st.sampled_from([None, None, 1, 50, 3000]), halts=st.booleans())
    def refund(self, which: int, amount: int | None, halts: bool) -> None:
        if charge := self.one_of(Charge, which):
            body = {"charge": charge.id, "amount": amount}
            self.begin_or_do(halts, lambda kpay: kpay.create_refund(charge.scope, body))

    @rule(which=WHICH, text=EVIDENCE, submit=st.booleans(), halts=st.booleans())
    def answer(self, which: int, text: str | None, submit: bool, halts: bool) -> None:
        if dispute := self.one_of(Dispute, which):
            body = {"evidence": {"uncategorized_text": text}, "submit": submit}
            self.begin_or_do(halts, lambda kpay: kpay.update_dispute(dispute.scope, dispute.id, body))

    @rule(
        who=st.integers(0, 1),
        account=st.sampled_from([GOOD_ACCOUNT, CLOSED_ACCOUNT]),
        share=st.sampled_from([None, 0, 290, 1000]),
        fixed=st.sampled_from([None, 0, 30]),
    )
    def new_terms(self, who: int, account: str, share: int | None, fixed: int | None) -> None:
        changes = {"bank_account": account, "fee_basis_points": share, "fee_cents": fixed}
        run(self.world.kpay.update_merchant(self.scopes[who].merchant, changes))

    def one_of(self, kind: type[Any], which: int) -> Any:
        found = self.all(kind)
        return found[-1 - which % len(found)] if found else None

    # What happens by itself.

    @rule(
        what=st.sampled_from([Kpay.collect_news, Kpay.sweep, Kpay.mature, Kpay.settle, Kpay.run_due]),
        halts=st.booleans(),
    )
    def what_is_due(self, what: Any, halts: bool) -> None:
        self.begin_or_do(halts, what)

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        until = self.now + timedelta(seconds=seconds)
        run(self.world.kpay.pass_time(until, turn_to=self.world.clock.turn_to))
        self.note_time()

    @rule(seconds=JUMPS)
    def the_clock_jumps(self, seconds: float) -> None:
        self.world.advance(seconds=seconds)
        self.note_time()

    # What the network tells.

    @rule(
        kind=st.sampled_from(NewsKind),
        which=WHICH,
        known=st.sampled_from([True, True, True, False]),
        amount=st.sampled_from([None, None, 1, 5000]),
    )
    def the_network_lies(self, kind: NewsKind, which: int, known: bool, amount: int | None) -> None:
        of = self.one_of(Refund if kind in OF_REFUNDS else Charge, which)
        reference = of.id if of and known else f"unknown-{which}"
        case = f"case_{reference}" if kind in OF_DISPUTES else None
        self.lied_about |= {reference, case or reference} if kind in (*OF_DISPUTES, *OF_REFUNDS) else set()
        self.tell(
            News(
                id=f"lie-{len(self.told)}",
                kind=kind,
                reference=reference,
                dispute=case,
                amount=amount or (of.amount if of else 1),
                code="fraudulent",
                happened_at=self.now,
            )
        )

    @rule(which=WHICH, renamed=st.booleans())
    def the_network_repeats_itself(self, which: int, renamed: bool) -> None:
        """Tell again what was kept before: under its id, or under another."""
        if notice := self.one_of(Notice, which):
            self.tell(
                News(
                    id=f"again-{len(self.told)}" if renamed else notice.id.removeprefix("test/"),
                    kind=notice.kind,
                    reference=notice.reference,
                    dispute=notice.dispute,
                    amount=notice.amount,
                    code=notice.code,
                    evidence_due_by=notice.evidence_due_by,
                    happened_at=notice.happened_at,
                )
            )

    def tell(self, news: News) -> None:
        self.told[news.id] = news
        self.desk.tell(news)

    # Who stops on the way.

    def begin_or_do(self, halts: bool, what: Any) -> None:
        if halts and len(self.tasks) < 4:
            self.tasks.append(what(self.halting))
        else:
            self.do(what(self.world.kpay))

    @precondition(lambda self: self.tasks)
    @rule(which=WHICH, calls=st.integers(1, 30))
    def one_goes_on(self, which: int, calls: int) -> None:
        task = self.tasks[which % len(self.tasks)]
        for _ in range(calls):
            try:
                task.send(None)
            except (StopIteration, KpayError):
                self.tasks.remove(task)
                break
        self.note_time()

    @precondition(lambda self: self.tasks)
    @rule(which=WHICH)
    def one_dies(self, which: int) -> None:
        self.tasks.pop(which % len(self.tasks)).close()

    # What must be true at every moment.

    @invariant()
    def the_laws_of_money_hold(self) -> None:
        run(check_money(self.world))

    @invariant()
    def nothing_matures_before_a_clock_has_said_so(self) -> None:
        """
        Funds can be paid out only once some clock has read the time at which they mature.

        A clock that is ahead pays out early by as much, which nobody can know; one that is set back takes nothing back,
        and lets nothing mature anew.
        """
        taken = {charge.id: charge for charge in self.all(Charge)}
        at_once = {entry.id for entry in self.noted(Entry) if entry.behaviour is Behaviour.AT_ONCE}
        for transfer in self.all(Transfer):
            if transfer.kind is Kind.CHARGE_MATURED and transfer.source not in at_once:
                assert taken[transfer.source].created_at + charges.MATURES_AFTER <= self.latest

    @invariant()
    def somebody_looks_again_in_time(self) -> None:
        """However the clock jumped, all that is unfinished is due a day after the latest time that it read."""
        end = self.latest + LONGEST_WAIT
        assert all(each.look_at <= end for each in run(unfinished(self.world)))
        assert all(each.look_at <= end for each in self.all(Notice) if each.look_at)
        for settlement in self.all(Settlement):
            assert settlement.due_at <= payouts.next_midnight(self.latest)

    @invariant()
    def news_are_kept_and_what_they_came_to_stays(self) -> None:
        kept = {notice.id: notice for notice in self.all(Notice)}
        coming = {news.id for news in self.desk.given}
        assert all(f"test/{id}" in kept for id in self.told if id not in coming), "news were dropped"
        heard = [each.id for each in self.noted(Announcement) if each.told and each.due_at is None]
        assert all(f"test/{id}" in kept for id in heard), "news were dropped"
        for id, status in self.concluded.items():
            moved = (status, kept[id].status) == (Status.STRAY, Status.RETURNED)
            assert kept[id].status is status or moved
        self.concluded = {id: each.status for id, each in kept.items() if each.status is not Status.WAITING}

    def noted(self, kind: type[Any]) -> list[Any]:
        return list(run(self.world.journal.find(Query(kind=kind, limit=10_000))))

    def teardown(self) -> None:
        try:
            for task in self.tasks:
                task.close()
            self.world.clock.advance(self.latest - self.now)
            run(come_to_rest(self.world))
            run(check_money(self.world))
            run(check_at_rest(self.world, lied_about=self.lied_about))
            run(self.world.check_audit(journal=not self.lied_about))
            self.news_are_kept_and_what_they_came_to_stays()
        finally:
            self.patch.undo()


TestMoney = Money.TestCase
TestMoney.settings = settings(
    max_examples=ROUNDS * 100 or 30,
    stateful_step_count=40,
    deadline=None,
    derandomize=not ROUNDS,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
