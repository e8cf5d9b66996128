"""Slow clients against a real uvicorn, on real sockets, with deadlines made short."""

import asyncio
import contextlib
import gc
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from structlog.testing import capture_logs

from kpay_http.body import IS_HERE
from kpay_http.deadlines import HEAD_LIMIT_BYTES, HEADER_COUNT_LIMIT, PIPELINE_LIMIT, DeadlineProtocol
from kpay_http.replies import WHOLE

HEAD_SECONDS = 0.4

# A client that waits this long for something that should have happened reports a failure.
LATE_SECONDS = 5.0


# Above and below the 64 KiB at which uvicorn notices that a client takes nothing.
SIZES = {"/large": 32 * 1024 * 1024, "/medium": 60 * 1024}
SIZES |= {f"/whole{path}": size for path, size in SIZES.items()}


class Impatient(DeadlineProtocol):
    head_seconds = HEAD_SECONDS
    answer_seconds = 0.4


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer by path: at once, when the body is there, after a while, or with more than a client takes."""
    is_here = b"yes" if IS_HERE in scope else b"no"
    if scope["path"] == "/body" or (scope["method"] == "POST" and scope["path"] in ("/whole", "/parts")):
        while (await receive())["more_body"]:
            pass
    if scope["path"].endswith("/slow"):
        await asyncio.sleep(2 * HEAD_SECONDS)
    body = b"x" * SIZES.get(scope["path"], 2)
    headers = [(b"content-length", b"%d" % len(body)), (b"body-is-here", is_here)]
    if scope["path"].startswith("/whole"):
        await scope[WHOLE](200, headers, body)
        return
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body[2:], "more_body": True})
    await send({"type": "http.response.body", "body": body[:2]})


@pytest.fixture(scope="module")
def server() -> Iterator[uvicorn.Server]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    # Small, so that what a client does not take waits in the server and not in the kernel.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    config = uvicorn.Config(
        app,
        http=Impatient,
        ws="none",
        lifespan="off",
        log_config=None,
        timeout_keep_alive=1,
        access_log=False,
    )
    running = uvicorn.Server(config)
    running.port = listener.getsockname()[1]  # type: ignore[attr-defined]
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield running
    running.should_exit = True
    thread.join(10)
    listener.close()
    assert not thread.is_alive()


@contextlib.contextmanager
def connected(server: uvicorn.Server, *, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(LATE_SECONDS)
    client.connect(("127.0.0.1", server.port))  # type: ignore[attr-defined]
    with client:
        yield client


def drip(client: socket.socket, piece: bytes, *, every: float = 0.05) -> float:
    """Send a piece now and then until the server closes; say after how many seconds it did."""
    start = time.monotonic()
    while time.monotonic() - start < LATE_SECONDS:
        try:
            client.sendall(piece)
            client.settimeout(every)
            if client.recv(1000) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
        finally:
            client.settimeout(LATE_SECONDS)
    return time.monotonic() - start


def rest(client: socket.socket) -> bytes:
    """Everything the server still sends before it closes."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := client.recv(65536):
            received += data
    return received


def answer(client: socket.socket) -> bytes:
    """One answer of the app, which ends in xx."""
    received = b""
    while not received.endswith(b"xx"):
        data = client.recv(65536)
        assert data, "closed before the answer was complete"
        received += data
    return received


def envelope(received: bytes) -> tuple[int, dict[str, Any]]:
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"\r\nrequest-id: req_" in head
    return int(head.split()[1]), json.loads(body)["error"]


@pytest.mark.parametrize(
    "requests",
    [
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        "GET {path} HTTP/1.0\r\nhost: x\r\n\r\n",
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}",
        "POST {path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}",
        # Sent ahead of the first one's answer.
        "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n" * 3 + "GET {path} HTTP/1.0\r\nhost: x\r\n\r\n",
    ],
)
def test_a_whole_answer_is_what_its_parts_would_be(server: uvicorn.Server, requests: str) -> None:
    received: list[bytes] = []
    for path in ("/whole", "/parts"):
        with connected(server) as client:
            client.sendall(requests.format(path=path).encode())
            received.append(rest(client))
    whole, parts = (re.sub(rb"\r\ndate: [^\r]+", b"\r\ndate:", each) for each in received)
    assert whole == parts
    assert whole.count(b"HTTP/1.1 200 OK\r\ndate:") == requests.count("{path}")


def test_a_whole_answer_leaves_nothing_for_the_collector(server: uvicorn.Server) -> None:
    with connected(server) as client:
        client.sendall(b"GET /whole HTTP/1.1\r\nhost: x\r\n\r\n")
        answer(client)
        gc.collect()
        for _ in range(50):
            client.sendall(b"GET /whole HTTP/1.1\r\nhost: x\r\n\r\n")
            answer(client)
        # A few of the last request may still be in use.
        assert gc.collect() < 50


def is_head_deadline(seconds: float) -> bool:
    return 0.8 * HEAD_SECONDS < seconds < HEAD_SECONDS + 2


def test_a_client_that_connects_and_says_nothing_is_closed(server: uvicorn.Server) -> None:
    with connected(server) as client:
        start = time.monotonic()
        assert rest(client) == b""
        assert is_head_deadline(time.monotonic() - start)


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n"),
        (b"GET / HTTP/1.1\r\nhost: ", b"x"),
        (b"GET /", b"a"),
        (b"", b"\r\n"),
    ],
)
def test_headers_that_drip_are_cut_off_at_the_deadline(
    server: uvicorn.Server, first: bytes, piece: bytes
) -> None:
    with connected(server) as client:
        client.sendall(first)
        assert is_head_deadline(drip(client, piece))


def test_headers_in_pieces_within_the_deadline_are_served(server: uvicorn.Server) -> None:
    with connected(server) as client:
        for piece in (b"GET / HT", b"TP/1.1\r\nhos", b"t: x\r\n", b"\r\n"):
            client.sendall(piece)
            time.sleep(HEAD_SECONDS / 8)
        assert b" 200 " in answer(client)


@pytest.mark.parametrize("piece", [b"a: b\r\n", b"\r\n"])
def test_a_further_request_on_a_connection_has_the_same_deadline(
    server: uvicorn.Server, piece: bytes
) -> None:
    with connected(server) as client:
        for _ in range(3):
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            answer(client)
        client.sendall(b"GET / HTTP/1.1\r\n" if piece.strip() else b"\r\n")
        assert is_head_deadline(drip(client, piece))


def test_a_request_may_take_longer_than_the_deadline_once_its_headers_are_there(
    server: uvicorn.Server,
) -> None:
    with connected(server) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b" 200 " in answer(client)
        client.sendall(b"POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\n")
        for _ in range(6):
            time.sleep(HEAD_SECONDS / 3)
            client.sendall(b"x")
        assert b" 200 " in answer(client)


@pytest.mark.parametrize(
    ("request_bytes", "is_here"),
    [
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}", b"yes"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", b"yes"),
        (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"yes"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{", b"no"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n", b"no"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n", b"no"),
    ],
)
def test_the_application_knows_whether_the_whole_body_is_here(
    server: uvicorn.Server, request_bytes: bytes, is_here: bytes
) -> None:
    with connected(server) as client:
        client.sendall(request_bytes)
        assert b"\r\nbody-is-here: %s\r\n" % is_here in answer(client)


def test_an_idle_connection_is_left_to_uvicorns_keep_alive(server: uvicorn.Server) -> None:
    with connected(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        answer(client)
        time.sleep(1.5 * HEAD_SECONDS)
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        answer(client)
        start = time.monotonic()
        assert rest(client) == b""
        assert 0.9 < time.monotonic() - start < 3


def test_a_body_nobody_reads_is_drained_for_a_while_and_then_closed(server: uvicorn.Server) -> None:
    with connected(server) as client:
        client.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
        assert b" 200 " in answer(client)
        assert 0.3 < drip(client, b"x" * 100) < 2.5


def test_a_body_answered_early_leaves_the_connection_usable_when_it_ends(server: uvicorn.Server) -> None:
    with connected(server) as client:
        client.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n")
        assert b" 200 " in answer(client)
        client.sendall(b"x" * 200_000 + b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b" 200 " in answer(client)


@pytest.mark.parametrize(
    "endless",
    [
        b"GET / HTTP/1.1\r\n" + b"name: value\r\n" * 20_000,
        b"GET / HTTP/1.1\r\nname: " + b"v" * 200_000,
        b"GET / HTTP/1.1\r\n" + b"n" * 200_000,
        b"GET /" + b"a" * 200_000,
        b"GET / HTTP/1.1\r\n" + b"a:\r\n" * (HEADER_COUNT_LIMIT + 1),
        b"GET / HTTP/1.1\r\n" + b"a:\r\n" * (HEADER_COUNT_LIMIT + 1) + b"\r\n",
    ],
)
def test_headers_without_end_are_refused_and_not_kept(server: uvicorn.Server, endless: bytes) -> None:
    with connected(server) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(endless)
        received = rest(client)
        # The kernel may throw the answer away with what was still on its way here; closed it is anyhow.
        if received:
            assert envelope(received)[0] == 431


# The last of those without end is found only when more follows.
@pytest.mark.parametrize("rest_of_them", [b"a:\r\n", b"\r\n"], ids=["without end", "complete"])
def test_headers_that_are_too_many_are_told_so(server: uvicorn.Server, rest_of_them: bytes) -> None:
    with connected(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * (HEADER_COUNT_LIMIT + 1) + rest_of_them)
        status, error = envelope(rest(client))
        assert (status, error["message"]) == (431, "The request has more than 128 headers.")


@pytest.mark.parametrize(
    "pieces",
    [
        (b"GET / HTTP/1.1\r\n", b"a: " + b"v" * (HEAD_LIMIT_BYTES - 2)),
        (b"GET / HTTP/1.1\r\na: " + b"v" * HEAD_LIMIT_BYTES + b"\r\n\r\n",),
    ],
    ids=["without end", "complete"],
)
def test_headers_that_are_too_large_are_told_so(server: uvicorn.Server, pieces: tuple[bytes, ...]) -> None:
    with connected(server) as client:
        for piece in pieces:
            client.sendall(piece)
            # So that the first is read by itself.
            time.sleep(HEAD_SECONDS / 8)
        status, error = envelope(rest(client))
        told = "The request's address and headers are larger than 64 KiB."
        assert (status, error["message"]) == (431, told)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"a:\r\n" * (HEADER_COUNT_LIMIT + 1) + b"\r\n", 431),
    ],
)
def test_a_refusal_before_there_is_a_request_leaves_a_line_with_its_id(
    server: uvicorn.Server, request_bytes: bytes, status: int
) -> None:
    with capture_logs() as logged, connected(server) as client:
        client.sendall(request_bytes)
        received = rest(client)
    told, error = envelope(received)
    (line,) = (each for each in logged if each["event"] == "request")
    assert f"\r\nrequest-id: {line['request_id']}\r\n".encode() in received
    assert (line["status"], line["route"], line["reason"]) == (told, "unknown", error["message"])
    assert told == status


def test_large_headers_below_the_limit_are_served(server: uvicorn.Server) -> None:
    with connected(server) as client:
        many = b"".join(b"n%d: v\r\n" % n for n in range(HEADER_COUNT_LIMIT - 2))
        large = b"large: " + b"x" * (HEAD_LIMIT_BYTES - len(many) - 100) + b"\r\n"
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n" + many + large + b"\r\n")
        assert b" 200 " in answer(client)


@pytest.mark.parametrize("trailers", [b"name: value\r\n" * 20_000, b"name: " + b"v" * 200_000])
def test_trailers_without_end_are_not_kept_either(server: uvicorn.Server, trailers: bytes) -> None:
    with connected(server) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(b"POST /body HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
            client.sendall(trailers)
        assert rest(client) == b"", "a refusal would be taken for the request's own answer"


def test_what_is_not_http_is_answered_with_the_error_envelope(server: uvicorn.Server) -> None:
    with connected(server) as client:
        client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
        status, error = envelope(rest(client))
        assert (status, error["type"], error["details"]) == (400, "invalid_request_error", {})


def test_nonsense_after_a_request_is_never_its_answer(server: uvicorn.Server) -> None:
    with connected(server) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        time.sleep(0.1)
        client.sendall(b"\x00\x00nonsense\r\n\r\n")
        assert rest(client) == b""


def test_requests_sent_ahead_are_served_in_order_up_to_a_limit(server: uvicorn.Server) -> None:
    one = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    with connected(server) as client:
        client.sendall(one * PIPELINE_LIMIT)
        received = b""
        while received.count(b" 200 ") < PIPELINE_LIMIT:
            received += client.recv(65536)
    with connected(server) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(b"GET /slow HTTP/1.1\r\n\r\n" + one * (PIPELINE_LIMIT + 1))
        assert rest(client) == b""


@pytest.mark.parametrize("path", list(SIZES))
@pytest.mark.parametrize("header", [b"host: x\r\n", b"connection: close\r\n"])
def test_a_client_that_does_not_take_its_answer_is_dropped_with_it(
    server: uvicorn.Server, path: str, header: bytes
) -> None:
    with connected(server, receive_buffer=2048) as client:
        client.sendall(b"GET %s HTTP/1.1\r\n%s\r\n" % (path.encode(), header))
        time.sleep(0.2)
        assert server.server_state.connections, "the answer still has time"
        assert all_closed(server), "the server still holds the answer"
        assert len(rest(client)) < SIZES[path]


@pytest.mark.parametrize("path", ["/large", "/whole/large"])
def test_requests_sent_ahead_by_a_client_that_takes_no_answer_end_without_an_error(
    server: uvicorn.Server, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    with connected(server, receive_buffer=2048) as client:
        client.sendall(b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % path.encode() * 3)
        time.sleep(0.2)
        assert all_closed(server)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("path", ["/slow", "/whole/slow"])
def test_an_answer_to_a_client_who_is_gone_is_no_error(
    server: uvicorn.Server, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    with connected(server) as client:
        client.sendall(b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % path.encode())
        time.sleep(0.1)
    time.sleep(3 * HEAD_SECONDS)
    assert server.server_state.connections == set()
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_two_hundred_slow_clients_do_not_delay_anyone_and_are_all_closed(server: uvicorn.Server) -> None:
    with contextlib.ExitStack() as slow:
        for _ in range(200):
            slow.enter_context(connected(server)).sendall(b"POST /v1/charges HTTP/1.1\r\nhost: ")
        start = time.monotonic()
        with connected(server) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert b" 200 " in answer(client)
        assert time.monotonic() - start < 1
        assert all_closed(server)


def all_closed(server: uvicorn.Server) -> bool:
    deadline = time.monotonic() + LATE_SECONDS
    while server.server_state.connections and time.monotonic() < deadline:
        time.sleep(0.01)
    return not server.server_state.connections
