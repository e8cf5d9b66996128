"""The request by which an event is delivered (contract, section 8)."""

from collections.abc import Sequence
from datetime import datetime

from kpay_core.domain import signing
from kpay_core.domain.sending import Post

USER_AGENT = "K-Payments/1"
EVENT_ID_HEADER = "K-Payments-Event-Id"


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
