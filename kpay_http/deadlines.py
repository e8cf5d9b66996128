"""
Deadlines for clients that are slow on purpose.

uvicorn closes a connection that is idle between two requests, and no other: who sends a byte now and then
keeps a socket, and what was received so far, for ever. `DeadlineProtocol` is uvicorn's HTTP protocol with an
end to every wait for the client:

    connected, or a further request begun     complete headers within 10 s, else closed without an answer
    headers without end, or too many          431 at 64 KiB or 128 headers, and closed
    a body while the application reads it     the application's own deadline (`body.read`, 30 s), unless it is here
    the rest of a body already answered       thrown away for 10 s, then closed; in silence, uvicorn's keep-alive
    an answer the client does not take        30 s at a time with a full buffer, then the connection is aborted

The answer itself is bounded too: uvicorn lets the application write no more while 64 KiB wait for the client. Its head
and its body leave in one piece.

What this rests on: asyncio's Protocol callbacks, httptools' parser callbacks (`on_message_begin`, …), and
from uvicorn 0.54 the class `HttpToolsProtocol` with its methods `on_response_complete`, `send_400_response`,
`timeout_keep_alive_handler`, `_start_asgi_task` and `_unsupported_upgrade_warning` and its attributes `transport`,
`cycle`, `pipeline`, `headers`, `url` and `loop`; and what the `send` of a `RequestResponseCycle` does (`answer_whole`).
"""

import asyncio
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from uuid import uuid4

import msgspec
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from kpay_http.body import IS_HERE
from kpay_http.logs import log_request
from kpay_http.one_piece import OnePiece, answer_whole
from kpay_http.replies import WHOLE

# Larger than any honest request's headers and as large as a body may be. The parser has no limit of its own.
HEAD_LIMIT_BYTES = 64 * 1024

# A browser behind three proxies sends about 40. Apache's limit is 100.
HEADER_COUNT_LIMIT = 128

# Requests sent ahead on one connection. Each waits in memory for those before it.
PIPELINE_LIMIT = 64

TOO_LONG = f"The request's address and headers are larger than {HEAD_LIMIT_BYTES // 1024} KiB."
TOO_MANY = f"The request has more than {HEADER_COUNT_LIMIT} headers."


class _Refused(Exception):
    """Raised inside a parser callback to stop the parser; uvicorn answers it with `send_400_response`."""


class DeadlineProtocol(HttpToolsProtocol):
    """
    uvicorn's HTTP protocol, without unlimited patience: `uvicorn.Config(app, http=DeadlineProtocol)`.

    The common case pays nothing: a request whose headers come in one piece starts no timer.
    """

    # Time for the request line and all headers, from the connection or from the request's first byte; and for
    # the rest of a body that was answered before it was complete (401, 413). Closing at once would make the
    # kernel throw the answer away together with the bytes that nobody read.
    head_seconds = 10.0

    # Time for a client to take what waits for it, before the connection is aborted with it.
    answer_seconds = 30.0

    _patience: asyncio.TimerHandle | None = None
    _answer_patience: asyncio.TimerHandle | None = None

    # Bytes received since the parser last made something of them. Headers, trailers and the like are kept
    # until they are complete, so this bounds them all.
    _pending_bytes = 0

    # What of the request's head is too large, if anything is: that, and not the parser, then says why it is refused.
    _excess: str | None = None

    # The request that the application was given last; `cycle` is the last that was read, perhaps sent far ahead.
    _in_hand: RequestResponseCycle | None = None

    # The client's side.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(OnePiece(transport, call_soon=self.loop.call_soon))
        self._expect_within(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        self._stop_waiting_for_the_answer_to_be_taken()
        super().connection_lost(exc)
        if self._in_hand is not None:
            # Else its answer is written to where nobody is, and that is an error to uvloop, and to whoever reads logs.
            self._in_hand.disconnected = True

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), HEAD_LIMIT_BYTES):
            piece = data[start : start + HEAD_LIMIT_BYTES] if len(data) > HEAD_LIMIT_BYTES else data
            self._pending_bytes += len(piece)
            super().data_received(piece)
            if self.transport.is_closing():
                return
            if excess := _excess(self._pending_bytes, self.headers):
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, excess)
                return
        if not self._is_working() and self._patience is None:
            # Bytes that made no request; uvicorn has just stopped its own timer because of them.
            self._expect_within(self.head_seconds)

    # The parser's side.

    def on_message_begin(self) -> None:
        self._expect_nothing()
        self._pending_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._expect_nothing()
        self._pending_bytes = 0
        # Headers that are complete may have come in one large piece, which nobody has looked at yet.
        self._excess = _excess(_size_of(self.url, self.headers), self.headers)
        if self._excess or len(self.pipeline) >= PIPELINE_LIMIT:
            raise _Refused
        super().on_headers_complete()
        self.cycle.scope[WHOLE] = partial(answer_whole, self.cycle)  # type: ignore[literal-required]
        # The request has its own by now. What comes after a chunked body are trailers, and no headers of it (RFC 9110,
        # section 6.5.1).
        self.headers = []

    def on_body(self, body: bytes) -> None:
        self._pending_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        # uvicorn passes over the end of what it hands to another protocol, or has answered.
        if not self.cycle.more_body:
            self.cycle.scope[IS_HERE] = True  # type: ignore[literal-required]

    # The application's side.

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._in_hand = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        if self._in_hand is not None:
            # It knows the request that it stands in: the garbage collector would have to find both, for each request.
            self._in_hand.scope.pop(WHOLE, None)  # type: ignore[typeddict-item]
        super().on_response_complete()
        if self.transport.is_closing():
            self._let_the_answer_be_taken()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._let_the_answer_be_taken()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._let_the_answer_be_taken()

    def resume_writing(self) -> None:
        self._stop_waiting_for_the_answer_to_be_taken()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        if self._excess:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, self._excess)
        else:
            self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def _unsupported_upgrade_warning(self) -> None:
        """
        Answer as if no other protocol had been offered (RFC 9110, section 7.8), and close.

        The parser has left unread what came in one piece with the request. Going on with what comes next might be
        going on in the middle of a request.
        """
        self.cycle.keep_alive = False

    def _is_working(self) -> bool:
        """Whether the application has the last request in hand. Before the first there is no cycle."""
        return bool(self.cycle and not self.cycle.response_complete)

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """
        Close, and say why unless a request is being worked on.

        With one in hand the client would take the refusal for that request's answer, and a charge that goes
        through must not be answered with a 400. An answer leaves a line in the log, as those of the application do.
        """
        self._expect_nothing()
        if not self._is_working():
            request_id = f"req_{uuid4().hex}"
            self.transport.write(_refusal(status, message, request_id=request_id))
            _leave_behind(status, message, request_id=request_id)
        self.transport.close()
        self._let_the_answer_be_taken()

    # The timers.

    def _expect_within(self, seconds: float) -> None:
        self._expect_nothing()
        self._patience = self._after(seconds, self._give_up)

    def _expect_nothing(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        self.transport.close()
        self._let_the_answer_be_taken()

    def _let_the_answer_be_taken(self) -> None:
        """Give the client its time for what is still in the buffer. A transport that closes waits for ever."""
        if self._answer_patience is None and self.transport.get_write_buffer_size() > 0:
            self._answer_patience = self._after(self.answer_seconds, self.transport.abort)

    def _stop_waiting_for_the_answer_to_be_taken(self) -> None:
        if self._answer_patience is not None:
            self._answer_patience.cancel()
            self._answer_patience = None

    def _after(self, seconds: float, act: Callable[[], None]) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, act)


def _excess(size: int, headers: list[tuple[bytes, bytes]] | None) -> str | None:
    """Say what of a request's head is too large, if anything is; before the first request there are no headers."""
    if size > HEAD_LIMIT_BYTES:
        return TOO_LONG
    if headers is not None and len(headers) > HEADER_COUNT_LIMIT:
        return TOO_MANY
    return None


def _size_of(url: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    return len(url) + sum(len(name) + len(value) for name, value in headers)


def _refusal(status: HTTPStatus, message: str, *, request_id: str) -> bytes:
    """Write a whole answer in the API's error envelope; no application is there to do it."""
    body = msgspec.json.encode(
        {"error": {"type": "invalid_request_error", "message": message, "details": {}}}
    )
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"request-id: {request_id}\r\n"
        "content-type: application/json\r\n"
        f"content-length: {len(body)}\r\n"
        "cache-control: no-store\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode() + body


def _leave_behind(status: HTTPStatus, message: str, *, request_id: str) -> None:
    """Log the answer to what was no request: of that nothing is known but why."""
    log_request(
        request_id=request_id,
        method=None,
        route="unknown",
        status=status.value,
        ms=None,
        merchant=None,
        livemode=None,
        reason=message,
    )
