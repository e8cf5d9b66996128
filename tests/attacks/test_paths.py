"""Odd paths, queries, methods and headers over raw sockets: one answer to each, and never somebody else's object."""

import json

import pytest

from kpay_adapters.testing import CHARGE
from tests.attacks.wire import JSON, Answered, assert_envelope, talk
from tests.servers import Server, Site

# Where nothing is, however it is written. A path is compared as it stands: no dots are resolved, no case is folded.
NOTHING = [
    *[
        "/v1/charges/{id}/",
        "/v1/charges/{id}//",
        "/v1//charges/{id}",
        "//v1/charges/{id}",
        "/v1/charges/{id}%2f",
    ],
    *[
        "/v1/./charges",
        "/v1/charges/../charges",
        "/v1/charges/%2e%2e/charges",
        "/.//metrics",
        "/x/../metrics",
    ],
    *["/%2e/metrics", "/healthz/../metrics", "/V1/CHARGES", "/METRICS", "/metrics;a", "/v1/charges;x=y", "*"],
    *[
        "/v1/charges%00",
        "/v1/charges%0a",
        "/v1/charges%0d%0aSet-Cookie:%20a=b",
        "/metrics%23",
        "/v1/charges%20",
    ],
    *[
        "/v1/charges/%c0%af",
        "/v1/charges/%c0%ae%c0%ae%c0%af",
        "/%c0%ae%c0%ae/etc/passwd",
        "/v1/charges/%252e%252e",
    ],
    *["/docs/%2e%2e%2fapp.py", "/docs/..%5capp.py", "/docs/../../pyproject.toml", "/docs/docs.js%00.png"],
    *[
        "/docs/....//....//etc/passwd",
        "/docs/%2fetc%2fpasswd",
        "/static/../../etc/passwd",
        "/.git/config",
        "/.env",
    ],
    *[
        "/v1/charges/{id}%20",
        "/v1/charges/{id}%00",
        "/v1/charges/{id};a",
        "/v1/charges/{ID}",
        "/v1/charges/-{id}",
    ],
    *["/v1/charges/" + "a/" * 10_000, "/v1/charges/" + "%41" * 15_000, "/" + "%2e%2e/" * 5000],
]

# Other spellings of what is there. They open nothing that the plain path would not.
OTHER_SPELLINGS = {
    "/v1/charges/{id}": [
        *["/v1%2fcharges/{id}", "/v1/charges%2f{id}", "/v1/charges/{id}?", "/v1/charges/%30{id[1:]}"],
        *["http://evil.test/v1/charges/{id}", "ftp://evil.test/v1/charges/{id}", "/v1/charges/{id}#x"],
    ],
}

# What no path can be.
NO_PATH = [
    *[
        "metrics",
        "",
        "\x00",
        "/\x00",
        "http:///metrics",
        "http://a:b@c:99999/metrics",
        "://",
        "\\v1\\charges",
        "/a b",
    ],
    *["/\xe9", "/\xff\xfe", "/\x7f", "/\x1b[2J"],
]

# Queries that no list takes.
NO_QUERY = [
    *[
        "limit=%",
        "limit=1&limit=1",
        "limit=1%26",
        "limit[]=1",
        "LIMIT=1",
        "limit=1;starting_after=x",
        "limit=+1",
    ],
    *[
        "limit=%EF%BC%91",
        "limit=%201",
        "limit=1e1",
        "limit=0x1",
        "?",
        "limit=1&%6cimit=1",
        "%00=1",
        "limit=%C0%B1",
    ],
    *[
        "&".join(["a=b"] * 51),
        "a" * 50_000,
        "limit=" + "1" * 50_000,
        "starting_after=%ff",
        "created_at[gt]=%00",
    ],
]

METHODS = ["TRACE", "PUT", "PATCH", "DELETE", "PURGE", "PROPFIND", "M-SEARCH", "LINK", "ACL", "SOURCE"]
NO_METHODS = [
    "get",
    "Get",
    "G ET",
    "FOO",
    "PRI",
    "",
    "GET\x00",
    "\xff",
    "X" * 100_000,
    "POST /v1/charges HTTP/1.1\r\nGET",
]


@pytest.fixture(scope="module")
def paid(site: Site) -> str:
    """A charge whose id begins with 0, as all do until the year 2527."""
    id = site.one("POST", "/v1/charges", json=CHARGE)["id"]
    assert id.startswith("0")
    return id


def ask(
    running: tuple[Server, str], path: str, *, method: str = "GET", headers: bytes = b""
) -> list[Answered]:
    server, key = running
    line = f"{method} {path} HTTP/1.1\r\n".encode("latin-1")
    # Closed when it is answered, so that nobody waits for more.
    bearer = b"Host: a\r\nConnection: close\r\nAuthorization: Bearer " + key.encode() + b"\r\n"
    return talk(server, line + bearer + headers + b"\r\n").answers


@pytest.mark.parametrize("path", NOTHING, ids=lambda path: path[:40])
def test_a_path_that_leads_nowhere_is_the_one_404(running: tuple[Server, str], paid: str, path: str) -> None:
    (answer,) = ask(running, path.replace("{id}", paid).replace("{ID}", paid.upper()))
    assert_envelope(answer)
    assert answer.status == 404
    assert answer.body == {"error": {"type": "not_found", "message": "No such object.", "details": {}}}


@pytest.mark.parametrize(
    ("path", "spelling"), [(path, other) for path, others in OTHER_SPELLINGS.items() for other in others]
)
def test_another_spelling_of_a_path_shows_the_same_and_to_the_same(
    running: tuple[Server, str], paid: str, path: str, spelling: str
) -> None:
    spelt = spelling.replace("{id}", paid).replace("{id[1:]}", paid[1:])
    assert [answer.body for answer in ask(running, spelt)] == [
        answer.body for answer in ask(running, path.replace("{id}", paid))
    ]
    (refused,) = ask((running[0], "sk_test_nonsense"), spelt)
    assert refused.status == 401


@pytest.mark.parametrize("path", NO_PATH)
def test_what_is_no_path_is_400(running: tuple[Server, str], path: str) -> None:
    (answer,) = ask(running, path)
    assert_envelope(answer)
    assert answer.status == 400


@pytest.mark.parametrize("query", NO_QUERY, ids=lambda query: query[:40])
def test_what_is_no_query_is_400(running: tuple[Server, str], query: str) -> None:
    (answer,) = ask(running, f"/v1/charges?{query}")
    assert_envelope(answer)
    assert answer.status == 400


@pytest.mark.parametrize("method", METHODS)
def test_a_method_that_is_not_for_a_path_is_405(running: tuple[Server, str], method: str) -> None:
    (answer,) = ask(running, "/v1/charges", method=method)
    assert_envelope(answer)
    assert answer.status == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "OPTIONS", "POST"}


@pytest.mark.parametrize("method", NO_METHODS, ids=lambda method: method[:20])
def test_what_is_no_method_is_400_or_closed(running: tuple[Server, str], method: str) -> None:
    for answer in ask(running, "/v1/charges", method=method):
        assert_envelope(answer)
        # Of a method without end no more is read than of headers.
        assert answer.status in (400, 431)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Authorization: Bearer sk_test_nonsense\r\n", 401),
        (b"Authorization: Basic YTpi\r\n", 401),
        (b"authorization: \r\n", 401),
        (b"Idempotency-Key: a\r\nIdempotency-Key: a\r\n", 400),
        (b"Idempotency-Key: a\r\nidempotency-key: b\r\n", 400),
        (b"Idempotency-Key:\r\n", 400),
        (b"Idempotency-Key: \xc3\xa9\r\n", 400),
        (b"Idempotency-Key: " + b"a" * 256 + b"\r\n", 400),
        (b"X: " + b"a" * 70_000 + b"\r\n", 431),
        (b"X: a\r\n" * 200, 431),
    ],
    ids=lambda value: value[:30].decode("latin-1").strip() if isinstance(value, bytes) else str(value),
)
def test_a_header_that_is_given_twice_or_cannot_stand_is_refused(
    running: tuple[Server, str], headers: bytes, status: int
) -> None:
    server, key = running
    body = json.dumps(CHARGE).encode()
    bearer = b"Authorization: Bearer " + key.encode() + b"\r\n"
    head = b"POST /v1/charges HTTP/1.1\r\n%sConnection: close\r\n%s%sContent-Length: %d\r\n\r\n"
    (answer,) = talk(server, head % (JSON, bearer, headers, len(body)) + body).answers
    assert_envelope(answer)
    assert answer.status == status
