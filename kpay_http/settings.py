"""
Settings come from the environment (contract, section 11). One that is wrong stops the start with one line that names
it and says what it takes; a secret is never shown.
"""

import os
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, parse_qsl, urlsplit

import msgspec

T = TypeVar("T")

# What leads back to where it is asked, whatever a resolver says.
THIS_MACHINE = ("127.0.0.1", "::1", "localhost")


class BadSetting(Exception):
    """A setting that cannot be taken."""

    def __init__(self, name: str, takes: str) -> None:
        super().__init__(f"{name} takes {takes}")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a K-Payments process is told from outside."""

    database_url: str = "sqlite:///kpay.db"
    host: str = "127.0.0.1"
    port: int = 8000
    broker_url: str | None = None
    # A sandbox that is a process of its own; without one, each process has the network and the bank in it.
    sandbox_url: str | None = None
    secret_key: str | None = None
    # Keys for what is stored encrypted, the one that seals first; without any, one follows from the secret key.
    sealing_keys: tuple[str, ...] = ()
    # Admits webhook endpoints on this machine, and http (contract, section 8).
    allow_local_webhooks: bool = False
    # Lets testers turn the time of the sandbox (contract, section 9).
    test_clock: bool = False
    # Requests a second for each merchant and mode; 0 is no limit (contract, section 10).
    rate_limit: int = 100
    log_format: str = "auto"

    def __repr__(self) -> str:
        return f"<Settings {shown_url(self.database_url)}>"

    @property
    def database_file(self) -> Path | None:
        """The file of an embedded database, or None."""
        scheme, _, path = self.database_url.partition(":///")
        return Path(path) if scheme == "sqlite" else None

    @property
    def redis_url(self) -> str | None:
        """The broker, where it is one that can also count requests for all processes."""
        url = self.broker_url
        return url if url and url.startswith(("redis://", "rediss://")) else None


def shown_url(url: str) -> str:
    """Write a URL without its user info and its query, which may hold a password too: fit for logs."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return url
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def read_settings(environment: Mapping[str, str] = os.environ, *, test_clock: bool = False) -> Settings:
    """
    Read all settings, or raise `BadSetting` for the first that is wrong.

    `test_clock` is what it is where the environment does not say.
    """

    def take(name: str, default: T, read: Callable[[str], T], takes: str) -> T:
        text = environment.get(name)
        if text is None or not text.strip():
            return default
        try:
            return read(text.strip())
        except ValueError:
            raise BadSetting(name, takes) from None

    return Settings(
        database_url=take(
            "KPAY_DATABASE_URL",
            "sqlite:///kpay.db",
            database_url,
            "sqlite:///file.db or postgresql://user@host/db, special characters in it percent-encoded",
        ),
        host=take("KPAY_HOST", "127.0.0.1", _host, "an address to listen on"),
        port=take("KPAY_PORT", 8000, _whole(0, LAST_PORT), "a port from 0 to 65535"),
        broker_url=take(
            "KPAY_BROKER_URL",
            None,
            _url(("redis", "rediss", "amqp", "amqps")),
            "redis://… or amqp://…, special characters in it percent-encoded",
        ),
        sandbox_url=take(
            "KPAY_SANDBOX_URL",
            None,
            _private_url,
            "https://…, or http://… on this machine",
        ),
        secret_key=take("KPAY_SECRET_KEY", None, str, "32 bytes in base64"),
        sealing_keys=take(
            "KPAY_SEALING_KEYS", (), _keys, "keys of 32 bytes in base64, with commas between them"
        ),
        allow_local_webhooks=take("KPAY_ALLOW_LOCAL_WEBHOOKS", False, _flag, "1 or 0"),
        test_clock=take("KPAY_TEST_CLOCK", test_clock, _flag, "1 or 0"),
        rate_limit=take("KPAY_RATE_LIMIT", 100, _whole(0, 1_000_000), "requests a second, 0 for no limit"),
        log_format=take("KPAY_LOG_FORMAT", "auto", _one_of("auto", "console", "json"), "console or json"),
    )


def database_url(text: str) -> str:
    """Read the URL of a database: a file of SQLite, which is shared, or a server of PostgreSQL. Raises `ValueError`."""
    if not text.startswith("sqlite:"):
        return _url(("postgresql",))(text)
    path = text.removeprefix("sqlite:///")
    if path.strip("/") == ":memory:" or Path(path).name in ("", "..") or path == text or "?" in path:
        raise ValueError
    return text


def _url(schemes: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes or not _is_server(parts):
            raise ValueError
        return text

    return read


def _private_url(text: str) -> str:
    """Read a URL over which cards may go: encrypted, or within this machine."""
    parts = urlsplit(text)
    # An odd port raises `ValueError` when it is looked at.
    if not parts.hostname or not _is_name(parts.hostname) or parts.port == 0 or parts.query or parts.fragment:
        raise ValueError
    if parts.scheme != "https" and (parts.scheme, parts.hostname in THIS_MACHINE) != ("http", True):
        raise ValueError
    return text


# One of the servers that a URL names: a name, an IPv4 address or an IPv6 one in brackets, and perhaps a port.
_HOST = re.compile(r"(\[[^][@]+\]|[^][:@]*)(?::([0-9]{1,5}))?")
LAST_PORT = 65535


def _is_server(parts: SplitResult) -> bool:
    """
    Tell whether a server's URL is what it looks like.

    A password in which /, ? or # stand as they are ends the host in its middle. Whoever takes the URL apart would then
    show the rest of it as something else, in an error of which we know nothing.
    """
    hosts = parts.netloc.rpartition("@")[2].split(",")
    # Raises `ValueError` for a query that is none.
    parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    return all(map(_is_host, hosts)) and "@" not in parts.path and not parts.fragment


def _is_host(text: str) -> bool:
    """Tell whether a text names a server, and perhaps its port. Nothing stands for this machine."""
    found = _HOST.fullmatch(text)
    return found is not None and _is_name(found[1]) and int(found[2] or 0) <= LAST_PORT


def _is_name(host: str) -> bool:
    """Tell whether a resolver would take a name: its labels are neither empty nor over 63 characters."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def _host(text: str) -> str:
    if not _is_name(text):
        raise ValueError
    return text


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text)
        if not least <= number <= most:
            raise ValueError
        return number

    return read


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError
    return text == "1"


def _keys(text: str) -> tuple[str, ...]:
    # An empty part is what a shell leaves of a list that was empty before.
    keys = tuple(part.strip() for part in text.split(",") if part.strip())
    if not keys or not all(len(b64decode(key, validate=True)) == 32 for key in keys):
        raise ValueError
    return keys


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    return read
