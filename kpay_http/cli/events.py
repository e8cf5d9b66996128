"""`kpay events`: what happened, looked at and delivered again."""

from collections.abc import Sequence
from typing import Any

import click

from kpay_core import Kpay
from kpay_core.domain.deliveries import Delivery
from kpay_core.domain.events import Event
from kpay_core.domain.pages import Page
from kpay_core.domain.scope import Mode
from kpay_core.domain.views import time
from kpay_core.domain.webhook_views import view_event, view_resent
from kpay_http.cli.tools import as_json, mode_option, print_json, say, scope_of, whose_option, with_kpay


@click.group()
def events() -> None:
    """List, show and resend a merchant's events."""


@events.command("list")
@click.option("--type", "type", help="Only this type, such as charge.succeeded.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@whose_option
@mode_option
@as_json
def list_all(type: str | None, limit: int, merchant: str | None, mode: Mode, as_json: bool) -> None:
    """List events, newest first."""

    async def work(kpay: Kpay) -> Page[Event]:
        scope = await scope_of(kpay, merchant, mode)
        return await kpay.list_events(scope, {"limit": limit, "type": type})

    found = with_kpay(work, by_machines_time=True).data
    if as_json:
        print_json([view_event(event) for event in found])
        return
    for event in found:
        say(f"{time(event.created_at)}  {event.id}  {event.type}")


@events.command()
@click.argument("id", metavar="EVT")
@whose_option
@mode_option
@as_json
def show(id: str, merchant: str | None, mode: Mode, as_json: bool) -> None:
    """Show an event as it is delivered."""

    async def work(kpay: Kpay) -> Event:
        return await kpay.get_event(await scope_of(kpay, merchant, mode), id)

    event = with_kpay(work, by_machines_time=True)
    if not as_json:
        say(f"{time(event.created_at)}  {event.id}  {event.type}")
    print_json(view_event(event))


@events.command()
@click.argument("id", metavar="EVT")
@click.option("--endpoint", metavar="WE", help="Deliver to this endpoint only: we_…")
@whose_option
@mode_option
@as_json
def resend(id: str, endpoint: str | None, merchant: str | None, mode: Mode, as_json: bool) -> None:
    """
    Deliver an event again, to every endpoint that wants its type or to one.

    Whatever delivers, `kpay dev`, `serve` or `worker`, sends it within a second or two.
    """
    body: dict[str, Any] = {"endpoint": endpoint}

    async def work(kpay: Kpay) -> Sequence[Delivery]:
        return await kpay.resend_event(await scope_of(kpay, merchant, mode), id, body)

    deliveries = with_kpay(work)
    if as_json:
        print_json(view_resent(id, deliveries).data)
        return
    for delivery in deliveries:
        say(f"{delivery.id} to {delivery.endpoint}")
    if not deliveries:
        say("No endpoint wants this event.")
