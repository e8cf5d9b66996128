"""News of the network: kept once, applied once, whatever their order, and whoever takes them in how often."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from kpay_adapters.memory import MemoryStore
from kpay_adapters.testing import START, Crash, Crashing, CrashPoint, FrozenClock, SeededIds
from kpay_adapters.testing.networks import DUE_BY, ScriptedNetwork, news
from kpay_core import Scope
from kpay_core.commit import Record, Rejected, Unavailable, Unknown
from kpay_core.domain.charges import Charge
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.errors import Invalid
from kpay_core.domain.events import Event
from kpay_core.domain.ledger import Book, Transfer
from kpay_core.domain.news import News, NewsKind
from kpay_core.domain.notices import Notice
from kpay_core.domain.refunds import Refund
from kpay_core.flows import notices
from kpay_core.flows.charges import resolve_charge
from kpay_core.flows.sweep import ROUND
from kpay_core.ports import NoAnswer
from kpay_core.query import Query
from tests.flows.scripted import a_charge, check_told, events, scripted, transfers
from tests.flows.world import (
    DECLINED,
    DOWN,
    GOOD,
    LOST,
    ExactClock,
    Stepped,
    World,
    drive_anyhow,
    every_choice,
    request,
    run,
)

pytestmark = pytest.mark.anyio

OPENED, WON, LOST_IT = NewsKind.DISPUTE_OPENED, NewsKind.DISPUTE_WON, NewsKind.DISPUTE_LOST
CAPTURED, REFUND_FAILED = NewsKind.CAPTURED, NewsKind.REFUND_FAILED

MANY_CALLS = 60


async def the_notice(world: World, kind: NewsKind | None = None) -> Notice:
    (found,) = [each for each in await world.all(Notice) if kind in (None, each.kind)]
    return found


async def the_dispute(world: World) -> Dispute:
    (found,) = await world.all(Dispute)
    return found


async def read_anew(world: World, charge: Charge) -> Charge:
    found, _ = await world.kpay.get_charge(world.scope, charge.id)
    return found


async def test_a_dispute_is_opened_with_its_money_its_event_and_its_notice() -> None:
    world, network = await scripted()
    charge = await a_charge(world)
    network.tell(news(OPENED, charge.id, 4000))
    collected = await world.kpay.collect_news()
    assert (collected.taken, collected.contradicting, collected.next_at) == (1, [], None)
    dispute = await the_dispute(world)
    assert dispute.id.startswith("dp_")
    assert (dispute.charge, dispute.case, dispute.amount) == (charge.id, f"case_{charge.id}", 4000)
    assert (dispute.status, dispute.evidence_due_by) == ("needs_response", DUE_BY)
    assert await transfers(world, dispute.id) == {"dispute": 4000, "dispute_fee": 1500}
    assert await events(world) == {"charge.succeeded": 1, "dispute.created": 1}
    assert (await the_notice(world)).status == "applied"
    assert network.acknowledged == [f"dispute_opened_{charge.id}"]
    assert (await read_anew(world, charge)).refundable == 999
    await check_told(world)


@pytest.mark.parametrize("kind", [WON, LOST_IT])
async def test_a_dispute_is_closed_as_the_network_says(kind: NewsKind) -> None:
    world, network = await scripted()
    charge = await a_charge(world)
    network.tell(news(OPENED, charge.id, 4999), news(kind, charge.id, 4999))
    assert (await world.kpay.collect_news()).taken == 2
    dispute = await the_dispute(world)
    won = kind is WON
    assert dispute.status == ("won" if won else "lost")
    ends = (
        {"dispute_won": 4999, "dispute_fee_returned": 1500}
        if won
        else {"dispute_lost": 4999, "dispute_fee_kept": 1500}
    )
    assert await transfers(world, dispute.id) == {"dispute": 4999, "dispute_fee": 1500, **ends}
    assert (await read_anew(world, charge)).refundable == (4999 if won else 0)
    balance = await world.kpay.get_balance(world.scope)
    assert (balance.available, balance.reserved) == (0 if won else -6499, 0)
    await check_told(world)


async def test_news_that_come_twice_are_counted_and_change_nothing_else() -> None:
    world, network = await scripted()
    charge = await a_charge(world)
    told = [news(OPENED, charge.id, 4999), news(WON, charge.id, 4999)]
    for _ in range(3):
        for each in told:
            await world.kpay.take_news("test", each)
    assert [(each.status, each.told) for each in await world.all(Notice)] == [("applied", 3)] * 2
    network.tell(*told)
    # What was taken in before is acknowledged, and is not new.
    assert (await world.kpay.collect_news()).taken == 0
    assert network.box == []
    await check_told(world)


async def test_the_same_under_another_id_is_known() -> None:
    world, network = await scripted()
    charge = await a_charge(world)
    for kind in (OPENED, WON):
        for id in "ab":
            network.tell(news(kind, charge.id, 4999, f"{id}{kind}"))
    await world.kpay.collect_news()
    assert [each.status for each in await world.all(Notice)] == ["applied", "applied", "known", "known"]
    await check_told(world)


async def test_a_second_dispute_of_a_charge_is_another_case() -> None:
    world, network = await scripted()
    charge = await a_charge(world)
    network.tell(news(OPENED, charge.id, 3000), news(OPENED, charge.id, 2000, "again", dispute="case_2"))
    network.tell(news(LOST_IT, charge.id, 2000, "end", dispute="case_2"))
    await world.kpay.collect_news()
    assert sorted((each.amount, each.status) for each in await world.all(Dispute)) == [
        (2000, "lost"),
        (3000, "needs_response"),
    ]
    await check_told(world)


async def test_what_is_out_of_order_waits_for_what_comes_before_it() -> None:
    world, network = await scripted()
    charge = await a_charge(world)
    network.tell(news(LOST_IT, charge.id, 4999))
    await world.kpay.collect_news()
    waiting = await the_notice(world)
    assert (waiting.status, waiting.reason) == ("waiting", "the dispute is not known")
    world.advance(seconds=5)
    assert (await world.kpay.sweep()).finished == 0
    network.tell(news(OPENED, charge.id, 4999))
    await world.kpay.collect_news()
    assert (await the_dispute(world)).status == "needs_response"
    world.advance(seconds=15)
    swept = await world.kpay.sweep()
    assert (swept.looked_at, swept.finished, swept.overdue) == (1, 1, [])
    assert (await the_dispute(world)).status == "lost"
    await check_told(world)


async def test_news_of_what_nobody_knows_wait_for_ever_and_a_person_is_called_after_a_day() -> None:
    world, network = await scripted()
    network.tell(*(news(kind, "unknown", 100) for kind in NewsKind))
    await world.kpay.collect_news()
    ids = {f"test/{kind}_unknown" for kind in NewsKind}
    swept = await world.kpay.sweep()
    for hour in range(1, 100):
        world.advance(hours=1)
        swept = await world.kpay.sweep()
        assert set(swept.overdue) == (ids if hour >= 24 else set())
    assert {each.status for each in await world.all(Notice)} == {"waiting"}
    assert network.box == []


async def test_a_look_at_what_still_waits_writes_its_lease_and_nothing_else() -> None:
    world, network = await scripted()
    network.tell(news(CAPTURED, "unknown", 100))
    await world.kpay.collect_news()
    world.advance(seconds=5)
    await world.kpay.sweep()
    notice = await the_notice(world)
    assert (notice.version, notice.looks, notice.look_at) == (2, 1, world.clock.now() + timedelta(seconds=5))


@pytest.mark.parametrize("kind", [CAPTURED, NewsKind.DECLINED, OPENED])
async def test_news_of_a_charge_without_an_outcome_wait_for_it(kind: NewsKind) -> None:
    world, network = await scripted()
    charge = await a_charge(world, number=LOST)
    assert charge.status == "processing"
    network.tell(news(kind, charge.id, 4999))
    await world.kpay.collect_news()
    assert (await the_notice(world)).reason == "the charge has no outcome yet"
    await world.settle()
    world.advance(hours=1)
    await world.kpay.sweep()
    came_to = {CAPTURED: "known", NewsKind.DECLINED: "contradicting", OPENED: "applied"}
    assert (await the_notice(world)).status == came_to[kind]
    await check_told(world)


async def test_what_contradicts_moves_nothing_is_kept_and_reported_once() -> None:
    world, network = await scripted()
    charge, failed = await a_charge(world), await a_charge(world, number=DECLINED)
    before = await world.all(Charge), await world.all(Transfer), await world.all(Event)
    network.tell(
        news(NewsKind.DECLINED, charge.id, 4999),
        news(CAPTURED, charge.id, 1),
        news(OPENED, charge.id, 5000),
        news(OPENED, failed.id, 4999),
    )
    collected = await world.kpay.collect_news()
    kept = await world.all(Notice)
    assert sorted(collected.contradicting) == [each.id for each in kept]
    assert {(each.status, each.look_at) for each in kept} == {("contradicting", None)}
    assert all(each.reason for each in kept)
    assert (await world.all(Charge), await world.all(Transfer), await world.all(Event)) == before
    network.box = [news(CAPTURED, charge.id, 1)]
    assert (await world.kpay.collect_news()).contradicting == []


async def test_what_contradicts_only_later_is_reported_by_the_sweeper() -> None:
    world, network = await scripted()
    charge = await a_charge(world, number=LOST)
    network.tell(news(NewsKind.DECLINED, charge.id, 4999))
    assert (await world.kpay.collect_news()).contradicting == []
    world.advance(minutes=2)
    await world.settle()
    world.advance(minutes=2)
    reported = (await world.kpay.sweep()).overdue or [(await the_notice(world)).id]
    assert reported == [f"test/declined_{charge.id}"]
    assert (await the_notice(world)).status == "contradicting"


async def a_refund(world: World, amount: int = 1000) -> tuple[Charge, Refund]:
    charge = await a_charge(world)
    await world.refund(charge.id, amount=amount)
    (refund,) = await world.all(Refund)
    return charge, refund


async def test_a_refund_that_fails_after_all_comes_back_to_the_charge_and_the_balance() -> None:
    world, network = await scripted()
    charge, refund = await a_refund(world)
    network.tell(news(REFUND_FAILED, refund.id, 1000, code="expired_or_canceled_card"))
    await world.kpay.collect_news()
    failed = await world.kpay.get_refund(world.scope, refund.id)
    assert (failed.status, failed.failure_code) == ("failed", "expired_or_canceled_card")
    assert (await read_anew(world, charge)).refundable == 4999
    assert await transfers(world, refund.id) == {"refund": 1000, "refund_paid": 1000, "refund_bounced": 1000}
    assert await events(world) == {
        "charge.succeeded": 1,
        "refund.created": 1,
        "charge.refunded": 1,
        "refund.updated": 1,
    }
    (told,) = [each for each in await world.all(Event) if each.type == "refund.updated"]
    assert '"previous_attributes":{"status":"succeeded","failure_code":null}' in told.body
    network.tell(news(REFUND_FAILED, refund.id, 1000, "again"), news(NewsKind.REFUNDED, refund.id, 1000))
    await world.kpay.collect_news()
    assert sorted(each.status for each in await world.all(Notice)) == ["applied", "contradicting", "known"]
    await check_told(world)


async def test_a_refund_of_another_amount_does_not_fail() -> None:
    world, network = await scripted()
    _, refund = await a_refund(world)
    network.tell(news(REFUND_FAILED, refund.id, 999), news(NewsKind.REFUNDED, refund.id, 1000))
    await world.kpay.collect_news()
    assert (await world.kpay.get_refund(world.scope, refund.id)).status == "succeeded"
    assert (await the_notice(world, REFUND_FAILED)).status == "contradicting"
    assert (await the_notice(world, NewsKind.REFUNDED)).status == "known"


async def test_what_is_left_of_a_disputed_charge_can_be_refunded_and_no_more() -> None:
    world, network = await scripted()
    charge = await a_charge(world, amount=1000)
    network.tell(news(OPENED, charge.id, 600))
    await world.kpay.collect_news()
    with pytest.raises(Invalid) as caught:
        await world.refund(charge.id, amount=401)
    assert caught.value.fields == {"amount": ["max 400"]}
    assert (await world.refund(charge.id)).value["amount"] == 400
    network.tell(news(WON, charge.id, 600))
    await world.kpay.collect_news()
    assert (await world.refund(charge.id)).value["amount"] == 600
    await check_told(world)


async def test_a_capture_of_a_failed_charge_is_booked_and_sent_back() -> None:
    world, network = await scripted()
    charge = await a_charge(world, number=DECLINED)
    network.tell(news(CAPTURED, charge.id, 4999))
    await world.kpay.collect_news()
    assert (await the_notice(world)).status == "stray"
    assert await transfers(world) == {"stray_capture": 4999}
    await world.kpay.sweep()
    assert (await the_notice(world)).status == "returned"
    assert await transfers(world) == {"stray_capture": 4999, "stray_reversed": 4999}
    assert network.reversed == [charge.id]
    # Whoever tells of it again, under whatever id, tells nothing new.
    network.tell(news(CAPTURED, charge.id, 4999, "again"))
    await world.kpay.collect_news()
    assert [each.status for each in await world.all(Notice)] == ["known", "returned"]
    assert (await read_anew(world, charge)).status == "failed"
    assert await events(world) == {"charge.failed": 1}
    await check_told(world)


async def test_a_capture_of_a_charge_that_was_undone_is_astray_too() -> None:
    world, network = await scripted()
    charge = await a_charge(world, number=DOWN)
    await world.settle()
    network.reversed.clear()
    network.tell(news(CAPTURED, charge.id, 4999))
    await world.kpay.collect_news()
    await world.kpay.sweep()
    assert (await the_notice(world)).status == "returned"
    await check_told(world)


async def test_a_stray_is_sent_back_however_long_the_network_is_silent() -> None:
    world, network = await scripted()
    charge = await a_charge(world, number=DECLINED)
    network.tell(news(CAPTURED, charge.id, 4999))
    await world.kpay.collect_news()
    network.silent = True
    overdue: list[str] = []
    for _ in range(30):
        overdue = (await world.kpay.sweep()).overdue
        assert (await the_notice(world)).status == "stray"
        world.advance(hours=1)
    assert overdue == [f"test/captured_{charge.id}"]
    network.silent = False
    await world.kpay.sweep()
    assert (await the_notice(world)).status == "returned"
    await check_told(world)


async def test_no_news_cross_from_one_mode_to_the_other() -> None:
    world, network = await scripted()
    other = ScriptedNetwork(journal=world.journal, clock=world.clock)
    world.kpay.processors = {"test": network, "live": other}
    charge = await a_charge(world)
    _, refund = await a_refund(world)
    same = [news(kind, charge.id, 4999) for kind in (OPENED, CAPTURED)]
    same += [news(REFUND_FAILED, refund.id, 1000)]
    other.tell(*same)
    assert (await world.kpay.collect_news()).taken == 3
    assert {(each.livemode, each.status) for each in await world.all(Notice)} == {(True, "waiting")}
    network.tell(*same)
    assert (await world.kpay.collect_news()).taken == 3
    assert sorted(each.status for each in await world.all(Notice) if not each.livemode) == [
        "applied",
        "applied",
        "known",
    ]
    # The live case of the same name is another.
    live = Scope(world.scope.merchant, livemode=True)
    answer = await world.kpay.create_charge(live, request())
    await world.kpay.take_news(
        "live", news(OPENED, str(answer.value["id"]), 4999, "x", dispute=f"case_{charge.id}")
    )
    assert len(await world.all(Dispute)) == 2
    await world.kpay.take_news(
        "live", news(WON, str(answer.value["id"]), 4999, "y", dispute=f"case_{charge.id}")
    )
    assert {each.livemode: each.status.value for each in await world.all(Dispute)} == {
        False: "needs_response",
        True: "won",
    }
    await check_told(world)


async def test_a_silent_network_holds_no_other_up_and_the_next_news_are_known() -> None:
    world, network = await scripted()
    live, charge = ScriptedNetwork(journal=world.journal, clock=world.clock), await a_charge(world)
    network.tell(news(OPENED, charge.id, 4999))
    network.next_at, live.next_at = START + timedelta(hours=2), START + timedelta(hours=1)
    world.kpay.processors = {"live": live, "test": network}
    live.silent = True
    collected = await world.kpay.collect_news()
    assert (collected.taken, collected.next_at) == (1, START + timedelta(hours=2))
    live.silent = False
    assert (await world.kpay.collect_news()).next_at == START + timedelta(hours=1)


async def test_a_round_takes_a_hundred_and_the_next_the_rest() -> None:
    world, network = await scripted()
    network.tell(*(news(CAPTURED, "unknown", 1, f"n{i}") for i in range(notices.ROUND + 5)))
    assert [(await world.kpay.collect_news()).taken for _ in range(3)] == [100, 5, 0]
    assert ROUND < notices.ROUND == 100


async def test_an_acknowledgement_that_is_lost_is_made_up_for_and_counts_nothing_as_new() -> None:
    world, network = await scripted()
    charge = await a_charge(world)
    network.tell(news(OPENED, charge.id, 4999))

    class Deaf(ScriptedNetwork):
        async def acknowledge(self, *, news: Any) -> None:
            raise NoAnswer(news)

    deaf = Deaf(journal=world.journal, clock=world.clock)
    deaf.box = network.box
    world.kpay.processors = {"test": deaf}
    await world.kpay.collect_news()
    assert ((await the_notice(world)).told, len(network.box)) == (1, 1)
    world.kpay.processors = {"test": network}
    assert (await world.kpay.collect_news()).taken == 0
    assert ((await the_notice(world)).told, network.box) == (2, [])
    await check_told(world)


class Failing:
    """A store whose commits fail, of some records."""

    def __init__(self, store: Any, failure: type[Exception], fails: Any) -> None:
        self.store, self.failure, self.fails = store, failure, fails
        self.commits = 0

    async def commit(self, *records: Record, held: Any = ()) -> None:
        self.commits += 1
        if self.fails(records):
            raise self.failure("for the test")
        await self.store.commit(*records, held=held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@pytest.mark.parametrize("failure", [Unavailable, Unknown])
async def test_news_that_cannot_be_kept_are_not_acknowledged_and_come_again(failure: type[Exception]) -> None:
    world, network = await scripted()
    charge = await a_charge(world)
    network.tell(news(CAPTURED, charge.id, 4999), news(OPENED, charge.id, 4999), news(WON, charge.id, 4999))
    store: Any = Failing(
        world.store, failure, lambda records: any(isinstance(each, Dispute) for each in records)
    )
    world.kpay.store = store
    assert (await world.kpay.collect_news()).taken == 1
    # The one after it is not tried: a store that is away is not waited for a hundred times.
    assert store.commits == (2 if failure is Unavailable else store.commits)
    assert network.acknowledged == [f"captured_{charge.id}"]
    assert len(network.box) == 2
    world.kpay.store = world.store
    assert (await world.kpay.collect_news()).taken == 2
    assert network.box == []
    await check_told(world)


async def test_a_store_that_cannot_be_read_leaves_all_news_where_they_are() -> None:
    world, network = await scripted()
    network.tell(news(CAPTURED, "unknown", 1))

    class Away:
        async def get(self, *_: Any) -> Any:
            raise Unavailable

    world.kpay.store = Away()  # pyright: ignore[reportAttributeAccessIssue]
    assert (await world.kpay.collect_news()).taken == 0
    assert len(network.box) == 1


async def test_what_the_books_refuse_is_kept_waits_and_holds_nobody_up() -> None:
    world, network = await scripted()
    charge, other = await a_charge(world), await a_charge(world)
    network.tell(news(OPENED, charge.id, 4999), news(OPENED, other.id, 4999))
    world.kpay.store = Failing(  # pyright: ignore[reportAttributeAccessIssue]
        world.store,
        Rejected,
        lambda records: any(isinstance(each, Dispute) and each.charge == charge.id for each in records),
    )
    assert (await world.kpay.collect_news()).taken == 2
    assert (await the_dispute(world)).charge == other.id
    refused = next(each for each in await world.all(Notice) if each.reference == charge.id)
    assert (refused.status, refused.reason) == ("waiting", "what it means is refused by the books")
    world.kpay.store = world.store
    world.advance(seconds=5)
    assert (await world.kpay.sweep()).finished == 1
    await check_told(world)


async def test_a_merchant_without_books_is_no_reason_to_lose_news() -> None:
    world, network = await scripted()
    charge = await a_charge(world)
    network.tell(news(OPENED, charge.id, 4999))
    whole = world.store

    class Bookless(Failing):
        async def get(self, kind: Any, id: str) -> Any:
            return None if kind is Book else await whole.get(kind, id)

    world.kpay.store = Bookless(whole, Rejected, lambda _: False)  # pyright: ignore[reportAttributeAccessIssue]
    await world.kpay.collect_news()
    assert ((await the_notice(world)).status, network.box) == ("waiting", [])


HOSTILE: list[Any] = [
    {"id": "\0"},
    {"id": "\ud800"},
    {"id": "x" * 100_000},
    {"reference": "\0\udfff"},
    {"reference": "x" * 100_000},
    {"dispute": "\ud800\0"},
    {"dispute": "y" * 100_000},
    {"dispute": None},
    {"code": "\0\ud800" * 50_000},
    {"amount": 2**63},
    {"amount": -(10**40)},
    {"amount": 0},
    {"happened_at": datetime(1, 1, 1), "evidence_due_by": datetime(9999, 12, 31, 23, 59, 59, 999_999)},  # noqa: DTZ001
    {"happened_at": START.replace(microsecond=123_456), "evidence_due_by": None},
]


@pytest.mark.parametrize("kind", [OPENED, WON, CAPTURED, REFUND_FAILED])
async def test_no_news_however_strange_stop_those_behind_them(kind: NewsKind) -> None:
    world, network = await scripted()
    charge = await a_charge(world)
    strange = [
        replace(news(OPENED, charge.id, 4999, f"n{i}", dispute=f"c{i}"), **{"kind": kind, **odd})
        for i, odd in enumerate(HOSTILE)
    ]
    network.tell(*strange, news(NewsKind.DECLINED, "last", 1))
    assert (await world.kpay.collect_news()).taken == len(HOSTILE) + 1
    assert network.box == []
    kept = await world.all(Notice)
    assert len(kept) == len(HOSTILE) + 1
    for each in kept:
        # What every store holds: databases take no NUL and no half of a pair, and times in whole milliseconds.
        assert "\0" not in each.id + each.reference + (each.dispute or "") + (each.code or "")
        str([each.id, each.reference, each.dispute, each.code]).encode()
        assert each.happened_at.microsecond % 1000 == 0
        assert abs(each.amount) < 2**63
    for dispute in await world.all(Dispute):
        assert dispute.evidence_due_by.microsecond % 1000 == 0
    page = await world.kpay.list_disputes(world.scope, {"limit": "100"})
    assert len(page.data) == (6 if kind is OPENED else 0)
    for _ in range(3):
        world.advance(hours=1)
        await world.kpay.sweep()
    network.tell(*strange)
    assert (await world.kpay.collect_news()).taken == 0
    await check_told(world)


# Two at once


def taker(world: World, seed: int) -> tuple[World, Any]:
    """Return another process on the same store, which others overtake at every call."""
    other = World(store=world.store, journal=world.journal, clock=world.clock, ids=SeededIds(seed))
    other.scope = world.scope
    other.kpay.store = Stepped(world.store)
    network = ScriptedNetwork(journal=other.journal, clock=other.clock)
    other.kpay.processors = {"test": network}
    return other, network


STORIES: dict[str, Any] = {
    "one piece of news": (
        ["a"],
        lambda charge, _: [news(OPENED, charge.id, 4999, "n"), news(OPENED, charge.id, 4999, "n")],
    ),
    "one dispute under two ids": (
        ["a"],
        lambda charge, _: [news(OPENED, charge.id, 4999, "n"), news(OPENED, charge.id, 4999, "m")],
    ),
    "two disputes": (
        [],
        lambda charge, _: [news(OPENED, charge.id, 1, "n"), news(OPENED, charge.id, 2, "m", dispute="c2")],
    ),
    "won and lost": (
        ["open"],
        lambda charge, _: [news(WON, charge.id, 4999), news(LOST_IT, charge.id, 4999)],
    ),
    "won twice": (
        ["open"],
        lambda charge, _: [news(WON, charge.id, 4999, "n"), news(WON, charge.id, 4999, "m")],
    ),
    "a refund that failed twice": (
        [],
        lambda _, refund: [
            news(REFUND_FAILED, refund.id, 1000, "n"),
            news(REFUND_FAILED, refund.id, 1000, "m"),
        ],
    ),
    "a stray twice": (
        ["declined"],
        lambda charge, _: [news(CAPTURED, charge.id, 4999, "n"), news(CAPTURED, charge.id, 4999, "m")],
    ),
    "a refund and a dispute": (
        [],
        lambda charge, refund: [news(REFUND_FAILED, refund.id, 1000), news(OPENED, charge.id, 4999)],
    ),
}


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("depth", [7, pytest.param(9, marks=pytest.mark.heavy)])
def test_two_takers_in_every_order_keep_both_and_apply_each_once(story: str, depth: int) -> None:
    traits, tell = STORIES[story]
    orders = 0
    for choose in every_choice(depth):
        world, _ = run(scripted(clock=ExactClock()))
        charge = run(a_charge(world, number=DECLINED if "declined" in traits else GOOD))
        refund = None
        if "declined" not in traits:
            run(world.refund(charge.id, amount=1000))
            (refund,) = run(world.all(Refund))
        if "open" in traits:
            run(world.kpay.take_news("test", news(OPENED, charge.id, 4999, "o")))
        told = tell(charge, refund)
        takers = [taker(world, seed)[0] for seed in (7, 8)]
        work = [each.kpay.take_news("test", one) for each, one in zip(takers, told, strict=True)]
        answers = drive_anyhow(world.clock, choose, *work)
        assert all(isinstance(answer, Notice) for answer in answers), answers
        run(check_told(world))
        kept = {each.id: each.status.value for each in run(world.all(Notice)) if each.id != "test/o"}
        assert len(kept) == len({each.id for each in told})
        expected = {
            "two disputes": ["applied", "applied"],
            "one piece of news": ["applied"],
            "won and lost": ["applied", "contradicting"],
            "a stray twice": ["known", "stray"],
            "a refund and a dispute": ["applied", "applied"],
        }.get(story, ["applied", "known"])
        assert sorted(kept.values()) == expected
        orders += 1
    assert orders > 40


@pytest.mark.parametrize("kind", [WON, LOST_IT])
@pytest.mark.parametrize("depth", [8, pytest.param(10, marks=pytest.mark.heavy)])
def test_the_beginning_and_the_end_of_a_dispute_in_every_order_are_both_applied(
    kind: NewsKind, depth: int
) -> None:
    for choose in every_choice(depth):
        world, _ = run(scripted(clock=ExactClock()))
        charge = run(a_charge(world))
        one, other = taker(world, 7)[0], taker(world, 8)[0]
        work = (
            one.kpay.take_news("test", news(OPENED, charge.id, 4999)),
            other.kpay.take_news("test", news(kind, charge.id, 4999)),
        )
        answers = drive_anyhow(world.clock, choose, *work)
        assert all(isinstance(answer, Notice) for answer in answers), answers
        run(check_told(world))
        world.advance(minutes=1)
        run(world.kpay.sweep())
        assert run(the_dispute(world)).status == kind.removeprefix("dispute_")
        run(check_told(world))


@pytest.mark.parametrize("depth", [7, pytest.param(9, marks=pytest.mark.heavy)])
def test_a_dispute_and_a_refund_in_every_order_agree_on_what_is_left(depth: int) -> None:
    for choose in every_choice(depth):
        world, _ = run(scripted(clock=ExactClock()))
        charge = run(a_charge(world, amount=1000))
        one, other = taker(world, 7)[0], taker(world, 8)[0]
        drive_anyhow(
            world.clock,
            choose,
            one.kpay.take_news("test", news(OPENED, charge.id, 1000)),
            other.refund(charge.id, amount=700),
        )
        run(check_told(world))
        charge = run(read_anew(world, charge))
        assert (charge.amount_disputed, charge.refundable) == (1000, 0)
        assert charge.amount_refunded in (0, 700)


@pytest.mark.parametrize("depth", [7, pytest.param(9, marks=pytest.mark.heavy)])
def test_two_sweepers_in_every_order_send_a_stray_back_once(depth: int) -> None:
    for choose in every_choice(depth):
        world, network = run(scripted(clock=ExactClock()))
        charge = run(a_charge(world, number=DECLINED))
        network.tell(news(CAPTURED, charge.id, 4999))
        run(world.kpay.collect_news())
        one, other = taker(world, 7)[0], taker(world, 8)[0]
        drive_anyhow(world.clock, choose, one.kpay.sweep(), other.kpay.sweep())
        world.advance(hours=1)
        run(world.kpay.sweep())
        assert run(the_notice(world)).status == "returned"
        run(check_told(world))


@pytest.mark.parametrize("depth", [7, pytest.param(9, marks=pytest.mark.heavy)])
def test_a_notice_that_is_told_again_while_it_is_looked_at_loses_neither(depth: int) -> None:
    for choose in every_choice(depth):
        world, _ = run(scripted(clock=ExactClock()))
        charge = run(a_charge(world, number=LOST))
        told = news(OPENED, charge.id, 4999)
        run(world.kpay.take_news("test", told))
        world.advance(minutes=10)
        assert run(resolve_charge(world.kpay, charge.id)).status == "succeeded"
        assert run(the_notice(world)).status == "waiting"
        one, other = taker(world, 7)[0], taker(world, 8)[0]
        drive_anyhow(world.clock, choose, one.kpay.sweep(), other.kpay.take_news("test", told))
        world.advance(hours=1)
        run(world.kpay.sweep())
        notice = run(the_notice(world))
        assert (notice.status, notice.told) == ("applied", 2)
        run(check_told(world))


@pytest.mark.parametrize("depth", [8, pytest.param(10, marks=pytest.mark.heavy)])
def test_a_look_that_is_overtaken_on_the_charge_is_finished_all_the_same(depth: int) -> None:
    """The next one might be an hour away."""
    for choose in every_choice(depth):
        world, _ = run(scripted(clock=ExactClock()))
        charge = run(a_charge(world, number=LOST))
        run(world.kpay.take_news("test", news(OPENED, charge.id, 1000)))
        world.advance(minutes=10)
        assert run(resolve_charge(world.kpay, charge.id)).status == "succeeded"
        assert run(the_notice(world)).status == "waiting"
        one, other = taker(world, 7)[0], taker(world, 8)[0]
        look = notices.resolve_notice(one.kpay, f"test/dispute_opened_{charge.id}")
        drive_anyhow(world.clock, choose, look, other.refund(charge.id, amount=100))
        assert run(the_notice(world)).status == "applied"
        run(check_told(world))


# Crashes


async def reborn(world: World, seed: int) -> tuple[World, ScriptedNetwork]:
    """Start anew on what a crash has left behind."""
    again = World(
        store=world.store, journal=world.journal, clock=FrozenClock(world.clock.now()), ids=SeededIds(seed)
    )
    again.scope = world.scope
    network = ScriptedNetwork(journal=again.journal, clock=again.clock)
    again.kpay.processors = {"test": network}
    return again, network


async def every_crash(prepare: Any, work: Any, *, after_effect: bool) -> int:
    """Let `work` die at its every call of a port; then let a new process do it, and sweep for two hours."""
    for call in range(1, MANY_CALLS):
        world, network = await scripted(store=MemoryStore())
        await prepare(world, network)
        point = CrashPoint(call, after_effect=after_effect)
        world.kpay.store = Crashing(world.store, point)  # pyright: ignore[reportAttributeAccessIssue]
        world.kpay.processors = {"test": Crashing(network, point)}  # pyright: ignore[reportAttributeAccessIssue]
        crashed = True
        try:
            await work(world)
            crashed = False
        except Crash:
            pass
        again, heir = await reborn(world, call + 1)
        heir.box = network.box
        for _ in range(6):
            await again.kpay.collect_news()
            await again.kpay.sweep()
            again.advance(minutes=20)
        assert heir.box == []
        await check_told(again)
        assert all(each.look_at is None for each in await again.all(Notice))
        assert await again.all(Notice) != []
        if not crashed:
            return call - 1
    raise AssertionError("it never comes to its end")


async def told_of_a_dispute(world: World, network: ScriptedNetwork) -> None:
    charge = await a_charge(world)
    network.tell(news(OPENED, charge.id, 4999), news(WON, charge.id, 4999))


async def told_of_a_bounce(world: World, network: ScriptedNetwork) -> None:
    _, refund = await a_refund(world)
    network.tell(news(REFUND_FAILED, refund.id, 1000))


async def told_of_a_stray(world: World, network: ScriptedNetwork) -> None:
    charge = await a_charge(world, number=DECLINED)
    network.tell(news(CAPTURED, charge.id, 4999))


async def told_out_of_order(world: World, network: ScriptedNetwork) -> None:
    charge = await a_charge(world)
    network.tell(news(LOST_IT, charge.id, 4999), news(OPENED, charge.id, 4999))


@pytest.mark.parametrize("after_effect", [False, True], ids=["before its effect", "after its effect"])
@pytest.mark.parametrize("prepare", [told_of_a_dispute, told_of_a_bounce, told_of_a_stray, told_out_of_order])
async def test_collecting_survives_a_crash_at_every_call(prepare: Any, after_effect: bool) -> None:
    calls = await every_crash(prepare, lambda world: world.kpay.collect_news(), after_effect=after_effect)
    # The mail, the look for the notice, its subject, the commit, the acknowledgement.
    assert calls >= 5


@pytest.mark.parametrize("after_effect", [False, True], ids=["before its effect", "after its effect"])
@pytest.mark.parametrize("prepare", [told_of_a_stray, told_out_of_order])
async def test_looking_at_notices_survives_a_crash_at_every_call(prepare: Any, after_effect: bool) -> None:
    async def kept(world: World, network: ScriptedNetwork) -> None:
        await prepare(world, network)
        await world.kpay.collect_news()
        world.advance(seconds=5)

    calls = await every_crash(kept, lambda world: world.kpay.sweep(), after_effect=after_effect)
    assert calls >= 8


@pytest.mark.parametrize("after_effect", [False, True], ids=["before its effect", "after its effect"])
async def test_taking_one_piece_survives_a_crash_at_every_call(after_effect: bool) -> None:
    async def take(world: World) -> None:
        (charge,) = await world.store.find(Query(kind=Charge, limit=2))
        await world.kpay.take_news("test", news(OPENED, charge.id, 4999))

    assert await every_crash(told_of_a_dispute, take, after_effect=after_effect) >= 5


async def test_news_are_taken_as_records_say_not_as_the_network_repeats() -> None:
    """The amount of a notice that is told again, otherwise, is that of the first time."""
    world, _ = await scripted()
    charge = await a_charge(world)
    told: News = news(OPENED, charge.id, 100)
    await world.kpay.take_news("test", told)
    again = await world.kpay.take_news("test", replace(told, amount=4999, kind=LOST_IT))
    assert (again.amount, again.kind, again.told) == (100, "dispute_opened", 2)
    await check_told(world)
