"""Card networks that tell what a test puts into their mailbox."""

from collections.abc import Sequence

from kpay_adapters.sandbox import SandboxNetwork
from kpay_core.domain.news import Mail, News
from kpay_core.ports import Clock, Store


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
