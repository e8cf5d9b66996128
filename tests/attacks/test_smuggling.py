"""
Requests that two servers might read differently: the one in front of us, and we.

Behind each stands another request, a valid charge. Where it is not certain where the first one ends, the connection is
closed and nothing behind it is read; where it is certain, both are answered, in order.
"""

import json

import httpx
import pytest

from kpay_adapters.testing import CHARGE
from tests.attacks.wire import JSON, LATE_SECONDS, Talk, answers, assert_envelope, talk
from tests.servers import Server

POST = b"POST /v1/refunds HTTP/1.1\r\n" + JSON
POST_1_0 = POST.replace(b"1.1", b"1.0", 1)
GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"

CHUNKS = b"2\r\n{}\r\n0\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"

# What stands before a body of `{}`, or of chunks, and does not say for certain how long it is.
UNCERTAIN = {
    "a length and chunks": CHUNKED + b"Content-Length: 2\r\n\r\n" + CHUNKS,
    "chunks and a length": POST + b"Content-Length: 12\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "a coding nobody knows": POST + b"Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n\r\n{}",
    "identity": POST + b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}",
    "chunks, then identity": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n" + CHUNKS,
    "chunks twice in a line": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + CHUNKS,
    "chunks in two lines": CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "chunks and identity in two lines": CHUNKED + b"Transfer-Encoding: identity\r\n\r\n" + CHUNKS,
    "a tab before chunked": POST + b"Transfer-Encoding:\tchunked\r\nContent-Length: 2\r\n\r\n" + CHUNKS,
    "a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\nContent-Length: 2\r\n\r\n{}",
    "quotes": POST + b'Transfer-Encoding: "chunked"\r\nContent-Length: 2\r\n\r\n{}',
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\nContent-Length: 2\r\n\r\n{}",
    "behind a bare LF": POST + b"X: a\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}",
    "behind a bare CR": POST + b"X: a\rTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}",
    "on a folded line": POST + b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 2\r\n\r\n{}",
    "behind a folded line": POST + b"X: a\r\n\tb\r\nContent-Length: 2\r\n\r\n{}",
    "a first line that is folded": POST.replace(b"\r\n", b"\r\n ", 1) + b"Content-Length: 2\r\n\r\n{}",
    "no coding at all": POST + b"Transfer-Encoding:\r\nContent-Length: 2\r\n\r\n{}",
    "chunks in HTTP/1.0": POST_1_0 + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "both in HTTP/1.0": POST_1_0 + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "the same length twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "a length with a sign": POST + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": POST + b"Content-Length: -2\r\n\r\n{}",
    "a hexadecimal length": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "a length with a space": POST + b"Content-Length: 2 0\r\n\r\n{}",
    "a length with an underscore": POST + b"Content-Length: 2_0\r\n\r\n{}",
    "a length that is empty": POST + b"Content-Length:\r\n\r\n{}",
    "a length past 64 bits": POST + b"Content-Length: 18446744073709551618\r\n\r\n{}",
    "a length in other digits": POST + "Content-Length: \u0662\r\n\r\n{}".encode(),
    "a length on a folded line": POST + b"Content-Length: 2\r\n 0\r\n\r\n{}",
    "a length with a space before the colon": POST + b"Content-Length : 2\r\n\r\n{}",
    "bare LFs": (POST + b"Content-Length: 2\r\n\r\n").replace(b"\r\n", b"\n") + b"{}",
    "bare CRs": (POST + b"Content-Length: 2\r\n\r\n").replace(b"\r\n", b"\r") + b"{}",
    "a bare LF at the end": POST + b"Content-Length: 2\r\n\n{}",
    "a NUL in a name": POST + b"Content\0-Length: 9\r\nContent-Length: 2\r\n\r\n{}",
    "a line without a name": POST + b": a\r\nContent-Length: 2\r\n\r\n{}",
    "a name in UTF-8": POST + "Content-L\u00e9ngth: 9\r\nContent-Length: 2\r\n\r\n{}".encode(),
    "a chunk's size with a space": CHUNKED + b"\r\n2 \r\n{}\r\n0\r\n\r\n",
    "a chunk's size with 0x": CHUNKED + b"\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "a chunk's size with a sign": CHUNKED + b"\r\n+2\r\n{}\r\n0\r\n\r\n",
    "a negative chunk": CHUNKED + b"\r\n-2\r\n{}\r\n0\r\n\r\n",
    "a chunk past 64 bits": CHUNKED + b"\r\n10000000000000002\r\n{}\r\n0\r\n\r\n",
    "chunks with bare LFs": CHUNKED + b"\r\n2\n{}\n0\n\n",
    "a chunk longer than it says": CHUNKED + b"\r\n2\r\n{}xx0\r\n\r\n",
    "a bare LF in a chunk's extension": CHUNKED + b"\r\n2;a=\nb\r\n{}\r\n0\r\n\r\n",
    "a length in the trailer": CHUNKED + b"\r\n2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n",
    "chunks in the trailer": CHUNKED + b"\r\n2\r\n{}\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.0": POST_1_0 + b"Content-Length: 2\r\n\r\n{}",
    "a close": POST + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}",
    "a tunnel": b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a websocket": GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "HTTP/2": GET
    + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    "another protocol, and a body": POST
    + b"Connection: Upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\n{}",
}

# What says for certain where it ends, with what it is answered.
CERTAIN = {
    "a length with zeros before it": (POST + b"Content-Length: 0002\r\n\r\n{}", [401]),
    "chunked in capitals": (POST + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n" + CHUNKS, [401]),
    "another coding, in chunks": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS, [401]),
    "a chunk's extension": (CHUNKED + b"\r\n2;a=b\r\n{}\r\n0\r\n\r\n", [401]),
    "a chunk's size with zeros before it": (CHUNKED + b"\r\n0002\r\n{}\r\n000\r\n\r\n", [401]),
    "a trailer": (CHUNKED + b"\r\n2\r\n{}\r\n0\r\nX-Checksum: a\r\n\r\n", [401]),
    "a body behind GET": (GET + b"Content-Length: 2\r\n\r\n{}", [200]),
    "a body behind DELETE": (
        POST.replace(b"POST /v1/refunds", b"DELETE /v1/webhook_endpoints/x") + b"Content-Length: 2\r\n\r\n{}",
        [401],
    ),
    "an expectation that is met": (POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}", [100, 401]),
    "an expectation that is too much": (
        POST + b"Expect: 100-continue\r\nContent-Length: 99999\r\n\r\n" + b"x" * 99999,
        [413],
    ),
    "an expectation nobody knows": (POST + b"Expect: nonsense\r\nContent-Length: 2\r\n\r\n{}", [401]),
    "an empty line before it": (b"\r\n\r\n" + GET + b"\r\n", [200]),
    "HEAD, whose answer has no body": (b"HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n", [405]),
    "OPTIONS": (b"OPTIONS /v1/charges HTTP/1.1\r\nHost: a\r\n\r\n", [204]),
    "a whole URL": (b"GET http://evil.test/healthz HTTP/1.1\r\nHost: a\r\n\r\n", [200]),
    "two hosts": (GET + b"Host: b\r\n\r\n", [200]),
    "an upgrade that is not asked for": (GET + b"Upgrade: websocket\r\n\r\n", [200]),
}


def behind(key: str, name: str) -> bytes:
    """The charge that stands behind an attack, and can be told from all others."""
    body = json.dumps({**CHARGE, "description": name}).encode()
    bearer = b"Authorization: Bearer " + key.encode() + b"\r\n"
    return b"POST /v1/charges HTTP/1.1\r\n%s%sContent-Length: %d\r\n\r\n%s" % (JSON, bearer, len(body), body)


def is_charged(server: Server, key: str, name: str) -> bool:
    listed = httpx.get(f"{server.url}/v1/charges?limit=100", headers={"Authorization": f"Bearer {key}"})
    return name in {charge["description"] for charge in listed.json()["data"]}


@pytest.mark.parametrize("name", UNCERTAIN)
@pytest.mark.parametrize("pieces", [1, 2], ids=["in one piece", "in two"])
def test_behind_a_request_whose_end_is_not_certain_nothing_is_read(
    running: tuple[Server, str], name: str, pieces: int
) -> None:
    server, key = running
    hidden = behind(key, name)
    # Half of the hidden request comes with the first piece, so that what is skipped might end in its middle.
    first, second = UNCERTAIN[name] + hidden[:60], hidden[60:]
    told = talk(server, *((first + second,) if pieces == 1 else (first, second)), quiet_seconds=LATE_SECONDS)
    assert told.closed
    assert len(told.answers) <= 1
    for answer in told.answers:
        assert answer.headers["connection"] == "close"
        if answer.status != 200:
            assert_envelope(answer)
    assert not is_charged(server, key, name)


def heads(told: Talk, name: str) -> list[int]:
    """The statuses; the answer to HEAD says how long a body would be, and has none."""
    if name.startswith("HEAD"):
        head, _, rest = told.received.partition(b"\r\n\r\n")
        return [int(head.split()[1]), *(answer.status for answer in answers(rest))]
    return told.statuses


@pytest.mark.parametrize("name", CERTAIN)
def test_behind_a_request_whose_end_is_certain_the_next_is_answered(
    running: tuple[Server, str], name: str
) -> None:
    server, key = running
    sent, statuses = CERTAIN[name]
    told = talk(server, sent + behind(key, name), count=len(statuses) + 1)
    assert heads(told, name) == [*statuses, 201]
    assert not told.closed
    assert is_charged(server, key, name)
