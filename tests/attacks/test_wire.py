"""Broken HTTP over raw sockets to a real server: 4xx in the envelope or a closed connection, and it lives on."""

import json

import httpx
import pytest

from kpay_adapters.testing import CHARGE
from tests.attacks.wire import JSON, assert_envelope, talk
from tests.servers import Server

HEAD = b"POST /v1/charges HTTP/1.1\r\n" + JSON


BROKEN = {
    "no HTTP": b"\x00\x01\x02\x03 hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
    "HTTP 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method nobody knows": b"HACK /v1/charges HTTP/1.1\r\nHost: a\r\n\r\n",
    "NUL in the path": b"GET /v1/\x00charges HTTP/1.1\r\nHost: a\r\n\r\n",
    "raw bytes in the path": b"GET /v1/charges/\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
    "raw bytes in the query": b"GET /v1/charges?limit=\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "broken percent escapes": b"GET /v1/charges/%zz%f%?limit=%zz HTTP/1.1\r\nHost: a\r\n\r\n",
    "a whole URL": b"GET http://evil.test/v1/charges HTTP/1.1\r\nHost: a\r\n\r\n",
    "a star": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT": b"CONNECT evil.test:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a huge path": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "a huge header": b"GET /v1/charges HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    "very many headers": b"GET /v1/charges HTTP/1.1\r\n" + b"X: a\r\n" * 1000 + b"\r\n",
    "NUL in a header": b"GET /v1/charges HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \x00\r\n\r\n",
    "a header without a colon": b"GET /v1/charges HTTP/1.1\r\nHost\r\n\r\n",
    "a folded header": b"GET /v1/charges HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "a bare CR": b"GET /v1/charges HTTP/1.1\r\nHost: a\r\nX: a\rSet-Cookie: b\r\n\r\n",
    "a space before the colon": b"GET /v1/charges HTTP/1.1\r\nHost : a\r\n\r\n",
    "a length that is no number": HEAD + b"Content-Length: ten\r\n\r\n{}",
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n{}",
    "an absurd length": HEAD + b"Content-Length: " + b"9" * 60 + b"\r\n\r\n{}",
    "a large length": HEAD + b"Content-Length: 999999999999\r\n\r\n{}",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "a length and chunks": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks that are no chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk of absurd size": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"F" * 40 + b"\r\n{}",
    "an encoding nobody knows": HEAD + b"Transfer-Encoding: gzip\r\n\r\n{}",
    "an upgrade": b"GET /v1/charges HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "an ancient version": b"GET /v1/charges HTTP/0.9\r\n\r\n",
    "a request that smuggles another": HEAD
    + b"Content-Length: 0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN.keys())
def test_broken_http_is_4xx_in_the_envelope_or_a_closed_connection(
    running: tuple[Server, str], sent: bytes
) -> None:
    server, _ = running
    for answer in talk(server, sent).answers:
        assert_envelope(answer)
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    assert "Traceback" not in server.log.read_text()


def test_a_full_header_injection_comes_to_nothing(running: tuple[Server, str]) -> None:
    server, key = running
    path = b"/v1/charges?limit=1%0d%0aSet-Cookie:%20a=b"
    request = b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + key.encode() + b"\r\n\r\n"
    ((status, headers, _),) = talk(server, request).answers
    assert status == 400
    assert "set-cookie" not in headers


def test_requests_sent_ahead_on_one_connection_are_answered_in_order(running: tuple[Server, str]) -> None:
    server, key = running
    bearer = b"Authorization: Bearer " + key.encode() + b"\r\n"
    body = json.dumps(CHARGE).encode()
    charge = HEAD + bearer + b"Content-Length: %d\r\n\r\n" % len(body) + body
    refused = HEAD + b"Content-Length: 2\r\n\r\n{}"
    missing = b"GET /v1/charges/x HTTP/1.1\r\nHost: a\r\n" + bearer + b"\r\n"
    found = talk(server, charge + refused + missing + charge, count=4).answers
    assert [status for status, _, _ in found] == [201, 401, 404, 201]
    assert found[0][2]["id"] < found[3][2]["id"]


def test_what_comes_behind_a_chunked_body_is_no_header(running: tuple[Server, str]) -> None:
    """A proxy that looks at headers has seen neither key (RFC 9110, section 6.5.1)."""
    server, key = running
    bearer = b"Authorization: Bearer " + key.encode() + b"\r\n"
    body = json.dumps(CHARGE).encode()
    chunk = b"%x\r\n" % len(body) + body + b"\r\n0\r\n"
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n"
    ((status, _, _),) = talk(server, chunked + b"\r\n" + chunk + bearer + b"\r\n").answers
    assert status == 401
    twice = chunked + bearer + b"\r\n" + chunk + bearer + b"Idempotency-Key: a\r\nIdempotency-Key: b\r\n\r\n"
    found = talk(server, twice + twice, count=2).answers
    assert [status for status, _, _ in found] == [201, 201]


def test_a_body_over_64_kib_is_413_also_when_its_end_never_comes(running: tuple[Server, str]) -> None:
    server, key = running
    bearer = b"Authorization: Bearer " + key.encode() + b"\r\n"
    declared = HEAD + bearer + b"Content-Length: 65537\r\n\r\n"
    chunked = (
        HEAD
        + bearer
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"10000\r\n"
        + b" " * 65536
        + b"\r\n1\r\n \r\n"
    )
    for sent in (declared, chunked):
        ((status, _, body),) = talk(server, sent).answers
        assert (status, body["error"]["type"]) == (413, "invalid_request_error")


def test_a_key_with_odd_bytes_around_it_is_401(running: tuple[Server, str]) -> None:
    server, key = running
    for value in (key + "\x7f", "\xa0" + key, key + "\t" + key):
        sent = (
            b"GET /v1/charges HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer "
            + value.encode("latin-1")
            + b"\r\n\r\n"
        )
        ((status, headers, _),) = talk(server, sent).answers
        assert (status, headers.get("www-authenticate")) in ((401, "Bearer"), (400, None))
