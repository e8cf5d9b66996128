"""Stories of money: what had been before, what somebody does, and how that ends where nothing comes between."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from kpay_core.domain.charges import Charge
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.ledger import SHEET_TRANSFERS, Sheet
from kpay_core.domain.payouts import Payout
from kpay_core.domain.refunds import Refund
from tests.flows.money import AT_ONCE, CLOSED_ACCOUNT, FRAUDULENT, REFUND_FAILING
from tests.flows.world import GOOD, REFUND_PENDING, World

Do = Callable[[World], Awaitable[Any]]


def later(*acts: Do | timedelta) -> Do:
    """Do one after the other; what is a time passes, and what is due by then is done."""

    async def do(world: World) -> None:
        for act in acts:
            if isinstance(act, timedelta):
                world.clock.advance(act)
                await world.kpay.run_due()
            else:
                await act(world)

    return do


def charging(number: str, *, many: int = 1) -> Do:
    async def charge(world: World) -> None:
        for _ in range(many):
            await world.charge(number, amount=5000)

    return charge


async def refund(world: World) -> None:
    charge, *_ = await world.all(Charge)
    await world.refund(charge.id, amount=1000)


def answering(text: str) -> Do:
    """Save a draft, and submit something else."""

    async def answer(world: World) -> None:
        (dispute,) = await world.all(Dispute)
        await world.kpay.update_dispute(
            world.scope, dispute.id, {"evidence": {"uncategorized_text": "A draft."}}
        )
        body = {"evidence": {"uncategorized_text": text}, "submit": True}
        await world.kpay.update_dispute(world.scope, dispute.id, body)

    return answer


def updating(**changes: Any) -> Do:
    async def update(world: World) -> None:
        await world.kpay.update_merchant(world.scope.merchant, changes)

    return update


async def look(world: World) -> None:
    await world.kpay.get_balance(world.scope)


# The network's moments: a refund is pending, or stands, for so long; a dispute opens, and a verdict comes, so soon.
A_MINUTE = timedelta(seconds=61)
# From noon of the first day: funds have matured, and the day of their payout has begun; then it has arrived.
TWO_DAYS_AND_A_NIGHT, A_DAY = timedelta(hours=61), timedelta(hours=25)


class Story(NamedTuple):
    """What had been before, what somebody does, and how that ends; about so many transfers are on a sheet."""

    before: Do
    act: Do
    ends: Callable[[World], Awaitable[bool]]
    sheet: int = SHEET_TRANSFERS

    def begin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have sheets as short as in the story, and balances that add up hardly more."""
        monkeypatch.setattr("kpay_core.domain.ledger.SHEET_TRANSFERS", self.sheet)
        monkeypatch.setattr("kpay_core.flows.booking.MANY_TRANSFERS", self.sheet + 1)


def some(kind: type[Any], **facts: Any) -> Callable[[World], Awaitable[bool]]:
    """Tell whether there is a record with these facts, where nothing crashed."""

    async def there_is(world: World) -> bool:
        found = await world.all(kind)
        return any(all(getattr(each, name) == fact for name, fact in facts.items()) for each in found)

    return there_is


STORIES = {
    "refund": Story(charging(GOOD), later(refund, A_MINUTE), some(Refund, status="succeeded")),
    "pending refund": Story(
        charging(REFUND_PENDING), later(refund, A_MINUTE), some(Refund, status="succeeded")
    ),
    "bouncing refund": Story(
        charging(REFUND_FAILING), later(refund, A_MINUTE), some(Refund, status="failed", looks=0)
    ),
    "dispute": Story(charging(FRAUDULENT), later(A_MINUTE), some(Dispute, status="needs_response")),
    "dispute that is won": Story(
        later(charging(FRAUDULENT), A_MINUTE),
        later(answering("winning_evidence"), A_MINUTE),
        some(Dispute, status="won"),
    ),
    "dispute that is lost": Story(
        later(charging(FRAUDULENT), A_MINUTE),
        later(answering("losing_evidence"), A_MINUTE),
        some(Dispute, status="lost"),
    ),
    "payout": Story(
        later(charging(GOOD, many=3), charging(AT_ONCE), refund),
        later(TWO_DAYS_AND_A_NIGHT, A_DAY),
        some(Payout, status="paid"),
    ),
    "payout that fails": Story(
        later(updating(bank_account=CLOSED_ACCOUNT), charging(GOOD), TWO_DAYS_AND_A_NIGHT),
        later(A_DAY),
        some(Payout, status="failed"),
    ),
    "payout of many sheets": Story(
        later(charging(GOOD), charging(AT_ONCE)),
        later(charging(AT_ONCE), refund, look, TWO_DAYS_AND_A_NIGHT),
        some(Sheet, number=2),
        sheet=3,
    ),
    "terms": Story(
        charging(GOOD),
        later(updating(fee_basis_points=100, fee_cents=1), charging(AT_ONCE)),
        some(Charge, fee=51),
    ),
}
