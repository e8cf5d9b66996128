"""`kpay events`, `kpay listen` and `kpay keys reseal`, beside servers that run."""

import asyncio
import json
import re
import signal
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from kpay_adapters.memory import MemoryStore
from kpay_adapters.testing import CHARGE, FrozenClock, ScriptedCourier, make_kpay
from kpay_core import Kpay
from kpay_core.commit import Record
from kpay_core.domain import signing
from kpay_core.domain.events import EVENT_TYPES, Event
from kpay_core.domain.posts import MAX_IN_FLIGHT
from kpay_core.domain.scope import Scope
from kpay_core.query import Query
from kpay_http.cli.listen import LOOK_BACK, Target, Watch, forward
from kpay_http.cli.running import url_of
from tests.http.world import DECLINES, HOOKS, merged
from tests.servers import START_SECONDS, Installation, Process, Server, free_port

T = TypeVar("T")
R = TypeVar("R", bound=Record)

# What `kpay dev` works with: nothing but its folder.
NO_SETTINGS = {"KPAY_SECRET_KEY": None, "KPAY_DATABASE_URL": None}


class Hooks:
    """A server for webhooks on this machine: it remembers what it got, and answers with `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.got: list[tuple[dict[str, str], bytes]] = []
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hooks.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(hooks.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *_: Any) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self.server.server_port}/hooks"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def types(self) -> list[str]:
        return [json.loads(body)["type"] for _, body in self.got]


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    hooks = Hooks()
    yield hooks
    hooks.server.shutdown()
    hooks.server.server_close()


def wait_for(what: Callable[[], T | None], *, so_far: Callable[[], object] = lambda: None) -> T:
    """Wait until there is something, and return it."""
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        if found := what():
            return found
        time.sleep(0.02)
    raise AssertionError(so_far())


class Caller:
    """A merchant who sends requests to a server."""

    def __init__(self, server: Server, key: str) -> None:
        self.url = server.url
        self.headers = {"Authorization": f"Bearer {key}"}

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        return httpx.request(method, self.url + path, headers=self.headers, **options)

    def charge(self, **changes: Any) -> dict[str, Any]:
        return self.send("POST", "/v1/charges", json=merged(CHARGE, changes)).json()

    def get(self, path: str) -> httpx.Response:
        return self.send("GET", path)

    def register(self, url: str = HOOKS) -> dict[str, Any]:
        answer = self.send("POST", "/v1/webhook_endpoints", json={"url": url})
        assert answer.status_code == 201, answer.text
        return answer.json()


class Listening:
    """`kpay listen` in a process of its own."""

    def __init__(self, installation: Installation, url: str, *options: str, **settings: str | None) -> None:
        self.log = installation.folder / f"listen-{time.monotonic_ns()}.log"
        with self.log.open("wb") as output:
            self.process: Process = installation.process(
                "listen", "--forward-to", url, *options, output=output, **settings
            )
        self.secret: str = wait_for(
            lambda: re.search(r"whsec_[A-Za-z0-9_-]{43}\b", self.text()), so_far=self.text
        )[0]

    def text(self) -> str:
        return self.log.read_text()

    def lines(self, count: int) -> list[str]:
        """The last lines, once there are so many about events."""
        return wait_for(
            lambda: found if len(found := re.findall(r".*evt_.*", self.text())) >= count else None,
            so_far=self.text,
        )

    def end(self, by: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(by)
        return self.process.wait(START_SECONDS)


@pytest.fixture
def listen() -> Iterator[Callable[..., Listening]]:
    started: list[Listening] = []

    def start(*arguments: Any, **settings: str | None) -> Listening:
        started.append(Listening(*arguments, **settings))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()


def demo_key(server: Server) -> str:
    return wait_for(lambda: re.search("sk_test_[0-9A-Za-z]{36}", server.log.read_text()))[0]


def test_listen_forwards_beside_dev_with_no_further_arguments(
    sqlite: Installation, hooks: Hooks, listen: Callable[..., Listening]
) -> None:
    server = sqlite.start("dev", **NO_SETTINGS).wait_until_up()
    caller = Caller(server, demo_key(server))
    caller.charge(description="before")
    listening = listen(sqlite, hooks.url, **NO_SETTINGS)
    made = caller.charge(description="after")
    caller.charge(source={"number": DECLINES})
    lines = listening.lines(2)

    # No order is promised of two that happen at once.
    assert sorted(hooks.types()) == ["charge.failed", "charge.succeeded"]
    headers, body = hooks.got[hooks.types().index("charge.succeeded")]
    event = json.loads(body)
    assert event["data"]["object"] == made
    assert caller.get(f"/v1/events/{event['id']}").content == body
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"] == "K-Payments/1"
    assert headers["k-payments-event-id"] == event["id"]
    signing.verify(body, headers["k-payments-signature"], listening.secret, now=datetime.now(UTC))
    assert re.fullmatch(
        rf"20\S{{21}}Z  charge\.succeeded  {event['id']}  200  [0-9]+ ms",
        next(line for line in lines if "succeeded" in line),
    ), lines
    assert "mer_00de00de00de70de80de00de00de00de in test mode" in listening.text()

    assert listening.end(signal.SIGINT) == 0
    again = listen(sqlite, hooks.url, **NO_SETTINGS)
    assert again.secret == listening.secret
    assert again.end(signal.SIGTERM) == 0
    for each in (listening, again):
        assert "Traceback" not in each.text()
        assert "Abort" not in each.text()
    assert len(hooks.got) == 2


@pytest.mark.heavy
def test_listen_says_what_failed_and_tries_each_event_once(
    installation: Installation, hooks: Hooks, listen: Callable[..., Listening]
) -> None:
    server = installation.migrate().serve()
    merchant = installation.merchant()
    caller = Caller(server, merchant["keys"]["test"]["secret"])
    away = f"http://127.0.0.1:{free_port()}/"
    whose = ("--merchant", merchant["id"])
    hooks.status = 500
    refused = listen(installation, hooks.url, *whose, "--json")
    unreachable = listen(installation, away, *whose)
    caller.charge()
    told = json.loads(refused.lines(1)[0])
    assert told == {
        "time": told["time"],
        "type": "charge.succeeded",
        "event": told["event"],
        "status": 500,
        "error": "refused",
        "milliseconds": told["milliseconds"],
    }
    assert json.loads(refused.text().splitlines()[0]) == {
        "merchant": merchant["id"],
        "mode": "test",
        "forward_to": hooks.url,
        "signing_secret": refused.secret,
    }
    assert re.search(r"  connection_failed  [0-9]+ ms$", unreachable.lines(1)[0])
    # As long as it takes to look four times more.
    time.sleep(1)
    assert len(hooks.got) == len(refused.lines(1)) == len(unreachable.lines(1)) == 1
    assert [each.end() for each in (refused, unreachable)] == [0, 0]


@pytest.mark.heavy
def test_listen_forwards_one_merchant_and_mode_and_only_the_types_it_is_told(
    sqlite: Installation, hooks: Hooks, listen: Callable[..., Listening]
) -> None:
    server = sqlite.migrate().serve()
    one, two = sqlite.merchant("One"), sqlite.merchant("Two")
    mine, others = (Caller(server, each["keys"]["test"]["secret"]) for each in (one, two))
    declined = listen(sqlite, hooks.url, "--merchant", one["id"], "--events", "charge.failed, refund.created")
    live = listen(sqlite, hooks.url, "--merchant", one["id"], "--mode", "live")
    other = listen(sqlite, hooks.url, "--merchant", two["id"], "--events", "*")
    assert len({each.secret for each in (declined, live, other)}) == 3
    mine.charge()
    mine.charge(source={"number": DECLINES})
    assert "charge.failed" in declined.lines(1)[0]
    others.charge()
    assert "charge.succeeded" in other.lines(1)[0]
    assert sorted(hooks.types()) == ["charge.failed", "charge.succeeded"]
    assert [each.end() for each in (declined, live, other)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--forward-to", "localhost:3000"), "--forward-to: must be http or https"),
        (("--forward-to", "ftp://localhost/"), "--forward-to: must be http or https"),
        (("--forward-to", "http://"), "--forward-to: no host"),
        (("--forward-to", "http://10.0.0.1/"), "--forward-to: not a public address"),
        (
            ("--forward-to", "http://localhost/", "--events", "charge.lost"),
            "--events: 'charge.lost' is none of " + ", ".join(EVENT_TYPES),
        ),
        (
            ("--forward-to", "http://localhost/"),
            "--merchant: required, since there is no demo merchant here",
        ),
        (("--forward-to", "http://localhost/", "--merchant", "mer_x"), "--merchant: no such merchant"),
    ],
)
def test_listen_refuses_what_it_cannot_do_with_one_line(
    sqlite: Installation, options: tuple[str, ...], error: str
) -> None:
    done = sqlite.command("listen", *options)
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", f"Error: {error}\n")


def test_listen_says_in_its_help_that_nothing_is_tried_again(sqlite: Installation) -> None:
    assert "not tried again" in " ".join(sqlite.command("listen", "--help").output.split())


SCOPE = Scope("mer_1", False)


def event(number: int, at: datetime) -> Event:
    return Event(
        id=f"evt_{number:032}",
        merchant=SCOPE.merchant,
        livemode=SCOPE.livemode,
        type="charge.succeeded",
        body="{}",
        created_at=at,
    )


def world_of_events() -> tuple[Kpay, FrozenClock, Watch]:
    clock = FrozenClock()
    kpay = make_kpay(clock=clock)
    return kpay, clock, Watch(kpay, SCOPE)


def look(watch: Watch) -> list[int]:
    return [int(event.id.removeprefix("evt_")) for event in asyncio.run(watch.look())]


def test_an_event_that_is_committed_after_a_younger_one_is_found_once() -> None:
    kpay, clock, watch = world_of_events()

    def commit(*numbers: int) -> None:
        asyncio.run(kpay.store.commit(*(event(number, clock.now()) for number in numbers)))

    commit(1)
    assert look(watch) == []
    commit(5)
    assert look(watch) == [5]
    clock.advance(LOOK_BACK / 2)
    commit(3)
    assert look(watch) == [3]
    assert look(watch) == []
    # Nothing that grew old in the meantime comes back, and nothing old is new.
    clock.advance(LOOK_BACK)
    assert look(watch) == []
    asyncio.run(kpay.store.commit(event(4, clock.now() - LOOK_BACK - timedelta(milliseconds=1))))
    assert look(watch) == []
    commit(6)
    assert look(watch) == [6]


def test_what_happened_while_nobody_looked_is_found_once() -> None:
    kpay, clock, watch = world_of_events()
    asyncio.run(kpay.store.commit(event(1, clock.now())))
    assert look(watch) == []
    # Ctrl-Z, and fg after an hour.
    for number in (2, 3, 4):
        clock.advance(timedelta(minutes=20))
        asyncio.run(kpay.store.commit(event(number, clock.now())))
    assert look(watch) == [2, 3, 4]
    assert look(watch) == []


def test_more_events_than_a_page_holds_are_all_found_in_their_order() -> None:
    kpay, clock, watch = world_of_events()
    assert look(watch) == []
    events = [event(number, clock.now()) for number in range(250)]
    asyncio.run(kpay.store.commit(*events))
    assert look(watch) == list(range(250))
    assert look(watch) == []


class Counting(MemoryStore):
    """A store that counts what it is asked."""

    questions = 0

    async def find(self, query: Query[R]) -> Sequence[R]:
        self.questions += 1
        return await super().find(query)


def test_events_of_a_time_that_was_turned_are_found_once_and_not_read_for_ever() -> None:
    store = Counting()
    kpay = make_kpay(store=store, clock=FrozenClock())
    watch = Watch(kpay, SCOPE)
    assert look(watch) == []
    # Three days pass for the sandbox, in a moment of the machine.
    turned = [event(number, kpay.clock.now() + timedelta(minutes=10 * number)) for number in range(400)]
    asyncio.run(kpay.store.commit(*turned))
    assert look(watch) == list(range(400))

    store.questions = 0
    assert look(watch) == []
    assert store.questions == 1
    asyncio.run(kpay.store.commit(event(400, turned[-1].created_at)))
    assert look(watch) == [400]


@pytest.mark.parametrize(
    ("host", "url"), [("127.0.0.1", "http://127.0.0.1:8000"), ("::1", "http://[::1]:8000")]
)
def test_an_address_works_as_it_is_pasted(host: str, url: str) -> None:
    assert url_of(host, 8000) == url


def test_no_more_than_8_posts_are_on_their_way_at_a_time() -> None:
    kpay, clock, watch = world_of_events()
    hanging = ScriptedCourier(lambda _: None, clock=clock)
    target = Target(url=HOOKS, types=set(EVENT_TYPES), secret="whsec_x")

    async def go() -> None:
        await watch.look()
        await kpay.store.commit(*(event(number, clock.now()) for number in range(20)))
        forwarding = asyncio.ensure_future(forward(kpay, watch, hanging, target, tell=lambda *_: None))
        await asyncio.sleep(0.05)
        forwarding.cancel()

    asyncio.run(go())
    assert len(hanging.posts) == MAX_IN_FLIGHT == 8


def test_a_targets_repr_hides_its_secret() -> None:
    assert "whsec" not in repr(Target(url=HOOKS, types=set(), secret="whsec_x"))


def test_events_are_listed_and_shown_beside_a_running_server(installation: Installation) -> None:
    server = installation.migrate().serve()
    merchant = installation.merchant()
    caller = Caller(server, merchant["keys"]["test"]["secret"])
    caller.charge()
    caller.charge(source={"number": DECLINES})
    whose = ("--merchant", merchant["id"])
    shown = caller.get("/v1/events").json()["data"]
    assert installation.json("events", "list", *whose) == shown
    assert installation.json("events", "list", *whose, "--limit", "1") == shown[:1]
    assert installation.json("events", "list", *whose, "--type", "charge.succeeded") == shown[1:]
    assert installation.json("events", "list", *whose, "--mode", "live") == []
    lines = installation.command("events", "list", *whose).stdout.splitlines()
    assert lines == [f"{each['created_at']}  {each['id']}  {each['type']}" for each in shown]

    id = shown[0]["id"]
    assert installation.json("events", "show", id, *whose) == shown[0]
    head, _, body = installation.command("events", "show", id, *whose).stdout.partition("\n")
    assert head == lines[0]
    assert json.loads(body) == shown[0]
    for words in (("show", id, *whose, "--mode", "live"), ("resend", "evt_unknown", *whose)):
        done = installation.command("events", *words)
        assert (done.exit_code, done.stderr) == (1, "Error: No such object.\n")
    unknown = installation.command("events", "list", *whose, "--type", "charge.lost")
    assert (unknown.exit_code, unknown.stderr.startswith("Error: type: one of: ")) == (1, True)


def test_resending_beside_dev_reaches_the_endpoints_again(sqlite: Installation, hooks: Hooks) -> None:
    server = sqlite.start("dev", **NO_SETTINGS, KPAY_ALLOW_LOCAL_WEBHOOKS="1").wait_until_up()
    caller = Caller(server, demo_key(server))
    one, two = caller.register(hooks.url), caller.register(hooks.url + "/2")
    caller.charge()
    wait_for(lambda: len(hooks.got) >= 2, so_far=server.log.read_text)
    (event,) = caller.get("/v1/events").json()["data"]

    settings = {**NO_SETTINGS, "KPAY_DATABASE_URL": f"sqlite:///{sqlite.folder}/kpay.db"}
    told = sqlite.json("events", "resend", event["id"], "--endpoint", two["id"], **settings)
    assert [(each["event"], each["endpoint"], each["status"]) for each in told] == [
        (event["id"], two["id"], "pending")
    ]
    wait_for(lambda: len(hooks.got) >= 3, so_far=server.log.read_text)
    done = sqlite.command("events", "resend", event["id"], **settings)
    assert done.exit_code == 0
    assert {line.split(" to ")[1] for line in done.stdout.splitlines()} == {one["id"], two["id"]}
    wait_for(lambda: len(hooks.got) >= 5, so_far=server.log.read_text)
    assert len({body for _, body in hooks.got}) == 1


def test_resending_says_when_no_endpoint_wants_the_event(sqlite: Installation) -> None:
    server = sqlite.migrate().serve()
    merchant = sqlite.merchant()
    Caller(server, merchant["keys"]["test"]["secret"]).charge()
    whose = ("--merchant", merchant["id"])
    (event,) = sqlite.json("events", "list", *whose)
    assert sqlite.json("events", "resend", event["id"], *whose) == []
    done = sqlite.command("events", "resend", event["id"], *whose)
    assert (done.exit_code, done.stdout) == (0, "No endpoint wants this event.\n")
    done = sqlite.command("events", "resend", event["id"], *whose, "--endpoint", "we_unknown")
    assert (done.exit_code, done.stderr) == (1, "Error: No such object.\n")


def sealing_key(byte: int) -> str:
    return b64encode(bytes([byte]) * 32).decode()


def test_a_sealing_key_is_replaced_by_sealing_everything_again(installation: Installation) -> None:
    server = installation.migrate().serve()
    caller = Caller(server, installation.merchant()["keys"]["test"]["secret"])
    for _ in range(2):
        caller.register()
    rotated = caller.register()
    caller.send("POST", f"/v1/webhook_endpoints/{rotated['id']}/rotate_secret")
    deleted = caller.register()
    caller.send("DELETE", f"/v1/webhook_endpoints/{deleted['id']}")

    def reseal(**settings: str | None) -> Any:
        return installation.json("keys", "reseal", **settings)

    first, second = sealing_key(1), sealing_key(2)
    assert reseal() == {"resealed": 0}
    assert reseal(KPAY_SEALING_KEYS=first) == {"resealed": 3}
    assert reseal(KPAY_SEALING_KEYS=first) == {"resealed": 0}
    assert reseal(KPAY_SEALING_KEYS=f"{second},{first}") == {"resealed": 3}
    assert reseal(KPAY_SEALING_KEYS=second) == {"resealed": 0}
    done = installation.command("keys", "reseal", KPAY_SEALING_KEYS=first)
    assert done.exit_code == 1
    assert re.fullmatch(
        "Error: A stored secret cannot be opened: sealed with key [0-9a-f]{8}, which is not at hand.\n",
        done.stderr,
    )
    done = installation.command("keys", "reseal", KPAY_SEALING_KEYS=f"{first},{second}")
    assert (done.exit_code, done.stdout) == (0, "Endpoints whose secrets were sealed again: 3.\n")


def test_resealing_needs_the_secret_key_where_none_is_kept_beside_the_database(
    postgres: Installation,
) -> None:
    done = postgres.migrate().command("keys", "reseal", KPAY_SECRET_KEY=None)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "KPAY_SECRET_KEY" in done.stderr
    assert Path(postgres.folder, "kpay.secret").exists() is False
