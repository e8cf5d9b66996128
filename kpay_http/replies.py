"""
What controllers answer with, and the short way to them.

A controller takes a request as it came, and makes its reply itself. It needs nothing of what the framework does around
routing (its request, arguments, dependencies, middleware, response classes), which costs more than all that a read does
here. `Straight` asks the framework's router whose request it is, and leaves out the rest; routes and methods stay the
framework's, and so does everything that is no operation of the API.
"""

import re
from collections.abc import Callable
from typing import Any

from litestar import Litestar, Request
from litestar.exceptions import HTTPException
from litestar.types import Receive, Scope, Send

from kpay_http.observing import facts_of
from kpay_http.operations import KEY
from kpay_http.system import System

SYSTEM = "kpay.system"

# In a request's scope: what sends a whole answer (status, headers, body) at once, where the server has that.
WHOLE = "kpay.answer_whole"

JSON = (b"content-type", b"application/json")

# What may stand in a Host header; the framework refuses all others (RFC 9112, section 3.2).
HOST = re.compile(rb"[0-9A-Za-z!$&'()*+,;=\-._~:\[\]@%]*")


class Reply:
    """A status, a body that is JSON, and what headers go with it: an ASGI application that sends just this."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        self.status = status
        self.body = body
        self.headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        headers = [JSON, (b"content-length", b"%d" % len(self.body)), *self.headers]
        if WHOLE in scope:
            # Past whoever looks at what is sent, so that the observer is told here.
            send_whole: Any = scope[WHOLE]
            await send_whole(self.status, facts_of(scope).answered(self.status, headers), self.body)
            return
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


class Straight:
    """
    An ASGI application around the framework, which calls the controllers of the API's operations itself.

    `reply_to` makes the reply to what a controller raises; None where that is a bug of ours.
    """

    def __init__(
        self, framework: Litestar, system: System, *, reply_to: Callable[[Exception], Reply | None]
    ) -> None:
        self._framework = framework
        self._route = framework.asgi_router.handle_routing
        self._system = system
        self._reply_to = reply_to

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._operation(scope) if scope["type"] == "http" else None
        if handler is None:
            await self._framework(scope, receive, send)
            return
        try:
            reply: Reply = await handler.fn(Request(scope, receive, send))
        except Exception as error:
            known = self._reply_to(error)
            if known is None:
                raise
            reply = known
        await reply(scope, receive, send)

    def _operation(self, scope: Any) -> Any:
        """Return whose request it is, if an operation's, and put into its scope what that needs."""
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        if not HOST.fullmatch(host):
            return None
        path = scope["path"]
        if root_path := scope.get("root_path"):
            path = path.split(root_path, maxsplit=1)[-1]
        try:
            _, handler, _, path_params, template = self._route(path=path, method=scope["method"])
        except HTTPException:
            return None
        if KEY not in handler.opt:
            return None
        scope["path_params"], scope["path_template"] = path_params, template
        scope[SYSTEM] = self._system
        return handler


def system_of(scope: Any) -> System:
    """Return who is asked by a request to an operation."""
    return scope[SYSTEM]
