"""News comes at least once until it is acknowledged, and never after."""

import pytest

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sandbox.disputes import opening_id
from kpay_adapters.testing import FrozenClock, NewsDesk
from kpay_core.commit import Record, Unavailable, Unknown
from kpay_core.domain.news import News, NewsKind
from kpay_core.ports import NoAnswer
from tests.flows.world import run
from tests.sandbox.world import (
    CASE,
    DAY,
    DUE_BY,
    FRAUDULENT,
    MILLISECOND,
    MINUTE,
    OPENS_AT,
    REFUND_FAILING,
    START,
    Sandbox,
    told,
)

pytestmark = pytest.mark.anyio


async def busy(many: int = 4) -> Sandbox:
    """Take charges that are disputed, one a second."""
    world = Sandbox()
    for number in range(many):
        await world.at(START + number * 1000 * MILLISECOND).charge(FRAUDULENT, f"charge-{number}")
    return world


async def test_news_comes_until_it_is_acknowledged_and_never_after() -> None:
    world = (await busy()).at(DUE_BY - DAY)
    first = await world.news()
    assert len(first) == 4
    for process in (world, world.fork()):
        assert await process.news() == first
    await world.fork().acknowledge(*first[1:3])
    for process in (world, world.fork()):
        assert await process.news() == (first[0], first[3])
    await world.acknowledge(*first, *first)
    for process in (world, world.fork()):
        assert await process.news() == ()
    world.clock.advance(-2 * DAY)
    assert await world.news() == ()


async def test_news_comes_oldest_first_up_to_the_limit() -> None:
    world = (await busy()).at(DUE_BY - DAY)
    everything = await world.news()
    assert [news.happened_at for news in everything] == [
        OPENS_AT + number * 1000 * MILLISECOND for number in range(4)
    ]
    for limit in range(6):
        mail = await world.mail(limit)
        assert mail.news == everything[:limit]
        beyond = everything[limit:]
        assert mail.next_at == (beyond[0].happened_at if beyond else DUE_BY)


async def test_the_next_news_is_the_earliest_that_is_still_to_come() -> None:
    world = Sandbox()
    assert (await world.mail()).next_at is None
    await world.charge(FRAUDULENT)
    await world.charge(REFUND_FAILING, "failing")
    await world.refund(10, "re_2", "failing")
    await world.after(MILLISECOND).refund(10, "re_3", "failing")
    moments = [OPENS_AT, OPENS_AT, OPENS_AT + MILLISECOND, DUE_BY]
    seen = []
    while (mail := await world.mail()).next_at is not None:
        world.at(mail.next_at)
        seen += [news.happened_at for news in await world.collect()]
    assert seen == moments


async def test_what_nobody_was_told_of_cannot_be_acknowledged() -> None:
    world = Sandbox()
    await world.charge(FRAUDULENT)
    await world.network.acknowledge(news=["unknown", opening_id(CASE), ""])
    await world.network.acknowledge(news=[])
    assert len(await world.at(OPENS_AT).news()) == 1


async def test_a_clock_that_is_behind_changes_nothing_of_what_was_told() -> None:
    world = Sandbox()
    await world.charge(FRAUDULENT)
    first = await world.at(OPENS_AT).news()
    await world.at(OPENS_AT - MILLISECOND).refund(5000)
    assert await world.answer("winning_evidence"), "it was opened"
    assert await world.at(OPENS_AT).news() == first
    lost = await world.at(OPENS_AT + MINUTE).collect()
    assert [news.amount for news in lost] == [5000, 5000]
    assert not await world.at(OPENS_AT).answer("winning_evidence"), "it was closed"


class Unwell(MemoryStore):
    """A store that does not say what became of a commit, or is away."""

    failure: Exception | None = None

    async def commit(self, *records: Record, **held: object) -> None:
        if not isinstance(self.failure, Unavailable):
            await super().commit(*records)
        if self.failure is not None:
            raise self.failure


@pytest.mark.parametrize("failure", [Unknown(), Unavailable()])
async def test_a_journal_that_does_not_answer_is_no_answer_and_asking_again_is_safe(
    failure: Exception,
) -> None:
    journal = Unwell()
    world, sound = Sandbox(journal), Sandbox()
    for question in (
        lambda world: world.charge(FRAUDULENT),
        lambda world: world.refund(),
        lambda world: world.at(OPENS_AT).news(),
        lambda world: world.answer("winning_evidence"),
        lambda world: world.network.acknowledge(news=[opening_id(CASE)]),
        lambda world: world.reverse(),
        lambda world: world.send(),
    ):
        journal.failure = failure
        assert await told(question(world)) is NoAnswer
        journal.failure = None
        assert await question(world) == await question(sound)
        assert await world.dump() == await sound.dump()


# News by hand.


def news(id: str, kind: NewsKind = NewsKind.CAPTURED) -> News:
    return News(id=id, kind=kind, reference="nothing", amount=1, happened_at=START)


def test_a_news_desk_tells_what_it_is_given_until_it_is_acknowledged_and_again_when_told_to() -> None:
    async def story() -> None:
        clock = FrozenClock()
        desk = NewsDesk(journal=MemoryStore(), clock=clock)
        world = Sandbox(MemoryStore(), clock)
        world.network = desk
        won, lost = news("2", NewsKind.DISPUTE_WON), news("1", NewsKind.DISPUTE_LOST)
        desk.tell(won, lost, won)
        for _ in range(2):
            assert await world.news() == (won, lost, won)
        await world.acknowledge(won)
        assert await world.news() == (lost,)
        desk.tell(won)
        assert await world.collect() == (lost, won)
        assert await world.news() == ()

    run(story())


def test_a_news_desk_is_a_sandbox_as_well() -> None:
    async def story() -> None:
        clock = FrozenClock()
        world = Sandbox(MemoryStore(), clock)
        desk = world.network = NewsDesk(journal=world.journal, clock=clock)
        await world.charge(FRAUDULENT)
        assert (await world.mail()).next_at == OPENS_AT
        world.at(OPENS_AT)
        desk.tell(news("1"), news("2"))
        assert [len((await world.mail(limit)).news) for limit in range(5)] == [0, 1, 2, 3, 3]
        for limit in range(2):
            assert (await world.mail(limit)).next_at == OPENS_AT, "there is more"
        assert (await world.mail()).next_at == DUE_BY
        assert len(await world.collect()) == 3
        assert await world.news() == ()

    run(story())
