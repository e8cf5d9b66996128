"""The merchant who asks for anything: an honest target keeps every law, and whoever lies breaks one."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sandbox import Entry
from kpay_adapters.sql.store import SqlStore
from kpay_adapters.testing import CHARGE, FrozenClock, SeededIds, make_kpay
from kpay_adapters.testing.merchant.checking import check
from kpay_adapters.testing.merchant.laws import WORDS, Law, LawBroken, Laws
from kpay_adapters.testing.merchant.machine import SOUND, MerchantMachine
from kpay_adapters.testing.mistakes import Mistaken
from kpay_adapters.testing.targets import Ask, CannotAsk, InProcess, Reply, Target
from kpay_core import Kpay
from kpay_core.commit import Record
from kpay_core.query import Query
from tests.contract.stores import prepare, sqlite_url
from tests.kit.liars import LIES, Liar, Lie, fails, forgets_keys, on, told

R = TypeVar("R", bound=Record)

TestInMemory = MerchantMachine.TestCase
TestInMemory.settings = settings(max_examples=15, stateful_step_count=30, deadline=None, derandomize=True)


@pytest.mark.heavy
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_on_our_own_databases_every_law_holds_too(
    database: str, tmp_path: Path, fresh_postgres: Callable[[], str]
) -> None:
    url = prepare(sqlite_url(tmp_path) if database == "sqlite" else fresh_postgres())
    # Of all histories the same: what one has left unfinished goes on in the next.
    parts = {"journal": MemoryStore(), "clock": FrozenClock(), "ids": SeededIds()}

    @asynccontextmanager
    async def opened() -> AsyncIterator[Kpay]:
        async with SqlStore(url) as store:
            yield make_kpay(store=store, **parts)

    class OnDatabase(MerchantMachine):
        def open_target(self) -> Target:
            return InProcess(opened())

    run_state_machine_as_test(
        OnDatabase, settings=settings(max_examples=30, stateful_step_count=40, deadline=None, database=None)
    )


GOOD, REFUND_PENDING_FAILS, REFUND_FAILING, DISPUTED = (
    next(n for n, card in enumerate(MerchantMachine.cards) if card.name == name)
    for name in ("good", "refund_pending_fails", "refund_failing", "disputed (fraudulent)")
)
ORDER = {"amount": 4999, "billing_address": CHARGE["billing_address"], "metadata": {"n": 1.0}}
DAY = 86_400


def tour(target: Target) -> Laws:
    """Ask a target for a bit of everything, and look at everything."""

    class Tour(MerchantMachine):
        def open_target(self) -> Target:
            return target

    it = Tour()
    it.charges_first(10_000_000)
    try:
        for step in (
            lambda: it.charges(GOOD, 4999, ORDER, "a"),
            lambda: it.sends_again(0),
            lambda: it.charges(GOOD, 50, ORDER, "a"),
            lambda: it.charges(REFUND_PENDING_FAILS, 100, ORDER, None),
            lambda: it.charges(REFUND_FAILING, 100, ORDER, None),
            lambda: it.charges(DISPUTED, 100, ORDER, None),
            *(lambda which=which: it.refunds(which, 30, {}, None) for which in range(5)),
            lambda: it.refunds(2, None, {}, "b"),
            lambda: it.sends_again(1),
            lambda: it.charges_wrongly(Mistaken({**SOUND, "amount": 1, "foo": 1}, ("amount", "foo"))),
            lambda: it.registers_an_endpoint({"url": "https://shop.example", "enabled_events": ["*"]}),
            lambda: it.rotates_or_deletes_an_endpoint(0, False),
            *(lambda kind=kind: it.lets_others_look(0, kind) for kind in ("charge", "refund")),
            lambda: it.reads_what_happened(0),
            it.adds_up,
            *(lambda limit=limit: it.reads_a_list("charge", limit, True, False, 0) for limit in (1, 3)),
            lambda: it.lets_time_pass(130),
            lambda: it.answers_a_dispute(
                0, {"evidence": {"uncategorized_text": "losing_evidence"}, "submit": True}
            ),
            lambda: it.refunds(2, None, {}, None),
            lambda: it.reads_what_happened(3),
            lambda: it.lets_time_pass(3 * DAY),
            lambda: it.reads_what_happened(5),
            lambda: it.sends_again(0),
            lambda: it.charges(GOOD, 4999, ORDER, "a"),
        ):
            step()
            it.what_was_touched_is_as_it_should_be()
    finally:
        it.teardown()
    return it.laws


def test_an_honest_target_keeps_every_law_and_each_of_them_is_asked() -> None:
    laws = tour(InProcess(make_kpay()))
    assert {law for law in Law if not laws.held[law]} == set()
    assert not laws.passed_over
    assert WORDS.keys() == set(Law)


@pytest.mark.parametrize(("law", "lie"), LIES)
def test_whoever_lies_breaks_a_law(law: Law, lie: Lie) -> None:
    with pytest.raises(LawBroken) as broken:
        tour(Liar(InProcess(make_kpay()), lie))
    assert broken.value.law == law
    assert "4242424242424242" not in str(broken.value)


def test_an_audit_that_finds_something_breaks_a_law() -> None:
    class Forgetful(MemoryStore):
        """A journal that has everything, and does not tell of it."""

        async def find(self, query: Query[R]) -> Sequence[R]:
            return [] if query.kind is Entry else await super().find(query)

    with pytest.raises(LawBroken, match="money_moved_as_witnessed") as broken:
        tour(InProcess(make_kpay(journal=Forgetful())))
    assert broken.value.law is Law.THE_BOOKS_AGREE


def test_what_breaks_a_law_at_once_is_told_as_well() -> None:
    target = Liar(InProcess(make_kpay()), on("list", "refunds", fails))
    checked = check(target, steps=5, histories=5, seed_number=0)
    target.close()
    assert checked.finding is not None
    assert (checked.finding.law, checked.finding.history, checked.histories) == (
        "requests_are_answered",
        [],
        0,
    )


def test_an_answer_that_is_not_as_the_document_has_it_is_told_by_what_is_wrong() -> None:
    def lie(liar: Liar, ask: Ask) -> Reply:
        return told(liar.honest.ask(ask), lambda value: value.pop("refunded", None))

    target = Liar(InProcess(make_kpay()), lie)
    checked = check(target, steps=5, histories=5, seed_number=0)
    target.close()
    assert checked.finding is not None
    assert checked.finding.seen == "an answer that is not as the API's document has it: KeyError 'refunded'"
    assert checked.finding.history == ["charge 50 on a good card: created"]


@pytest.mark.parametrize("asks", [1, 30, 200])
def test_a_target_that_goes_away_is_no_finding(asks: int) -> None:
    def leave(liar: Liar, ask: Ask) -> Reply:
        liar.kept["asked"] = liar.kept.get("asked", 0) + 1
        if liar.kept["asked"] >= asks:
            raise CannotAsk("It is gone.")
        return liar.honest.ask(ask)

    target = Liar(InProcess(make_kpay()), leave)
    with pytest.raises(CannotAsk, match=r"It is gone\."):
        check(target, steps=20, histories=20, seed_number=0)
    target.close()


def test_a_broken_law_is_told_with_its_history() -> None:
    with pytest.raises(LawBroken) as broken:
        tour(Liar(InProcess(make_kpay()), forgets_keys))
    (history,) = broken.value.__notes__
    assert history.splitlines()[:2] == ["The history:", "    1. charge 10000000 on a good card: created"]


@pytest.mark.heavy
def test_a_check_finds_the_shortest_history_and_counts_up_to_there() -> None:
    target = InProcess(make_kpay())
    checked = check(Liar(target, forgets_keys), steps=20, histories=50, seed_number=0)
    target.close()
    assert checked.finding is not None
    assert checked.finding.law in ("a_key_has_one_answer", "a_key_is_for_one_request")
    assert checked.finding.again
    first, *rest = checked.finding.history
    assert first == "charge 50 on a good card: created"
    assert len(rest) == 2
    assert checked.histories < 50


def test_the_same_seed_asks_the_same_again_and_another_something_else() -> None:
    def asked(seed: int) -> list[Ask]:
        target = Recording(InProcess(make_kpay()))
        check(target, steps=10, histories=5, seed_number=seed)
        target.close()
        return target.asked

    assert [(each.verb, each.kind) for each in asked(1)] == [(each.verb, each.kind) for each in asked(1)]
    assert len(asked(1)) != len(asked(2))


class Recording(Liar):
    """An honest target that writes down what it was asked."""

    def __init__(self, honest: Target) -> None:
        super().__init__(honest, self.record)
        self.asked: list[Ask] = []

    def record(self, _: Liar, ask: Ask) -> Reply:
        self.asked.append(ask)
        return self.honest.ask(ask)


def test_what_is_asked_shows_no_card_in_its_words() -> None:
    ask = Ask(verb="create", kind="charges", body=CHARGE)
    wrong = Mistaken(SOUND, ("amount",))
    assert "4242" not in f"{ask!r} {wrong!r} {MerchantMachine.cards!r}"
