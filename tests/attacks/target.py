"""The service as an attacker meets it: requests as an ASGI server hands them on, and whatever is logged meanwhile."""

import logging
from collections.abc import Callable, MutableMapping, Sequence
from itertools import pairwise
from typing import Any, Self, TypeVar

import httpx
import msgspec
import structlog

from kpay_adapters.memory import MemoryStore
from kpay_adapters.testing import START
from kpay_core.commit import Record
from kpay_core.query import Query
from kpay_core.remembered import Remembered
from tests.http.world import FRAUDULENT, World

R = TypeVar("R", bound=Record)

# Events of these levels are ours to explain. A request that somebody sends is no reason for one.
LOUD = frozenset({"warning", "warn", "error", "critical", "exception", "fatal"})

NO_ANSWER = 0


class Attack(msgspec.Struct, frozen=True, kw_only=True):
    """
    One request. Its body comes in pieces that begin at `cuts`, and its sender `hangs_up` before the last one or stays.

    `operation` is what it was made from. The key of a merchant goes along, unless there is one in the headers.
    """

    operation: str
    method: str
    path: str
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"),)
    body: bytes = b""
    cuts: tuple[int, ...] = ()
    hangs_up: bool = False

    @property
    def pieces(self) -> list[bytes]:
        places = [0, *sorted(cut % (len(self.body) + 1) for cut in self.cuts), len(self.body)]
        return [self.body[start:end] for start, end in pairwise(places)]


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What came back: all of it, or `NO_ANSWER`."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""

    def response(self) -> httpx.Response:
        return httpx.Response(self.status, headers=list(self.headers), content=self.body)


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    message: str
    details: dict[str, Any]


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    error: Facts


read_envelope = msgspec.json.Decoder(Envelope).decode


async def send(app: Any, attack: Attack, *, key: str | None) -> Heard:
    """Hand a request to an application, bytes that no client library lets through."""
    given = [*attack.headers]
    if key is not None and not any(name == b"authorization" for name, _ in given):
        given.insert(0, (b"authorization", b"Bearer " + key.encode()))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": attack.method,
        "scheme": "http",
        "path": attack.path,
        "raw_path": attack.path.encode(errors="surrogatepass"),
        "query_string": attack.query,
        "root_path": "",
        "headers": given,
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 50000),
    }
    pieces = attack.pieces
    coming: list[dict[str, Any]] = [
        {"type": "http.request", "body": piece, "more_body": True} for piece in pieces
    ]
    coming[-1] = {"type": "http.disconnect"} if attack.hangs_up else {**coming[-1], "more_body": False}
    coming.reverse()
    came: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return coming.pop() if coming else {"type": "http.disconnect"}

    async def note(message: MutableMapping[str, Any]) -> None:
        came.append(message)

    await app(scope, receive, note)
    if not came:
        return Heard(status=NO_ANSWER)
    start, *rest = came
    assert start["type"] == "http.response.start", "an answer begins with its status"
    assert rest, "an answer has an end"
    assert not rest[-1].get("more_body"), "an answer has an end"
    body = b"".join(message.get("body", b"") for message in rest)
    headers = tuple((bytes(name), bytes(value)) for name, value in start["headers"])
    return Heard(status=start["status"], headers=headers, body=body)


def seen(heard: Heard) -> tuple[object, ...]:
    """Everything that a client sees of an answer, apart from the name of the request."""
    return heard.status, heard.body, sorted(pair for pair in heard.headers if pair[0] != b"request-id")


class Asked(MemoryStore):
    """A store that notes what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []

    async def get(self, kind: type[R], id: str) -> R | None:
        self.asked.append(("get", kind.__name__))
        return await super().get(kind, id)

    async def find(self, query: Query[R]) -> Sequence[R]:
        self.asked.append(("find", query.kind.__name__))
        return await super().find(query)

    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        self.asked.append(("commit", " ".join(type(record).__name__ for record in records)))
        await super().commit(*records, held=held)


class Ears(logging.Handler):
    """Hears whatever is logged at warning or above, by us and by the libraries, and lets nothing else be written."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def __enter__(self) -> Self:
        structlog.configure(processors=[self._process])
        logging.root.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.root.removeHandler(self)
        structlog.reset_defaults()

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(self.format(record))

    def take(self) -> list[str]:
        heard, self.heard = self.heard, []
        return heard

    def _process(self, _: object, method: str, event: MutableMapping[str, Any]) -> str:
        if method in LOUD:
            self.heard.append(f"{method}: {dict(event)}")
        raise structlog.DropEvent


def remember(store: MemoryStore) -> Callable[[], None]:
    """Note what a store holds now; call what is returned to have it hold that again, and nothing else."""
    noted: dict[type[Record], dict[str, Any]] = {kind: dict(kept) for kind, kept in store._kept.items()}

    def forget() -> None:
        store._kept = {kind: dict(kept) for kind, kept in noted.items()}

    return forget


class Target:
    """
    A world with one of everything in it, and a merchant who sends attacks.

    The names of what is in it are the same each time. `forget` takes back what the attacks have left behind: what is
    stored is no leak, and would make every list longer. Where the store is a database it all stays.
    """

    def __init__(self, world: World, ears: Ears) -> None:
        self.world = world
        self.ears = ears
        client = world.client(world.merchant().test)
        self.key = client.headers["Authorization"].removeprefix("Bearer ")
        self.charge: str = client.charged()["id"]
        self.endpoint: str = client.registered()["id"]
        self.dispute: str = client.disputed(number=FRAUDULENT)["id"]
        client.refunded(client.charged(amount=10_000)["id"], amount=1000)
        self.event: str = client.data("/v1/events")[0]["id"]
        self._now = world.clock.now()
        stores = (world.kpay.store, world.journal)
        self._forget = [remember(store) for store in stores if isinstance(store, MemoryStore)]
        ears.take()

    def forget(self) -> None:
        for forget in self._forget:
            forget()
            self.world.kpay.remembered = Remembered()
        self.world.clock.advance(self._now - self.world.clock.now())

    async def fire(self, attack: Attack) -> Heard:
        return await send(self.world.app, attack, key=self.key)

    def attempt(self, attack: Attack) -> str | None:
        """Fire once and say what is wrong with what came of it."""
        return wrong(self.world.run(self.fire(attack)), attack, self.ears.take())


def wrong(heard: Heard, attack: Attack, logged: list[str]) -> str | None:
    """Say which law was broken, if one was: always one whole answer, never a 5xx, errors in the envelope, silence."""
    if logged:
        return f"logged {logged[0]}"
    if heard.status == NO_ANSWER:
        return None if attack.hangs_up else "no answer"
    if heard.status >= 500:
        return f"answered {heard.status}: {heard.body[:200]!r}"
    headers = dict(heard.headers)
    if len(heard.headers) != len(headers):
        return f"a header twice: {heard.headers}"
    if int(headers.get(b"content-length", b"-1")) != len(heard.body):
        return f"a length of {headers.get(b'content-length')!r} for {len(heard.body)} bytes"
    if not headers[b"request-id"].startswith(b"req_") or headers[b"cache-control"] != b"no-store":
        return f"headers {heard.headers}"
    if heard.status >= 400:
        try:
            read_envelope(heard.body)
        except msgspec.MsgspecError as error:
            return f"no envelope ({error}): {heard.body[:200]!r}"
    return None


def fresh_world() -> World:
    """Make a world in memory whose time begins where all begin."""
    world = World()
    assert world.clock.now() == START
    return world
