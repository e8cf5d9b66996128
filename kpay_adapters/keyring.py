"""The secret of the installation, from a setting or a file; never from the database."""

import hmac
import os
from base64 import b64decode, b64encode
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from secrets import token_bytes

SECRET_BYTES = 32

# One derived key for each purpose, and one for each merchant's cards; a miss costs a microsecond.
DERIVED_KEYS_KEPT = 10_000


class BadSecret(ValueError):
    """The secret is not 32 bytes in base64."""


class SecretKeyring:
    """Keys derived from one secret: HMAC-SHA256 of the purpose (RFC 5869 in its expand step, one block)."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET_BYTES:
            raise BadSecret(f"a secret has {SECRET_BYTES} bytes")

        @lru_cache(DERIVED_KEYS_KEPT)
        def derive(purpose: str) -> bytes:
            return hmac.digest(secret, b"k-payments/" + purpose.encode() + b"\x01", "sha256")

        self._derive = derive

    def mac(self, purpose: str, message: bytes) -> str:
        return hmac.new(self._derive(purpose), message, sha256).hexdigest()

    def __repr__(self) -> str:
        return "<SecretKeyring>"


def read_secret(text: str) -> bytes:
    """Read a secret as settings carry it: 32 bytes in base64. Raises `BadSecret`, which does not show it."""
    try:
        secret = b64decode(text.strip(), validate=True)
    except ValueError:
        raise BadSecret("a secret is base64") from None
    if len(secret) != SECRET_BYTES:
        raise BadSecret(f"a secret has {SECRET_BYTES} bytes")
    return secret


def secret_beside(path: Path) -> bytes:
    """Return the secret kept in a file that only its owner may read, making it at first use."""
    if not path.exists():
        # Written whole under another name first: a crash in between, or a second process, never leaves half a secret.
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(b64encode(token_bytes(SECRET_BYTES)).decode() + "\n")
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return read_secret(path.read_text())
