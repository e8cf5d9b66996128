"""A journal, the time, and any number of networks and banks on them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sandbox import RECORDS, SandboxBank, SandboxNetwork, Witnesses
from kpay_adapters.testing import START, FrozenClock
from kpay_core.commit import Record
from kpay_core.domain.cards import Card
from kpay_core.domain.news import Mail, News, Testimony
from kpay_core.domain.processing import Verdict
from kpay_core.ports import NoAnswer, Store
from kpay_core.query import Query

GOOD, DECLINED, LATE, LOST, DOWN = (
    "4242424242424242",
    "4000000000000002",
    "4000000000009805",
    "4000000000009813",
    "4000000000009821",
)
REFUND_PENDING, REFUND_PENDING_FAILS, REFUND_FAILING, AT_ONCE, FRAUDULENT, NOT_RECEIVED = (
    "4000000000007726",
    "4000000000009839",
    "4000000000005126",
    "4000000000000077",
    "4000000000000259",
    "4000000000002685",
)
GOOD_ACCOUNT, CLOSED_ACCOUNT = "000123456789", "000111111116"

CHARGE, REFUND, PAYOUT = "01941f29-7c00-7000-8000-000000000001", "re_1", "po_1"
CASE = f"case_{CHARGE}"

MILLISECOND = timedelta(milliseconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)

# The moments of a dispute.
OPENS_AT = START + MINUTE
DUE_BY = OPENS_AT + 7 * DAY


def card(number: str) -> Card:
    return Card(number=number, exp_month=12, exp_year=2030, cvc="123")


class Sandbox:
    """One process's network and bank; `fork` starts another process on the same journal."""

    def __init__(self, journal: Store | None = None, clock: FrozenClock | None = None) -> None:
        self.journal: Any = journal or MemoryStore()
        self.clock = clock or FrozenClock()
        self.network = SandboxNetwork(journal=self.journal, clock=self.clock)
        self.bank = SandboxBank(journal=self.journal, clock=self.clock)

    def fork(self) -> "Sandbox":
        return Sandbox(self.journal, self.clock)

    def at(self, moment: datetime) -> "Sandbox":
        """Let it be some moment."""
        self.clock.advance(moment - self.clock.now())
        return self

    def after(self, time: timedelta) -> "Sandbox":
        self.clock.advance(time)
        return self

    async def charge(self, number: str = GOOD, reference: str = CHARGE, amount: int = 5000) -> Verdict:
        return await self.network.authorise(
            reference=reference, amount=amount, currency="USD", card=card(number)
        )

    async def refund(self, amount: int = 1000, reference: str = REFUND, charge: str = CHARGE) -> Verdict:
        return await self.network.refund(reference=reference, charge=charge, amount=amount)

    async def lookup(self, reference: str) -> Verdict:
        return await self.network.lookup(reference=reference)

    async def reverse(self, reference: str = CHARGE) -> Verdict:
        return await self.network.reverse(reference=reference)

    async def answer(self, evidence: str, case: str = CASE) -> bool:
        return await self.network.dispute(dispute=case, evidence=evidence)

    async def mail(self, limit: int = 100) -> Mail:
        return await self.network.mail(limit=limit)

    async def news(self) -> tuple[News, ...]:
        return (await self.mail()).news

    async def acknowledge(self, *news: News) -> None:
        await self.network.acknowledge(news=[each.id for each in news])

    async def collect(self) -> tuple[News, ...]:
        """Return the news and acknowledge it."""
        news = await self.news()
        await self.acknowledge(*news)
        return news

    async def send(self, account: str = GOOD_ACCOUNT, reference: str = PAYOUT, amount: int = 700) -> Any:
        return await self.bank.send(reference=reference, amount=amount, currency="USD", account=account)

    async def testify(self, *, page: int = 100) -> list[Testimony]:
        """Return all that network and bank have on record, read page by page."""
        witness = Witnesses(self.network, self.bank)
        told: list[Testimony] = []
        while some := await witness.testify(after=told[-1].reference if told else "", limit=page):
            told += some
        return told

    async def moved(self) -> dict[str, int]:
        return {each.reference: each.amount for each in await self.testify() if each.moved}

    async def dump(self) -> list[Record]:
        kept: Sequence[Sequence[Record]] = [
            await self.journal.find(Query(kind=kind, limit=10_000)) for kind in RECORDS
        ]
        return [record for some in kept for record in some]


async def told(question: Any) -> Any:
    """Return an answer, also that there is none."""
    try:
        return await question
    except NoAnswer:
        return NoAnswer
