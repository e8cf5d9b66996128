"""
Charges and refunds behave as if each happened at one moment, whichever of several servers is asked.

Many clients ask at once for the same keys and the same charges, hang up on some requests, and lose answers because a
server is killed in every round. What they saw must be what a single server could have said that does one thing at a
time. KPAY_FAULT_ROUNDS says how often: 5 is a sample, 20 and more a proof.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Hashable
from typing import Any, cast

import msgspec
import pytest

from tests.kills.fleets import Fleet
from tests.linearizability.checker import Model, NotLinearizable, Operation, order_of
from tests.linearizability.histories import History, Shop, opening
from tests.linearizability.models import Answered, Key, Refundable, TooMuch

ROUNDS = int(os.environ.get("KPAY_FAULT_ROUNDS", "20"))

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(120 + 30 * ROUNDS)]

# In a round, how many objects of each kind there are, and how many clients share them all.
KEYS, CHARGES, CLIENTS = 15, 6, 24

# What each client asks in a round: of one object about 25 things are asked.
QUESTIONS = 20

# Of a charge, in cents. Half a dozen refunds use it up, while as many others are on their way.
AMOUNT = 3000


def tell(text: str) -> None:
    """Say what was measured, to whoever looks (`-s`, or a failure)."""
    print(text, flush=True)  # noqa: T201


def test_what_clients_see_could_have_happened_one_after_the_other(
    fleet: Fleet, chance: random.Random
) -> None:
    history = History()
    key = fleet.installation.merchant()["keys"]["test"]["secret"]
    shop = Shop(key, chance, history, fleet.urls)
    asyncio.run(ask_in_rounds(fleet, shop))
    lost = overlapping = 0
    for name, operations in history.of.items():
        order_of(operations, model_of(name))
        lost += sum(each.answer is None for each in operations)
        overlapping = max(overlapping, most_at_once(operations))
    count = sum(map(len, history.of.values()))
    tell(
        f"{count} operations on {len(history.of)} objects, {lost} without an answer, {overlapping} at once on one"
    )
    assert 0 < lost < count / 2
    assert overlapping >= 3
    check_that_lies_are_found(history)


def model_of(name: str) -> Model[Any]:
    return Key() if name.startswith("key") else Refundable(AMOUNT)


async def ask_in_rounds(fleet: Fleet, shop: Shop) -> None:
    async with opening(shop):
        supervising = asyncio.create_task(fleet.supervise())
        for number in range(ROUNDS):
            await fleet.until_up()
            charges = [await a_charge(shop, f"paid-{number}-{each}") for each in range(CHARGES)]
            keys = [f"key-{number}-{each}" for each in range(KEYS)]
            asking = [asyncio.create_task(ask(shop, client, keys, charges)) for client in range(CLIENTS)]
            await asyncio.sleep(shop.chance.uniform(0.05, 0.5))
            kill_a_server(fleet)
            await asyncio.gather(*asking)
        supervising.cancel()


async def a_charge(shop: Shop, key: str) -> str:
    """Make a charge, however often that takes, and return its id."""
    while True:
        answer = await shop.charge(key, AMOUNT)
        if isinstance(answer, Answered):
            return msgspec.json.decode(answer.content)["id"]


def kill_a_server(fleet: Fleet) -> None:
    server = fleet.chance.choice(fleet.servers)
    server.kill()
    server.start()


async def ask(shop: Shop, client: int, keys: list[str], charges: list[str]) -> None:
    """Ask for this and that, one after the other."""
    chance = shop.chance
    for number in range(QUESTIONS):
        what = chance.random()
        if what < 0.6:
            # One in six asks for something else under the same key.
            await shop.charge(chance.choice(keys), chance.choice((100, 100, 100, 100, 100, 200)))
        elif what < 0.9:
            # A key is used again by its own client, and always for the same refund.
            again = chance.randrange(number + 1)
            charge, amount = charges[(client + again) % len(charges)], 200 + 100 * ((client + again) % 7)
            await shop.refund(charge, f"{charge}-{client}-{again}", amount)
        else:
            await shop.look(chance.choice(charges))
        await asyncio.sleep(chance.uniform(0, 0.02))


def most_at_once(operations: list[Operation]) -> int:
    """Count how many operations that were answered overlapped at most."""
    ended = [each for each in operations if each.answer is not None]
    return max((sum(one.began <= each.began < one.ended for one in ended) for each in ended), default=0)


def check_that_lies_are_found(history: History) -> None:
    """See that what was really seen could not be otherwise: each of these lies is found."""
    found = 0
    for name, operations in history.of.items():
        seen = Counter(each.answer.content for each in operations if isinstance(each.answer, Answered))
        for number, operation in enumerate(operations):
            for lie in lies(operation.answer, seen):
                told = operations[:]
                told[number] = msgspec.structs.replace(operation, answer=lie)
                with pytest.raises(NotLinearizable):
                    order_of(told, model_of(name))
                found += 1
            if found >= 200:
                return
    assert found > 0


def lies(answer: Hashable, seen: Counter[bytes]) -> list[Hashable]:
    """Say something else than what was answered, that cannot be true."""
    match answer:
        case Answered(content, replayed):
            # What nobody else was answered might as well have been something else.
            return [Answered(content + b" ", replayed)] if seen[content] > 1 else []
        case TooMuch(left):
            # Refunds are of whole hundreds.
            return [TooMuch(left + 1)]
        case int():
            return [cast(int, answer) + 1]
        case _:
            return []
