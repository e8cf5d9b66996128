"""A sandbox served to others: the network, the bank and their time, as a process of its own."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from kpay_adapters.sandbox import wire
from kpay_adapters.sandbox.bank import SandboxBank
from kpay_adapters.sandbox.clock import MILLISECOND, SandboxClock
from kpay_adapters.sandbox.network import SandboxNetwork
from kpay_adapters.sandbox.witness import Witnesses
from kpay_core.ports import NoAnswer

# Cards whose answer is late take 3 s.
CLOSING_SECONDS = 5

# Is told what was asked, of which reference, and the outcome.
OnAnswer = Callable[[str, str, str], None]


class Desk:
    """
    Answers the questions of `wire`. Whoever hangs up changes nothing of what becomes of his question.

    `on_answer` is told of each that names a reference, and never of a card or an account.
    """

    def __init__(
        self, network: SandboxNetwork, bank: SandboxBank, clock: SandboxClock, *, on_answer: OnAnswer
    ) -> None:
        self._network = network
        self._bank = bank
        self._clock = clock
        self._witness = Witnesses(network, bank)
        self._on_answer = on_answer

    async def take(self, request: web.BaseRequest) -> web.Response:
        """Answer a request."""
        if (request.method, request.path) == ("GET", "/healthz"):
            return web.json_response({"status": "alive"})
        kind = wire.QUESTIONS.get(request.path[1:])
        if request.method != "POST" or kind is None:
            return web.Response(status=404)
        try:
            question = msgspec.json.decode(await request.read(), type=kind)
        except msgspec.DecodeError:
            # Without the reason, which might show a part of it.
            return web.Response(status=400)
        try:
            answer = await self._answer(question)
        except NoAnswer:
            self._tell(question, "no_answer")
            return web.Response(status=504)
        self._tell(question, getattr(answer, "outcome", ""))
        return web.Response(body=msgspec.json.encode(answer), content_type="application/json")

    async def _answer(self, question: wire.Question) -> object:
        if isinstance(question, wire.Turn):
            return await self._turn(question)
        asked: Any = self._network
        if isinstance(question, wire.Send):
            asked = self._bank
        elif isinstance(question, wire.Testify):
            asked = self._witness
        return await getattr(asked, question.path())(
            **{name: getattr(question, name) for name in question.__struct_fields__}
        )

    async def _turn(self, question: wire.Turn) -> wire.Turned:
        if question.to is not None:
            await self._clock.turn_to(question.to)
        return wire.Turned(milliseconds=self._clock.offset // MILLISECOND)

    def _tell(self, question: wire.Question, outcome: str) -> None:
        reference = getattr(question, "reference", None)
        if reference is not None:
            self._on_answer(question.path(), reference, outcome)


@asynccontextmanager
async def serving(desk: Desk, *, host: str, port: int) -> AsyncGenerator[int]:
    """Serve a desk for as long as one is inside, and yield its port. Raises `OSError` where it is taken."""
    runner = web.ServerRunner(web.Server(desk.take, access_log=None), shutdown_timeout=CLOSING_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
