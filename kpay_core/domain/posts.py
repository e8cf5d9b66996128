"""What goes out to a merchant's server, and what comes back (contract, section 8)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from kpay_core.domain import signing

# The contract, section 8: from the look-up of the name to the last byte of the answer.
DEADLINE_SECONDS = 15

# How much of an answer is read, so that the connection can be used again; and how much of it is kept.
MAX_READ_BYTES = 64 * 1024
MAX_KEPT_BYTES = 16 * 1024

# How many posts may be on their way to one endpoint at a time, over all processes.
MAX_IN_FLIGHT = 8

USER_AGENT = "K-Payments/1"
EVENT_ID_HEADER = "K-Payments-Event-Id"


class Failure(StrEnum):
    """Why a post did not succeed, as its merchant is told."""

    NAME_NOT_FOUND = "name_not_found"
    ADDRESS_REFUSED = "address_refused"
    CONNECTION_FAILED = "connection_failed"
    TLS_FAILED = "tls_failed"
    TIMED_OUT = "timed_out"
    CONNECTION_LOST = "connection_lost"
    NOT_HTTP = "not_http"
    # It answered, with something other than 2xx.
    REDIRECTED = "redirected"
    REFUSED = "refused"
    # Our own worker died in the middle of it, again and again.
    INTERRUPTED = "interrupted"


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to be made. `key` names it to whoever waits for its reply."""

    key: str
    url: str
    headers: Mapping[str, str]
    body: bytes


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """
    What came of a post: no `failure` is a success.

    `status` is the HTTP status where one came. `answer` is the first 16 KiB of the answer as text, in which what is
    no UTF-8, and NUL, is replaced by U+FFFD.
    """

    key: str
    status: int | None
    failure: Failure | None
    answer: str
    milliseconds: int


def judge(status: int) -> Failure | None:
    """Say what a complete answer means: any 2xx is a success."""
    if 200 <= status <= 299:
        return None
    return Failure.REDIRECTED if 300 <= status <= 399 else Failure.REFUSED


def make_post(*, key: str, url: str, event: str, body: str, secrets: Sequence[str], now: datetime) -> Post:
    """Make the request for one attempt, signed now with each of the secrets; `key` names it to its sender."""
    raw = body.encode()
    return Post(
        key=key,
        url=url,
        headers={
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            signing.HEADER: signing.sign(raw, secrets=secrets, now=now),
            EVENT_ID_HEADER: event,
        },
        body=raw,
    )
