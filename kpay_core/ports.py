"""
What the core asks of the world. Each docstring is a contract; each sentence of the store's has a test in the suite that
every store passes.

Flows await nothing but these, so that a simulator can drive them step by step without an event loop.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

import msgspec

from kpay_core.commit import Record
from kpay_core.domain.banking import BankVerdict
from kpay_core.domain.cards import Card
from kpay_core.domain.news import Mail, Testimony
from kpay_core.domain.posts import Post, Reply
from kpay_core.domain.processing import Verdict
from kpay_core.query import Query
from kpay_core.remembered import Remembered

R = TypeVar("R", bound=Record)


class Store(Protocol):
    """
    Where records live.

    Reads see only what was committed, and everything whose commit had returned before the read was asked.
    A read that cannot be answered raises `Unavailable`.
    """

    async def get(self, kind: type[R], id: str) -> R | None:
        """Return the newest version of one record, or None. Any text is a valid question, also a hostile one."""
        ...

    async def find(self, query: Query[R]) -> Sequence[R]:
        """Return the records that answer `query`, all from one moment."""
        ...

    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        """
        Make all the records durable, or none.

        Version 1 of a guarded record must not exist yet, version n replaces exactly version n - 1; else `Conflict`.
        A record without a version is appended; one with an id that exists is `Rejected`.
        A held record is not written, and must still be exactly at its version when the others are; else `Conflict`.
        Any number of units hold one record at the same time, and none of them waits for another. A unit that writes it
        is before or after all of each: once it has returned, nothing that held the older version becomes durable.
        Each is a `ValueError`, a bug of the caller: the same record twice in a unit, written or held; a held record
        without a version; a unit that holds records and writes none.
        When the connection is lost on the way the outcome is `Unknown`; sending the same unit again is then safe,
        because a unit that had taken effect now conflicts, or is `Rejected` if all that it wrote was appended.
        A caller who is cancelled may still have committed.
        A unit writes at least one guarded record, or ids that nobody else can make.
        """
        ...


class NoAnswer(Exception):
    """The network or the bank gave no answer (away, late, connection lost): what it did is not known."""


class Processor(Protocol):
    """
    The card network, asked by our own references: a reference names one authorisation or one refund for ever.

    Every call ends within 30 seconds, with a verdict or with `NoAnswer`. Asking again with the same reference
    is always safe: the network does a thing once, and tells what became of it. Test cards are declined in live mode
    without asking it, unless it says that it `takes_test_cards`, as a sandbox does that plays a live network.
    """

    async def authorise(self, *, reference: str, amount: int, currency: str, card: Card) -> Verdict:
        """Capture `amount` cents from a card: CAPTURED, DECLINED with a code, or REVERSED after a reversal."""
        ...

    async def refund(self, *, reference: str, charge: str, amount: int) -> Verdict:
        """Send back `amount` cents of the authorisation `charge`: REFUNDED, PENDING, REFUSED or REVERSED."""
        ...

    async def lookup(self, *, reference: str) -> Verdict:
        """Tell what became of a reference: any outcome, IN_FLIGHT while undecided, NOT_FOUND when never seen."""
        ...

    async def reverse(self, *, reference: str) -> Verdict:
        """
        Undo an authorisation, or call back a refund, and refuse whatever comes later under its reference.

        REVERSED: nothing stands under the reference and nothing ever will, also when it was never seen before.
        REFUNDED: the refund had gone out already and cannot be called back.
        """
        ...

    async def dispute(self, *, dispute: str, evidence: str) -> bool:
        """
        Hand in the evidence against a dispute, by the network's name for it.

        True: it was taken, now or before, and the verdict will be in the news. False: the dispute is closed, or its
        time is over. Only the first evidence counts.
        """
        ...

    async def mail(self, *, limit: int) -> Mail:
        """
        Return news that was not acknowledged, oldest first: at least once each, until it is.

        With a limit of 0 it tells only when there is or will be some.
        """
        ...

    async def acknowledge(self, *, news: Sequence[str]) -> None:
        """Note by their ids that news are kept here now, and need not be told again. Unknown ids are ignored."""
        ...


class BankRail(Protocol):
    """The bank that pays merchants out, asked by our own references: a payout's reference names it for ever."""

    async def send(self, *, reference: str, amount: int, currency: str, account: str) -> BankVerdict:
        """
        Send `amount` cents to a merchant's account, once for a reference, and tell what has become of it by now.

        Ends within 30 seconds, or raises `NoAnswer`. Asking again is safe, and how one learns what became of it.
        """
        ...


class Witness(Protocol):
    """A record of what really happened, kept by somebody else; an audit holds our books against it."""

    async def testify(self, *, after: str, limit: int) -> Sequence[Testimony]:
        """Return what is on record, by reference, beginning after one."""
        ...


class Courier(Protocol):
    """Carries posts to one merchant's server, several at a time, while its owner goes on."""

    def send(self, post: Post) -> None:
        """
        Begin to send. Never waits and never raises; whatever happens comes back as a reply.

        A reply comes within 15 seconds and a little. Follows no redirect, and dials only addresses that are public.
        """
        ...

    async def replies(self, *, seconds: float) -> Sequence[Reply]:
        """
        Return the replies that have come since the last call, each once, waiting for the first of them.

        Waits `seconds` at most, and less when somebody has `nudge`d: then it may return nothing.
        """
        ...

    def nudge(self) -> None:
        """Wake whoever waits for replies, or the next who would: there is something new to send."""
        ...


class Couriers(Protocol):
    """Where couriers come from; each serves one endpoint at a time."""

    def courier(self) -> Courier: ...


class Clock(Protocol):
    """The time that the whole system lives by."""

    def now(self) -> datetime:
        """Return the time in UTC, cut to milliseconds."""
        ...

    def monotonic(self) -> float:
        """Return the seconds since some moment, as `sleep` counts them: turning the time changes nothing of them."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of this clock's time."""
        ...


class Ids(Protocol):
    """Where names and secrets come from."""

    def uuid7(self, now: datetime) -> str:
        """Return a new UUIDv7 (RFC 9562) of that time, in its canonical form, later than all from here before."""
        ...

    def random_bytes(self, size: int) -> bytes:
        """Return bytes that nobody can guess."""
        ...


class Keyring(Protocol):
    """The secret of the installation. It is never in the database."""

    def mac(self, purpose: str, message: bytes) -> str:
        """Return an HMAC-SHA256 of the message in hex; another purpose is another key."""
        ...

    def seal(self, purpose: str, text: str) -> str:
        """Encrypt a text that is to be stored, so that only this keyring opens it, and only for this purpose."""
        ...

    def is_current(self, sealed: str) -> bool:
        """Tell whether a sealed text is by the key that seals now, or one that is to be replaced."""
        ...

    def unseal(self, purpose: str, sealed: str) -> str:
        """Return what was sealed; raises `CannotUnseal` when it was by another key, for another purpose, or changed."""
        ...


class CannotUnseal(Exception):
    """A sealed text was not sealed by this keyring for this purpose."""


class Wake(Protocol):
    """A hint to whoever delivers. Nothing depends on it: what nobody was told of is found by looking."""

    def __call__(self, endpoints: Sequence[str]) -> None:
        """Say that there is something new for these endpoints. Never waits, never raises."""
        ...


def wake_nobody(endpoints: Sequence[str]) -> None:
    """Give no hint: whoever delivers looks by himself."""


class Ports(msgspec.Struct, kw_only=True):
    """
    Everything the flows ask, in one place.

    `processors` has an entry for each mode that takes charges: `{"test": …}`, and `"live"` where a live one exists.
    `rails` has one for each mode that pays out. `local_webhooks` admits endpoints on the own machine, for
    development.
    """

    store: Store
    processors: Mapping[str, Processor]
    rails: Mapping[str, BankRail] = {}
    clock: Clock
    ids: Ids
    keyring: Keyring
    wake: Wake = wake_nobody
    local_webhooks: bool = False
    # What this process has in mind, so that it asks its store less.
    remembered: Remembered = msgspec.field(default_factory=Remembered)

    def __post_init__(self) -> None:
        # Of this store alone, also where `replace` has given a copy another one.
        self.remembered = Remembered()
