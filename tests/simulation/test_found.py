"""
What runs of the simulation have found, each in the fewest choices, so that it never comes back.

A history means what it meant as long as the choices there are stay in their order; each is told again in the flows'
own words beside it.
"""

import pytest

from kpay_adapters.simulation import Runner, read_history
from kpay_adapters.testing import FrozenClock
from kpay_core.commit import Unavailable
from kpay_core.domain.endpoints import Subscriptions
from kpay_core.domain.idempotency import Outcome
from kpay_core.ports import NoAnswer
from tests.flows.world import World, check_books

FOUND = {
    "a keyless refund whose answer was lost, and then the books were away": (
        0,
        "0-0-0-0-4-0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-2-0-1-3-0-0.0-0-0.0-0-0.0-0-0.0-0-2.0-0-1",
    ),
    "a key was open, and by the time it was claimed the clock had been turned back": (
        2_096_252,
        (
            "0-0-3.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0-0-0-0-0-0.0-0-0.1-0-0-1-0-0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-"
            "0-0.1-0-2-0-1-1-1-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-1.0-0-0.0-0-0.2-"
            "8.0-0-0.1-0-1-2-0-0.0-0-0.0-0-0.4-1.0-0-0"
        ),
    ),
    "a request was asked for by a clock that was a millisecond ahead of the one that let it in": (
        1_079_116,
        (
            "0-0-0-0-0-0-0.1-0-0-0-0-0-0.1-0-0-0-0-0-0.5-1-1.1-0-0-0-0-0-0.1-0-0-0-0-0-0.1-0-0-0-0-0-0.1-1-0-1-2-"
            "0-0.5-1-0.0-6-0.2-8.1-0-0-1-2-0-0"
        ),
    ),
    "a lease had lapsed, and held again by a clock that was turned back": (
        3_016_267,
        (
            "0-0-11-0-3-0.0-0-0.0-0-0.0-0-7.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0-0-0-5.0-0-0.2-4.0-0.0-0-0-0"
            "-0-0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-7.0-0-0.0-0-0.0-0-0.0-0-0.4-6.0-0-0.0-0-0"
        ),
    ),
    "a lane was let go of at a time that a clock turned back has yet to show": (
        4_066_238,
        (
            "0-0-0-0-0-0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-7.0-0-0.0-0-0.0-0-0.0-0-0.2-4.0-0-0.0-0-0.0-"
            "0-0-4.0.0-0.2-4.0-0.4-6.0-0-0"
        ),
    ),
    "a sheet conflicted that nobody else had written, and the next was written": (
        10_057_298,
        (
            "0-0-6.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-2.1-1-6.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-"
            "0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.2-0.0-0.0-0-0.0-1-0.0-1-0.0-0-0.0-1-0.0-1-2.0-0-0."
            "0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.2-8.0-0-0.0-1.0-1-0.0-0-0.0-1-0.0-"
            "1-0.0-1-0.0-1-0.0-1-0.0-1-0.0-1-0.0-1-0.0-0-0.0-0-0.0-1-0.0-1-0.0-1-0.0-1-0.0-1-0.3-0.0-0-2"
        ),
    ),
    "a retry was due, and started by a clock that was turned back": (
        10_148_005,
        (
            "0-0-0-0-0-0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-7.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0-"
            "1.2-5.0-0-0.0-0-7.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.4-4.0-0-0.0-0-0-0"
        ),
    ),
    "a keyless refund was being called back, and its sender told that it was undone": (
        50_185_463,
        (
            "0-0-2-0-1-4-0-0.2-6.0-0-0.0-0-0.1-0-3.0-0-0.0-1-0.0-1-0.0-1-0.0-1-0.0-1-0.0-0-2.0-0-0.0-0-0.0-0-0.2-"
            "0"
        ),
    ),
    "money that the network only said it had captured was still on its way back": (
        60_263_834,
        (
            "0-0-13-0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0-0-0-1-0-0.0-0-0.0-0-0.0-0-0.6-1-0-1-0-0.0-0-0.0-0-0.1-0-4"
            ".0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-3.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0"
            "-1"
        ),
    ),
    "evidence was on its way when eleven days passed": (
        3_411,
        "0-0-0-0-0-0-0.1-0-11-0-0-0.0-1-0.0-0-0.0-1-0.0-0-0.0-0-0.0-0-0.0-0-1.0-0-0.0-0-0.0-0-1",
    ),
    "a lie of a capture was answered by sending it back, and then it was captured": (
        200_059_947,
        (
            "0-0-0-0-4-1-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-4.6-0-0-1-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-"
            "0-0.0-0-0.0-0-3.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.0-0-0.6-1-0"
        ),
    ),
    "of three rotations at once the last that was heard of was not the last": (
        200_583_136,
        (
            "0-0-9-0-0.0-0-0.1-0-0-0-0-0-0-0.0-0-0.1-0-9-0-0.0-0-0.0-0-0.0-2-0.0-0-0.0-1-0.0-1-0.0-1-0.1-0-9-0-0.0-"
            "1-2.0-1-0.0-1-0.2-0.0-2-0.0-2-0.0-2-1"
        ),
    ),
    "a keyless charge was promised, the answer of that lost, and then the books were away": (
        200_109_204,
        (
            "0-0-0-0-0-0-0.0-0-0.0-0-0.1-0-0-0-1-0-0.1-0-6.0-1-0.0-1-0.0-2-0.0-0-0.1-0-3.0-1-0.1-0-0-0-0-0-0.0-1-0."
            "0-2-0.0-0-0.0-2-0.1-0-0-0-3-0-0.0-2-0.0-4-0.0-1-0.1-0-0-0-0-0-0.0-4-0.0-4-3.0-1-0.0-1-0.0-5.0-0-0.0-0-"
            "4.0-0-0.0-0-0.0-0-1.0-0-4.2-2.1-0-3.0-1.0-3-0.0-1-0.0-3-0.0-3-0.0-1-0.2-0.0-1.0-1-1"
        ),
    ),
}


@pytest.mark.parametrize(("seed", "history"), FOUND.values(), ids=FOUND)
def test_what_was_found_stays_mended(seed: int, history: str) -> None:
    assert Runner().repeat(seed, read_history(history)) is None


class Deaf:
    """A network that does all it is asked, and whose answers get lost."""

    def __init__(self, world: World) -> None:
        self._network = world.network

    def __getattr__(self, name: str) -> object:
        async def call(**asked: object) -> object:
            await getattr(self._network, name)(**asked)
            raise NoAnswer

        return call


@pytest.mark.anyio
async def test_a_keyless_refund_that_may_stand_is_told_as_pending_and_never_as_an_error() -> None:
    world = await World(clock=FrozenClock()).open()
    charge = str((await world.charge()).value["id"])
    world.kpay.processors = {"test": Deaf(world)}  # pyright: ignore[reportAttributeAccessIssue]
    store = world.store

    class Away:
        """A store that can no more say who is subscribed."""

        find, commit = store.find, store.commit

        async def get(self, kind: type, id: str) -> object:
            if kind is Subscriptions:
                raise Unavailable
            return await store.get(kind, id)

    world.kpay.store = Away()  # pyright: ignore[reportAttributeAccessIssue]
    told = await world.refund(charge, amount=1000)
    assert (told.outcome, told.value["status"]) == (Outcome.CREATED, "pending")
    world.kpay.store, world.kpay.processors = store, {"test": world.network}
    await world.settle()
    refund = await world.kpay.get_refund(world.scope, str(told.value["id"]))
    assert refund.status == "succeeded"
    await check_books(world)
