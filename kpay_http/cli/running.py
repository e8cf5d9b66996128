"""`kpay dev`, `serve`, `worker`, `sandbox`, `migrate`, `openapi`: what runs, and what it needs."""

import asyncio
import json
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import Any

import click
import structlog

from kpay_core.domain.examples import CHARGE
from kpay_core.domain.scope import Mode
from kpay_core.flows.merchants import Approved
from kpay_http import compose, logs
from kpay_http.app import create_framework
from kpay_http.cli.tools import say, settings_with
from kpay_http.docs import document
from kpay_http.server import serve as serve_until_stopped
from kpay_http.server import spare_the_collector, until_signalled
from kpay_http.settings import database_url, read_settings
from kpay_http.working import work_for_ever

host_option = click.option("--host", help="Address to listen on.  [KPAY_HOST, else 127.0.0.1]")
port_option = click.option("--port", type=click.IntRange(0, 65535), help="Port.  [KPAY_PORT, else 8000]")

local_option = click.option(
    "--allow-local-webhooks",
    "local_webhooks",
    is_flag=True,
    help="Admit webhook endpoints on this machine, and http.  [KPAY_ALLOW_LOCAL_WEBHOOKS]",
)

log: Any = structlog.get_logger("kpay")


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run until the end, on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


@click.command()
@host_option
@port_option
@local_option
def dev(host: str | None, port: int | None, local_webhooks: bool) -> None:
    """
    Everything in one process, on an embedded database.

    Makes kpay.db here (or what KPAY_DATABASE_URL names), a secret key beside it and a demo merchant, prints the
    merchant's keys, and serves.
    """
    settings = settings_with(host=host, port=port, local_webhooks=local_webhooks, test_clock=True)
    logs.configure(settings.log_format)
    secret = compose.secret_of(settings, make=True)

    async def work() -> None:
        await compose.migrate_all(settings)
        async with compose.open_system(settings, secret, working=True) as system:
            demo = await system.kpay.ensure_demo_merchant()

            def on_start(port: int) -> None:
                introduce(demo, url_of(settings.host, port))

            await serve_until_stopped(system, settings, working=True, on_start=on_start)

    run(work())


def url_of(host: str, port: int) -> str:
    """Write the address of a server on this machine."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def introduce(demo: Approved, url: str) -> None:
    """Say where everything is, with a line to paste."""
    say(f"K-Payments is at {url}, its API reference at {url}/docs\n")
    say(f"{demo.merchant.name} {demo.merchant.id}")
    modes: tuple[tuple[Mode, Any], ...] = (("test", demo.keys.test), ("live", demo.keys.live))
    for mode, pair in modes:
        say(f"  {mode} secret key       {pair.secret}")
        say(f"  {mode} publishable key  {pair.publishable}")
    say("\nThere is no live processor: in live mode POST /v1/charges answers 503.")
    say(
        f"\nMake a charge:\n\ncurl {url}/v1/charges \\\n"
        f'  -H "Authorization: Bearer {demo.keys.test.secret}" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        '  -H "Idempotency-Key: order-1024" \\\n'
        f"  -d '{json.dumps(CHARGE)}'\n"
    )


@click.command()
@host_option
@port_option
@local_option
def serve(host: str | None, port: int | None, local_webhooks: bool) -> None:
    """The API. Without KPAY_BROKER_URL the worker's tasks are done in this process too."""
    settings = settings_with(host=host, port=port, local_webhooks=local_webhooks)
    logs.configure(settings.log_format)
    secret = compose.secret_of(settings, make=False)

    async def work() -> None:
        await compose.check_migrated(settings)
        working = settings.broker_url is None
        async with compose.open_system(settings, secret, working=working) as system:

            def on_start(port: int) -> None:
                log.warning("no live processor is configured: POST /v1/charges answers 503 in live mode")
                log.info("serving", host=settings.host, port=port, working=working)

            await serve_until_stopped(system, settings, working=working, on_start=on_start)

    run(work())


@click.command()
@host_option
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="Serve /metrics there.  [else nowhere]")
@local_option
def worker(host: str | None, metrics_port: int | None, local_webhooks: bool) -> None:
    """
    What goes on without a request: events are delivered, what is unfinished resolved, funds settled.

    Any number may run. With KPAY_BROKER_URL they learn of new events through Redis or RabbitMQ; without it, and while
    the broker is away, they look once a second.
    """
    settings = settings_with(host=host, local_webhooks=local_webhooks)
    logs.configure(settings.log_format)
    secret = compose.secret_of(settings, make=False)

    async def work() -> None:
        await compose.check_migrated(settings)
        async with compose.open_system(settings, secret, working=True) as system:
            spare_the_collector()
            with ExitStack() as stack:
                on = None
                if metrics_port is not None:
                    try:
                        on = stack.enter_context(system.metrics.served(settings.host, metrics_port))
                    except OSError as error:
                        told = f"{settings.host}, port {metrics_port}, cannot be listened at: {error}"
                        raise compose.Unreachable(told) from error
                await until_signalled(
                    work_for_ever(system), on_start=lambda: log.info("working", metrics_port=on)
                )

    run(work())


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8100, show_default=True)
@click.option(
    "--journal",
    default="sqlite:///sandbox.db",
    show_default=True,
    metavar="URL",
    help="Where it writes down all that it does; made where there is none.",
)
def sandbox(host: str, port: int, journal: str) -> None:
    """
    The card network and the bank of test mode as a process of its own.

    It lives on when the processes of its installation are stopped, killed or made anew; KPAY_SANDBOX_URL tells them
    where it is. Logs what it is asked, and what it answers.
    """
    logs.configure(read_settings().log_format)
    try:
        database_url(journal)
    except ValueError:
        raise click.BadParameter(
            "a journal is sqlite:///file.db or postgresql://user@host/db", param_hint="--journal"
        ) from None

    def tell(asked: str, reference: str, outcome: str) -> None:
        log.info(asked, reference=reference, outcome=outcome)

    async def work() -> None:
        async with compose.serve_sandbox(journal, host=host, port=port, on_answer=tell) as taken:
            await until_signalled(
                until_cancelled(), on_start=lambda: log.info("serving the sandbox", host=host, port=taken)
            )

    run(work())


async def until_cancelled() -> None:
    """Wait for the end."""
    await asyncio.Event().wait()


@click.command()
def migrate() -> None:
    """Make the database's tables, or bring them up to date."""
    settings = read_settings()
    asyncio.run(compose.migrate_all(settings))
    say("The database is up to date.")


@click.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    say(document(create_framework()).decode())


COMMANDS = (dev, serve, worker, sandbox, migrate, openapi)
