"""Raw sockets to a real server: bytes there, and what comes back as answers."""

import json
import socket
from typing import Any, NamedTuple

from tests.servers import Server

# Until the first byte of an answer, and until a close. Generous: it is waited for in vain where something is wrong.
LATE_SECONDS = 10.0

# After the last byte of an answer, where the server keeps the connection.
QUIET_SECONDS = 0.1

JSON = b"Host: a\r\nContent-Type: application/json\r\n"


class Answered(NamedTuple):
    """One answer: its status, its headers by their lower-case names, its JSON, or None where it has no body."""

    status: int
    headers: dict[str, str]
    body: Any


class Talk(NamedTuple):
    """What a server sent, and whether it closed the connection after it."""

    received: bytes
    closed: bool

    @property
    def answers(self) -> list[Answered]:
        return answers(self.received)

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.answers]


def talk(server: Server, *sent: bytes, count: int = 1, quiet_seconds: float = QUIET_SECONDS) -> Talk:
    """
    Send bytes, each piece in a segment of its own, and listen until the server closes, or has no more to say after so
    many answers.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=LATE_SECONDS) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in sent:
                client.sendall(piece)
            while data := client.recv(65536):
                received += data
                if received.count(b"HTTP/1.1 ") >= count:
                    client.settimeout(quiet_seconds)
        except TimeoutError:
            return Talk(received, False)
        except ConnectionError:
            pass
    return Talk(received, True)


def answers(received: bytes) -> list[Answered]:
    """Split what came back into answers. Whatever is left over between two of them is a failure."""
    found: list[Answered] = []
    while received:
        head, separator, rest = received.partition(b"\r\n\r\n")
        assert separator, received
        status, *lines = head.decode().split("\r\n")
        assert status.startswith("HTTP/1.1 "), received
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = int(headers.get("content-length", 0))
        is_json = headers.get("content-type") == "application/json"
        body = json.loads(rest[:length]) if length and is_json else rest[:length] or None
        found.append(Answered(int(status.split()[1]), headers, body))
        received = rest[length:]
    return found


def assert_envelope(answer: Answered) -> None:
    """An error has what every error has, and nothing of the attacker's."""
    assert 400 <= answer.status < 500, answer
    assert set(answer.body["error"]) == {"type", "message", "details"}
    assert answer.headers["request-id"].startswith("req_")
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
