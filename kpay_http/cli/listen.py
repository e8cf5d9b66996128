"""`kpay listen`: events on their way to a server on the developer's own machine."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import click
import msgspec

from kpay_core import Kpay
from kpay_core.domain.addresses import check_url
from kpay_core.domain.endpoints import ALL
from kpay_core.domain.errors import Invalid
from kpay_core.domain.events import EVENT_TYPES, Event
from kpay_core.domain.posts import MAX_IN_FLIGHT, Failure, Reply, make_post
from kpay_core.domain.scope import Mode, Scope
from kpay_core.domain.views import time
from kpay_core.flows.endpoints import write_secret
from kpay_core.ports import Courier
from kpay_http import compose
from kpay_http.cli.tools import as_json, mode_option, say, scope_of, whose_option, with_kpay
from kpay_http.server import stopping_signals

# Four looks a second are soon enough for a person, and nothing for a database.
LOOK_SECONDS = 0.25

# An event may be committed after one that is younger, by as long as its request waits for the database (20 s, and a
# pause between two tries). Clocks of several servers may differ by the rest.
LOOK_BACK = timedelta(minutes=1)

# The most that one page of events holds.
PAGE = 100

# Some 20 MB. Whoever has so many wait has a server that hangs, and something that makes charges in a loop.
MAX_WAITING = 10_000

Tell = Callable[[Event, Reply, datetime], None]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of forwarding one event, as it is printed."""

    time: str
    type: str
    event: str
    status: int | None
    error: Failure | None
    milliseconds: int


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where events go, which of them, and what signs them."""

    url: str
    types: set[str]
    secret: str

    def __repr__(self) -> str:
        return f"<Target {self.url}>"


class Watch:
    """The events of a scope, each once, as they become visible. The first look finds nothing: it begins there."""

    def __init__(self, kpay: Kpay, scope: Scope) -> None:
        self._kpay = kpay
        self._scope = scope
        self._seen: set[str] | None = None
        self._looked_at = kpay.clock.now()
        # When the last of them happened, which is later than now where the time of a sandbox was turned.
        self._last_at = datetime.min.replace(tzinfo=UTC)

    async def look(self) -> list[Event]:
        """Return what is new since the last look, oldest first."""
        now = self._kpay.clock.now()
        # From the look before: whoever stood still in between (Ctrl-Z, a lid that was closed) has missed more than now
        # looks back on.
        recent = await self._since(max(min(now, self._looked_at), self._last_at) - LOOK_BACK)
        self._looked_at = now
        self._last_at = max([self._last_at, *(event.created_at for event in recent)])
        seen = self._seen
        self._seen = {event.id for event in recent}
        return [] if seen is None else [event for event in reversed(recent) if event.id not in seen]

    async def _since(self, since: datetime) -> list[Event]:
        recent: list[Event] = []
        params: dict[str, object] = {"limit": PAGE}
        while True:
            page = await self._kpay.list_events(self._scope, params)
            recent.extend(event for event in page.data if event.created_at >= since)
            if not page.has_more or page.data[-1].created_at < since:
                return recent
            params["starting_after"] = page.data[-1].id


@click.command()
@click.option("--forward-to", "url", required=True, metavar="URL", help="Where your server takes webhooks.")
@click.option("--events", "wanted", metavar="TYPES", help="Only these types, with commas between them.")
@whose_option
@mode_option
@as_json
def listen(url: str, wanted: str | None, merchant: str | None, mode: Mode, as_json: bool) -> None:
    """
    Forward events to a server on your machine as they happen, until Ctrl-C.

    Works beside a running `kpay dev` in the same folder. Each event is sent once, in the form of a real delivery, and
    not tried again when it fails; `kpay events resend` is for registered endpoints only. The URL may be http or https,
    of this machine or a public host. The signing secret is printed first, and stays the same.
    """
    if wrong := check_url(url, local=True):
        raise Invalid({"--forward-to": [wrong]})
    types = read_types(wanted)

    async def work(kpay: Kpay) -> None:
        scope = await scope_of(kpay, merchant, mode)
        target = Target(url=url, types=types, secret=secret_for(kpay, scope))
        watch = Watch(kpay, scope)
        await watch.look()
        async with compose.open_sender(local=True) as sender:
            forwarding = asyncio.ensure_future(forward(kpay, watch, sender.courier(), target, tell=tell))

            def stop() -> None:
                forwarding.cancel()

            with stopping_signals(stop):
                introduce(scope, target, as_json=as_json)
                with suppress(asyncio.CancelledError):
                    await forwarding

    def tell(event: Event, reply: Reply, now: datetime) -> None:
        outcome = Outcome(
            time=time(now),
            type=event.type,
            event=event.id,
            status=reply.status,
            error=reply.failure,
            milliseconds=reply.milliseconds,
        )
        say(msgspec.json.encode(outcome).decode() if as_json else line_of(outcome))

    # The developer's server compares signatures with its own clock.
    with_kpay(work, needs_secret=True, by_machines_time=True)


async def forward(kpay: Kpay, watch: Watch, courier: Courier, target: Target, *, tell: Tell) -> None:
    """Send every new event once, at most 8 at a time as to any endpoint, for ever."""
    waiting: deque[Event] = deque()
    under_way: dict[str, Event] = {}
    loop = asyncio.get_running_loop()
    look_at = loop.time()
    while True:
        if loop.time() >= look_at:
            waiting.extend(event for event in await watch.look() if event.type in target.types)
            if len(waiting) > MAX_WAITING:
                raise click.ClickException(f"More than {MAX_WAITING} events wait for {target.url}.")
            look_at = loop.time() + LOOK_SECONDS
        while waiting and len(under_way) < MAX_IN_FLIGHT:
            event = under_way.setdefault(waiting[0].id, waiting.popleft())
            courier.send(
                make_post(
                    key=event.id,
                    url=target.url,
                    event=event.id,
                    body=event.body,
                    secrets=[target.secret],
                    now=kpay.clock.now(),
                )
            )
        for reply in await courier.replies(seconds=max(look_at - loop.time(), 0)):
            tell(under_way.pop(reply.key), reply, kpay.clock.now())


def read_types(wanted: str | None) -> set[str]:
    """Read the types to forward, all when none is named; raises `Invalid`."""
    types = {part.strip() for part in (wanted or ALL).split(",")}
    if unknown := types - {ALL, *EVENT_TYPES}:
        takes = f"{sorted(unknown)[0]!r} is none of {', '.join(EVENT_TYPES)}"
        raise Invalid({"--events": [takes]})
    return set(EVENT_TYPES) if ALL in types else types


def secret_for(kpay: Kpay, scope: Scope) -> str:
    """Return the secret that signs what is forwarded: always the same for one installation, merchant and mode."""
    return write_secret(
        bytes.fromhex(kpay.keyring.mac("kpay listen", f"{scope.merchant}/{scope.mode}".encode()))
    )


def introduce(scope: Scope, target: Target, *, as_json: bool) -> None:
    """Say what is forwarded, and how to verify it."""
    if as_json:
        about = {
            "merchant": scope.merchant,
            "mode": scope.mode,
            "forward_to": target.url,
            "signing_secret": target.secret,
        }
        say(msgspec.json.encode(about).decode())
        return
    say(f"Events of {scope.merchant} in {scope.mode} mode go to {target.url}")
    say(f"Signing secret: {target.secret}\n")


def line_of(outcome: Outcome) -> str:
    """Write what came of one event as a line for people."""
    answered = str(outcome.status) if outcome.status is not None else ""
    result = " ".join(filter(None, (answered, outcome.error)))
    return f"{outcome.time}  {outcome.type:16}  {outcome.event}  {result}  {outcome.milliseconds} ms"
