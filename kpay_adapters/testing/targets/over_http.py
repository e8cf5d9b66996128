"""A server somewhere, with a secret test key."""

import ssl
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import SplitResult, quote, urlencode, urlsplit

import msgspec

from kpay_adapters.testing.targets.asking import Ask, CannotAsk, Reply, Said
from kpay_core.domain import keys

# A request waits up to 30 s for the card network and 10 s for another with its key; what is late beyond that is lost.
TIMEOUT_SECONDS = 60

# Turning the clock over days takes longer: everything due by then happens before it answers.
CLOCK_TIMEOUT_SECONDS = 600

# Servers close connections that were idle for some seconds (uvicorn: 5), and a request may run into that.
IDLE_SECONDS = 2

# Told to come back later so often in a row, nobody would go on asking.
PATIENCE = 30

ADDRESS = "The address must be like http://127.0.0.1:8000 or https://pay.example."

METHODS = {
    "create": "POST",
    "show": "GET",
    "list": "GET",
    "change": "PATCH",
    "delete": "DELETE",
    "rotate": "POST",
}
SAID = {
    200: Said.SHOWN,
    201: Said.CREATED,
    202: Said.ACCEPTED,
    402: Said.DECLINED,
    400: Said.REFUSED,
    413: Said.REFUSED,
    404: Said.NOT_FOUND,
    409: Said.BUSY,
    429: Said.BUSY,
}


class Got(msgspec.Struct, frozen=True):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    text: str


class OverHttp:
    """
    Implements `Target` with the address of a server, such as `http://127.0.0.1:8000`, and a secret test key.

    `other_keys` are the test keys of other merchants, who must see nothing. A key that is not a test key is refused
    before anything is asked. Where the rate limit is reached it waits for as long as it is told. Time is turned where
    the server has a test clock and `may_turn`. Raises `CannotAsk`. It shows no key, and tells none.
    """

    delivers = True

    def __init__(self, url: str, key: str, *, other_keys: Sequence[str] = (), may_turn: bool = True) -> None:
        parts, host, port = taken_apart(url)
        self.name = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._prefix = parts.path.rstrip("/")
        self._keys = [checked(each) for each in (key, *other_keys)]
        self._connection = connect(parts.scheme, host, port)
        self._used_at = time.monotonic()
        self.others = len(other_keys)
        try:
            self._knock()
            self._clock = may_turn and self._ask_clock().said is Said.SHOWN
        except BaseException:
            self.close()
            raise

    def ask(self, ask: Ask) -> Reply:
        # A dispute is answered by a POST, as the public document has it.
        method = "POST" if (ask.verb, ask.kind) == ("change", "disputes") else METHODS[ask.verb]
        secret = self._keys[0 if ask.as_other is None else ask.as_other + 1]
        return as_reply(self._send(method, path_of(ask), body=ask.body, key=ask.key, secret=secret))

    def now(self) -> datetime:
        if not self._clock:
            return datetime.now(UTC)
        return datetime.fromisoformat(self._ask_clock().value["now"])

    def pass_time(self, seconds: int) -> Reply | None:
        return self._ask_clock({"advance_seconds": seconds}) if self._clock else None

    def audit(self) -> None:
        """Nobody sees a whole store from outside."""

    def close(self) -> None:
        self._connection.close()

    def _ask_clock(self, turn: Mapping[str, Any] | None = None) -> Reply:
        return as_reply(self._send("GET" if turn is None else "POST", "/v1/test_clock", body=turn))

    def _knock(self) -> None:
        """Make sure that there is a K-Payments, and that it lets every key in."""
        for secret in self._keys:
            got = self._send("GET", "/v1/balance", secret=secret)
            if got.status != 200 or '"object":"balance"' not in got.text:
                raise CannotAsk(f"{self.name} does not answer as K-Payments does: {got.status}.")

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        key: str | None = None,
        secret: str | None = None,
    ) -> Got:
        """Send a request, again and again while it is told to come back later."""
        headers = {"Authorization": f"Bearer {secret or self._keys[0]}"}
        encoded = None if body is None else msgspec.json.encode(body)
        if encoded is not None:
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Idempotency-Key"] = key
        for patience in reversed(range(PATIENCE)):
            got = self._exchange(method, self._prefix + path, encoded, headers)
            if got.status == 401:
                raise CannotAsk(f"{self.name} does not know the key.")
            wait_seconds = got.headers.get("retry-after", "")
            if patience == 0 or got.status not in (409, 429) or not wait_seconds.isdecimal():
                return got
            time.sleep(int(wait_seconds))
        raise AssertionError("the last answer is returned")

    def _exchange(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Got:
        timeout = (
            CLOCK_TIMEOUT_SECONDS if (method, path[-11:]) == ("POST", "/test_clock") else TIMEOUT_SECONDS
        )
        if time.monotonic() - self._used_at > IDLE_SECONDS or self._connection.timeout != timeout:
            self._connection.close()
            # Holds for the connection that is opened next, by itself.
            self._connection.timeout = timeout
        try:
            self._connection.request(method, path, body=body, headers=dict(headers))
            return read(self._connection.getresponse())
        except (OSError, HTTPException, UnicodeDecodeError) as failure:
            # The failure itself may quote what was sent.
            raise CannotAsk(f"{self.name} cannot be reached: {type(failure).__name__}.") from None
        finally:
            self._used_at = time.monotonic()


def taken_apart(url: str) -> tuple[SplitResult, str, int | None]:
    """Take an address apart: the whole, its host and its port; raises `CannotAsk`, which does not show a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")  # As whoever dials it will.
    except ValueError:
        raise CannotAsk(ADDRESS) from None
    is_sound = parts.scheme in ("http", "https") and "@" not in parts.netloc and not parts.query
    if not is_sound or not parts.hostname or not parts.path.isascii():
        raise CannotAsk(ADDRESS)
    return parts, parts.hostname, port


def checked(key: str) -> str:
    """Return a secret test key, or raise `CannotAsk`: nobody tries things out with other people's money."""
    if key.startswith(("sk_live_", "pk_live_")):
        raise CannotAsk("A live key is never used for this: give a secret test key, sk_test_….")
    if not key.startswith("sk_test_") or not keys.is_well_formed(key):
        raise CannotAsk("The key is none: give a secret test key, sk_test_….")
    return key


def connect(scheme: str, host: str, port: int | None) -> HTTPConnection:
    if scheme == "http":
        return HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    return HTTPSConnection(host, port, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context())


def path_of(ask: Ask) -> str:
    """Write the path of a request, whatever its id is."""
    path = f"/v1/{ask.kind}"
    if ask.id:
        path += f"/{quote(ask.id, safe='')}"
    if ask.verb == "rotate":
        path += "/rotate_secret"
    return f"{path}?{urlencode(ask.params)}" if ask.params else path


def read(response: HTTPResponse) -> Got:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Got(response.status, headers, response.read().decode())


def as_reply(got: Got) -> Reply:
    said = SAID.get(got.status, Said.FAILED)
    return Reply(said=said, text=got.text, replayed=got.headers.get("idempotent-replayed") == "true")
