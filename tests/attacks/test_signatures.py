"""
Forged posts: whoever has seen any number of genuine ones, and not the secret, makes none that verifies.

The genuine posts are those that the service sends. What a verifier must refuse by the form of the header is in the
tests of `kpay_core.domain.signing`; here are the games that are played with well-formed ones.
"""

import hmac
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpay_core.domain import signing
from kpay_core.domain.signing import HEADER, Malformed, NoMatch, SignatureError, TooOld, verify
from tests.attacks.extension import extend, is_sound
from tests.http.world import World


class Posted(NamedTuple):
    """A genuine post, as its receiver has it."""

    payload: bytes
    header: str
    secret: str
    sent_at: datetime

    @property
    def timestamp(self) -> str:
        return self.header.split(",")[0].removeprefix("t=")

    @property
    def signature(self) -> str:
        return self.header.split("v1=")[1]


@pytest.fixture(scope="module")
def posted() -> Iterator[list[Posted]]:
    """Two posts to one endpoint, a minute apart, and one to another merchant's."""
    with World() as world:
        posts: list[Posted] = []
        for name, count in (("Acme", 2), ("Globex", 1)):
            client = world.client(world.merchant(name).test)
            secret = client.registered()["signing_secret"]
            for _ in range(count):
                client.charged()
                (post,) = world.deliver().posts
                posts.append(Posted(post.body, post.headers[HEADER], secret, world.clock.now()))
                world.pass_time(minutes=1)
        yield posts


def refused(
    payload: bytes, header: str, posted: Posted, *, kind: type[SignatureError] = SignatureError
) -> None:
    with pytest.raises(kind):
        verify(payload, header, posted.secret, now=posted.sent_at)


def test_a_genuine_post_verifies(posted: list[Posted]) -> None:
    for each in posted:
        assert verify(each.payload, each.header, each.secret, now=each.sent_at) == each.sent_at.replace(
            microsecond=0
        )


def test_one_posts_signature_is_no_others(posted: list[Posted]) -> None:
    first, second, others = posted
    for one, other in ((first, second), (second, first), (first, others), (others, first)):
        refused(one.payload, other.header, one, kind=NoMatch)
        refused(one.payload, f"t={one.timestamp},v1={other.signature}", one, kind=NoMatch)
        refused(one.payload, f"t={other.timestamp},v1={one.signature}", one, kind=NoMatch)
        # All the signatures that anybody has seen, in one header.
        seen = ",".join(f"v1={each.signature}" for each in posted if each is not one)
        refused(one.payload, f"t={one.timestamp},{seen}", one, kind=NoMatch)


def test_a_post_is_not_replayed_under_a_later_time(posted: list[Posted]) -> None:
    first = posted[0]
    later = first.sent_at + timedelta(minutes=6)
    with pytest.raises(TooOld):
        verify(first.payload, first.header, first.secret, now=later)
    fresh = int(later.timestamp())
    for header in (
        f"t={fresh},v1={first.signature}",
        f"t={fresh},{first.header}",
        f"{first.header},t={fresh}",
        f"{first.header} , t={fresh}",
        f"t={first.timestamp}.{fresh},v1={first.signature}",
        f"t={fresh};{first.header}",
    ):
        with pytest.raises(SignatureError):
            verify(first.payload, header, first.secret, now=later)


def test_a_signature_is_the_whole_of_it_in_one_spelling(posted: list[Posted]) -> None:
    first = posted[0]
    sign = first.signature
    for spelt in (
        sign.upper(),
        sign[:-1],
        sign[:32],
        sign + "00",
        f"0x{sign[:62]}",
        f" {sign}".replace(" ", "\u2003"),
        sign.translate({ord(digit): 0xFF10 + int(digit) for digit in "0123456789"}),
        sign.translate({ord(digit): 0x0660 + int(digit) for digit in "0123456789"}),
        f"{sign}\0",
        f"{sign}\n{sign}",
        "",
        "0" * 63,
    ):
        refused(first.payload, f"t={first.timestamp},v1={spelt}", first, kind=Malformed)
    for other in ("0" * 64, sign[1:] + sign[0], sign[::-1]):
        refused(first.payload, f"t={first.timestamp},v1={other}", first, kind=NoMatch)
    refused(first.payload, f"t={first.timestamp},v0={sign}", first, kind=Malformed)
    refused(first.payload, f"t={first.timestamp},V1={sign}", first, kind=Malformed)


def test_a_timestamp_is_ascii_digits(posted: list[Posted]) -> None:
    first = posted[0]
    stamp = first.timestamp
    for spelt in (
        stamp.translate({ord(digit): 0xFF10 + int(digit) for digit in "0123456789"}),
        f"+{stamp}",
        f"-{stamp}",
        f"{stamp}.0",
        f"{stamp}e0",
        f"{stamp[:3]}_{stamp[3:]}",
        hex(int(stamp)),
        f"{stamp}\u200b",
    ):
        refused(first.payload, f"t={spelt},v1={first.signature}", first, kind=Malformed)


def test_nothing_moves_between_the_timestamp_and_the_payload(posted: list[Posted]) -> None:
    first = posted[0]
    stamp = first.timestamp
    for cut in range(1, len(stamp)):
        refused(
            f"{stamp[cut:]}.".encode() + first.payload,
            f"t={stamp[:cut]},v1={first.signature}",
            first,
            kind=NoMatch,
        )
    refused(b"." + first.payload, f"t={stamp},v1={first.signature}", first, kind=NoMatch)
    refused(first.payload[1:], f"t={stamp},v1={first.signature}", first, kind=NoMatch)


@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(0, 10**12 - 1), st.integers(0, 10**12 - 1))
def test_two_things_that_are_signed_are_never_the_same_bytes(
    one: bytes, other: bytes, now: int, then: int
) -> None:
    same = (one, now) == (other, then)
    assert (b"%d." % now + one == b"%d." % then + other) is same


def test_any_change_of_a_payload_is_noticed(posted: list[Posted]) -> None:
    first = posted[0]
    for place in range(len(first.payload)):
        changed = bytearray(first.payload)
        changed[place] ^= 1
        refused(bytes(changed), first.header, first, kind=NoMatch)
    for payload in (b"", first.payload + b" ", b"\xef\xbb\xbf" + first.payload, first.payload * 2):
        refused(payload, first.header, first, kind=NoMatch)


def test_a_message_cannot_be_extended(posted: list[Posted]) -> None:
    assert is_sound(), "the attack works on a plain hash"
    first = posted[0]
    signed = f"{first.timestamp}.".encode() + first.payload
    more = b',"amount":1}'
    for length_of_secret in range(65):
        behind, forged = extend(first.signature, length=length_of_secret + len(signed), more=more)
        refused(first.payload + behind, f"t={first.timestamp},v1={forged}", first, kind=NoMatch)
    # What it would have done to a hash of secret and message.
    plain = sha256(first.secret.encode() + signed).hexdigest()
    behind, forged = extend(plain, length=len(first.secret) + len(signed), more=more)
    assert forged == sha256(first.secret.encode() + signed + behind).hexdigest()


def test_secrets_that_somebody_may_guess_open_nothing(posted: list[Posted]) -> None:
    first = posted[0]
    bare = first.secret.removeprefix("whsec_")
    for guess in ("whsec_", "secret", bare, first.secret[:-1], first.secret.lower(), f" {first.secret}"):
        forged = signing.sign(b"{}", secrets=[guess], now=first.sent_at)
        refused(b"{}", forged, first, kind=NoMatch)


def test_an_empty_secret_verifies_nothing() -> None:
    """A receiver whose secret was never set would believe everybody: an HMAC has no objection to an empty key."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    stamp = int(now.timestamp())
    anybodys = hmac.new(b"", b"%d.{}" % stamp, sha256).hexdigest()
    with pytest.raises(ValueError, match="a secret"):
        verify(b"{}", f"t={stamp},v1={anybodys}", "", now=now)
