"""
One call to the API, from its bytes to the core and back.

The order is the contract's (section 4): size, authentication, rate limit, parse; look-up and the rest are the core's.
"""

from collections.abc import Coroutine
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from litestar import Request

from kpay_core.domain.errors import Invalid, Unauthenticated
from kpay_core.domain.idempotency import Answer, Outcome
from kpay_core.domain.scope import Scope
from kpay_core.domain.views import encode
from kpay_http import body
from kpay_http.errors import RateLimited
from kpay_http.headers import Headers
from kpay_http.observing import facts_of
from kpay_http.replies import Reply, system_of
from kpay_http.system import System

STATUS = {Outcome.CREATED: 201, Outcome.DECLINED: 402, Outcome.ACCEPTED: 202}

# A list of charges takes eight; more than this is noise.
MAX_PARAMETERS = 50

REPLAYED = ((b"idempotent-replayed", b"true"),)

AnyRequest = Request[Any, Any, Any]

T = TypeVar("T")


class Call:
    """A call that was let in: whose it is, and what it sent."""

    def __init__(
        self, system: System, scope: Scope, request: AnyRequest, headers: Headers, raw: bytes
    ) -> None:
        self.system = system
        self.kpay = system.kpay
        self.scope = scope
        self._request = request
        self._headers = headers
        self._raw = raw

    def body(self) -> dict[str, object]:
        """Decode the body; raises `BadBody`."""
        return body.decode(self._raw, self._headers.first(b"content-type"))

    def optional_body(self) -> dict[str, object]:
        """Decode the body; an empty one is `{}`. Raises `BadBody`."""
        return self.body() if self._raw else {}

    @property
    def request_id(self) -> str:
        """The Request-Id of the response."""
        return facts_of(self._request.scope).request_id

    @property
    def id(self) -> str:
        """The id in the path."""
        return self._request.path_params["id"]

    def idempotency_key(self) -> str | None:
        """Return the key; raises `Invalid` for one that is given twice."""
        if self._headers.has_twice(b"idempotency-key"):
            raise Invalid({"Idempotency-Key": ["given more than once"]})
        return self._headers.first(b"idempotency-key")

    def parameters(self) -> dict[str, object]:
        """Return the query's parameters; one that is given twice comes as a list, which no reader takes."""
        return read_query(self._request.scope["query_string"])

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work that changes something to its end, also when the client hangs up."""
        return await self.system.finish(work)

    async def finish_alone(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work to its end for which everybody else has to wait."""
        return await self.system.finish_alone(work)


async def admit(request: AnyRequest) -> Call:
    """Let a call in: read its body, know its key, count it; raises the first thing that is wrong."""
    system, headers = system_of(request.scope), Headers(request.scope["headers"])
    raw = b""
    if has_body(request.scope["method"], headers):
        is_here = body.IS_HERE in request.scope
        raw = await body.read(request.receive, headers.first(b"content-length"), is_here=is_here)
    scope = await system.kpay.authenticate(read_key(headers))
    facts = facts_of(request.scope)
    facts.merchant, facts.livemode = scope.merchant, scope.livemode
    if system.limiter is not None:
        decision = await system.limiter.take(f"{scope.merchant}/{scope.mode}")
        facts.headers.update(decision.headers())
        if not decision.allowed:
            raise RateLimited
    return Call(system, scope, request, headers, raw)


def has_body(method: str, headers: Headers) -> bool:
    """Tell whether there is a body to wait for: a GET without either header has none (RFC 9112, section 6.3)."""
    return method != "GET" or b"content-length" in headers or b"transfer-encoding" in headers


def read_key(headers: Headers) -> str:
    """Return the key of the Authorization header (RFC 6750), or raise `Unauthenticated`."""
    given = headers.first(b"authorization")
    if given is None or headers.has_twice(b"authorization"):
        raise Unauthenticated
    scheme, _, key = given.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated
    return key.strip(" ")


def read_query(query: bytes) -> dict[str, object]:
    """Read a query string; raises `Invalid` for what is no UTF-8, or too much."""
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS
        )
    except ValueError:
        raise Invalid({"query": ["malformed"]}) from None
    found: dict[str, object] = {}
    for name, value in pairs:
        found[name] = [found[name], value] if name in found else value
    return found


def show(view: object, *, status: int = 200) -> Reply:
    """Answer with an object or a list."""
    return Reply(status, encode(view))


def tell(answer: Answer) -> Reply:
    """Answer with what came of a charge or a refund, now or when its key was first used."""
    return Reply(STATUS[answer.outcome], answer.body.encode(), *(REPLAYED if answer.replayed else ()))
