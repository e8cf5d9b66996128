"""Card networks that tell what a test puts into their mailbox, and make up news to put there."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from kpay_adapters.sandbox import SandboxNetwork
from kpay_adapters.testing.clocks import START
from kpay_core.domain.news import Mail, News, NewsKind
from kpay_core.domain.processing import Verdict
from kpay_core.ports import Clock, NoAnswer, Store

# When evidence is due against a dispute that is made up here.
DUE_BY = START + timedelta(days=7)


def news(kind: NewsKind, reference: str, amount: int, id: str = "", **facts: Any) -> News:
    """Make a piece of news; a dispute's case is named after its charge, unless it is given."""
    if kind.startswith("dispute"):
        facts = {"dispute": f"case_{reference}", **facts}
    if kind is NewsKind.DISPUTE_OPENED:
        facts = {"code": "fraudulent", "evidence_due_by": DUE_BY, **facts}
    facts = {"happened_at": START, **facts}
    return News(id=id or f"{kind}_{reference}", kind=kind, reference=reference, amount=amount, **facts)


class NewsDesk(SandboxNetwork):
    """
    A sandbox that also tells whatever news it is given: twice, late, out of order, contradicting, of nothing it knows.

    These come before its own, in the order in which they were given, again and again until they are acknowledged.
    """

    def __init__(self, *, journal: Store, clock: Clock) -> None:
        super().__init__(journal=journal, clock=clock)
        self.given: list[News] = []

    def tell(self, *news: News) -> None:
        """Put news into the mail; the same again after it was acknowledged comes again."""
        self.given += news

    async def mail(self, *, limit: int) -> Mail:
        own = await super().mail(limit=max(limit - len(self.given), 0))
        next_at = self._clock.now() if len(self.given) > limit else own.next_at
        return Mail(news=(*self.given[:limit], *own.news), next_at=next_at)

    async def acknowledge(self, *, news: Sequence[str]) -> None:
        self.given = [each for each in self.given if each.id not in news]
        await super().acknowledge(news=news)


class ScriptedNetwork(SandboxNetwork):
    """
    The sandbox for charges and refunds; its mailbox and its ear for evidence are the test's.

    While it is `silent`, it answers nothing but charges, refunds and look-ups. What it was asked is there to be read.
    """

    def __init__(self, *, journal: Store, clock: Clock) -> None:
        super().__init__(journal=journal, clock=clock)
        self.box: list[News] = []
        self.acknowledged: list[str] = []
        self.evidence: list[tuple[str, str]] = []
        self.reversed: list[str] = []
        # Whether evidence is taken, or comes too late.
        self.takes = True
        self.silent = False
        self.next_at: datetime | None = None

    def tell(self, *told: News) -> None:
        """Put news into the mailbox; nothing of the sandbox's own is in it."""
        self.box += told

    async def mail(self, *, limit: int) -> Mail:
        self._answer()
        return Mail(news=tuple(self.box[:limit]), next_at=self.next_at)

    async def acknowledge(self, *, news: Sequence[str]) -> None:
        self._answer()
        self.acknowledged += news
        self.box = [each for each in self.box if each.id not in news]

    async def dispute(self, *, dispute: str, evidence: str) -> bool:
        self._answer()
        self.evidence.append((dispute, evidence))
        return self.takes

    async def reverse(self, *, reference: str) -> Verdict:
        self._answer()
        self.reversed.append(reference)
        return await super().reverse(reference=reference)

    def _answer(self) -> None:
        if self.silent:
            raise NoAnswer
