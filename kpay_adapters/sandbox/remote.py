"""A sandbox that is another process: its network, its bank and its time, asked over HTTP."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
import msgspec

from kpay_adapters.sandbox import wire
from kpay_adapters.sandbox.clock import MILLISECOND
from kpay_core.commit import Unavailable
from kpay_core.domain.banking import BankVerdict
from kpay_core.domain.cards import Card
from kpay_core.domain.news import Mail, Testimony
from kpay_core.domain.processing import Verdict
from kpay_core.ports import Clock, NoAnswer

A = TypeVar("A")

# The port's 30 s, less a moment to let go of the connection. Late cards take 3 s.
ANSWER_SECONDS = 29


class RemoteSandbox:
    """
    Implements the `Processor` and `BankRail` ports, and is a `Witness`. Opening reaches for nothing.

    A process that is away, hangs or does not understand gives `NoAnswer`, as a network does; it may have done what
    it was asked.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # As many at once as there are charges on their way.
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def authorise(self, *, reference: str, amount: int, currency: str, card: Card) -> Verdict:
        question = wire.Authorise(reference=reference, amount=amount, currency=currency, card=card)
        return await self._ask(question, Verdict)

    async def refund(self, *, reference: str, charge: str, amount: int) -> Verdict:
        return await self._ask(wire.Refund(reference=reference, charge=charge, amount=amount), Verdict)

    async def lookup(self, *, reference: str) -> Verdict:
        return await self._ask(wire.Lookup(reference=reference), Verdict)

    async def reverse(self, *, reference: str) -> Verdict:
        return await self._ask(wire.Reverse(reference=reference), Verdict)

    async def dispute(self, *, dispute: str, evidence: str) -> bool:
        return await self._ask(wire.Dispute(dispute=dispute, evidence=evidence), bool)

    async def mail(self, *, limit: int) -> Mail:
        return await self._ask(wire.Mail(limit=limit), Mail)

    async def acknowledge(self, *, news: Sequence[str]) -> None:
        await self._ask(wire.Acknowledge(news=tuple(news)), type(None))

    async def send(self, *, reference: str, amount: int, currency: str, account: str) -> BankVerdict:
        question = wire.Send(reference=reference, amount=amount, currency=currency, account=account)
        return await self._ask(question, BankVerdict)

    async def testify(self, *, after: str, limit: int) -> Sequence[Testimony]:
        return await self._ask(wire.Testify(after=after, limit=limit), list[Testimony])

    async def turn(self, *, to: datetime | None = None) -> timedelta:
        """Turn the sandbox's time forward to a moment, where there is one; return how far it was turned in all."""
        return (await self._ask(wire.Turn(to=to), wire.Turned)).milliseconds * MILLISECOND

    async def _ask(self, question: wire.Question, kind: type[A]) -> A:
        assert self._session is not None, "opened before it is asked"
        try:
            async with self._session.post(
                f"{self._url}/{question.path()}", data=msgspec.json.encode(question), allow_redirects=False
            ) as answer:
                if answer.status != 200:
                    raise NoAnswer(f"the sandbox answered {answer.status}")
                return msgspec.json.decode(await answer.read(), type=kind)
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as failure:
            raise NoAnswer(f"the sandbox is away: {type(failure).__name__}") from failure


class RemoteClock:
    """The time of a remote sandbox: another clock's, and as much later as anybody has turned it."""

    def __init__(self, clock: Clock, *, sandbox: RemoteSandbox) -> None:
        self._clock = clock
        self._sandbox = sandbox
        self._offset = timedelta(0)

    def now(self) -> datetime:
        return self._clock.now() + self._offset

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    async def follow(self) -> None:
        """Learn how far others have turned the time. Raises `Unavailable` when the sandbox is away."""
        await self._learn(None)

    async def turn_to(self, moment: datetime) -> None:
        """Turn the time forward to a moment, for all who live by it; one that is past already changes nothing."""
        await self._learn(moment)

    async def _learn(self, moment: datetime | None) -> None:
        try:
            turned = await self._sandbox.turn(to=moment)
        except NoAnswer as failure:
            raise Unavailable(str(failure)) from failure
        # Never back: what was turned meanwhile may be heard late.
        self._offset = max(self._offset, turned)
