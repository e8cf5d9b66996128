"""A sandbox that is another process says what the sandbox says, and nothing when it is away."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sandbox import SandboxClock, Witnesses, wire
from kpay_adapters.sandbox.remote import RemoteClock, RemoteSandbox
from kpay_adapters.sandbox.served import Desk, serving
from kpay_adapters.testing import START, FrozenClock
from kpay_core.commit import Record, Unavailable
from kpay_core.ports import BankRail, NoAnswer, Processor, Store, Witness
from tests.sandbox.world import (
    CHARGE,
    CLOSED_ACCOUNT,
    DAY,
    DECLINED,
    DOWN,
    FRAUDULENT,
    GOOD,
    GOOD_ACCOUNT,
    LATE,
    LOST,
    MINUTE,
    OPENS_AT,
    REFUND_FAILING,
    REFUND_PENDING,
    Sandbox,
    card,
    told,
)

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)


class Far:
    """A sandbox as those know it who ask it over HTTP, and what it was asked, as it tells it itself."""

    def __init__(self, world: Sandbox, url: str) -> None:
        self.world = world
        self.url = url
        self.asked: list[tuple[str, ...]] = []
        self.was_asked = asyncio.Event()
        self.there = RemoteSandbox(url)

    def note(self, *told: str) -> None:
        self.asked.append(told)
        self.was_asked.set()

    def as_world(self) -> Sandbox:
        """A world whose network and bank are far away, on the same journal and time."""
        far = self.world.fork()
        far.network = far.bank = self.there  # pyright: ignore[reportAttributeAccessIssue]
        return far


class Slow(MemoryStore):
    """A store in which a commit waits until it is `released`."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.released = asyncio.Event(), asyncio.Event()

    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        self.begun.set()
        await self.released.wait()
        await super().commit(*records, held=held)


@asynccontextmanager
async def a_far_sandbox(journal: Store | None = None) -> AsyncIterator[Far]:
    world = Sandbox(journal)
    far = Far(world, "")
    clock = SandboxClock(world.clock, journal=world.journal)
    desk = Desk(world.network, world.bank, clock, on_answer=far.note)
    async with serving(desk, host="127.0.0.1", port=0) as port:
        far.url = f"http://127.0.0.1:{port}"
        async with RemoteSandbox(far.url) as far.there:
            yield far


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    async with a_far_sandbox() as far:
        yield far


async def story(world: Sandbox, witness: Witness) -> list[Any]:
    """Ask for everything that can be asked, and hear every outcome."""
    heard = [
        await told(world.charge(number, reference=f"charge-{number}"))
        for number in (GOOD, DECLINED, LATE, LOST, DOWN, REFUND_PENDING, REFUND_FAILING)
    ]
    heard += [await world.lookup("charge-" + LOST), await world.lookup("never-seen")]
    heard += [await world.refund(1000, f"re_{number}", f"charge-{number}") for number in (GOOD, DECLINED)]
    heard += [await world.refund(7, "re_3", f"charge-{REFUND_PENDING}")]
    heard += [await world.refund(8, "re_4", f"charge-{REFUND_FAILING}")]
    heard += [await world.reverse("never-seen"), await told(world.reverse(f"charge-{DOWN}"))]
    heard += [await world.charge(FRAUDULENT), await world.answer("winning_evidence"), await world.mail()]
    world.at(OPENS_AT)
    heard += [await world.answer("winning_evidence"), await world.mail(1), await world.collect()]
    world.at(OPENS_AT + MINUTE)
    heard += [await world.collect(), await world.mail(), await world.mail(0)]
    heard += [await world.send(GOOD_ACCOUNT), await world.send(CLOSED_ACCOUNT, "po_2")]
    world.after(DAY)
    heard += [await world.send(GOOD_ACCOUNT), await world.send(CLOSED_ACCOUNT, "po_2")]
    return [*heard, *await witness.testify(after="", limit=100), *await witness.testify(after="po", limit=3)]


async def test_it_hears_the_same_as_if_it_were_in_the_same_process(far: Far) -> None:
    near = Sandbox()
    heard = await story(far.as_world(), far.there)
    assert heard == await story(near, Witnesses(near.network, near.bank))
    assert await far.world.dump() == await near.dump()
    assert NoAnswer in heard


def test_whatever_the_ports_ask_is_on_the_wire_with_the_same_words() -> None:
    for port in (Processor, BankRail, Witness):
        for name, method in inspect.getmembers(port, inspect.isfunction):
            if not name.startswith("_"):
                words = set(inspect.signature(method).parameters) - {"self"}
                assert words == set(wire.QUESTIONS[name].__struct_fields__), name


async def test_a_sandbox_that_is_away_gives_no_answer() -> None:
    async with a_far_sandbox() as far:
        assert await told(far.there.lookup(reference=CHARGE)) is not NoAnswer
    async with RemoteSandbox(far.url) as there:
        asked = (
            there.authorise(reference=CHARGE, amount=1, currency="USD", card=card(GOOD)),
            there.mail(limit=1),
            there.testify(after="", limit=1),
        )
        assert [await told(question) for question in asked] == [NoAnswer] * 3
        with pytest.raises(Unavailable):
            await RemoteClock(FrozenClock(), sandbox=there).follow()


async def test_a_question_that_is_not_understood_has_no_answer_and_is_not_repeated(far: Far) -> None:
    async with RemoteSandbox(f"{far.url}/elsewhere") as there:
        with pytest.raises(NoAnswer, match="404"):
            await there.lookup(reference=CHARGE)
    async with aiohttp.ClientSession() as session:
        for method, path, body, status in (
            ("POST", "/authorise", '{"card": "4242424242424242"}', 400),
            ("POST", "/authorise", "4242424242424242", 400),
            ("POST", "/lookup", "", 400),
            ("GET", "/lookup", "", 404),
            ("GET", "/", "", 404),
            ("GET", "/healthz", "", 200),
        ):
            async with session.request(method, far.url + path, data=body) as answer:
                assert (answer.status, "4242" in await answer.text()) == (status, False)
    assert await far.world.dump() == []


async def test_who_hangs_up_changes_nothing_of_what_becomes_of_it() -> None:
    journal = Slow()
    async with a_far_sandbox(journal) as far:
        async with RemoteSandbox(far.url) as killed:
            asking = asyncio.create_task(
                killed.authorise(reference=CHARGE, amount=5000, currency="USD", card=card(GOOD))
            )
            await journal.begun.wait()
            asking.cancel()
        # The connection is closed by now.
        journal.released.set()
        await far.was_asked.wait()
        assert await far.world.moved() == {CHARGE: 5000}


async def test_no_number_and_no_account_is_told_of_or_shown(far: Far) -> None:
    await far.as_world().charge(GOOD)
    await far.as_world().send(GOOD_ACCOUNT)
    await told(far.as_world().charge(DOWN, "down"))
    assert far.asked == [
        ("authorise", CHARGE, "captured"),
        ("send", "po_1", "in_transit"),
        ("authorise", "down", "no_answer"),
    ]
    shown = repr(wire.Authorise(reference=CHARGE, amount=1, currency="USD", card=card(GOOD)))
    shown += repr(wire.Send(reference="po_1", amount=1, currency="USD", account=GOOD_ACCOUNT))
    assert GOOD not in shown
    assert GOOD_ACCOUNT not in shown


async def test_all_who_live_by_its_time_follow_it_and_nobody_turns_it_back(far: Far) -> None:
    clocks = [RemoteClock(FrozenClock(START), sandbox=far.there) for _ in range(2)]
    one, two = clocks
    await one.follow()
    assert one.now() == START
    await one.turn_to(START + HOUR)
    assert (one.now(), two.now()) == (START + HOUR, START)
    await two.turn_to(START + HOUR / 2)
    assert two.now() == START + HOUR
    await two.sleep(5)
    assert two.now() == START + HOUR + timedelta(seconds=5)
