"""Webhook signatures: what the public document promises to those who verify them."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpay_core.domain import signing
from kpay_core.domain.signing import FromTheFuture, Malformed, NoMatch, SignatureError, TooOld, sign, verify

SECRET = "whsec_dGVzdA"
NOW = datetime(2025, 6, 11, 14, 22, 9, tzinfo=UTC)
PAYLOAD = b'{"id":"evt_1"}'
# printf '1749651729.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_dGVzdA
KNOWN = "a5874e82aa5986c86b5e56bd7a28d7053b75c287cfda22809da37fc6319b9029"
HEADER = f"t=1749651729,v1={KNOWN}"
SECOND = timedelta(seconds=1)

secrets = st.text(st.characters(codec="ascii", exclude_categories=("Cc",)), min_size=1, max_size=60)
# Hypothesis wants its bounds without a zone.
moments = st.datetimes(min_value=datetime(2001, 9, 9, 1, 46, 40), timezones=st.just(UTC))  # noqa: DTZ001


def test_the_known_payload_has_the_known_signature() -> None:
    assert NOW.timestamp() == 1749651729
    assert sign(PAYLOAD, secrets=[SECRET], now=NOW) == HEADER
    assert verify(PAYLOAD, HEADER, SECRET, now=NOW) == NOW


@given(st.binary(max_size=200), st.lists(secrets, min_size=1, max_size=3), moments)
def test_what_was_signed_verifies_with_each_secret_in_force(
    payload: bytes, in_force: list[str], now: datetime
) -> None:
    header = sign(payload, secrets=in_force, now=now)
    for secret in in_force:
        assert verify(payload, header, secret, now=now) == now.replace(microsecond=0)


@given(st.binary(max_size=100), st.binary(max_size=100), secrets, secrets, moments)
def test_another_payload_or_secret_does_not_verify(
    payload: bytes, other: bytes, secret: str, other_secret: str, now: datetime
) -> None:
    header = sign(payload, secrets=[secret], now=now)
    if payload != other:
        with pytest.raises(NoMatch):
            verify(other, header, secret, now=now)
    if secret != other_secret:
        with pytest.raises(NoMatch):
            verify(payload, header, other_secret, now=now)


def test_the_timestamp_is_signed_too() -> None:
    with pytest.raises(NoMatch):
        verify(PAYLOAD, HEADER.replace("1749651729", "1749651730"), SECRET, now=NOW)


def test_a_signature_is_good_for_five_minutes_to_the_second() -> None:
    minutes = timedelta(minutes=5)
    assert verify(PAYLOAD, HEADER, SECRET, now=NOW + minutes) == NOW
    assert verify(PAYLOAD, HEADER, SECRET, now=NOW - minutes) == NOW
    with pytest.raises(TooOld):
        verify(PAYLOAD, HEADER, SECRET, now=NOW + minutes + SECOND)
    with pytest.raises(FromTheFuture):
        verify(PAYLOAD, HEADER, SECRET, now=NOW - minutes - SECOND)
    assert verify(PAYLOAD, HEADER, SECRET, now=NOW + 9 * SECOND, tolerance_seconds=9) == NOW
    with pytest.raises(TooOld):
        verify(PAYLOAD, HEADER, SECRET, now=NOW + 10 * SECOND, tolerance_seconds=9)


def test_an_old_forgery_is_told_nothing_of_its_age() -> None:
    with pytest.raises(NoMatch):
        verify(b"forged", HEADER, SECRET, now=NOW + timedelta(days=1))


@pytest.mark.parametrize(
    "header",
    [
        "",
        ",",
        "t=1749651729",
        f"v1={KNOWN}",
        f"t=,v1={KNOWN}",
        f"t=now,v1={KNOWN}",
        f"t=-1749651729,v1={KNOWN}",
        f"t=1749651729.0,v1={KNOWN}",
        f"t=١٧٤٩٦٥١٧٢٩,v1={KNOWN}",
        f"t=1749651729,t=1749651729,v1={KNOWN}",
        "t=1749651729,v1=",
        f"t=1749651729,v1={KNOWN[:-1]}",
        f"t=1749651729,v1={KNOWN}0",
        f"t=1749651729,v1={'é' * 64}",
        f"t=1749651729,v1={KNOWN},v1=short",
        f"t=9999999999999,v1={KNOWN}",
        f"t=1749651729,v1={KNOWN}" + ",x=y" * 1000,
    ],
)
def test_a_header_of_another_form_is_malformed(header: str) -> None:
    with pytest.raises(Malformed):
        verify(PAYLOAD, header, SECRET, now=NOW)


@given(st.text(max_size=200))
def test_whatever_the_header_only_a_signature_error_comes_out(header: str) -> None:
    with pytest.raises(SignatureError):
        verify(PAYLOAD, header, SECRET, now=NOW)


def test_the_largest_timestamp_is_refused_and_not_a_crash() -> None:
    secret_of_mine = signing.signature(PAYLOAD, secret=SECRET, timestamp=999_999_999_999)
    with pytest.raises(FromTheFuture):
        verify(PAYLOAD, f"t=999999999999,v1={secret_of_mine}", SECRET, now=NOW)


def test_one_good_signature_of_several_is_enough_and_later_schemes_are_passed_over() -> None:
    other = signing.signature(PAYLOAD, secret="other", timestamp=1749651729)
    header = f"v2=abc, t=1749651729, v1={other}, v1={KNOWN}, v0"
    assert verify(PAYLOAD, header, SECRET, now=NOW) == NOW
    assert verify(PAYLOAD, header, "other", now=NOW) == NOW


def test_those_who_verify_need_nothing_but_the_standard_library() -> None:
    alone = f"import runpy; runpy.run_path({signing.__file__!r})"
    subprocess.run([sys.executable, "-I", "-S", "-c", alone], check=True)
