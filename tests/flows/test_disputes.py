"""Disputes from their merchant's side: drafts, one submission that reaches the network, and what is told of them."""

import json
from typing import Any

import pytest

from kpay_adapters.memory import MemoryStore
from kpay_adapters.testing import Crash, Crashing, CrashPoint, FrozenClock, SeededIds
from kpay_adapters.testing.networks import DUE_BY, ScriptedNetwork, news
from kpay_core import Scope
from kpay_core.commit import Unavailable, Unknown
from kpay_core.domain.dispute_views import view_dispute
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.errors import Invalid, NoProcessor, NotFound
from kpay_core.domain.events import Event
from kpay_core.domain.ledger import Transfer
from kpay_core.domain.news import NewsKind
from kpay_core.domain.views import encode
from tests.flows.scripted import a_charge, check_told, events, scripted
from tests.flows.world import ExactClock, Stepped, World, drive_anyhow, every_choice, run

pytestmark = pytest.mark.anyio

SUBMIT = {"evidence": {"uncategorized_text": "It was them."}, "submit": True}
DRAFT = {"evidence": {"uncategorized_text": "Well …"}}

MANY_CALLS = 40


async def disputed(**given: Any) -> tuple[World, ScriptedNetwork, Dispute]:
    """Open a world with a disputed charge."""
    world, network = await scripted(**given)
    charge = await a_charge(world)
    await world.kpay.take_news("test", news(NewsKind.DISPUTE_OPENED, charge.id, 4999))
    (dispute,) = await world.all(Dispute)
    return world, network, dispute


async def update(world: World, body: Any = SUBMIT) -> Dispute:
    (dispute,) = await world.all(Dispute)
    return await world.kpay.update_dispute(world.scope, dispute.id, body, request_id="req_1")


async def newest(world: World) -> Dispute:
    (dispute,) = await world.all(Dispute)
    return dispute


async def updates(world: World) -> list[Any]:
    found = [each for each in await world.all(Event) if each.type == "dispute.updated"]
    return [json.loads(each.body) for each in found]


def shown(dispute: Dispute) -> Any:
    return json.loads(encode(view_dispute(dispute)))


async def test_a_draft_is_kept_and_told_of_and_goes_nowhere() -> None:
    world, network, before = await disputed()
    dispute = await update(world, DRAFT)
    assert (dispute.status, dispute.evidence.uncategorized_text) == ("needs_response", "Well …")
    assert dispute == await world.kpay.get_dispute(world.scope, dispute.id)
    (told,) = await updates(world)
    assert told["data"] == {
        "object": shown(dispute),
        "previous_attributes": {"evidence": shown(before)["evidence"]},
    }
    assert told["request"] == {"id": "req_1", "idempotency_key": None}
    assert network.evidence == []
    assert await update(world, DRAFT) == dispute
    assert len(await updates(world)) == 1


@pytest.mark.parametrize("takes", [True, False])
async def test_evidence_is_handed_in_once_and_told_of_once(takes: bool) -> None:
    world, network, before = await disputed()
    network.takes = takes
    dispute = await update(world)
    assert network.evidence == [(dispute.case, "It was them.")]
    assert (dispute.status, dispute.look_at, dispute.submitted_at) == (
        "under_review",
        None,
        world.clock.now(),
    )
    assert await newest(world) == dispute
    (told,) = await updates(world)
    assert told["data"]["object"] == shown(dispute)
    assert told["data"]["previous_attributes"] == {
        name: shown(before)[name] for name in ("status", "evidence", "submitted_at")
    }
    with pytest.raises(Invalid) as caught:
        await update(world)
    assert caught.value.code == "dispute_not_answerable"
    world.advance(days=1)
    assert (await world.kpay.sweep()).looked_at == 0
    assert await update(world, {}) == dispute
    assert (len(network.evidence), len(await updates(world))) == (1, 1)


async def test_a_silent_network_gets_the_evidence_later_and_the_merchant_sees_no_difference() -> None:
    world, network, _ = await disputed()
    world.advance(days=3)
    network.silent = True
    dispute = await update(world)
    assert (dispute.status, shown(dispute)["status"]) == ("submitting", "under_review")
    assert (dispute.look_at - world.clock.now()).total_seconds() == 5
    overdue: list[str] = []
    for _ in range(10):
        world.advance(hours=1)
        overdue = (await world.kpay.sweep()).overdue
    assert overdue == [dispute.id]
    network.silent = False
    world.advance(hours=1)
    assert (await world.kpay.sweep()).finished == 1
    later = await newest(world)
    assert (later.status, network.evidence) == ("under_review", [(dispute.case, "It was them.")])
    assert shown(later) == shown(dispute)
    assert len(await updates(world)) == 1


async def test_a_verdict_ends_a_dispute_whose_evidence_is_still_on_its_way() -> None:
    world, network, dispute = await disputed()
    network.silent = True
    await update(world)
    await world.kpay.take_news("test", news(NewsKind.DISPUTE_LOST, dispute.charge, 4999))
    network.silent = False
    world.advance(hours=1)
    assert (await world.kpay.sweep()).looked_at == 0
    assert (await newest(world)).status == "lost"
    (closed,) = [json.loads(each.body) for each in await world.all(Event) if each.type == "dispute.closed"]
    assert closed["data"]["previous_attributes"] == {"status": "under_review"}
    assert closed["request"]["id"] is None
    await check_told(world)


async def test_after_the_last_moment_nothing_is_taken() -> None:
    world, network, _ = await disputed()
    world.clock.advance(DUE_BY - world.clock.now())
    with pytest.raises(Invalid) as caught:
        await update(world)
    assert caught.value.code == "evidence_too_late"
    assert (network.evidence, (await newest(world)).version) == ([], 1)


async def test_a_dispute_is_seen_by_its_merchant_in_its_mode_alone() -> None:
    world, _, dispute = await disputed()
    other = await world.kpay.apply(name="Other")
    for scope in (Scope(other.id, livemode=False), Scope(world.scope.merchant, livemode=True)):
        with pytest.raises(NotFound):
            await world.kpay.get_dispute(scope, dispute.id)
        for body in (SUBMIT, {}, {"foo": 1}):
            with pytest.raises(NotFound):
                await world.kpay.update_dispute(scope, dispute.id, body)
        assert list((await world.kpay.list_disputes(scope, {})).data) == []
    with pytest.raises(Invalid):
        await update(world, {"foo": 1})


async def test_disputes_are_listed_newest_first_page_by_page() -> None:
    world, _ = await scripted()
    for _ in range(3):
        world.advance(seconds=1)
        charge = await a_charge(world)
        await world.kpay.take_news("test", news(NewsKind.DISPUTE_OPENED, charge.id, 4999))
    every = [each.id for each in (await world.kpay.list_disputes(world.scope, {})).data]
    assert every == sorted(every, reverse=True)
    page = await world.kpay.list_disputes(world.scope, {"limit": "2"})
    assert ([each.id for each in page.data], page.has_more) == (every[:2], True)
    rest = await world.kpay.list_disputes(world.scope, {"starting_after": every[1]})
    assert [each.id for each in rest.data] == every[2:]
    with pytest.raises(Invalid):
        await world.kpay.list_disputes(world.scope, {"status": "won"})


async def test_without_a_processor_nothing_is_promised() -> None:
    world, _, _ = await disputed()
    world.kpay.processors = {}
    with pytest.raises(NoProcessor):
        await update(world)
    assert (await newest(world)).status == "needs_response"


@pytest.mark.parametrize("failure", [Unavailable, Unknown])
async def test_books_that_are_away_after_the_submission_are_no_error(failure: type[Exception]) -> None:
    """An error would invite a second submission, and that would be refused."""
    world, network, _ = await disputed()
    whole = world.store

    class Away:
        async def commit(self, *records: Any, held: Any = ()) -> None:
            if any(isinstance(each, Dispute) and each.status == "under_review" for each in records):
                raise failure
            await whole.commit(*records, held=held)

        def __getattr__(self, name: str) -> Any:
            return getattr(whole, name)

    world.kpay.store = Away()  # pyright: ignore[reportAttributeAccessIssue]
    assert (await update(world)).status == "submitting"
    world.kpay.store = whole
    world.advance(minutes=1)
    await world.kpay.sweep()
    assert (await newest(world)).status == "under_review"
    assert network.evidence == [network.evidence[0]] * 2, "the network takes the first and knows the second"


def another(world: World, network: ScriptedNetwork, seed: int) -> World:
    """Return another process on the same store, which others overtake at every call."""
    other = World(store=world.store, journal=world.journal, clock=world.clock, ids=SeededIds(seed))
    other.scope = world.scope
    other.kpay.store = Stepped(world.store)
    other.kpay.processors = {"test": network}
    return other


@pytest.mark.parametrize("depth", [7, pytest.param(9, marks=pytest.mark.heavy)])
def test_of_two_who_submit_in_every_order_one_is_heard(depth: int) -> None:
    for choose in every_choice(depth):
        world, network, dispute = run(disputed(clock=ExactClock()))
        work = [
            another(world, network, seed).kpay.update_dispute(
                world.scope, dispute.id, {"evidence": {"uncategorized_text": said}, "submit": True}
            )
            for seed, said in ((7, "one"), (8, "two"))
        ]
        answers = drive_anyhow(world.clock, choose, *work)
        (heard,) = [each for each in answers if isinstance(each, Dispute)]
        (refused,) = [each for each in answers if isinstance(each, Invalid)]
        assert refused.code == "dispute_not_answerable"
        assert network.evidence == [(dispute.case, heard.evidence.uncategorized_text)]
        assert run(newest(world)) == heard
        assert run(events(world))["dispute.updated"] == 1


@pytest.mark.parametrize("kind", [NewsKind.DISPUTE_WON, NewsKind.DISPUTE_LOST])
@pytest.mark.parametrize("depth", [7, pytest.param(9, marks=pytest.mark.heavy)])
def test_a_submission_and_the_verdict_in_every_order_end_with_the_verdict(kind: NewsKind, depth: int) -> None:
    for choose in every_choice(depth):
        world, network, dispute = run(disputed(clock=ExactClock()))
        one, other = another(world, network, 7), another(world, network, 8)
        answers = drive_anyhow(
            world.clock,
            choose,
            one.kpay.update_dispute(world.scope, dispute.id, SUBMIT),
            other.kpay.take_news("test", news(kind, dispute.charge, 4999)),
        )
        assert isinstance(answers[0], Dispute | Invalid)
        assert run(newest(world)).status == kind.removeprefix("dispute_")
        assert run(newest(world)).look_at is None
        assert run(events(world))["dispute.updated"] == isinstance(answers[0], Dispute)
        run(check_told(world))


def test_two_sweepers_and_the_verdict_in_every_order_harm_nothing() -> None:
    for choose in every_choice(6):
        world, network, dispute = run(disputed(clock=ExactClock()))
        network.silent = True
        run(update(world))
        network.silent = False
        world.advance(seconds=5)
        work = [another(world, network, seed).kpay.sweep() for seed in (7, 8)]
        told = news(NewsKind.DISPUTE_WON, dispute.charge, 4999)
        answers = drive_anyhow(
            world.clock, choose, *work, another(world, network, 9).kpay.take_news("test", told)
        )
        assert not [each for each in answers if isinstance(each, Exception)]
        assert run(newest(world)).status == "won"
        assert len(network.evidence) <= 1
        run(check_told(world))


@pytest.mark.parametrize("after_effect", [False, True], ids=["before its effect", "after its effect"])
@pytest.mark.parametrize("swept", [False, True], ids=["submitting", "sweeping"])
async def test_a_submission_survives_a_crash_at_every_call(after_effect: bool, swept: bool) -> None:
    for call in range(1, MANY_CALLS):
        world, network, dispute = await disputed(store=MemoryStore())
        if swept:
            network.silent = True
            await update(world)
            network.silent = False
            world.advance(seconds=5)
        point = CrashPoint(call, after_effect=after_effect)
        whole = world.store
        world.kpay.store = Crashing(whole, point)  # pyright: ignore[reportAttributeAccessIssue]
        world.kpay.processors = {"test": Crashing(network, point)}  # pyright: ignore[reportAttributeAccessIssue]
        crashed = True
        try:
            await (
                world.kpay.sweep() if swept else world.kpay.update_dispute(world.scope, dispute.id, SUBMIT)
            )
            crashed = False
        except Crash:
            pass
        again = World(
            store=whole, journal=world.journal, clock=FrozenClock(world.clock.now()), ids=SeededIds(call)
        )
        again.scope = world.scope
        again.kpay.processors = {"test": network}
        if (await newest(again)).status == "needs_response":
            # Nobody was told that it was taken, and nothing was.
            assert network.evidence == []
            await update(again)
        for _ in range(3):
            again.advance(minutes=20)
            await again.kpay.sweep()
        assert (await newest(again)).status == "under_review"
        assert set(network.evidence) == {(dispute.case, "It was them.")}
        assert len(await updates(again)) == 1
        assert len(await again.all(Transfer)) == 4
        await check_told(again)
        if not crashed:
            assert call > 6
            return
    raise AssertionError("it never comes to its end")
