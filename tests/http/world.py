"""The whole service in this process: memory for a database, a clock that stands still, and two merchants."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Self, TypeVar

import httpx
import msgspec

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sandbox import SandboxNetwork
from kpay_adapters.testing import CHARGE, FrozenClock, Receiver, ScriptedCourier, accept, make_kpay
from kpay_core import Kpay
from kpay_core.flows.merchants import KeySet
from kpay_core.ports import Processor, Store
from kpay_http.app import create_app
from kpay_http.metrics import Metrics
from kpay_http.system import Limiter, System

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


class Merchant:
    """A merchant and its keys."""

    def __init__(self, id: str, keys: KeySet) -> None:
        self.id = id
        self.keys = keys
        self.test = keys.test.secret
        self.live = keys.live.secret


class World:
    """
    Both modes take charges, unless `live` is off as in a real sandbox.

    Requests go through the ASGI application, bytes to bytes; one event loop lives as long as the world.
    """

    def __init__(
        self,
        *,
        store: Store | None = None,
        processor: Processor | None = None,
        limiter: Limiter | None = None,
        live: bool = True,
        local_webhooks: bool = False,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        self.clock = FrozenClock()
        self.journal = MemoryStore()
        network = processor or SandboxNetwork(journal=self.journal, clock=self.clock)
        kpay = make_kpay(store=store, processor=network, clock=self.clock)
        processors = {"test": network, **({"live": network} if live else {})}
        self.kpay: Kpay = msgspec.structs.replace(kpay, processors=processors, local_webhooks=local_webhooks)
        self.metrics = Metrics()
        self.system = System(kpay=self.kpay, metrics=self.metrics, ready=_ready, limiter=limiter)
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

    def merchant(self, name: str = "Acme") -> Merchant:
        """Take in a merchant and approve it."""

        async def enrol() -> Merchant:
            applied = await self.kpay.apply(name=name)
            return Merchant(applied.id, (await self.kpay.approve(applied.id)).keys)

        return self.run(enrol())

    def client(self, key: str | None = None) -> "Client":
        return Client(self, key)

    def pass_time(self, **duration: float) -> None:
        self.clock.advance(timedelta(**duration))

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
