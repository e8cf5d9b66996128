"""The secrets of the installation, from settings or a file; never from the database."""

import hmac
import os
from base64 import b64decode, b64encode
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from secrets import token_bytes

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kpay_core.ports import CannotUnseal

SECRET_BYTES = 32

# The size that GCM is made for. Random ones are safe for 2^32 secrets under one key.
NONCE_BYTES = 12

# One derived key for each purpose, and one for each merchant's cards; a miss costs a microsecond.
DERIVED_KEYS_KEPT = 10_000


class BadSecret(ValueError):
    """The secret is not 32 bytes in base64."""


class SecretKeyring:
    """
    Keys derived from one secret: HMAC-SHA256 of the purpose (RFC 5869 in its expand step, one block).

    What is sealed is encrypted with AES-256-GCM (NIST SP 800-38D) under a sealing key, which the sealed text names:
    "key id . nonce and ciphertext, base64". The first of `sealing_keys` seals, all of them and the one derived from
    the secret unseal; so a sealing key is replaced by putting a new one before it and sealing everything again.
    """

    def __init__(self, secret: bytes, *, sealing_keys: Sequence[bytes] = ()) -> None:
        if len(secret) != SECRET_BYTES:
            raise BadSecret(f"a secret has {SECRET_BYTES} bytes")

        @lru_cache(DERIVED_KEYS_KEPT)
        def derive(purpose: str) -> bytes:
            return hmac.digest(secret, b"k-payments/" + purpose.encode() + b"\x01", "sha256")

        self._derive = derive
        keys = [*sealing_keys, derive("sealing")]
        self._sealing = {_name_of(key): AESGCM(key) for key in keys}
        self._sealing_with = _name_of(keys[0])

    def mac(self, purpose: str, message: bytes) -> str:
        return hmac.digest(self._derive(purpose), message, "sha256").hex()

    def seal(self, purpose: str, text: str) -> str:
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._sealing[self._sealing_with].encrypt(nonce, text.encode(), purpose.encode())
        return f"{self._sealing_with}.{b64encode(sealed).decode()}"

    def unseal(self, purpose: str, sealed: str) -> str:
        name, _, content = sealed.partition(".")
        try:
            raw = b64decode(content, validate=True)
            plain = self._sealing[name].decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], purpose.encode())
        except KeyError:
            raise CannotUnseal(f"sealed with key {name[:8]}, which is not at hand") from None
        except (ValueError, InvalidTag):
            raise CannotUnseal("not what was sealed for this purpose") from None
        return plain.decode()

    def is_current(self, sealed: str) -> bool:
        """Tell whether a text was sealed with the key that seals now."""
        return sealed.partition(".")[0] == self._sealing_with

    def __repr__(self) -> str:
        return "<SecretKeyring>"


def _name_of(key: bytes) -> str:
    """Name a key by eight hex digits that tell nothing of it."""
    return hmac.new(key, b"k-payments/key id", sha256).hexdigest()[:8]


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
    """
    Return the secret kept in a file that only its owner may read, making it at first use.

    One that was made is on the disk, as what is stored under it will be.
    """
    if not path.exists():
        # Written whole under another name first: a crash in between, or a second process, never leaves half a secret.
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        with draft.open("w") as file:
            file.write(b64encode(token_bytes(SECRET_BYTES)).decode() + "\n")
            file.flush()
            # Else a power cut may leave the name, and nothing in it.
            os.fsync(file.fileno())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        _sync_folder(path.parent)
    return read_secret(path.read_text())


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
