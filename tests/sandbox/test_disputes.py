"""Disputes: when they open, what they are about, and how they end."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpay_core.domain.news import News, NewsKind
from kpay_core.domain.processing import Outcome
from tests.flows.world import run
from tests.sandbox.world import (
    CASE,
    CHARGE,
    DAY,
    DUE_BY,
    FRAUDULENT,
    MILLISECOND,
    MINUTE,
    NOT_RECEIVED,
    OPENS_AT,
    START,
    Sandbox,
)

pytestmark = pytest.mark.anyio


async def disputed(number: str = FRAUDULENT) -> Sandbox:
    """Let a dispute be open, and told of."""
    world = Sandbox()
    await world.charge(number)
    await world.at(OPENS_AT).collect()
    return world


async def end_of(world: Sandbox) -> tuple[NewsKind, datetime, int]:
    """Let time pass until the dispute is closed, and return how, when and about what."""
    mail = await world.mail()
    assert mail.news == ()
    assert mail.next_at is not None
    assert await world.at(mail.next_at - MILLISECOND).news() == ()
    (news,) = await world.at(mail.next_at).collect()
    assert (news.reference, news.dispute) == (CHARGE, CASE)
    assert (await world.mail()).next_at is None, "there is nothing after the end"
    return news.kind, news.happened_at, news.amount


@pytest.mark.parametrize(
    ("number", "reason"), [(FRAUDULENT, "fraudulent"), (NOT_RECEIVED, "product_not_received")]
)
async def test_a_dispute_opens_a_minute_after_the_capture(number: str, reason: str) -> None:
    world = Sandbox()
    await world.charge(number)
    assert await world.mail() == await world.at(OPENS_AT - MILLISECOND).mail()
    assert (await world.mail()).next_at == OPENS_AT
    mail = await world.at(OPENS_AT).mail()
    (opened,) = mail.news
    assert opened == News(
        id=opened.id,
        kind=NewsKind.DISPUTE_OPENED,
        reference=CHARGE,
        dispute=CASE,
        amount=5000,
        code=reason,
        evidence_due_by=DUE_BY,
        happened_at=OPENS_AT,
    )
    assert mail.next_at == DUE_BY


@pytest.mark.parametrize(
    ("evidence", "kind", "delay"),
    [
        ("winning_evidence", NewsKind.DISPUTE_WON, MINUTE),
        (" winning_evidence\n", NewsKind.DISPUTE_WON, MINUTE),
        ("losing_evidence", NewsKind.DISPUTE_LOST, MINUTE),
        ("He signed for it.", NewsKind.DISPUTE_LOST, 10 * DAY),
        ("", NewsKind.DISPUTE_LOST, 10 * DAY),
    ],
)
@pytest.mark.parametrize("handed_in_at", [OPENS_AT, DUE_BY - MINUTE, DUE_BY - MILLISECOND])
async def test_a_dispute_ends_by_its_first_evidence(
    evidence: str, kind: NewsKind, delay: timedelta, handed_in_at: datetime
) -> None:
    world = (await disputed()).at(handed_in_at)
    assert await world.answer(evidence)
    before = await world.dump()
    assert await world.fork().answer("losing_evidence")
    assert await world.answer("winning_evidence")
    assert await world.dump() == before, "only the first counts"
    assert await world.at(handed_in_at + delay - MILLISECOND).answer("winning_evidence")
    assert await end_of(world) == (kind, handed_in_at + delay, 5000)
    assert not await world.answer(evidence), "it is closed"


async def test_without_evidence_a_dispute_is_lost_when_it_is_due() -> None:
    world = await disputed()
    assert await end_of(world) == (NewsKind.DISPUTE_LOST, DUE_BY, 5000)
    assert not await world.answer("winning_evidence")


async def test_evidence_comes_too_late_when_it_is_due_also_before_anybody_heard_of_it() -> None:
    world = await disputed()
    assert not await world.at(DUE_BY).answer("winning_evidence")
    (lost,) = await world.news()
    assert lost.kind is NewsKind.DISPUTE_LOST


async def test_no_evidence_is_taken_of_what_is_not_disputed() -> None:
    world = Sandbox()
    assert not await world.answer("winning_evidence")
    assert not await world.answer("winning_evidence", CHARGE)
    await world.charge(FRAUDULENT)
    assert not await world.at(OPENS_AT - MILLISECOND).answer("winning_evidence"), "not disputed yet"
    assert await world.at(OPENS_AT).answer("winning_evidence")


async def test_a_charge_that_was_refunded_in_full_is_never_disputed() -> None:
    world = Sandbox()
    await world.charge(FRAUDULENT)
    await world.refund(2000, "re_1")
    await world.at(OPENS_AT - MILLISECOND).refund(3000, "re_2")
    assert (await world.mail()).next_at is None
    assert await world.at(DUE_BY + DAY).news() == ()
    assert not await world.answer("winning_evidence")


async def test_refunds_before_the_dispute_lower_it_once_each_and_later_ones_do_not() -> None:
    world = Sandbox()
    await world.charge(FRAUDULENT)
    for _ in range(3):
        await world.fork().refund(2000, "re_1")
    world.at(OPENS_AT)
    assert (await world.refund(1000, "re_2")).outcome is Outcome.REFUNDED
    (opened,) = await world.collect()
    assert opened.amount == 3000
    assert (await world.refund(2000, "re_3")).outcome is Outcome.REFUNDED
    assert (await world.refund(1, "re_4")).code == "amount_too_large"
    assert await end_of(world) == (NewsKind.DISPUTE_LOST, DUE_BY, 3000)
    assert await world.moved() == {CHARGE: 5000, "re_1": 2000, "re_2": 1000, "re_3": 2000}


@pytest.mark.parametrize("moment", [START, OPENS_AT, DUE_BY + DAY])
async def test_a_charge_that_was_reversed_before_anybody_heard_of_a_dispute_has_none(
    moment: datetime,
) -> None:
    world = Sandbox()
    await world.charge(FRAUDULENT)
    assert (await world.at(moment).reverse()).outcome is Outcome.REVERSED
    assert (await world.mail()).next_at is None
    assert await world.at(DUE_BY + 2 * DAY).news() == ()
    assert not await world.at(OPENS_AT).answer("winning_evidence")


@pytest.mark.parametrize("evidence", [None, "losing_evidence"])
async def test_a_reversal_closes_the_dispute_that_was_told_of(evidence: str | None) -> None:
    world = await disputed()
    if evidence is not None:
        assert await world.answer(evidence)
    world.after(MILLISECOND)
    assert (await world.reverse()).outcome is (await world.reverse()).outcome is Outcome.REVERSED
    assert not await world.answer("winning_evidence")
    (won,) = await world.collect()
    assert (won.kind, won.happened_at) == (NewsKind.DISPUTE_WON, OPENS_AT + MILLISECOND)
    assert await world.at(DUE_BY + DAY).mail() == await world.fork().mail()
    assert (await world.mail()).news == ()


async def test_a_dispute_ends_after_it_began_also_by_a_clock_that_is_behind() -> None:
    world = Sandbox()
    await world.charge(FRAUDULENT)
    await world.at(OPENS_AT).news()
    await world.at(OPENS_AT - MILLISECOND).reverse()
    assert [news.kind for news in await world.at(OPENS_AT).news()] == [
        NewsKind.DISPUTE_OPENED,
        NewsKind.DISPUTE_WON,
    ]


async def test_a_reversal_does_not_change_how_a_dispute_has_ended() -> None:
    world = await disputed()
    (before,) = await world.at(DUE_BY).news()
    await world.reverse()
    assert await world.news() == (before,)


@given(
    refunds=st.lists(
        st.tuples(st.integers(0, 30_000), st.integers(1, 4000), st.booleans()), min_size=1, max_size=8
    )
)
def test_a_dispute_is_about_what_was_captured_less_what_was_refunded_when_it_opened(
    refunds: list[tuple[int, int, bool]],
) -> None:
    async def story() -> None:
        world = Sandbox()
        await world.charge(FRAUDULENT)
        refunded = 0
        left: int | None = None
        for number, (wait, amount, repeated) in enumerate(refunds):
            world.after(wait * MILLISECOND)
            if left is None and world.clock.now() >= OPENS_AT:
                left = 5000 - refunded
            verdict = await world.refund(amount, f"re_{number}")
            assert (verdict.outcome is Outcome.REFUNDED) == (refunded + amount <= 5000)
            refunded += amount if verdict.outcome is Outcome.REFUNDED else 0
            if repeated:
                assert await world.fork().refund(amount, f"re_{number}") == verdict
        left = 5000 - refunded if left is None else left
        if world.clock.now() < OPENS_AT:
            world.at(OPENS_AT)
        opened = await world.collect()
        assert [news.amount for news in opened] == ([left] if left else [])
        closed = await world.at(DUE_BY).collect()
        assert [news.amount for news in closed] == ([left] if left else [])
        assert sum(amount for id, amount in (await world.moved()).items() if id != CHARGE) == refunded

    run(story())
