"""Every magic card, and when what happens to it happens."""

import pytest

from kpay_core.domain.news import Mail, NewsKind
from kpay_core.domain.processing import Outcome, Verdict
from tests.sandbox.world import (
    AT_ONCE,
    CHARGE,
    DECLINED,
    DOWN,
    FRAUDULENT,
    GOOD,
    LATE,
    LOST,
    MILLISECOND,
    MINUTE,
    NOT_RECEIVED,
    REFUND,
    REFUND_FAILING,
    REFUND_PENDING,
    REFUND_PENDING_FAILS,
    START,
    Sandbox,
    told,
)

pytestmark = pytest.mark.anyio

CAPTURED, REFUNDED = Verdict(Outcome.CAPTURED), Verdict(Outcome.REFUNDED)
FAILED = Verdict(Outcome.REFUSED, "expired_or_canceled_card")


@pytest.mark.parametrize(
    ("number", "verdict"),
    [
        (GOOD, CAPTURED),
        ("378282246310005", CAPTURED),
        (LATE, CAPTURED),
        (REFUND_PENDING, CAPTURED),
        (REFUND_FAILING, CAPTURED),
        (FRAUDULENT, CAPTURED),
        (NOT_RECEIVED, CAPTURED),
        (AT_ONCE, Verdict(Outcome.CAPTURED, at_once=True)),
        (DECLINED, Verdict(Outcome.DECLINED, "generic_decline")),
        ("4000000000000069", Verdict(Outcome.DECLINED, "expired_card")),
    ],
)
async def test_a_card_does_what_it_is_known_for_and_says_so_whenever_it_is_asked(
    number: str, verdict: Verdict
) -> None:
    world = Sandbox()
    assert await world.charge(number) == verdict
    before = await world.dump()
    for process in (world, world.fork()):
        # The first request is what counts under a reference.
        assert await process.charge(number) == await process.charge(DECLINED, amount=1) == verdict
        assert await process.lookup(CHARGE) == verdict
    assert await world.dump() == before


async def test_no_number_and_no_cvc_is_in_the_journal() -> None:
    world = Sandbox()
    await world.charge(FRAUDULENT)
    await world.refund()
    for record in await world.dump():
        assert FRAUDULENT not in repr(record)
        assert "'123'" not in repr(record)


async def test_a_lost_answer_is_known_after_ten_seconds_and_a_network_that_was_down_captured_nothing() -> (
    None
):
    world = Sandbox()
    assert await told(world.charge(LOST, "lost")) is await told(world.charge(DOWN, "down"))
    world.at(START + 10_000 * MILLISECOND)
    assert await world.lookup("lost") == CAPTURED
    assert await told(world.lookup("down")) is await told(world.reverse("down"))
    world.at(START + 30_000 * MILLISECOND)
    assert await world.lookup("down") == Verdict(Outcome.NOT_FOUND)
    assert await world.moved() == {"lost": 5000}


async def test_a_pending_refund_is_refunded_after_thirty_seconds() -> None:
    world = Sandbox()
    await world.charge(REFUND_PENDING)
    pending = Verdict(Outcome.PENDING)
    assert await world.refund() == pending
    world.after(30_000 * MILLISECOND - MILLISECOND)
    assert await world.refund() == await world.fork().lookup(REFUND) == pending
    assert await world.moved() == {CHARGE: 5000}
    world.after(MILLISECOND)
    assert await world.moved() == {CHARGE: 5000, REFUND: 1000}
    assert await world.refund() == await world.fork().lookup(REFUND) == REFUNDED
    (news,) = await world.news()
    assert (news.kind, news.reference, news.happened_at) == (NewsKind.REFUNDED, REFUND, world.clock.now())


async def test_a_pending_refund_that_is_called_back_is_no_news() -> None:
    world = Sandbox()
    await world.charge(REFUND_PENDING)
    await world.refund()
    assert await world.reverse(REFUND) == Verdict(Outcome.REVERSED)
    world.after(MINUTE)
    assert await world.mail() == Mail()
    assert await world.moved() == {CHARGE: 5000}


async def test_a_pending_refund_of_another_card_fails_after_thirty_seconds() -> None:
    world = Sandbox()
    await world.charge(REFUND_PENDING_FAILS)
    assert await world.refund() == Verdict(Outcome.PENDING)
    world.after(30_000 * MILLISECOND)
    assert await world.moved() == {CHARGE: 5000}
    assert await world.refund() == await world.fork().lookup(REFUND) == FAILED


async def test_a_refund_that_fails_has_succeeded_for_a_minute() -> None:
    world = Sandbox()
    await world.charge(REFUND_FAILING)
    assert await world.refund() == REFUNDED
    world.after(MINUTE - MILLISECOND)
    assert (
        await world.refund() == await world.fork().lookup(REFUND) == await world.reverse(REFUND) == REFUNDED
    )
    assert (await world.mail()).next_at == START + MINUTE
    assert await world.moved() == {CHARGE: 5000, REFUND: 1000}
    world.after(MILLISECOND)
    assert await world.moved() == {CHARGE: 5000}
    assert await world.refund() == await world.fork().lookup(REFUND) == FAILED
    (news,) = await world.news()
    assert (news.kind, news.reference, news.amount) == (NewsKind.REFUND_FAILED, REFUND, 1000)
    assert (news.code, news.happened_at, news.dispute) == ("expired_or_canceled_card", START + MINUTE, None)
    assert await world.reverse(REFUND) == Verdict(Outcome.REVERSED)


async def test_whoever_reads_of_a_failed_refund_finds_it_failed() -> None:
    world = Sandbox()
    await world.charge(REFUND_FAILING)
    await world.refund()
    await world.after(MINUTE).news()
    (entry,) = [record for record in await world.dump() if record.id == REFUND]
    assert (entry.outcome, entry.code) == (Outcome.REFUSED, "expired_or_canceled_card")  # pyright: ignore[reportAttributeAccessIssue]


async def test_only_what_stands_captured_is_refunded() -> None:
    world = Sandbox()
    refused = Verdict(Outcome.REFUSED, "charge_not_captured")
    assert await world.refund(charge="nothing") == refused
    await world.charge(REFUND_FAILING)
    await world.reverse()
    assert await world.refund(reference="re_2") == refused
    assert await world.after(MINUTE).news() == ()
    assert await world.moved() == {}


async def test_a_tombstone_holds_against_whatever_comes_late() -> None:
    world = Sandbox()
    for number in (GOOD, FRAUDULENT, AT_ONCE):
        assert await world.reverse(number) == Verdict(Outcome.REVERSED)
        assert await world.charge(number, number) == Verdict(Outcome.REVERSED)
    assert await world.mail() == await world.fork().mail()
    assert (await world.mail()).next_at is None
    assert await world.moved() == {}
