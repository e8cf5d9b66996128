"""
Answers that leave in one piece.

uvicorn writes the head of an answer and then its body, and uvloop sends each at once: two system calls and two packets,
which cost as much as parsing the request. `OnePiece` is a transport that lets the first wait for the second, and
`answer_whole` makes one write of both.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle


class OnePiece(asyncio.Transport):
    """
    Another transport, but what is written lets what follows in the same turn of the event loop catch up.

    Two writes go out together, at the second. One that stays alone (a 100 Continue, the head of an answer without a
    body) goes out when the turn is over.
    """

    def __init__(self, transport: asyncio.Transport, *, call_soon: Callable[..., asyncio.Handle]) -> None:
        super().__init__()
        self._transport = transport
        self._call_soon = call_soon
        self._waiting = b""
        self._turn: asyncio.Handle | None = None
        # Called for every request; they change nothing that is written.
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def write(self, data: bytes) -> None:  # type: ignore[override] - nobody writes anything else here
        if self._turn is None:
            self._waiting = data
            self._turn = self._call_soon(self._send)
        else:
            self._turn.cancel()
            self._turn = None
            self._transport.writelines((self._waiting, data))

    def write_whole(self, data: bytes) -> None:
        """Write what nothing follows: at once, with what waits before it."""
        if self._turn is None:
            self._transport.write(data)
        else:
            self.write(data)

    def get_write_buffer_size(self) -> int:
        waiting = 0 if self._turn is None else len(self._waiting)
        return waiting + self._transport.get_write_buffer_size()

    def close(self) -> None:
        self._send()
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _send(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
            # The client may be gone by then.
            if not self.is_closing():
                self._transport.write(self._waiting)


async def answer_whole(
    cycle: RequestResponseCycle, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes
) -> None:
    """
    Send an answer as uvicorn's `send` would its start and then its body, in one write.

    The headers must be ours: in lower case, the length among them, no `connection`, and nothing of a client's in them.
    uvicorn takes nothing of that for granted, and looks through each of them.
    """
    if cycle.flow.write_paused and not cycle.disconnected:
        await cycle.flow.drain()
    if cycle.disconnected:
        return
    content = [STATUS_LINE[status]]
    for name, value in (*cycle.default_headers, *headers):
        content += (name, b": ", value, b"\r\n")
    content += (b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n", body)
    cycle.waiting_for_100_continue = False
    cycle.response_started = cycle.response_complete = True
    cast(OnePiece, cycle.transport).write_whole(b"".join(content))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
