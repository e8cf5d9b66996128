"""The bank, and what network and bank testify."""

import pytest

from kpay_core.domain.banking import BankOutcome, BankVerdict
from tests.sandbox.world import (
    CHARGE,
    CLOSED_ACCOUNT,
    DAY,
    DECLINED,
    DOWN,
    GOOD_ACCOUNT,
    LOST,
    MILLISECOND,
    PAYOUT,
    REFUND_PENDING,
    START,
    Sandbox,
    told,
)

pytestmark = pytest.mark.anyio

IN_TRANSIT, PAID = BankVerdict(BankOutcome.IN_TRANSIT), BankVerdict(BankOutcome.PAID)


@pytest.mark.parametrize(
    ("account", "verdict"),
    [
        (GOOD_ACCOUNT, PAID),
        ("987654321", PAID),
        (CLOSED_ACCOUNT, BankVerdict(BankOutcome.FAILED, "account_closed")),
    ],
)
async def test_a_payout_is_in_transit_for_a_day_and_then_has_its_outcome_for_ever(
    account: str, verdict: BankVerdict
) -> None:
    world = Sandbox()
    assert await world.send(account) == IN_TRANSIT
    assert await world.at(START + DAY - MILLISECOND).fork().send(account) == IN_TRANSIT
    # That it will fail is decided when it is taken on, and an auditor whose clock is behind must not miss it.
    moved = {PAYOUT: 700} if verdict is PAID else {}
    assert await world.moved() == moved
    for moment in (START + DAY, START + 30 * DAY):
        world.at(moment)
        # What it was first asked counts under a reference.
        assert await world.send(account) == await world.fork().send(GOOD_ACCOUNT, amount=1) == verdict
        assert await world.moved() == moved
    assert len(await world.testify()) == 1
    assert (await world.mail()).next_at is None, "who asks is told"


async def test_the_bank_keeps_no_account() -> None:
    world = Sandbox()
    await world.send()
    assert GOOD_ACCOUNT not in repr(await world.dump())


async def test_every_reference_is_testified_once_in_order_whatever_the_page() -> None:
    world = Sandbox()
    await world.charge(REFUND_PENDING)
    for number in range(3):
        await world.charge(reference=f"0{number}941f29")
        await world.refund(number + 1, f"re_{number}", f"0{number}941f29")
        await world.send(reference=f"po_{number}")
        await world.refund(7, f"re_pending_{number}")
    await world.charge(DECLINED, "declined")
    await told(world.charge(LOST, "lost"))
    await told(world.charge(DOWN, "down"))
    await world.reverse("never-seen")
    everything = await world.testify()
    assert [each.reference for each in everything] == sorted({each.reference for each in everything})
    assert len(everything) == 17
    for page in range(1, 19):
        assert await world.fork().testify(page=page) == everything
    moved = {each.reference for each in everything if each.moved}
    assert {each.reference for each in everything} - moved == {
        "declined",
        "down",
        "never-seen",
        "re_pending_0",
        "re_pending_1",
        "re_pending_2",
    }
    assert (await world.moved())[CHARGE] == 5000
