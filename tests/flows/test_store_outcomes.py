"""
A store that does not say what happened, or says no, at every commit of every flow.

Whatever the sender was told stays true, and "safe to try again" is: no error leaves an effect that a second request
would repeat.
"""

from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any

import pytest

from kpay_adapters.sandbox import SandboxNetwork
from kpay_adapters.testing import FrozenClock
from kpay_core.commit import CommitFailed, Conflict, Record, Unavailable, Unknown
from kpay_core.domain.charges import Charge
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.errors import KpayError
from kpay_core.domain.idempotency import Answer, Outcome
from kpay_core.domain.processing import Outcome as Network
from kpay_core.domain.processing import Verdict
from kpay_core.domain.refunds import Refund
from kpay_core.ports import NoAnswer, Store
from tests.flows.money import FRAUDULENT, check_at_rest, check_money, come_to_rest
from tests.flows.stories import A_MINUTE, STORIES, Do, Story, charging, later
from tests.flows.world import DECLINED, DOWN, GOOD, LOST, REFUND_PENDING, World, check_books

pytestmark = pytest.mark.anyio

Send = Callable[[World], Awaitable[Answer]]


class Moody:
    """A store whose n-th commit answers with a failure, whether it took effect or not."""

    def __init__(
        self,
        store: Store,
        at: int,
        failure: type[CommitFailed],
        *,
        written: bool = False,
        times: int = 1,
        then: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._store = store
        self._bad = range(at, at + times)
        self._failure = failure
        self._written = written
        self._then = then
        self.commits = 0
        self.get, self.find = store.get, store.find

    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        self.commits += 1
        if self.commits not in self._bad:
            return await self._store.commit(*records, held=held)
        if self._written and self.commits == self._bad.start:
            await self._store.commit(*records, held=held)
        if self._then is not None:
            await self._then()
        if self._failure is Conflict:
            raise Conflict(type(records[0]), records[0].id)
        raise self._failure


MOODS: dict[str, dict[str, Any]] = {
    "unknown, written": {"failure": Unknown, "written": True},
    "unknown, not written": {"failure": Unknown},
    "unknown twice, written": {"failure": Unknown, "written": True, "times": 2},
    "conflict": {"failure": Conflict},
    "conflict twice": {"failure": Conflict, "times": 2},
    "unavailable": {"failure": Unavailable},
    "unavailable from then on": {"failure": Unavailable, "times": 1000},
    "unknown from then on, not written": {"failure": Unknown, "times": 1000},
    "unknown from then on, written": {"failure": Unknown, "written": True, "times": 1000},
}


class Forgetful(SandboxNetwork):
    """A network whose answer to a refund is lost: it carries it out, and nobody hears of it."""

    async def refund(self, *, reference: str, charge: str, amount: int) -> Verdict:
        await super().refund(reference=reference, charge=charge, amount=amount)
        raise NoAnswer


async def told_by(send: Send, world: World) -> Answer | Exception:
    try:
        return await send(world)
    except (CommitFailed, KpayError) as error:
        return error


async def at_every_commit(send: Send, prepare: Send | None, mood: dict[str, Any], *, key: str | None) -> None:
    for at in count(1):
        world = await World().open()
        if prepare:
            await prepare(world)
        before = {charge.id for charge in await world.all(Charge)}
        moody = Moody(world.store, at, **mood)
        world.kpay.store = moody
        told = await told_by(send, world)
        world.kpay.store = world.store
        if mood["failure"] is not Unavailable and mood.get("times", 1) < 1000:
            assert isinstance(told, Answer), "a hiccup is seen through"
        if key:
            while (
                not isinstance(again := await told_by(send, world), Answer)
                or again.outcome is Outcome.ACCEPTED
            ):
                world.advance(seconds=10)
            if isinstance(told, Answer) and told.outcome is not Outcome.ACCEPTED:
                assert again.body == told.body
        await world.settle()
        await check_books(world)
        entries = [entry for entry in await world.entries() if entry.id not in before]
        standing = [entry for entry in entries if entry.outcome in (Network.CAPTURED, Network.REFUNDED)]
        assert len(standing) <= 1
        if key is None and isinstance(told, Exception):
            assert standing == [], "an error left an effect behind"
        if isinstance(told, Answer) and told.outcome is Outcome.CREATED:
            assert [entry.id for entry in standing] == [told.value["id"]]
        if moody.commits < at:
            assert at > 2
            return


@pytest.mark.parametrize("mood", MOODS.values(), ids=MOODS)
@pytest.mark.parametrize("key", [None, "k"], ids=["keyless", "key"])
@pytest.mark.parametrize("number", [GOOD, DECLINED, LOST], ids=["captured", "declined", "lost"])
async def test_a_charge_gets_through_a_store_in_a_mood(
    number: str, key: str | None, mood: dict[str, Any]
) -> None:
    await at_every_commit(lambda world: world.charge(number, key=key), None, mood, key=key)


@pytest.mark.parametrize("mood", MOODS.values(), ids=MOODS)
@pytest.mark.parametrize("key", [None, "k"], ids=["keyless", "key"])
@pytest.mark.parametrize("number", [GOOD, REFUND_PENDING], ids=["ordinary", "pending"])
async def test_a_refund_gets_through_a_store_in_a_mood(
    number: str, key: str | None, mood: dict[str, Any]
) -> None:
    await at_every_commit(refunding(key), lambda world: world.charge(number), mood, key=key)


@pytest.mark.parametrize("mood", MOODS.values(), ids=MOODS)
@pytest.mark.parametrize("key", [None, "k"], ids=["keyless", "key"])
async def test_a_refund_whose_answer_is_lost_gets_through_a_store_in_a_mood(
    key: str | None, mood: dict[str, Any]
) -> None:
    async def charge(world: World) -> Answer:
        answer = await world.charge(GOOD)
        world.kpay.processors = {"test": Forgetful(journal=world.journal, clock=world.clock)}
        return answer

    async def refund(world: World) -> Answer:
        try:
            return await refunding(key)(world)
        finally:
            world.kpay.processors = {"test": world.network}

    await at_every_commit(refund, charge, mood, key=key)


def refunding(key: str | None) -> Send:
    """Refund a part of the one charge that there is."""

    async def refund(world: World) -> Answer:
        (charge,) = await world.all(Charge)
        return await world.refund(charge.id, amount=1000, key=key)

    return refund


@pytest.mark.parametrize("number", [LOST, DOWN])
async def test_a_promise_that_was_made_is_kept_although_its_commit_was_uncertain(number: str) -> None:
    """The 202 of a charge is written, nobody knows so, and the sweeper looks at the charge before it is sent again."""
    world = await World().open()
    sweeper = World(store=world.store, journal=world.journal, clock=FrozenClock(world.clock.now()))

    async def the_sweeper_comes() -> None:
        sweeper.advance(seconds=6)
        await sweeper.kpay.sweep()

    world.kpay.store = Moody(world.store, 2, Unknown, written=True, then=the_sweeper_comes)
    told = await told_by(lambda world: world.charge(number), world)
    assert isinstance(told, Answer), repr(told)
    assert told.outcome is Outcome.ACCEPTED


async def test_a_decline_that_was_written_is_told_although_its_commit_was_uncertain() -> None:
    world = await World().open()
    world.kpay.store = Moody(world.store, 2, Unknown, written=True)
    told = await world.charge(DECLINED, key="k")
    world.kpay.store = world.store
    assert (await world.charge(DECLINED, key="k")).body == told.body


# Money that moves by itself, and disputes: each of these makes a dozen commits or two.


SEEN_THROUGH = {name: MOODS[name] for name in ("unknown, written", "unknown, not written", "conflict")}


@pytest.mark.parametrize(
    "mood",
    [
        pytest.param(mood, marks=() if name in (*SEEN_THROUGH, "unavailable") else pytest.mark.heavy, id=name)
        for name, mood in MOODS.items()
    ],
)
@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
async def test_money_gets_through_a_store_in_a_mood(
    story: Story, mood: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    story.begin(monkeypatch)
    for at in count(1):
        world = await World().open()
        await world.endpoint()
        await story.before(world)
        moody = Moody(world.store, at, **mood)
        world.kpay.store = moody
        try:
            await story.act(world)
        except (CommitFailed, KpayError):
            assert mood not in SEEN_THROUGH.values(), "a hiccup is seen through"
        world.kpay.store = world.store
        came_through = moody.commits < at
        await check_money(world)
        await world.check_audit(journal=False)
        if came_through:
            assert await story.ends(world)
        await come_to_rest(world)
        await check_money(world)
        await check_at_rest(world)
        await world.check_audit()
        if came_through:
            return


async def moved_on_before_it_is_known(world: World, act: Do) -> None:
    """Do something whose first commit is written and uncertain, and looked at by a sweeper before it is sent again."""
    sweeper = World(store=world.store, journal=world.journal, clock=FrozenClock(world.clock.now()))

    async def the_sweeper_comes() -> None:
        sweeper.advance(seconds=6)
        await sweeper.kpay.sweep()

    world.kpay.store = Moody(world.store, 1, Unknown, written=True, then=the_sweeper_comes)
    await act(world)
    world.kpay.store = world.store


async def test_evidence_whose_commit_was_uncertain_is_not_called_unanswerable() -> None:
    world = await World().open()
    await later(charging(FRAUDULENT), A_MINUTE)(world)
    (dispute,) = await world.all(Dispute)
    body = {"evidence": {"uncategorized_text": "winning_evidence"}, "submit": True}
    await moved_on_before_it_is_known(
        world, lambda world: world.kpay.update_dispute(world.scope, dispute.id, body)
    )
    await later(2 * A_MINUTE)(world)
    assert [dispute.status for dispute in await world.all(Dispute)] == ["won"]
    await check_money(world)


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_refund_whose_commit_was_uncertain_is_made_once(key: str | None) -> None:
    world = await World().open()
    await world.charge()
    (charge,) = await world.all(Charge)
    await moved_on_before_it_is_known(world, lambda world: world.refund(charge.id, amount=3000, key=key))
    await world.settle()
    assert [refund.status for refund in await world.all(Refund)] == ["succeeded"]
    await check_money(world)
