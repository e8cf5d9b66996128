"""The load generator sends what it is told to send, checks every answer, and ends at the first that is wrong."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from benchmarks.load import Job, Result, run
from benchmarks.processes import Failed
from benchmarks.samples import KEY

REQUEST = f"POST /v1/charges HTTP/1.1\r\nIdempotency-Key: {KEY}\r\n\r\n"


class Answering:
    """A server that answers each request with one body, and remembers the keys that it was sent."""

    def __init__(self, body: bytes, *, status: bytes = b"201 Created") -> None:
        self.answer = b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)
        self.keys: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # A generator that has seen a wrong answer leaves without a word.
        with connection, suppress(ConnectionError):
            while request := connection.recv(4096):
                self.keys.append(request.decode().partition("Idempotency-Key: ")[2].partition("\r\n")[0])
                connection.sendall(self.answer)

    def close(self) -> None:
        # Whoever waits for the next connection only wakes when it is shut down.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def server() -> Iterator[Answering]:
    with closing(Answering(b"charged")) as server:
        yield server


def send(server: Answering, *, clients: int = 4, body: str = "charged", status: int = 201) -> Result:
    job = Job(
        ports=[server.port],
        clients=clients,
        status=status,
        requests=[REQUEST],
        bodies=[body],
        key_prefix="new-",
        first_key=7,
        count=50,
        collect=True,
        server_pids=[],
    )
    return run(job)


def test_each_request_has_a_key_of_its_own_numbered_from_the_first(server: Answering) -> None:
    result = send(server)
    assert (result.requests, result.sent) == (50, 50)
    assert sorted(server.keys) == [f"new-{number:020d}" for number in range(7, 57)]
    assert result.answers == ["charged"] * 50
    assert 0 < result.p50_ms <= result.p99_ms


def test_an_answer_that_differs_by_a_byte_ends_the_run(server: Answering) -> None:
    with pytest.raises(Failed, match="wrong answer"):
        send(server, body="Charged")


def test_another_status_ends_the_run(server: Answering) -> None:
    with pytest.raises(Failed, match="201 Created"):
        send(server, status=200)


def test_clients_are_shared_out_over_the_ports() -> None:
    with closing(Answering(b"")) as one, closing(Answering(b"")) as two:
        job = Job(
            ports=[one.port, two.port],
            clients=2,
            status=201,
            requests=[REQUEST],
            key_prefix="new-",
            count=40,
            server_pids=[],
        )
        run(job)
        assert one.keys
        assert two.keys
        assert len(one.keys) + len(two.keys) == 40
