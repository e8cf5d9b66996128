"""The network and the bank of test mode, in this process or as one of their own, and those who know what they did."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kpay_adapters.sandbox import SandboxBank, SandboxClock, SandboxNetwork, Witnesses
from kpay_adapters.sandbox.remote import RemoteClock, RemoteSandbox
from kpay_adapters.sql.engines import sqlite_path
from kpay_adapters.sql.store import SqlStore
from kpay_adapters.system import SystemClock
from kpay_core import Kpay
from kpay_core.commit import CommitFailed
from kpay_core.ports import Witness
from kpay_http.compose.databases import Unreachable, is_there, reaching
from kpay_http.compose.journals import JOURNAL, JOURNAL_METADATA, journal_url
from kpay_http.settings import Settings

if TYPE_CHECKING:
    from kpay_adapters.sandbox.served import OnAnswer


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
        async with AsyncExitStack() as stack:
            try:
                taken = await stack.enter_async_context(served.serving(desk, host=host, port=port))
            except OSError as error:
                raise Unreachable(f"{host}, port {port}, cannot be listened at: {error}") from error
            yield taken


def has_journal(settings: Settings) -> bool:
    """Tell whether there is a sandbox to ask: one that is a process of its own, or the journal of ours."""
    if settings.sandbox_url is not None:
        return True
    file = sqlite_path(journal_url(settings))
    return file is None or is_there(Path(file))


def witnesses_of(settings: Settings, kpay: Kpay) -> dict[str, Witness]:
    """Return who knows what really happened, by mode: the sandbox, where its journal is there."""
    network, bank = kpay.processors["test"], kpay.rails["test"]
    if isinstance(network, RemoteSandbox):
        return {"test": network}
    if not has_journal(settings):
        return {}
    assert isinstance(network, SandboxNetwork), "there is no other"
    assert isinstance(bank, SandboxBank), "there is no other"
    return {"test": Witnesses(network, bank)}
