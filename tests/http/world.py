"""The whole service in this process: memory for a database, a clock that stands still, and two merchants."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from datetime import timedelta
from typing import Any, Self, TypeVar

import httpx
import msgspec

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sandbox import SandboxBank, SandboxNetwork
from kpay_adapters.testing import CHARGE, FrozenClock, Receiver, ScriptedCourier, SeededIds, accept, make_kpay
from kpay_core import Kpay
from kpay_core.flows.merchants import KeySet
from kpay_core.ports import Processor, Store
from kpay_http.app import create_app
from kpay_http.metrics import Metrics
from kpay_http.sandbox_time import SandboxTime
from kpay_http.system import Limiter, System
from kpay_http.turnstile import Turnstile

T = TypeVar("T")

BASE_URL = "http://api.test"

HOOKS = "https://example.com/hooks"

# The magic cards that the sandbox documents.
SUCCEEDS = "4242424242424242"
DECLINES = "4000000000000002"
LATE = "4000000000009805"
LOST = "4000000000009813"
DOWN = "4000000000009821"
REFUND_PENDING = "4000000000007726"
REFUND_FAILING = "4000000000005126"
AT_ONCE = "4000000000000077"
FRAUDULENT = "4000000000000259"
NOT_RECEIVED = "4000000000002685"

# And its bank account to which no payout gets.
CLOSED_ACCOUNT = "000111111116"


class Merchant:
    """A merchant and its keys."""

    def __init__(self, id: str, keys: KeySet) -> None:
        self.id = id
        self.keys = keys
        self.test = keys.test.secret
        self.live = keys.live.secret


class Servers:
    """The servers of all merchants: couriers to them, and what each receiver does with what they bring."""

    def __init__(self, clock: FrozenClock) -> None:
        self._clock = clock
        self.receiver: Receiver = accept

    def courier(self) -> ScriptedCourier:
        return ScriptedCourier(self.receiver, clock=self._clock)


class World:
    """
    Both modes take charges and pay out, each in a sandbox of its own, unless `live` is off as in a real one.

    Its time stands still, and moves where `pass_time` or the test clock says. Requests go through the ASGI application,
    bytes to bytes; one event loop lives as long as the world. Worlds on one store need a `seed` of their own for names.
    """

    def __init__(
        self,
        *,
        store: Store | None = None,
        processor: Processor | None = None,
        limiter: Limiter | None = None,
        live: bool = True,
        local_webhooks: bool = False,
        test_clock: bool = True,
        seed: int = 0,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        self.clock = FrozenClock()
        self.journal = MemoryStore()
        network = processor or SandboxNetwork(journal=self.journal, clock=self.clock)
        bank = SandboxBank(journal=self.journal, clock=self.clock)
        kpay = make_kpay(store=store, processor=network, rail=bank, clock=self.clock, ids=SeededIds(seed))
        processors, rails = dict(kpay.processors), dict(kpay.rails)
        if live:
            journal = MemoryStore()
            processors["live"] = processor or SandboxNetwork(journal=journal, clock=self.clock)
            rails["live"] = SandboxBank(journal=journal, clock=self.clock)
        self.kpay: Kpay = msgspec.structs.replace(
            kpay, processors=processors, rails=rails, local_webhooks=local_webhooks
        )
        self.metrics = Metrics()
        self.servers = Servers(self.clock)
        turnstile = Turnstile()
        sandbox_time = SandboxTime(
            self.kpay, self.clock, self.servers, turnstile=turnstile, pause=nullcontext
        )
        self.system = System(
            kpay=self.kpay,
            metrics=self.metrics,
            ready=_ready,
            limiter=limiter,
            turnstile=turnstile,
            sandbox_time=sandbox_time if test_clock else None,
        )
        self.app: Any = create_app(self.system)
        self._runner = asyncio.Runner(loop_factory=loop_factory)
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=BASE_URL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._client.aclose())
        self.run(self.system.until_done())
        self._runner.close()

    def run(self, work: Awaitable[T]) -> T:
        async def wait() -> T:
            return await work

        return self._runner.run(wait())

    def merchant(self, name: str = "Acme", **terms: Any) -> Merchant:
        """Take in a merchant and approve it."""

        async def enrol() -> Merchant:
            applied = await self.kpay.apply(name=name, **terms)
            return Merchant(applied.id, (await self.kpay.approve(applied.id)).keys)

        return self.run(enrol())

    def client(self, key: str | None = None) -> "Client":
        return Client(self, key)

    def pass_time(self, **duration: float) -> None:
        """Move the time, and do nothing that is due then."""
        self.clock.advance(timedelta(**duration))

    def live_through(self, **duration: float) -> None:
        """Let time pass, and everything happen when it is due, but for deliveries."""
        until = self.clock.now() + timedelta(**duration)
        self.run(self.kpay.pass_time(until, turn_to=self.clock.turn_to))

    def sweep(self) -> None:
        self.run(self.kpay.sweep())

    def deliver(self, receiver: Receiver = accept) -> ScriptedCourier:
        """Send everything that is due to a server that does as it is told, and return the courier who did."""
        courier = ScriptedCourier(receiver, clock=self.clock)

        async def serve() -> None:
            for endpoint in await self.kpay.endpoints_due():
                await self.kpay.deliver_to(endpoint, courier)

        self.run(serve())
        return courier

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self._client.request(method, path, **options)


class Client:
    """Sends requests with one key."""

    def __init__(self, world: World, key: str | None) -> None:
        self.world = world
        self.headers = {"Authorization": f"Bearer {key}"} if key is not None else {}

    def options(self, headers: Any, options: dict[str, Any]) -> dict[str, Any]:
        return {**options, "headers": [*self.headers.items(), *pairs(headers)]}

    def send(self, method: str, path: str, *, headers: Any = None, **options: Any) -> httpx.Response:
        return self.world.run(self.world.send(method, path, **self.options(headers, options)))

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.send("GET", path, **options)

    def post(self, path: str, body: Any = None, *, key: str | None = None, **options: Any) -> httpx.Response:
        """Post JSON, with an idempotency key if one is given."""
        given = pairs(options.pop("headers", None))
        headers = [("Idempotency-Key", key), *given] if key is not None else given
        sent = {"json": body} if "content" not in options else {}
        return self.send("POST", path, headers=headers, **sent, **options)

    def charge(self, *, key: str | None = None, **changes: Any) -> httpx.Response:
        return self.post("/v1/charges", charge(**changes), key=key)

    def charged(self, **changes: Any) -> dict[str, Any]:
        """Make a charge that succeeds, and return it."""
        answer = self.charge(**changes)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def refund(self, charge: str, *, key: str | None = None, **fields: Any) -> httpx.Response:
        return self.post("/v1/refunds", {"charge": charge, **fields}, key=key)

    def refunded(self, charge: str, **fields: Any) -> dict[str, Any]:
        answer = self.refund(charge, **fields)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def balance(self) -> tuple[int, int, int, int]:
        """What the balance shows: pending, available, reserved, in transit."""
        shown = self.get("/v1/balance").json()
        return shown["pending"], shown["available"], shown["reserved"], shown["in_transit"]

    def disputed(self, *, amount: int = 10_000, number: str = FRAUDULENT) -> dict[str, Any]:
        """Make a charge that is disputed, let the dispute open, and return it."""
        paid = self.charged(amount=amount, number=number)["id"]
        self.world.live_through(minutes=1)
        (dispute,) = (each for each in self.data("/v1/disputes") if each["charge"] == paid)
        return dispute

    def answer(self, dispute: str, text: Any, **fields: Any) -> httpx.Response:
        """Send evidence against a dispute."""
        body = {"evidence": {"uncategorized_text": text}, **fields}
        return self.post(f"/v1/disputes/{dispute}", body)

    def turn(self, **duration: float) -> dict[str, Any]:
        """Turn the test clock."""
        seconds = int(timedelta(**duration).total_seconds())
        answer = self.post("/v1/test_clock", {"advance_seconds": seconds})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def patch(self, path: str, body: Any) -> httpx.Response:
        return self.send("PATCH", path, json=body)

    def delete(self, path: str) -> httpx.Response:
        return self.send("DELETE", path)

    def register(self, **fields: Any) -> httpx.Response:
        """Register an endpoint; a value of `...` leaves a field out."""
        return self.post("/v1/webhook_endpoints", merged({"url": HOOKS}, fields))

    def registered(self, **fields: Any) -> dict[str, Any]:
        answer = self.register(**fields)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def data(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """What a list holds, up to 100."""
        return self.get(path, params={"limit": 100, **params}).json()["data"]


async def _ready() -> bool:
    return True


def pairs(headers: Any) -> list[Any]:
    return list(headers.items() if isinstance(headers, dict) else headers or [])


def charge(*, number: str | None = None, **changes: Any) -> dict[str, Any]:
    """
    A valid charge with changes: `number="4…"` swaps the card, `source={"cvc": "1234"}` changes parts of a part,
    and a value of `...` leaves a field out.
    """
    body = merged(CHARGE, changes)
    return merged(body, {"source": {"number": number}}) if number else body


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for name, value in changes.items():
        if value is ...:
            result.pop(name, None)
        elif isinstance(value, dict) and isinstance(result.get(name), dict) and name != "metadata":
            result[name] = merged(result[name], value)
        else:
            result[name] = value
    return result


def field_errors(answer: httpx.Response) -> dict[str, list[str]]:
    """What a 400 says of each field."""
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    return error["details"]["fieldErrors"]


def error_of(answer: httpx.Response, status: int, type: str) -> dict[str, Any]:
    """The error in the envelope, which has this status and type and nothing beside."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["error"]
    assert list(body["error"]) == ["type", "message", "details"]
    assert body["error"]["type"] == type
    assert body["error"]["message"]
    return body["error"]
