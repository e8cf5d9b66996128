"""Clients that are slow on purpose, hundreds at a time."""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

# Small, so that what a client does not take waits in the server and not in the kernel.
RECEIVE_BUFFER = 4096


@dataclass(frozen=True, kw_only=True)
class Habit:
    """What a slow client does: it sends something at first, drips something every second, and reads, or does not."""

    name: str
    first: bytes = b""
    drip: bytes = b""
    reads: bool = True
    half_closes: bool = False


@dataclass
class SlowClient:
    habit: Habit
    socket: socket.socket
    received: bytearray = field(default_factory=bytearray)
    is_closed: bool = False

    def go_on(self) -> None:
        """Drip and read, as is its habit."""
        try:
            if self.habit.drip:
                self.socket.send(self.habit.drip)
            if self.habit.reads:
                self.read()
        except BlockingIOError:
            pass
        except OSError:
            self.is_closed = True

    def read(self) -> None:
        """Read what is there by now."""
        while data := self.socket.recv(1 << 20):
            self.received += data
        self.is_closed = True

    def read_to_the_end(self, *, seconds: float) -> None:
        """Read whatever still comes, and wait for the end so long at a time."""
        self.socket.settimeout(seconds)
        try:
            self.read()
        except TimeoutError:
            pass
        except OSError:
            self.is_closed = True


class Crowd:
    """Slow clients of one server, who stay until they are closed or the crowd is left."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.clients: list[SlowClient] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.socket.close()

    def join(self, habit: Habit, *, count: int) -> None:
        for _ in range(count):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            client.connect(("127.0.0.1", self._port))
            client.sendall(habit.first)
            if habit.half_closes:
                client.shutdown(socket.SHUT_WR)
            client.setblocking(False)
            self.clients.append(SlowClient(habit, client))

    def seconds(self, count: float) -> Iterator[int]:
        """Let the crowd go on for so many seconds, and tell after each how many are left."""
        until = time.monotonic() + count
        while time.monotonic() < until:
            started = time.monotonic()
            for client in self.clients:
                if not client.is_closed:
                    client.go_on()
            yield sum(not client.is_closed for client in self.clients)
            time.sleep(max(started + 1 - time.monotonic(), 0))
