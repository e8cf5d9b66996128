"""
What every response has and every request leaves behind: Request-Id, no-store, a metric and a line in the log.

The outermost layer, around the framework, so that what the framework itself refuses is covered too.
"""

import os
import time
import traceback
from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from kpay_core.domain.errors import NotFound
from kpay_http.body import Disconnected
from kpay_http.errors import Refusal, refuse
from kpay_http.logs import log_request, mask_text
from kpay_http.metrics import Metrics

KEY = "kpay.facts"

NO_STORE = (b"cache-control", b"no-store")

# Enough that no two requests in any log share one.
REQUEST_ID_BYTES = 16

# Ours have fewer than 100 characters. The framework remembers the last 1,024 paths that it was asked for, whatever
# their length: paths as long as headers may be would stay in memory, some hundred megabytes of them.
PATH_LIMIT = 1024

# What nginx counts a request as whose client hung up before there was an answer.
CLIENT_GONE = 499

log: Any = structlog.get_logger("kpay.requests")


class Facts:
    """What is known of a request while it is served."""

    __slots__ = ("headers", "livemode", "merchant", "request_id", "status")

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.merchant: str | None = None
        self.livemode: bool | None = None
        self.status = 0
        self.headers: dict[str, str] = {}

    def answered(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Note how the request is answered, and return the answer's headers with those that every answer has."""
        self.status = status
        every = (*headers, (b"request-id", self.request_id.encode()), NO_STORE)
        return [*every, *as_sent(self.headers)] if self.headers else [*every]


def is_a_path(path: str) -> bool:
    """
    Tell whether a path can be one of ours.

    The framework takes a slash too many for none, and answers a request for the object of an empty id with a list.
    """
    return len(path) <= PATH_LIMIT and "//" not in path and (path == "/" or not path.endswith("/"))


def facts_of(scope: Any) -> Facts:
    return scope[KEY]


class Observer:
    """An ASGI application around another one."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        facts = Facts(f"req_{os.urandom(REQUEST_ID_BYTES).hex()}")
        scope[KEY] = facts  # type: ignore[literal-required]
        started = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = facts.answered(message["status"], message["headers"])
            await send(message)

        try:
            if not is_a_path(scope["path"]):
                await send_refusal(refuse(NotFound()), send_with_headers)
            else:
                await self._app(scope, receive, send_with_headers)
        except Disconnected:
            facts.status = CLIENT_GONE
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            # As text, made and masked here: whoever embeds us may have configured no masking of secrets, and a
            # renderer that shows the values of variables.
            shown = mask_text("".join(traceback.format_exception(error)))
            log.error("request failed", request_id=facts.request_id, traceback=shown)  # noqa: TRY400
            if facts.status == 0:
                await send_refusal(refuse(error), send_with_headers)
        finally:
            # The template of the path, which names no object; the framework sets it once it has found a route.
            route = str(scope.get("path_template") or "unknown")
            self._leave_behind(scope["method"], route, facts, time.perf_counter() - started)

    def _leave_behind(self, method: str, route: str, facts: Facts, seconds: float) -> None:
        self._metrics.count_request(method, route, facts.status, seconds)
        log_request(
            request_id=facts.request_id,
            method=method,
            route=route,
            status=facts.status,
            ms=round(seconds * 1000, 1),
            merchant=facts.merchant,
            livemode=facts.livemode,
        )


def as_sent(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Write headers as ASGI has them."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


async def send_refusal(refusal: Refusal, send: Send) -> None:
    headers = as_sent(refusal.headers)
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(refusal.body)).encode())]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": refusal.body, "more_body": False})
