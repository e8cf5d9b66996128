"""
The one strict place where request bodies are read and decoded.

Frameworks are lax here: they take text/plain for JSON, keep the last of two equal keys, and answer 500 to
invalid UTF-8 or deep nesting. Whatever bytes come, this module gives a JSON object or one of its errors:

    BadBody         the bytes are not one strict JSON object (400)
    TooLarge        more than 64 KiB were declared or sent (413)
    TooSlow         the body was not complete in 30 seconds (408)
    Disconnected    the client is gone, so nobody waits for an answer

A message never holds a submitted value.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import msgspec

from kpay_core.domain.errors import KpayError

# The contract's limit. A charge is half a KiB, the longest evidence text 20,000 characters.
LIMIT_BYTES = 64 * 1024

# A phone on a bad line sends 64 KiB in 30 seconds; a client that holds its connection open does not.
DEADLINE_SECONDS = 30.0

# Our deepest body has three levels. 32 is the contract's limit for what may be said at all.
DEPTH_LIMIT = 32

# A double holds 308 digits. A longer integer is not a finite number to anyone who computes with doubles.
DIGITS_LIMIT = 308

Receive = Callable[[], Awaitable[Mapping[str, object]]]


class BadBody(KpayError):
    """The body is not one strict JSON object, or does not say that it is JSON."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__()


class TooLarge(KpayError):
    """The body is over the limit, by its own Content-Length or by count."""

    message = f"The body must not be larger than {LIMIT_BYTES} bytes."


class TooSlow(KpayError):
    """The body was not complete in time."""

    message = "The body did not arrive in time."


class Disconnected(Exception):
    """The client hung up before its body was complete. There is nobody to answer, so this is no KpayError."""


# In a request's scope: its server has received the whole body by now, so that nobody waits for its client.
IS_HERE = "kpay.body_is_here"


async def read(
    receive: Receive,
    content_length: str | None = None,
    *,
    is_here: bool = False,
    limit_bytes: int = LIMIT_BYTES,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> bytes:
    """
    Read the whole body from an ASGI `receive`. Where it `is_here` no deadline is set: that costs as much as decoding.

    A declared length over the limit is refused before a byte is asked for; what is not declared (chunked) is
    counted, and never more than the limit and one piece is held. Raises TooLarge, TooSlow and Disconnected.
    """
    if content_length is not None and _declares_more(content_length, limit_bytes):
        raise TooLarge
    if is_here:
        return await _put_together(receive, limit_bytes)
    try:
        async with asyncio.timeout(deadline_seconds):
            return await _put_together(receive, limit_bytes)
    except TimeoutError:
        raise TooSlow from None


async def _put_together(receive: Receive, limit_bytes: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnected
        piece = message.get("body", b"")
        assert isinstance(piece, bytes), "ASGI bodies are bytes"
        pieces.append(piece)
        size += len(piece)
        if size > limit_bytes:
            raise TooLarge
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def decode(raw: bytes, content_type: str | None) -> dict[str, object]:
    """
    Decode a body to the JSON object that it is, or raise BadBody.

    Numbers keep type and value: 1.0 and 1e22 are floats, an integer of up to 308 digits is exact. Refused are
    a missing or other content type, bytes that are not UTF-8, a byte order mark, malformed JSON, a key that
    stands twice in one object, NUL characters, lone surrogates, nesting over 32, NaN, numbers past a double.
    """
    if not raw:
        raise BadBody("The body must not be empty.")
    if content_type != "application/json" and not _is_json(content_type):
        raise BadBody("The Content-Type must be application/json.")
    try:
        decoded = _JSON.decode(raw)
    except UnicodeDecodeError:
        raise BadBody("The body is not valid UTF-8.") from None
    except RecursionError:
        raise BadBody(_TOO_DEEP) from None
    except msgspec.ValidationError:
        raise BadBody(_TOO_BIG) from None
    except (msgspec.DecodeError, ValueError):
        raise BadBody("The body is not valid JSON.") from None
    if type(decoded) is not dict:
        raise BadBody("The body must be an object.")
    value = cast("dict[str, object]", decoded)
    if b"\\u0000" in raw and b"\\u0000" in _unpaired(raw):
        raise BadBody("The body must not contain NUL characters.")
    if raw.count(b"{") + raw.count(b"[") > DEPTH_LIMIT or _may_hold_long_integers(raw):
        _walk(value)
    if _colons(raw) != _ENCODER.encode(value).count(b":"):
        raise BadBody("The body must not have the same key twice in one object.")
    return value


_TOO_DEEP = f"The body must not be nested deeper than {DEPTH_LIMIT} levels."
_TOO_BIG = "The body holds a number that is out of range."

# msgspec judges grammar, UTF-8, surrogates and floats, at a quarter of the standard library's price.
_JSON = msgspec.json.Decoder()
_ENCODER = msgspec.json.Encoder()

_ZEROS_FOR_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_INTEGER_BOUND = 10**DIGITS_LIMIT
_CONTAINERS = frozenset((dict, list))

_CONTENT_TYPE = re.compile(
    r'application/json[ \t]*(;[ \t]*(charset=("utf-8"|utf-8))?[ \t]*)?', re.ASCII | re.IGNORECASE
)
# The longest honest header has 33 characters; a bound keeps the pattern's work small.
_CONTENT_TYPE_LIMIT = 100


def _is_json(content_type: str | None) -> bool:
    if content_type is None or len(content_type) > _CONTENT_TYPE_LIMIT:
        return False
    return _CONTENT_TYPE.fullmatch(content_type.strip(" \t")) is not None


def _declares_more(content_length: str, limit_bytes: int) -> bool:
    """Whether a Content-Length is over the limit. One that is no number is the server's to refuse."""
    digits = content_length.strip().lstrip("0") if content_length.isascii() else ""
    return digits.isdigit() and (len(digits) > len(str(limit_bytes)) or int(digits) > limit_bytes)


def _unpaired(raw: bytes) -> bytes:
    r"""JSON text without its escaped backslashes: a \u that is left is an escape."""
    return raw.replace(b"\\\\", b"")


def _colons(raw: bytes) -> int:
    """
    Count the colons of JSON text, those that are escaped in strings as well.

    This finds a key that stands twice: the decoder keeps one of the two pairs, so at least one colon is gone
    when the value is encoded again; and where no pair was dropped every colon is still there.
    """
    if b"\\u003" in raw:
        raw = _unpaired(raw).replace(b"\\u003a", b":").replace(b"\\u003A", b":")
    return raw.count(b":")


def _may_hold_long_integers(raw: bytes) -> bool:
    """Look at every 77th byte only: of 309 digits in a row four stand there, one after the other."""
    return b"0000" in raw[::77].translate(_ZEROS_FOR_DIGITS)


def _walk(value: dict[str, object]) -> None:
    """Go down level by level, at most 32, and raise BadBody at a deeper one or at a too long integer."""
    level: list[Any] = [value]
    for _ in range(DEPTH_LIMIT):
        inside: list[Any] = []
        for container in level:
            inside.extend(
                cast("dict[str, Any]", container).values() if type(container) is dict else container
            )
        if any(type(item) is int and not -_INTEGER_BOUND < item < _INTEGER_BOUND for item in inside):
            raise BadBody(_TOO_BIG)
        level = [item for item in inside if type(item) in _CONTAINERS]
        if not level:
            return
    raise BadBody(_TOO_DEEP)
