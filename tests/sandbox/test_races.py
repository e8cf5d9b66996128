"""Two processes on one journal, in every order of their calls: what was told stays true."""

from collections.abc import Callable, Iterator
from typing import Any

from kpay_adapters.memory import MemoryStore
from kpay_core.domain.news import NewsKind
from kpay_core.domain.processing import Outcome
from tests.flows.world import SharedClock, Stepped, drive_anyhow, every_choice, run
from tests.sandbox.world import (
    CHARGE,
    CLOSED_ACCOUNT,
    DAY,
    DUE_BY,
    FRAUDULENT,
    GOOD_ACCOUNT,
    MILLISECOND,
    OPENS_AT,
    REFUND_FAILING,
    START,
    Sandbox,
)

# Calls of a journal that two questions make at most, before the rest goes in turns.
DEPTH = 11


def races(
    prepare: Callable[[Sandbox], Any], *questions: tuple[Any, Callable[[Sandbox], Any]]
) -> Iterator[tuple[Sandbox, list[Any]]]:
    """Let processes, each with a clock of its own, ask at once, in every order; yield the world and the answers."""
    for choose in every_choice(DEPTH):
        store = MemoryStore()
        run(prepare(Sandbox(store)))
        work = [ask(Sandbox(Stepped(store), SharedClock(moment))) for moment, ask in questions]
        answers = drive_anyhow(SharedClock(), choose, *work)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        yield Sandbox(store), answers


async def charge(world: Sandbox) -> None:
    await world.charge(FRAUDULENT)


async def open_dispute(world: Sandbox) -> None:
    await world.charge(FRAUDULENT)
    await world.at(OPENS_AT).collect()


def test_a_refund_lowers_a_dispute_or_comes_after_it_was_told() -> None:
    seen: set[int] = set()
    for world, (refund, mail) in races(
        charge,
        (OPENS_AT - MILLISECOND, lambda world: world.refund(1000)),
        (OPENS_AT, lambda world: world.mail()),
    ):
        assert refund.outcome is Outcome.REFUNDED
        assert run(world.at(OPENS_AT).news()) == mail.news
        closed = run(world.at(DUE_BY).news())
        assert {news.amount for news in closed} == {mail.news[0].amount}
        seen.add(mail.news[0].amount)
    assert seen == {4000, 5000}


def test_a_full_refund_leaves_no_dispute_or_comes_after_it_was_told() -> None:
    seen: set[int] = set()
    for world, (_, mail) in races(
        charge,
        (OPENS_AT - MILLISECOND, lambda world: world.refund(5000)),
        (OPENS_AT, lambda world: world.mail()),
    ):
        assert run(world.at(OPENS_AT).news()) == mail.news
        assert len(run(world.at(DUE_BY).news())) == 2 * len(mail.news)
        seen.add(len(mail.news))
    assert seen == {0, 1}


def test_evidence_is_taken_or_the_dispute_is_lost_but_never_both() -> None:
    seen: set[bool] = set()
    for world, (taken, mail) in races(
        open_dispute,
        (DUE_BY - MILLISECOND, lambda world: world.answer("winning_evidence")),
        (DUE_BY, lambda world: world.mail()),
    ):
        assert taken == (mail.news == ())
        (end,) = run(world.at(DUE_BY + (OPENS_AT - START)).news())
        assert end.kind is (NewsKind.DISPUTE_WON if taken else NewsKind.DISPUTE_LOST)
        seen.add(taken)
    assert seen == {True, False}


def test_only_one_of_two_pieces_of_evidence_counts() -> None:
    seen: set[NewsKind] = set()
    for world, answers in races(
        open_dispute,
        (OPENS_AT, lambda world: world.answer("winning_evidence")),
        (OPENS_AT, lambda world: world.answer("losing_evidence")),
    ):
        assert answers == [True, True]
        (end,) = run(world.at(DUE_BY).news())
        seen.add(end.kind)
    assert seen == {NewsKind.DISPUTE_WON, NewsKind.DISPUTE_LOST}


def test_refunds_of_a_disputed_charge_never_exceed_it() -> None:
    for moment in (START, OPENS_AT):
        for world, answers in races(
            charge,
            (moment, lambda world: world.refund(3000, "re_1")),
            (moment, lambda world: world.refund(3000, "re_2")),
        ):
            assert sorted(verdict.outcome for verdict in answers) == [Outcome.REFUNDED, Outcome.REFUSED]
            opened = run(world.at(OPENS_AT).news())
            assert [news.amount for news in opened] == [2000 if moment is START else 5000]


def test_the_same_refund_by_two_processes_lowers_the_dispute_once() -> None:
    for world, answers in races(
        charge,
        (START, lambda world: world.refund(3000)),
        (START, lambda world: world.refund(3000)),
    ):
        assert answers[0] == answers[1]
        assert [news.amount for news in run(world.at(OPENS_AT).news())] == [2000]


def test_a_reversal_leaves_no_dispute_whatever_refund_comes_between() -> None:
    for moment in (START, OPENS_AT):
        for world, _ in races(
            charge,
            (moment, lambda world: world.refund(3000)),
            (moment, lambda world: world.reverse()),
        ):
            assert run(world.at(DUE_BY).news()) == ()
            assert CHARGE not in run(world.moved())


def test_a_reversal_leaves_no_dispute_or_ends_the_one_that_was_told() -> None:
    seen: set[int] = set()
    for world, (mail, _) in races(
        charge,
        (OPENS_AT, lambda world: world.mail()),
        (OPENS_AT, lambda world: world.reverse()),
    ):
        kinds = [news.kind for news in run(world.at(DUE_BY).news())]
        assert kinds == ([NewsKind.DISPUTE_OPENED, NewsKind.DISPUTE_WON] if mail.news else [])
        seen.add(len(mail.news))
    assert seen == {0, 1}


def test_a_refund_fails_once_whoever_notices() -> None:
    async def refund(world: Sandbox) -> None:
        await world.charge(REFUND_FAILING)
        await world.refund()

    for world, (verdict, mail) in races(
        refund,
        (OPENS_AT, lambda world: world.lookup("re_1")),
        (OPENS_AT, lambda world: world.mail()),
    ):
        assert verdict.outcome is Outcome.REFUSED
        assert [news.kind for news in mail.news] == [NewsKind.REFUND_FAILED]
        assert run(world.at(OPENS_AT).news()) == mail.news


def test_two_who_acknowledge_the_same_are_both_done() -> None:
    async def told(world: Sandbox) -> None:
        await world.charge(FRAUDULENT)
        await world.at(OPENS_AT).news()

    for world, _ in races(
        told, (OPENS_AT, lambda world: world.collect()), (OPENS_AT, lambda world: world.collect())
    ):
        assert run(world.at(OPENS_AT).news()) == ()


def test_two_who_bring_a_payout_are_told_the_same_for_ever() -> None:
    seen: set[int] = set()
    for world, answers in races(
        nothing,
        (START, lambda world: world.send(GOOD_ACCOUNT, amount=1)),
        (START + DAY, lambda world: world.send(CLOSED_ACCOUNT, amount=2)),
    ):
        (payment,) = run(world.testify())
        first = GOOD_ACCOUNT if payment.amount == 1 else CLOSED_ACCOUNT
        # Whoever came first, by his clock, says when the day begins.
        alone = Sandbox().at(START if payment.amount == 1 else START + DAY)
        run(alone.send(first, amount=payment.amount))
        assert answers == [run(alone.at(moment).send(first)) for moment in (START, START + DAY)]
        seen.add(payment.amount)
    assert seen == {1, 2}


async def nothing(_: Sandbox) -> None: ...
