"""
Webhook signatures, for the one who signs and the one who verifies. Needs nothing but the standard library.

    K-Payments-Signature: t=1749651729,v1=5257a869e7ec…
    signed_payload = "{timestamp}." + raw_body
    v1 = hex(HMAC_SHA256(signing_secret, signed_payload))

While a secret is being rotated a header carries one `v1` for each secret in force.

    SignatureError
    ├── Malformed       the header is not of this form
    ├── NoMatch         no signature in it was made with this secret for this payload
    ├── TooOld          signed longer ago than the tolerance: perhaps a replay
    └── FromTheFuture   signed further ahead than the tolerance: a clock is wrong
"""

import hmac
import re
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

HEADER = "K-Payments-Signature"

# The public document: "Reject signatures older than 5 minutes to defeat replay attacks."
TOLERANCE_SECONDS = 300

# A header is attacker-controlled: ten times two signatures is more than any rotation sends.
MAX_HEADER_LENGTH = 2048

TIMESTAMP = re.compile("[0-9]{1,12}", re.ASCII)
SIGNATURE = re.compile("[0-9a-f]{64}", re.ASCII)


class SignatureError(Exception):
    """The payload must not be trusted."""


class Malformed(SignatureError):
    """The header is missing its timestamp or its signature, or is not of the form above."""


class NoMatch(SignatureError):
    """No signature was made with this secret for this payload."""


class TooOld(SignatureError):
    """The signature is older than the tolerance."""


class FromTheFuture(SignatureError):
    """The signature is dated further ahead than the tolerance."""


def signature(payload: bytes, *, secret: str, timestamp: int) -> str:
    """Return the `v1` of a payload: 64 hex digits."""
    return hmac.new(secret.encode(), b"%d." % timestamp + payload, sha256).hexdigest()


def sign(payload: bytes, *, secrets: Sequence[str], now: datetime) -> str:
    """Return the header's value for a payload, with one `v1` for each secret in force."""
    # Cut before it is made a float, which would round the last microseconds of a distant second up.
    timestamp = int(now.replace(microsecond=0).timestamp())
    signatures = (f"v1={signature(payload, secret=secret, timestamp=timestamp)}" for secret in secrets)
    return ",".join((f"t={timestamp}", *signatures))


def verify(
    payload: bytes, header: str, secret: str, *, now: datetime, tolerance_seconds: int = TOLERANCE_SECONDS
) -> datetime:
    """
    Return when a payload was signed, or raise a `SignatureError`.

    Compares in constant time. Parts of the header other than `t` and `v1` are passed over, so that later
    versions can be sent beside this one. An empty secret is a `ValueError`, a bug of the caller: anybody could sign
    with it.
    """
    if not secret:
        raise ValueError("verifying takes a secret")
    timestamp, signatures = _read(header)
    expected = signature(payload, secret=secret, timestamp=timestamp)
    # Every signature is compared, so that the time taken tells nothing of which one matched.
    matches = [hmac.compare_digest(expected, given) for given in signatures]
    if not any(matches):
        raise NoMatch("no signature matches")
    age_seconds = now.timestamp() - timestamp
    if age_seconds > tolerance_seconds:
        raise TooOld(f"signed more than {tolerance_seconds} s ago")
    if age_seconds < -tolerance_seconds:
        raise FromTheFuture(f"signed more than {tolerance_seconds} s ahead")
    return datetime.fromtimestamp(timestamp, tz=now.tzinfo)


def _read(header: str) -> tuple[int, list[str]]:
    if len(header) > MAX_HEADER_LENGTH:
        raise Malformed("the header is too long")
    timestamps: list[str] = []
    signatures: list[str] = []
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name == "t":
            timestamps.append(value)
        elif name == "v1":
            signatures.append(value)
    if len(timestamps) != 1 or not TIMESTAMP.fullmatch(timestamps[0]):
        raise Malformed("one timestamp is required")
    if not signatures or not all(SIGNATURE.fullmatch(given) for given in signatures):
        raise Malformed("a v1 signature is 64 hex digits")
    return int(timestamps[0]), signatures
