"""The composition root: the one place that chooses adapters. The server, the worker and the command line ask it."""

import sqlite3
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

from sqlalchemy import MetaData, Table
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from kpay_adapters import keyring, ratelimit
from kpay_adapters.keyring import SecretKeyring
from kpay_adapters.sandbox import Entry, SandboxNetwork
from kpay_adapters.sql import migrate
from kpay_adapters.sql.derive import table_for
from kpay_adapters.sql.store import SqlStore
from kpay_adapters.system import SystemClock, SystemIds
from kpay_core import Kpay
from kpay_core.commit import CommitFailed, Record
from kpay_http.metrics import Metrics
from kpay_http.settings import BadSetting, Settings, shown_url
from kpay_http.system import Limiter, System

# Of the contract: 100 requests a second, burst 200.
BURST_FACTOR = 2


class Unreachable(Exception):
    """The database is not there, or does not let us in."""


class NotMigrated(Exception):
    """The database has yet to be brought up to date."""


JOURNAL_METADATA = MetaData()
JOURNAL: dict[type[Record], Table] = {Entry: table_for(Entry, "sandbox_journal", JOURNAL_METADATA)}


def journal_url(settings: Settings) -> str:
    """Say where the sandbox keeps its journal: in a file beside the database's, or in a table of its own there."""
    file = settings.database_file
    if file is None:
        return settings.database_url
    return f"sqlite:///{file.with_name(f'{file.stem}-sandbox{file.suffix}')}"


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
    try:
        return SecretKeyring(secret, sealing_keys=[keyring.read_secret(key) for key in settings.sealing_keys])
    except keyring.BadSecret:
        raise BadSetting(
            "KPAY_SEALING_KEYS", "keys of 32 bytes in base64, with commas between them"
        ) from None


@contextmanager
def reaching(settings: Settings) -> Generator[None]:
    """Turn what keeps us from a database into one line."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        raise Unreachable(f"{shown_url(settings.database_url)} cannot be used: {cause}") from error


async def migrate_all(settings: Settings) -> None:
    """Make or bring up to date all that is stored."""
    with reaching(settings):
        await migrate.migrate(settings.database_url)
        await migrate.create_all(journal_url(settings), JOURNAL_METADATA)


async def check_migrated(settings: Settings) -> None:
    """Raise `NotMigrated` when the database is behind, so that nothing is served on half a schema."""
    with reaching(settings):
        pending = await migrate.pending(settings.database_url)
    if pending:
        raise NotMigrated("The database is not up to date: run `kpay migrate`.")


@asynccontextmanager
async def open_kpay(settings: Settings, secret: bytes) -> AsyncGenerator[tuple[Kpay, SqlStore]]:
    """Open the core on its database, with the sandbox as the processor of test mode."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(SqlStore(settings.database_url))
        journal = await stack.enter_async_context(SqlStore(journal_url(settings), JOURNAL))
        clock = SystemClock()
        kpay = Kpay(
            store=store,
            processors={"test": SandboxNetwork(journal=journal, clock=clock)},
            clock=clock,
            ids=SystemIds(),
            keyring=keyring_of(settings, secret),
            local_webhooks=settings.allow_local_webhooks,
        )
        yield kpay, store


def limiter_of(settings: Settings, metrics: Metrics) -> Limiter | None:
    """Choose who counts requests: nobody, this process, or a Redis for all of them."""
    if settings.rate_limit == 0:
        return None
    bucket = ratelimit.TokenBucket(rate=settings.rate_limit, burst=settings.rate_limit * BURST_FACTOR)
    if settings.redis_url is None:
        return ratelimit.MemoryLimiter(bucket)
    return ratelimit.RedisLimiter(
        settings.redis_url, bucket, on_failure=lambda _: metrics.count_limiter_failure()
    )


@asynccontextmanager
async def open_system(settings: Settings, secret: bytes) -> AsyncGenerator[System]:
    """Open everything that a server serves with; closing waits for the work that was begun."""
    metrics = Metrics()
    async with open_kpay(settings, secret) as (kpay, store):

        async def ready() -> bool:
            try:
                await store.ready()
            except CommitFailed:
                return False
            return True

        limiter = limiter_of(settings, metrics)
        system = System(
            kpay=kpay,
            metrics=metrics,
            ready=ready,
            limiter=limiter,
        )
        try:
            yield system
        finally:
            await system.drain()
            if limiter is not None:
                await limiter.close()
