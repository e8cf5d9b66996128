"""What the commands share: settings, an open core, and how data is printed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click
import msgspec

from kpay_core import Kpay
from kpay_core.domain.errors import Invalid, NotFound
from kpay_core.domain.scope import Mode, Scope
from kpay_core.flows.merchants import DEMO_MERCHANT
from kpay_http import compose
from kpay_http.settings import Settings, read_settings

T = TypeVar("T")

# A command beside a server needs no secret of its own for reading and writing most things: only the demo merchant's
# keys, fingerprints and what is stored encrypted depend on it.
NO_SECRET = bytes(32)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
merchant_option = click.option("--merchant", required=True, metavar="MER", help="The merchant's id: mer_…")
whose_option = click.option(
    "--merchant", metavar="MER", help="The merchant's id: mer_…  [else the demo merchant of `kpay dev`]"
)
mode_option = click.option("--mode", type=click.Choice(["test", "live"]), default="test", show_default=True)
kind_option = click.option(
    "--kind", type=click.Choice(["secret", "publishable"]), default="secret", show_default=True
)


def with_kpay(
    work: Callable[[Kpay], Awaitable[T]], *, needs_secret: bool = False, by_machines_time: bool = False
) -> T:
    """
    Open the core on the database of the settings, do some work, and close it.

    Where testers have turned the time of the sandbox, the work is done in that time, unless it is `by_machines_time`.
    """

    async def run() -> T:
        settings = read_settings(test_clock=True)
        if by_machines_time:
            settings = msgspec.structs.replace(settings, test_clock=False)
        secret = compose.secret_of(settings, make=True) if needs_secret else NO_SECRET
        # A file is made by whoever comes first; a server's schema changes only when its operator says so.
        if settings.database_file is not None:
            await compose.migrate_all(settings)
        async with compose.open_kpay(settings, secret) as opened:
            return await work(opened.kpay)

    return asyncio.run(run())


async def scope_of(kpay: Kpay, merchant: str | None, mode: Mode) -> Scope:
    """Return whose world a command is about: the merchant that is named, or the demo merchant where there is one."""
    asked = DEMO_MERCHANT if merchant is None else merchant
    try:
        await kpay.get_merchant(asked)
    except NotFound:
        wrong = (
            "no such merchant" if merchant is not None else "required, since there is no demo merchant here"
        )
        raise Invalid({"--merchant": [wrong]}) from None
    return Scope(asked, mode == "live")


def print_json(value: Any) -> None:
    """Print a value as JSON for machines, one document."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def say(text: str) -> None:
    """Print a line for people, at once."""
    click.echo(text)


def settings_with(
    *,
    host: str | None = None,
    port: int | None = None,
    local_webhooks: bool = False,
    test_clock: bool = False,
) -> Settings:
    """Read the settings, with what the command line says over them; `test_clock` where nothing else is said."""
    settings = read_settings(test_clock=test_clock)
    return msgspec.structs.replace(
        settings,
        host=settings.host if host is None else host,
        port=settings.port if port is None else port,
        allow_local_webhooks=settings.allow_local_webhooks or local_webhooks,
    )
