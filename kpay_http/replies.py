"""
What controllers answer with, and the short way to them.

A controller takes the request as the framework has it, and makes its reply itself. It needs nothing of what the
framework does between routing and sending (arguments, dependencies, response classes), which costs as much as all that
a read does here. `Straight` leaves that out; routes, methods and errors stay the framework's.
"""

from typing import Any

from litestar import Request
from litestar.types import ASGIApp, Receive, Scope, Send

from kpay_http.operations import KEY

JSON = (b"content-type", b"application/json")


class Reply:
    """A status, a body that is JSON, and what headers go with it: an ASGI application that sends just this."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        self.status = status
        self.body = body
        self.headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        headers = [JSON, (b"content-length", b"%d" % len(self.body)), *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


class Straight:
    """Middleware that calls the controller of a documented operation; everything else takes the usual way."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler: Any = scope["route_handler"]
        if KEY not in handler.opt:
            await self._app(scope, receive, send)
            return
        reply: Reply = await handler.fn(Request(scope, receive, send))
        await reply(scope, receive, send)
