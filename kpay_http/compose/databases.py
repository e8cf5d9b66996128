"""The database and its secret: reached, brought up to date, and what keeps us from it in one line."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from kpay_adapters import keyring
from kpay_adapters.keyring import SecretKeyring
from kpay_adapters.sql.pending import Ahead, pending
from kpay_adapters.sql.store import SqlStore
from kpay_core.commit import CommitFailed
from kpay_http.compose.journals import JOURNAL, JOURNAL_METADATA, journal_url
from kpay_http.settings import BadSetting, Settings, shown_url

# What keeps us from a database, in the words of Alembic's engines and of the drivers.
UNREACHABLE = (
    *(SQLAlchemyError, sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError, OSError),
    # Of a name or a port that nobody can dial.
    *(UnicodeError, OverflowError),
)


class Unreachable(Exception):
    """The database is not there, or does not let us in."""


class NotMigrated(Exception):
    """The database has yet to be brought up to date, or is further than we are."""


def secret_of(settings: Settings, *, make: bool) -> bytes:
    """Return the secret key; `make` keeps one beside the database file where none is set."""
    if settings.secret_key is not None:
        try:
            return keyring.read_secret(settings.secret_key)
        except keyring.BadSecret:
            raise BadSetting("KPAY_SECRET_KEY", "32 bytes in base64") from None
    if make and settings.database_file is not None:
        file = settings.database_file.with_suffix(".secret")
        try:
            return keyring.secret_beside(file)
        except (OSError, keyring.BadSecret) as error:
            raise Unreachable(f"The secret key in {file} cannot be used: {error}") from error
    raise BadSetting("KPAY_SECRET_KEY", "32 bytes in base64, and must be set")


def keyring_of(settings: Settings, secret: bytes) -> SecretKeyring:
    """Make the keyring of a secret and the sealing keys that are set."""
    return SecretKeyring(secret, sealing_keys=[keyring.read_secret(key) for key in settings.sealing_keys])


@contextmanager
def reaching(settings: Settings) -> Generator[None]:
    """Turn what keeps us from a database into one line."""
    try:
        yield
    except UNREACHABLE as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        raise Unreachable(f"{shown_url(settings.database_url)} cannot be used: {cause}") from error


def is_there(file: Path) -> bool:
    """Tell whether a file exists; raises `Unreachable` where nobody lets us look."""
    try:
        return file.exists()
    except OSError as error:
        raise Unreachable(f"{file} cannot be looked for: {error}") from error


async def migrate_all(settings: Settings) -> None:
    """
    Make or bring up to date all that is stored, as far as it is not.

    Changing a schema keeps out all who write, and reads a file from end to end: neither is due to a command beside a
    server. Of two who both find something to change, the second waits for the first, and finds it done.
    """
    behind = await _behind(settings)
    journal_lacks = settings.sandbox_url is None and not await _has_tables(journal_url(settings))
    if not behind and not journal_lacks:
        return
    from kpay_adapters.sql import migrate

    with reaching(settings):
        if behind:
            await migrate.migrate(settings.database_url)
        if journal_lacks:
            await migrate.create_all(journal_url(settings), JOURNAL_METADATA)


async def _has_tables(journal: str) -> bool:
    """Tell whether a sandbox's journal has its tables. One that cannot be asked has none: making them says why."""
    async with SqlStore(journal, JOURNAL) as store:
        try:
            await store.ready()
        except CommitFailed:
            return False
    return True


async def check_migrated(settings: Settings) -> None:
    """Raise `NotMigrated` when the database is behind or ahead, so that nothing is served on another schema."""
    if await _behind(settings):
        raise NotMigrated("The database is not up to date: run `kpay migrate`.")


async def _behind(settings: Settings) -> bool:
    """Tell whether there is something to migrate; raises `NotMigrated` when the database is ahead of us."""
    try:
        with reaching(settings):
            return bool(await pending(settings.database_url))
    except Ahead as ahead:
        raise NotMigrated(f"The database is of a newer version: {ahead}.") from ahead
