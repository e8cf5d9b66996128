"""Requests that were cut off in the middle: finished where somebody can learn of it, undone where nobody can."""

from collections.abc import Coroutine
from typing import Any

import pytest

from kpay_adapters.testing import Crash, Crashing, CrashPoint
from kpay_core import Scope
from kpay_core.domain.charges import Charge
from kpay_core.domain.errors import Undone
from kpay_core.domain.idempotency import Outcome
from kpay_core.domain.processing import Outcome as Network
from kpay_core.domain.refunds import Refund
from kpay_core.flows.sweep import ROUND
from kpay_core.ports import NoAnswer
from tests.flows.world import DOWN, LOST, Interleaved, World, check_books, request, run

pytestmark = pytest.mark.anyio


async def cut_off_after_the_network(world: World, *, key: str | None) -> Charge:
    """Send a charge whose process dies when the network has captured, and before it has answered."""
    network = world.kpay.processors
    world.kpay.processors = {"test": Crashing(world.network, CrashPoint(1, after_effect=True))}  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(Crash):
        await world.charge(key=key)
    world.kpay.processors = network
    (charge,) = await world.all(Charge)
    return charge


async def test_a_keyless_charge_that_was_cut_off_is_undone_after_its_lease() -> None:
    world = await World().open()
    charge = await cut_off_after_the_network(world, key=None)
    world.advance(seconds=59)
    await world.kpay.sweep()
    assert await world.captured() == [charge.id], "its attempt may still be on its way"
    world.advance(seconds=1)
    await world.kpay.sweep()
    undone, _ = await world.kpay.get_charge(world.scope, charge.id)
    assert (undone.status, undone.failure_code) == ("failed", "not_processed")
    assert await world.captured() == []
    await check_books(world)


async def test_a_charge_with_a_key_that_was_cut_off_is_finished() -> None:
    world = await World().open()
    charge = await cut_off_after_the_network(world, key="k")
    world.advance(seconds=5)
    await world.kpay.sweep()
    answer = await world.charge(key="k")
    assert (answer.outcome, answer.replayed, answer.value["id"]) == (Outcome.CREATED, True, charge.id)
    assert await world.captured() == [charge.id]
    await check_books(world)


async def test_the_clients_own_retry_finishes_what_was_cut_off() -> None:
    world = await World().open()
    charge = await cut_off_after_the_network(world, key="k")
    answer = await world.charge(key="k")
    assert (answer.outcome, answer.value["id"]) == (Outcome.CREATED, charge.id)
    await check_books(world)


async def test_a_keyless_charge_whose_sender_was_told_is_kept() -> None:
    world = await World().open()
    answer = await world.charge(LOST)
    assert answer.outcome is Outcome.ACCEPTED
    world.advance(hours=1)
    await world.settle()
    assert (await world.the_charge(answer)).status == "succeeded"
    await check_books(world)


def test_a_late_attempt_meets_the_fence_and_is_told_to_try_again() -> None:
    world = run(World().open())
    late = world.charge(key="k")
    plain, world.kpay.store = world.kpay.store, Interleaved(world.store)  # pyright: ignore[reportAttributeAccessIssue]
    while not run(world.all(Charge)):
        late.send(None)
    world.kpay.store = plain
    # The attempt stands behind its first commit. By the time it goes on, the sweeper has undone its charge.
    world.advance(seconds=121)
    run(world.settle())
    with pytest.raises(Undone):
        run(late)
    assert run(world.captured()) == []
    assert run(world.charge(key="k")).outcome is Outcome.CREATED
    run(check_books(world))


def test_an_attempt_and_the_sweeper_that_undoes_it_never_both_have_their_way() -> None:
    """However far the sweeper is with undoing a charge when its attempt comes back with a capture."""
    for calls in range(40):
        world = crowded_world()
        late = world.charge()
        while not run(world.captured()):
            late.send(None)
        world.advance(seconds=61)
        sweeper = world.kpay.sweep()
        for _ in range(calls):
            if sweeper is not None and ended(sweeper):
                sweeper = None
        try:
            answer = run(late)
        except Undone:
            answer = None
        if sweeper is not None:
            run(sweeper)
        run(world.settle())
        run(check_books(world))
        assert len(run(world.captured())) == (0 if answer is None else 1), "what was told is what stands"


def crowded_world() -> World:
    world = run(World().open())
    world.kpay.store = Interleaved(world.store)  # pyright: ignore[reportAttributeAccessIssue]
    world.kpay.processors = {"test": Interleaved(world.network)}  # pyright: ignore[reportAttributeAccessIssue]
    return world


def ended(work: Coroutine[Any, Any, object]) -> bool:
    """Let work go on by a step, and tell whether it came to its end."""
    try:
        work.send(None)
    except StopIteration:
        return True
    return False


async def test_a_charge_is_not_failed_while_the_network_is_silent_and_a_person_is_called() -> None:
    world = await World().open()
    answer = await world.charge(DOWN)
    network = world.kpay.processors
    world.kpay.processors = {"test": Silent()}  # pyright: ignore[reportAttributeAccessIssue]
    for _ in range(30):
        world.advance(hours=1)
        swept = await world.kpay.sweep()
    assert swept.overdue == [answer.value["id"]]
    assert (await world.the_charge(answer)).status == "processing"
    world.kpay.processors = network
    world.advance(hours=1)
    await world.kpay.sweep()
    assert (await world.the_charge(answer)).status == "failed"


class Silent:
    """A processor that is away."""

    def __getattr__(self, name: str) -> object:
        async def call(**_: object) -> object:
            raise NoAnswer

        return call


async def test_a_refund_that_gets_no_answer_is_pending_and_sent_again() -> None:
    world = await World().open()
    id = str((await world.charge()).value["id"])
    network = world.kpay.processors
    world.kpay.processors = {"test": Silent()}  # pyright: ignore[reportAttributeAccessIssue]
    answer = await world.refund(id, amount=1000)
    assert (answer.outcome, answer.value["status"]) == (Outcome.CREATED, "pending")
    world.kpay.processors = network
    await world.settle()
    assert (await world.kpay.get_refund(world.scope, str(answer.value["id"]))).status == "succeeded"
    await check_books(world)


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_refund_that_was_cut_off_before_the_network_is_sent_only_for_a_key(key: str | None) -> None:
    world = await World().open()
    id = str((await world.charge()).value["id"])
    network = world.kpay.processors
    world.kpay.processors = {"test": Crashing(world.network, CrashPoint(1))}  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(Crash):
        await world.refund(id, amount=1000, key=key)
    world.kpay.processors = network
    await world.settle()
    (refund,) = await world.all(Refund)
    charge, _ = await world.kpay.get_charge(world.scope, id)
    sent = [entry.id for entry in await world.entries(Network.REFUNDED)]
    if key:
        assert (refund.status, charge.refundable, sent) == ("succeeded", 3999, [refund.id])
    else:
        assert (refund.status, charge.refundable, sent) == ("failed", 4999, [])
    await check_books(world)


async def test_a_sweep_looks_at_so_many_and_the_next_at_the_rest() -> None:
    world = await World().open()
    for _ in range(ROUND + 3):
        await world.charge(LOST)
    world.advance(seconds=30)
    swept = [(await world.kpay.sweep()) for _ in range(3)]
    assert [(each.looked_at, each.finished) for each in swept] == [(ROUND, ROUND), (3, 3), (0, 0)]
    await check_books(world)


async def test_one_that_cannot_be_resolved_holds_nobody_else_up() -> None:
    world = await World().open()
    world.kpay.processors = {"test": world.network, "live": world.network}
    await world.charge(LOST)
    await world.kpay.create_charge(Scope(world.scope.merchant, livemode=True), request(LOST))
    await world.charge(LOST)
    world.kpay.processors = {"test": world.network}
    world.advance(seconds=30)
    swept = await world.kpay.sweep()
    assert (swept.looked_at, swept.finished) == (3, 2)
