"""The composition root: the one place that chooses adapters. The server, the worker and the command line ask it."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import structlog
from sqlalchemy import MetaData, Table
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from kpay_adapters import keyring, ratelimit
from kpay_adapters.drain import Drain
from kpay_adapters.keyring import SecretKeyring
from kpay_adapters.sandbox import RECORDS, SandboxBank, SandboxClock, SandboxNetwork, Witnesses
from kpay_adapters.sandbox.remote import RemoteClock, RemoteSandbox
from kpay_adapters.sql.derive import table_for
from kpay_adapters.sql.engines import sqlite_path
from kpay_adapters.sql.pending import Ahead, pending
from kpay_adapters.sql.store import SqlStore
from kpay_adapters.system import SystemClock, SystemIds
from kpay_core import Kpay
from kpay_core.commit import CommitFailed, Record
from kpay_core.domain.posts import Reply
from kpay_core.ports import Couriers, Wake, Witness, wake_nobody
from kpay_http.metrics import Metrics
from kpay_http.sandbox_time import SandboxTime
from kpay_http.settings import BadSetting, Settings, shown_url
from kpay_http.system import Limiter, System
from kpay_http.turnstile import Turnstile
from kpay_http.working import keep_on

# What only some processes need, and takes its time to import, is imported where it is opened.
if TYPE_CHECKING:
    from kpay_adapters.dramatiq_ import Kicked, Kicker
    from kpay_adapters.sandbox.served import OnAnswer
    from kpay_adapters.sender import Sender
    from kpay_adapters.testing.merchant.checking import Checked

log: Any = structlog.get_logger("kpay")

# What keeps us from a database, in the words of Alembic's engines and of the drivers.
UNREACHABLE = (SQLAlchemyError, sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)

# Of the contract: 100 requests a second, burst 200.
BURST_FACTOR = 2


class Unreachable(Exception):
    """The database is not there, or does not let us in."""


class CannotCheck(Exception):
    """A server cannot be checked: it is away, it does not let us in, or what it takes is not installed."""


class NotMigrated(Exception):
    """The database has yet to be brought up to date, or is further than we are."""


JOURNAL_METADATA = MetaData()
JOURNAL: dict[type[Record], Table] = {
    kind: table_for(kind, name, JOURNAL_METADATA) for kind, name in RECORDS.items()
}


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
    return SecretKeyring(secret, sealing_keys=[keyring.read_secret(key) for key in settings.sealing_keys])


@contextmanager
def reaching(settings: Settings) -> Generator[None]:
    """Turn what keeps us from a database into one line."""
    try:
        yield
    except UNREACHABLE as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        raise Unreachable(f"{shown_url(settings.database_url)} cannot be used: {cause}") from error


async def migrate_all(settings: Settings) -> None:
    """Make or bring up to date all that is stored."""
    from kpay_adapters.sql import migrate

    with reaching(settings):
        await migrate.migrate(settings.database_url)
        if settings.sandbox_url is None:
            await migrate.create_all(journal_url(settings), JOURNAL_METADATA)


async def check_migrated(settings: Settings) -> None:
    """Raise `NotMigrated` when the database is behind or ahead, so that nothing is served on another schema."""
    try:
        with reaching(settings):
            behind = await pending(settings.database_url)
    except Ahead as ahead:
        raise NotMigrated(f"The database is of a newer version: {ahead}.") from ahead
    if behind:
        raise NotMigrated("The database is not up to date: run `kpay migrate`.")


AnyClock = SystemClock | SandboxClock | RemoteClock


class Sandbox(NamedTuple):
    """The network and the bank of test mode, and the time to live by with them."""

    network: SandboxNetwork | RemoteSandbox
    bank: SandboxBank | RemoteSandbox
    clock: AnyClock


@asynccontextmanager
async def open_sandbox(settings: Settings) -> AsyncGenerator[Sandbox]:
    """Open the sandbox: in this process, with its journal, or the one that is a process of its own."""
    clock: AnyClock = SystemClock()
    if settings.sandbox_url is not None:
        async with RemoteSandbox(settings.sandbox_url) as there:
            if settings.test_clock:
                clock = await followed(RemoteClock(clock, sandbox=there))
            yield Sandbox(there, there, clock)
        return
    async with SqlStore(journal_url(settings), JOURNAL) as journal:
        if settings.test_clock:
            clock = await followed(SandboxClock(clock, journal=journal))
        network = SandboxNetwork(journal=journal, clock=clock)
        yield Sandbox(network, SandboxBank(journal=journal, clock=clock), clock)


async def followed(clock: SandboxClock | RemoteClock) -> AnyClock:
    """Have a clock that testers turn show their time from the start."""
    try:
        await clock.follow()
    except CommitFailed as failure:
        raise Unreachable(f"The time of the sandbox cannot be read: {failure}") from failure
    return clock


@asynccontextmanager
async def serve_sandbox(journal: str, *, host: str, port: int, on_answer: "OnAnswer") -> AsyncGenerator[int]:
    """Serve a sandbox to other processes, on a journal that is made where there is none; yield its port."""
    from kpay_adapters.sandbox import served
    from kpay_adapters.sql import migrate

    with reaching(Settings(database_url=journal)):
        await migrate.create_all(journal, JOURNAL_METADATA)
    async with SqlStore(journal, JOURNAL) as store:
        clock = SandboxClock(SystemClock(), journal=store)
        await followed(clock)
        network = SandboxNetwork(journal=store, clock=clock)
        desk = served.Desk(network, SandboxBank(journal=store, clock=clock), clock, on_answer=on_answer)
        async with served.serving(desk, host=host, port=port) as taken:
            yield taken


class Opened(NamedTuple):
    """The core, with what its owner may want to reach of what it is made of."""

    kpay: Kpay
    store: SqlStore
    clock: AnyClock


@asynccontextmanager
async def open_kpay(settings: Settings, secret: bytes, *, wake: Wake = wake_nobody) -> AsyncGenerator[Opened]:
    """Open the core on its database, with the sandbox as the processor and the bank of test mode."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(SqlStore(settings.database_url))
        network, bank, clock = await stack.enter_async_context(open_sandbox(settings))
        kpay = Kpay(
            store=store,
            processors={"test": network},
            rails={"test": bank},
            clock=clock,
            ids=SystemIds(),
            keyring=keyring_of(settings, secret),
            wake=wake,
            local_webhooks=settings.allow_local_webhooks,
        )
        yield Opened(kpay, store, clock)


def witnesses_of(settings: Settings, kpay: Kpay) -> dict[str, Witness]:
    """Return who knows what really happened, by mode: the sandbox, where its journal is there."""
    network, bank = kpay.processors["test"], kpay.rails["test"]
    if isinstance(network, RemoteSandbox):
        return {"test": network}
    file = sqlite_path(journal_url(settings))
    is_there = file is None or Path(file).exists()
    if not is_there or not isinstance(network, SandboxNetwork) or not isinstance(bank, SandboxBank):
        return {}
    return {"test": Witnesses(network, bank)}


@contextmanager
def open_check(
    url: str, key: str, *, other_keys: Sequence[str], may_turn: bool
) -> Generator[Callable[..., "Checked"]]:
    """
    Reach a server somewhere, to be a merchant of it and hold what it answers against what must be true.

    It is the kit for tests that does it, which needs what a server does not. Raises `CannotCheck`, also while it is
    open.
    """
    from kpay_adapters.testing.extras import NotInstalled
    from kpay_adapters.testing.targets import CannotAsk, OverHttp

    try:
        from kpay_adapters.testing.merchant.checking import check

        with closing(OverHttp(url, key, other_keys=other_keys, may_turn=may_turn)) as target:
            yield partial(check, target)
    except (NotInstalled, CannotAsk) as reason:
        raise CannotCheck(str(reason)) from reason


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
async def open_sender(*, local: bool, metrics: Metrics | None = None) -> "AsyncGenerator[Sender]":
    """Open what posts to merchants' servers; `local` admits the own machine."""
    from kpay_adapters.sender import Sender

    def count(reply: Reply) -> None:
        if metrics is not None:
            metrics.count_attempt(reply.failure or "arrived")

    async with Sender(local=local, on_reply=count) as sender:
        yield sender


class BrokerNews:
    """Logs when the broker goes away and when it is back, one line each. `on_failure` is called each time."""

    def __init__(self, *, on_failure: Callable[[], None] = lambda: None) -> None:
        self._on_failure = on_failure
        self._is_away = False

    def __call__(self, failure: Exception | None) -> None:
        if failure is not None:
            self._on_failure()
        if failure is not None and not self._is_away:
            log.warning(
                "the broker is away, so what is due is found by looking", reason=type(failure).__name__
            )
        if failure is None and self._is_away:
            log.info("the broker is back")
        self._is_away = failure is not None


@asynccontextmanager
async def open_drain(settings: Settings, metrics: Metrics, couriers: Couriers) -> AsyncGenerator[Drain]:
    """Open the loop that delivers, which with a broker is woken by kicks."""

    def note(failure: Exception) -> None:
        metrics.count_drain_failure()
        log.error("delivering was begun anew", reason=type(failure).__name__, text=str(failure))

    drain = Drain(couriers, on_failure=note)
    kicked: Kicked | None = None
    if settings.broker_url is not None:
        from kpay_adapters import dramatiq_

        kicked = dramatiq_.Kicked(
            dramatiq_.open_broker(settings.broker_url),
            drain.wake,
            loop=asyncio.get_running_loop(),
            on_contact=BrokerNews(),
        )
        kicked.start()
    try:
        yield drain
    finally:
        if kicked is not None:
            await asyncio.to_thread(kicked.stop)


@asynccontextmanager
async def open_kicker(broker_url: str, metrics: Metrics) -> "AsyncGenerator[Kicker]":
    """Open what tells the workers, through the broker, that there is something to deliver."""
    from kpay_adapters import dramatiq_

    kicker = dramatiq_.Kicker(
        dramatiq_.open_broker(broker_url), on_contact=BrokerNews(on_failure=metrics.count_kick_failure)
    )
    kicker.start()
    try:
        yield kicker
    finally:
        await asyncio.to_thread(kicker.stop)


@asynccontextmanager
async def open_system(settings: Settings, secret: bytes, *, working: bool) -> AsyncGenerator[System]:
    """
    Open everything that a process serves or works with; closing waits for the work that was begun.

    One that is not `working` leaves delivering to workers, whom it kicks through the broker.
    """
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        drain: Drain | None = None
        sender: Sender | None = None
        wake: Wake = wake_nobody
        if working or settings.test_clock:
            sender = await stack.enter_async_context(
                open_sender(local=settings.allow_local_webhooks, metrics=metrics)
            )
        if working and sender is not None:
            drain = await stack.enter_async_context(open_drain(settings, metrics, sender))
            wake = drain.wake
        elif settings.broker_url is not None:
            wake = await stack.enter_async_context(open_kicker(settings.broker_url, metrics))
        kpay, store, clock = await stack.enter_async_context(open_kpay(settings, secret, wake=wake))

        async def ready() -> bool:
            try:
                await store.ready()
            except CommitFailed:
                return False
            return True

        limiter = limiter_of(settings, metrics)
        turnstile = Turnstile()
        sandbox_time: SandboxTime | None = None
        if not isinstance(clock, SystemClock) and sender is not None:
            pause = nullcontext if drain is None else drain.paused
            sandbox_time = SandboxTime(kpay, clock, sender, turnstile=turnstile, pause=pause)
            following = asyncio.create_task(keep_on("following the time", clock.follow))
            stack.callback(following.cancel)
        system = System(
            kpay=kpay,
            metrics=metrics,
            ready=ready,
            limiter=limiter,
            deliver=None if drain is None else lambda: drain.run(kpay),
            turnstile=turnstile,
            sandbox_time=sandbox_time,
        )
        try:
            yield system
        finally:
            await system.until_done()
            if limiter is not None:
                await limiter.close()
