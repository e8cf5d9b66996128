"""
Many requests at once, interleaved at every port call in orders that a seed chooses.

The driver of these tests owns time and turns, so a failure repeats by its seed.
"""

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sandbox import SandboxNetwork
from kpay_adapters.system import SystemClock
from kpay_core.domain.charges import Charge
from kpay_core.domain.errors import IdempotencyKeyReused, Invalid, Unauthenticated
from kpay_core.domain.idempotency import Answer
from kpay_core.domain.processing import Outcome
from kpay_core.domain.refunds import Refund
from tests.flows.world import (
    DECLINED,
    DOWN,
    LATE,
    LOST,
    Interleaved,
    SharedClock,
    World,
    check_books,
    drive,
    request,
    run,
)

SEEDS = range(3)


def crowded() -> World:
    """Make a world in which everybody may be overtaken before and behind every call of a port."""
    world = run(World(clock=SharedClock()).open())
    world.kpay.store = Interleaved(world.store)  # pyright: ignore[reportAttributeAccessIssue]
    world.kpay.processors = {"test": Interleaved(world.network)}  # pyright: ignore[reportAttributeAccessIssue]
    return world


def checked(world: World) -> None:
    run(check_books(world))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("number", ["4242424242424242", DECLINED, LATE])
def test_a_hundred_requests_with_one_key_make_one_charge_and_get_one_answer(number: str, seed: int) -> None:
    world = crowded()
    answers = drive(world.clock, Random(seed), *(world.charge(number, key="k") for _ in range(100)))
    assert all(isinstance(answer, Answer) for answer in answers), Counter(map(repr, answers))
    assert len({(answer.outcome, answer.body) for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    assert len(run(world.all(Charge))) == len(run(world.entries())) == 1
    checked(world)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lost_answer_is_asked_for_by_many_and_told_alike(seed: int) -> None:
    world = crowded()
    random = Random(seed)
    drive(world.clock, random, *(world.charge(LOST, key="k") for _ in range(20)))
    world.advance(seconds=20)
    work = [*(world.charge(LOST, key="k") for _ in range(20)), *(world.kpay.sweep() for _ in range(5))]
    answers = drive(world.clock, random, *work)[:20]
    assert len({answer.body for answer in answers if answer.outcome == "created"}) == 1
    assert len(run(world.captured())) == 1
    checked(world)


@pytest.mark.parametrize("seed", SEEDS)
def test_of_two_requests_under_one_key_only_one_takes_effect(seed: int) -> None:
    world = crowded()
    work = [world.charge(key="k", amount=amount) for amount in (100, 200) for _ in range(20)]
    answers = drive(world.clock, Random(seed), *work)
    refused = [answer for answer in answers if isinstance(answer, IdempotencyKeyReused)]
    assert len(refused) == 20
    assert len(run(world.all(Charge))) == 1
    checked(world)


@pytest.mark.parametrize("seed", SEEDS)
def test_of_fifty_refunds_of_60_on_100_one_stands(seed: int) -> None:
    world = crowded()
    (charge,) = drive(world.clock, Random(seed), world.charge(amount=100))
    id = str(charge.value["id"])
    answers = drive(world.clock, Random(seed), *(world.refund(id, amount=60) for _ in range(50)))
    refused = [answer for answer in answers if isinstance(answer, Invalid)]
    assert len(refused) == 49
    assert {str(error.fields) for error in refused} == {"{'amount': ['max 40']}"}
    assert len(run(world.entries(Outcome.REFUNDED))) == 1
    checked(world)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hundred_refunds_of_a_dollar_all_stand_and_sum_up(seed: int) -> None:
    world = crowded()
    (charge,) = drive(world.clock, Random(seed), world.charge(amount=10_000))
    id = str(charge.value["id"])
    answers = drive(world.clock, Random(seed), *(world.refund(id, amount=100) for _ in range(100)))
    assert Counter(type(answer) for answer in answers) == {Answer: 100}
    found, its_refunds = run(world.kpay.get_charge(world.scope, id))
    assert (found.amount_refunded, found.refundable, len(its_refunds)) == (10_000, 0, 100)
    checked(world)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_charge_is_never_seen_beside_refunds_of_another_moment(seed: int) -> None:
    world = crowded()
    (charge,) = drive(world.clock, Random(seed), world.charge(amount=1000))
    id = str(charge.value["id"])
    refunds = [world.refund(id, amount=100) for _ in range(10)]
    reads = [world.kpay.get_charge(world.scope, id) for _ in range(20)]
    for found, its_refunds in drive(world.clock, Random(seed), *refunds, *reads)[10:]:
        done = sum(refund.amount for refund in its_refunds if refund.status == "succeeded")
        assert found.amount_refunded == done
        assert found.refunds == len(its_refunds)


@pytest.mark.parametrize("seed", range(10))
def test_a_sweeper_that_is_early_late_or_many_harms_nobody(seed: int) -> None:
    world = crowded()
    random = Random(seed)
    for _ in range(3):
        requests: list[Any] = [
            world.charge(random.choice([DOWN, LOST, LATE, DECLINED]), key=random.choice([None, "a", "b"]))
            for _ in range(8)
        ]
        drive(world.clock, random, *requests, *(world.kpay.sweep() for _ in range(4)))
        world.advance(seconds=random.choice([1, 6, 20, 61, 130]))
        drive(world.clock, random, *(world.kpay.sweep() for _ in range(4)))
        run(check_books(world, quiet=False))
    run(world.settle())
    checked(world)


class Counting(Interleaved):
    """A port that counts its calls by name."""

    def __init__(self, port: object) -> None:
        super().__init__(port)
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        self.calls[name] += 1
        return super().__getattr__(name)


@pytest.mark.parametrize("seed", SEEDS)
def test_of_many_sweepers_one_asks_the_network_and_then_nobody_for_a_while(seed: int) -> None:
    world = crowded()
    drive(world.clock, Random(seed), world.charge(LOST))
    world.kpay.processors = {"test": (network := Counting(world.network))}  # pyright: ignore[reportAttributeAccessIssue]
    world.advance(seconds=6)
    drive(world.clock, Random(seed), *(world.kpay.sweep() for _ in range(5)))
    assert network.calls == {"lookup": 1}
    world.advance(seconds=4)
    assert run(world.kpay.sweep()).looked_at == 0
    world.advance(seconds=1)
    assert run(world.kpay.sweep()).finished == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_of_many_rotations_at_once_one_key_is_current(seed: int) -> None:
    world = crowded()
    merchant = world.scope.merchant
    rotated = drive(
        world.clock, Random(seed), *(world.kpay.rotate_key(merchant, "test", at_once=True) for _ in range(10))
    )
    opening = []
    for each in rotated:
        try:
            run(world.kpay.authenticate(each.key))
            opening.append(each.key)
        except Unauthenticated:
            continue
    assert len(opening) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_merchant_is_approved_once_and_the_demo_merchant_made_once(seed: int) -> None:
    world = crowded()
    applied = run(world.kpay.apply(name="New"))
    answers = drive(world.clock, Random(seed), *(world.kpay.approve(applied.id) for _ in range(5)))
    assert Counter(type(answer).__name__ for answer in answers) == {"Approved": 1, "Invalid": 4}
    made = drive(world.clock, Random(seed), *(world.kpay.ensure_demo_merchant() for _ in range(5)))
    assert len({approved.keys.test.secret for approved in made}) == 1
    assert len(run(world.kpay.list_keys(made[0].merchant.id))) == 4


@pytest.mark.anyio
async def test_a_hundred_requests_in_an_event_loop_on_the_machines_own_clock_make_one_charge() -> None:
    clock = SystemClock()
    world = World(clock=clock)
    world.kpay.store = Interleaved(MemoryStore())  # pyright: ignore[reportAttributeAccessIssue]
    world.kpay.processors = {"test": Interleaved(SandboxNetwork(journal=world.journal, clock=clock))}  # pyright: ignore[reportAttributeAccessIssue]
    await world.open()
    body = request()
    body["source"]["exp_year"] = 9999
    work = (world.kpay.create_charge(world.scope, body, idempotency_key="k") for _ in range(100))
    answers = await asyncio.gather(*work)
    assert len({answer.body for answer in answers}) == 1
    assert len(await world.captured()) == 1
    assert await world.all(Refund) == []
