"""
A merchant's server that takes every post and answers 200, as lean as the load generator.

    python -m benchmarks.programs.sink PORT

`GET /` answers how many posts have come, and since the last such request when each of them came, by event id.
"""

import asyncio
import sys
import time

import msgspec
import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
EVENT_ID = b"\r\nk-payments-event-id: "


class Received(msgspec.Struct, kw_only=True):
    """What the sink tells: the posts so far, and the wall clock's time of those that are new."""

    posts: int = 0
    at: dict[str, float] = {}


class Connection(asyncio.Protocol):
    """One connection, kept alive."""

    def __init__(self, received: Received) -> None:
        self._received = received
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport) or hasattr(transport, "write")
        self._transport: asyncio.WriteTransport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = data[:end].lower()
            if head.startswith(b"get "):
                self._tell()
                data = data[end + 4 :]
                continue
            size = end + 4 + int(head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
            if len(data) < size:
                break
            event = head.partition(EVENT_ID)[2].partition(b"\r\n")[0].decode()
            self._received.posts += 1
            self._received.at[event] = time.time()
            self._transport.write(ANSWER)
            data = data[size:]
        self._buffer = data

    def _tell(self) -> None:
        body = msgspec.json.encode(self._received)
        self._received.at.clear()
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


async def serve(port: int) -> None:
    received = Received()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(received), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
