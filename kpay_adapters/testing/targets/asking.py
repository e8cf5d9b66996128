"""What a merchant can ask, and what it can be told."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol

import msgspec

Verb = Literal["create", "show", "list", "change", "delete", "rotate"]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """
    One request: what to do, to which kind of object (by its name in the API), to which one of them, and with what.

    `as_other` is the number of another scope, which asks in the merchant's place.
    """

    verb: Verb
    kind: str
    id: str = ""
    body: Mapping[str, Any] | None = None
    params: Mapping[str, str] = {}
    key: str | None = None
    as_other: int | None = None

    def __repr__(self) -> str:
        # The body may hold a card.
        return f"<{self.verb} {self.kind} {self.id}>"


class Said(StrEnum):
    """The ways in which a request ends, in words that HTTP has statuses for."""

    SHOWN = "shown"
    CREATED = "created"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    REFUSED = "refused"
    NOT_FOUND = "not found"
    # The same key is still at work, or too much was asked, for longer than one waits.
    BUSY = "busy"
    # It is the server's fault: whatever has a status of 500 or more.
    FAILED = "failed"


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What was answered: how it ended, and the exact bytes of the body as text."""

    said: Said
    text: str
    replayed: bool = False

    @property
    def value(self) -> dict[str, Any]:
        """The body, decoded."""
        return msgspec.json.decode(self.text, type=dict[str, Any])


class CannotAsk(BaseException):
    """
    The target cannot be asked (any more): away, of another kind, or it does not let us in.

    Nothing is proved by that, and nothing refuted: so it is no `Exception`, which would be taken for a failure of
    the target and be made shorter.
    """


class Target(Protocol):
    """
    A K-Payments as one merchant sees it, in test mode. Nobody else makes anything in that merchant's name meanwhile.

    `others` is how many other scopes can ask: other merchants, or the merchant's own live mode.
    `delivers` says that webhooks are really sent from there.
    """

    name: str
    others: int
    delivers: bool

    def ask(self, ask: Ask) -> Reply:
        """Ask once, and wait as long as one who was told to come back later; raises `CannotAsk`."""
        ...

    def now(self) -> datetime:
        """Tell what time it is there, to a few seconds."""
        ...

    def pass_time(self, seconds: int) -> Reply | None:
        """Let time pass there, and all that is due by then happen. None: nobody can turn its clock."""
        ...

    def audit(self) -> Sequence[str] | None:
        """Hold the whole store against the laws of money; return what disagrees. None: nobody can from here."""
        ...

    def close(self) -> None:
        """Leave."""
        ...
