"""Clients of several servers who note what they asked and were answered, and when."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any

import aiohttp
import msgspec

from kpay_adapters.testing import CHARGE
from tests.linearizability.checker import Operation
from tests.linearizability.models import Answered, Look, Refund, TooMuch

# What a client waits: most answers take milliseconds, and one that comes too late is one that never came.
ANSWER_SECONDS = 5.0

# Of a hundred requests so many are hung up on, within the time that an answer usually takes.
HUNG_UP_PER_CENT = 8
HUNG_UP_WITHIN_SECONDS = 0.03

# A server that was killed is back within a second; a loaded machine takes a few.
ATTEMPTS, PAUSE_SECONDS = 600, 0.05

# An answer over HTTP.
Heard = tuple[int, bytes, bool]


class History:
    """What happened to each object, as those who asked saw it."""

    def __init__(self) -> None:
        self.of: dict[str, list[Operation]] = defaultdict(list)

    async def note(self, object: str, asked: Hashable, work: Callable[[], Awaitable[Hashable]]) -> Hashable:
        """Note an operation. Without an answer it may have taken effect, or may still do so."""
        began = time.monotonic()
        answer = await work()
        ended = {} if answer is None else {"ended": time.monotonic()}
        self.of[object].append(Operation(asked=asked, answer=answer, began=began, **ended))
        return answer


class Shop:
    """A merchant's clients, who send each request to any of the servers."""

    def __init__(self, key: str, chance: random.Random, history: History, urls: Sequence[str]) -> None:
        self.headers = {"Authorization": f"Bearer {key}"}
        self.chance = chance
        self.history = history
        self.urls = urls
        self.http: aiohttp.ClientSession

    async def charge(self, key: str, amount: int) -> Hashable:
        """Ask for a charge under a key; the amount is what tells one request from another."""

        async def work() -> Hashable:
            heard = await self._ask("POST", "/v1/charges", {**CHARGE, "amount": amount}, key)
            return heard and answer_of(heard)

        return await self.history.note(f"key {key}", str(amount), work)

    async def refund(self, charge: str, key: str, amount: int) -> Hashable:
        async def work() -> Hashable:
            heard = await self._ask("POST", "/v1/refunds", {"charge": charge, "amount": amount}, key)
            return heard and answer_of(heard)

        return await self.history.note(f"charge {charge}", Refund(key, amount), work)

    async def look(self, charge: str) -> Hashable:
        async def work() -> Hashable:
            heard = await self._ask("GET", f"/v1/charges/{charge}", None, None)
            if heard is None or heard[0] != 200:
                return None
            refunds = msgspec.json.decode(heard[1])["refunds"]
            return sum(refund["amount"] for refund in refunds if refund["status"] != "failed")

        return await self.history.note(f"charge {charge}", Look(), work)

    async def _ask(self, method: str, path: str, body: Any, key: str | None) -> Heard | None:
        """Ask a server that is there; None where the answer was lost, on the way or by hanging up."""
        headers = self.headers | ({"Idempotency-Key": key} if key else {})
        seconds = ANSWER_SECONDS
        if self.chance.random() * 100 < HUNG_UP_PER_CENT:
            seconds = self.chance.uniform(0.001, HUNG_UP_WITHIN_SECONDS)
        for _ in range(ATTEMPTS):
            url = self.chance.choice(self.urls) + path
            try:
                async with asyncio.timeout(seconds):
                    async with self.http.request(method, url, json=body, headers=headers) as answer:
                        return answer.status, await answer.read(), "Idempotent-Replayed" in answer.headers
            except aiohttp.ClientConnectorError:
                # It was not even sent.
                await asyncio.sleep(PAUSE_SECONDS)
            except (aiohttp.ClientError, TimeoutError):
                return None
        raise AssertionError("no server is there")


def answer_of(heard: Heard) -> Hashable:
    """
    Put an answer in the words of the models. An error of the server is none: it may have taken effect all the same.
    """
    status, content, replayed = heard
    if status in (201, 402):
        return Answered(content, replayed)
    if status == 503:
        return None
    error = msgspec.json.decode(content)["error"]
    match status, error["details"].get("code"):
        case 409, "idempotency_key_in_use":
            return "in use"
        case 400, "idempotency_key_reused":
            return "reused"
        case 400, "amount_too_large":
            (message,) = error["details"]["fieldErrors"]["amount"]
            return TooMuch(int(message.removeprefix("max ")))
        case 400, "charge_already_refunded":
            return TooMuch(0)
        case _:
            raise AssertionError(f"no such answer is expected: {status} {error}")


def opening(shop: Shop) -> aiohttp.ClientSession:
    """Open the connections of a shop: as many as there are requests on their way."""
    shop.http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    return shop.http
