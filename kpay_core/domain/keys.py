"""
API keys (contract, section 3): `sk_test_` / `sk_live_` / `pk_test_` / `pk_live_`, 30 base62 characters, and a
6-character base62 CRC-32 of what stands before it, so that a mistyped key is refused without a look-up.

Only a SHA-256 of a key is stored: 30 random characters carry 178 bits, which no list of guesses reaches.
"""

import re
import zlib
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal

from kpay_core.commit import Record, bump
from kpay_core.domain.scope import Mode, Scope

Kind = Literal["secret", "publishable"]

PREFIXES: dict[Kind, str] = {"secret": "sk", "publishable": "pk"}
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SHAPE = re.compile("((?:sk|pk)_(?:test|live)_[0-9A-Za-z]{30})([0-9A-Za-z]{6})")

# 256 bits spread over 62^30 values: the unevenness is below 2^-77.
RANDOM_BYTES = 32

# The public document: "old keys remain valid for 24 hours after rotation."
GRACE = timedelta(hours=24)


class ApiKey(Record, frozen=True, kw_only=True):
    """What is kept of a key; its id is the hash. A current key has no `expires_at`, a rotated one has."""

    version: int = 1
    merchant: str
    livemode: bool
    kind: Kind
    hint: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    @property
    def scope(self) -> Scope:
        return Scope(self.merchant, self.livemode)


def base62(number: int, length: int) -> str:
    """Write the last `length` base62 digits of a number."""
    digits: list[str] = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def make_key(kind: Kind, mode: Mode, random_bytes: bytes) -> str:
    """Make a key; it is told once, and only its hash is kept."""
    stem = f"{PREFIXES[kind]}_{mode}_{base62(int.from_bytes(random_bytes), 30)}"
    return stem + checksum(stem)


def checksum(stem: str) -> str:
    """Return the six characters that end a key."""
    return base62(zlib.crc32(stem.encode()), 6)


def is_well_formed(key: str) -> bool:
    """Tell whether a text can be a key at all."""
    shape = SHAPE.fullmatch(key)
    return shape is not None and checksum(shape[1]) == shape[2]


def key_hash(key: str) -> str:
    """Return what is stored of a key, and looked up by; any text has one."""
    return sha256(key.encode(errors="surrogatepass")).hexdigest()


def issue(key: str, *, kind: Kind, scope: Scope, now: datetime) -> ApiKey:
    """Keep what may be kept of a new key: its hash, and four characters to recognise it by."""
    return ApiKey(
        id=key_hash(key),
        merchant=scope.merchant,
        livemode=scope.livemode,
        kind=kind,
        hint=f"{PREFIXES[kind]}_{scope.mode}_…{key[-4:]}",
        created_at=now,
    )


def opens(key: ApiKey, *, now: datetime) -> bool:
    """Tell whether a key is in force: not revoked, and to the second not expired."""
    return key.revoked_at is None and (key.expires_at is None or now < key.expires_at)


def is_current(key: ApiKey) -> bool:
    """Tell whether a key is the one in use, neither rotated nor revoked."""
    return key.expires_at is None and key.revoked_at is None


def rotate_out(key: ApiKey, *, at_once: bool, now: datetime) -> ApiKey:
    """End a current key: in 24 hours, or at once, which no clock that is turned back undoes."""
    if at_once:
        return bump(key, expires_at=now, revoked_at=now)
    return bump(key, expires_at=now + GRACE)


def revoke(key: ApiKey, *, now: datetime) -> ApiKey:
    """End a key at once."""
    return bump(key, revoked_at=now)
