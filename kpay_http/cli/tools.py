"""What the commands share: settings, an open core, and how data is printed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click
import msgspec

from kpay_core import Kpay
from kpay_http import compose
from kpay_http.settings import Settings, read_settings

T = TypeVar("T")

# A command beside a server needs no secret of its own for reading and writing keys: only the demo merchant's
# keys and fingerprints depend on it.
NO_SECRET = bytes(32)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
merchant_option = click.option("--merchant", required=True, metavar="MER", help="The merchant's id: mer_…")
mode_option = click.option("--mode", type=click.Choice(["test", "live"]), default="test", show_default=True)
kind_option = click.option(
    "--kind", type=click.Choice(["secret", "publishable"]), default="secret", show_default=True
)


def with_kpay(work: Callable[[Kpay], Awaitable[T]]) -> T:
    """Open the core on the database of the settings, do some work, and close it."""

    async def run() -> T:
        settings = read_settings()
        # A file is made by whoever comes first; a server's schema changes only when its operator says so.
        if settings.database_file is not None:
            await compose.migrate_all(settings)
        async with compose.open_kpay(settings, NO_SECRET) as (kpay, _):
            return await work(kpay)

    return asyncio.run(run())


def print_json(value: Any) -> None:
    """Print a value as JSON for machines, one document."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def say(text: str) -> None:
    """Print a line for people, at once."""
    click.echo(text)


def settings_with(*, host: str | None, port: int | None) -> Settings:
    """Read the settings, with what the command line says over them."""
    settings = read_settings()
    return msgspec.structs.replace(
        settings,
        host=settings.host if host is None else host,
        port=settings.port if port is None else port,
    )
