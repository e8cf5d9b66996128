"""Merchants' servers that send requests, remember every answer, and repeat what they got no answer to."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import aiohttp
import msgspec

from kpay_adapters.testing import CHARGE

ORDINARY, DECLINED, LATE, LOST, REFUND_PENDING, REFUND_FAILING, DISPUTED, AT_ONCE = (
    "4242424242424242",
    "4000000000000002",
    "4000000000009805",
    "4000000000009813",
    "4000000000007726",
    "4000000000005126",
    "4000000000000259",
    "4000000000000077",
)
CARDS = (ORDINARY,) * 30 + (DECLINED, DECLINED, LATE, LOST, REFUND_PENDING, REFUND_FAILING, DISPUTED, AT_ONCE)

# Pauses between two requests of a client, on average. With 32 clients some ten requests are on their way at a time,
# and a thousand lives leave a few hundred thousand objects behind.
PAUSE_SECONDS = 0.1

# What a client waits for an answer: longer than a server waits for its database.
ANSWER_SECONDS = 40

# What turning the clock may take, after which all that was due has happened: deliveries of half an hour of kills.
TURNING_SECONDS = 3600

# Why a refund may be refused that asks for too much.
TOO_MUCH = ("amount_too_large", "charge_already_refunded", "charge_disputed")

CHARGES, REFUNDS = "/v1/charges", "/v1/refunds"

Final = tuple[int, bytes]


class Request(msgspec.Struct):
    """
    A request, and what its sender was told.

    `tag` names it in what it makes: in a charge's metadata, in a refund's notes. `statuses` are all answers to it, and
    `fresh` counts those that made something, by what they say.
    """

    tag: str
    path: str
    body: dict[str, Any]
    key: str | None
    sent_at: float
    final: Final | None = None
    promised: str | None = None
    statuses: list[int] = msgspec.field(default_factory=list)
    fresh: int = 0

    def __repr__(self) -> str:
        return f"<{self.tag} to {self.path}, answered {self.statuses}, last {self.final}>"

    @property
    def made(self) -> str | None:
        """The id of what the final answer tells of; None where there is nothing."""
        if self.final is None:
            return None
        answer = msgspec.json.decode(self.final[1])
        return answer["id"] if self.final[0] == 201 else answer["error"]["details"]["charge"]


class Endpoint(msgspec.Struct):
    """A webhook endpoint whose registering was acknowledged."""

    path: str
    types: list[str]
    known_since: float


class Disbelief(AssertionError):
    """A client was told what cannot be."""


class Merchant:
    """An account, the endpoints that it knows of, and the clients that share both."""

    def __init__(self, name: str, key: str, *, hooks: Callable[[str], str], secrets: dict[str, str]) -> None:
        self.name = name
        self.headers = {"Authorization": f"Bearer {key}"}
        self.endpoints: list[Endpoint] = []
        self.registered = 0
        self._hooks = hooks
        self._secrets = secrets

    async def register(self, client: "Client", types: Sequence[str]) -> None:
        """Register an endpoint. One whose answer is lost may be there all the same."""
        self.registered += 1
        path = f"{self.name}-{self.registered}"
        body = {"url": self._hooks(path), "enabled_events": list(types)}
        answer = await client.post("/v1/webhook_endpoints", body, None)
        if answer is None or answer[0] == 503:
            return
        if answer[0] != 201:
            raise Disbelief(answer)
        self._secrets[path] = msgspec.json.decode(answer[1])["signing_secret"]
        self.endpoints.append(Endpoint(path, list(types), time.monotonic()))


class Client:
    """
    One of them: sends one request after the other until it is `stopped`.

    As long as it `repeats`, it also sends again what had no answer.
    """

    def __init__(
        self, name: str, merchant: Merchant, chance: random.Random, *, urls: Callable[[], Sequence[str]]
    ) -> None:
        self.name = name
        self.merchant = merchant
        self.requests: list[Request] = []
        self.stopped = False
        self.repeats = True
        self._chance = chance
        self._urls = urls
        self._http: aiohttp.ClientSession | None = None
        self._unanswered: list[Request] = []
        self._charges: list[str] = []

    def use(self, http: aiohttp.ClientSession) -> None:
        """Ask over these connections."""
        self._http = http

    async def run(self) -> None:
        while not self.stopped:
            await asyncio.sleep(self._chance.expovariate(1 / PAUSE_SECONDS))
            await self._step()

    async def _step(self) -> None:
        match self._chance.choices(
            ("charge", "refund", "twins", "repeat", "replay", "look", "register"),
            (50, 20, 5, 10, 10, 4.8, 0.2),
        )[0]:
            case "charge":
                await self.send(self._new_charge(keyed=self._chance.random() < 0.75))
            case "refund" if self._charges:
                await self.send(self._new_refund(keyed=self._chance.random() < 0.75))
            case "twins":
                request = self._new_charge(keyed=True)
                await asyncio.gather(self.send(request), self.send(request))
            case "repeat" if self._unanswered and self.repeats:
                await self.send(self._chance.choice(self._unanswered))
            case "replay":
                if answered := [each for each in self.requests[-50:] if each.key and each.final]:
                    await self.send(self._chance.choice(answered))
            case "look" if self._charges:
                await self._look(self._chance.choice(self._charges))
            case "register" if self.merchant.registered < 5:
                await self.merchant.register(self, ["refund.created", "refund.updated"])
            case _:
                pass

    def _new_charge(self, *, keyed: bool) -> Request:
        source = {**CHARGE["source"], "number": self._chance.choice(CARDS)}
        tag = self._tag()
        body = {
            **CHARGE,
            "amount": self._chance.randint(50, 20_000),
            "source": source,
            "metadata": {"request": tag},
        }
        return self._begun(tag, CHARGES, body, keyed)

    def _new_refund(self, *, keyed: bool) -> Request:
        tag = self._tag()
        # What was charged last is refunded most, so that some are refunded to the end.
        charge = self._chance.choice(self._charges[-5:])
        body = {"charge": charge, "amount": self._chance.randint(1, 5000), "notes": tag}
        return self._begun(tag, REFUNDS, body, keyed)

    def _tag(self) -> str:
        return f"{self.name}/{len(self.requests)}"

    def _begun(self, tag: str, path: str, body: dict[str, Any], keyed: bool) -> Request:
        request = Request(tag, path, body, tag if keyed else None, time.monotonic())
        self.requests.append(request)
        if keyed:
            self._unanswered.append(request)
        return request

    async def send(self, request: Request) -> None:
        """Send a request, for the first time or again, and note what is answered."""
        was_final = request.final is not None
        answer = await self.post(request.path, request.body, request.key)
        if answer is None:
            return
        status, content, replayed = answer
        request.statuses.append(status)
        match status:
            case 201 | 402:
                self._note_final(request, (status, content), replayed)
            case 202 if not was_final:
                request.promised = msgspec.json.decode(content)["id"]
            case 400 if request.path == REFUNDS and request.final is None:
                self._note_refusal(request, content)
            case 409 | 503:
                pass
            case _:
                raise Disbelief(request, status, content)

    def _note_final(self, request: Request, final: Final, replayed: bool) -> None:
        if request.final is None:
            request.final = final
            if request.key is not None:
                self._unanswered.remove(request)
            made = request.made
            if request.promised not in (None, made):
                raise Disbelief(request, "promised another")
            if made is not None and final[0] == 201 and request.path == CHARGES:
                self._charges.append(made)
        elif request.final != final:
            raise Disbelief(request, final, "answered otherwise")
        request.fresh += not replayed
        if request.fresh > 1:
            raise Disbelief(request, "made twice")

    def _note_refusal(self, request: Request, content: bytes) -> None:
        if msgspec.json.decode(content)["error"]["details"].get("code") not in TOO_MUCH:
            raise Disbelief(request, content)
        if request in self._unanswered:
            self._unanswered.remove(request)

    async def _look(self, charge: str) -> None:
        """See a charge that was acknowledged: it is there, and stands."""
        answer = await self.get(f"{CHARGES}/{charge}")
        if answer is None or answer[0] == 503:
            return
        if answer[0] != 200 or msgspec.json.decode(answer[1])["status"] != "succeeded":
            raise Disbelief(charge, answer)

    async def repeat_unanswered(self) -> bool:
        """Send again what has no final answer yet, and tell whether anything is left."""
        for request in list(self._unanswered):
            await self.send(request)
        return bool(self._unanswered)

    async def replay_all(self) -> int:
        """Send again all that was answered; every answer must come again, and say that it does."""
        answered = [request for request in self.requests if request.key and request.final]
        for request in answered:
            again = await self.post(request.path, request.body, request.key)
            if again is None or (*again[:2], True) != (*(request.final or ()), again[2]):
                raise Disbelief(request, again, "is not replayed")
        return len(answered)

    async def turn_the_clock(self, seconds: int) -> None:
        """Turn the time forward; everything due by then has happened when this returns."""
        answer = await self._ask(
            "POST", "/v1/test_clock", {}, {"advance_seconds": seconds}, seconds=TURNING_SECONDS
        )
        assert answer is not None, "nobody dies any more"
        assert answer[0] == 200, answer

    async def post(self, path: str, body: dict[str, Any], key: str | None) -> tuple[int, bytes, bool] | None:
        """Return status, body, and whether it was a replay; None where the connection ended before the answer."""
        return await self._ask("POST", path, {"Idempotency-Key": key} if key else {}, body)

    async def get(self, path: str) -> tuple[int, bytes, bool] | None:
        return await self._ask("GET", path, {}, None)

    async def _ask(
        self,
        method: Literal["GET", "POST"],
        path: str,
        headers: dict[str, str],
        body: Any,
        *,
        seconds: int = ANSWER_SECONDS,
    ) -> tuple[int, bytes, bool] | None:
        assert self._http is not None, "has connections by now"
        url = self._chance.choice(self._urls()) + path
        try:
            async with self._http.request(
                method,
                url,
                json=body,
                headers=self.merchant.headers | headers,
                timeout=aiohttp.ClientTimeout(total=seconds),
            ) as answer:
                return answer.status, await answer.read(), "Idempotent-Replayed" in answer.headers
        except (aiohttp.ClientError, TimeoutError):
            return None
