"""API keys: their form, what is kept of them, and when they open."""

import re
import zlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpay_core.domain import keys
from kpay_core.domain.keys import ALPHABET, Kind, make_key
from kpay_core.domain.scope import Mode, Scope
from tests.domain.samples import NOW

SECOND, MILLISECOND = timedelta(seconds=1), timedelta(milliseconds=1)
KINDS: list[Kind] = ["secret", "publishable"]
MODES: list[Mode] = ["test", "live"]
KEY = make_key("secret", "test", bytes(range(32)))

random_bytes = st.binary(min_size=32, max_size=32)


def base62(number: int) -> str:
    digits = ""
    while number:
        digits = ALPHABET[number % 62] + digits
        number //= 62
    return digits


@given(st.sampled_from(KINDS), st.sampled_from(MODES), random_bytes)
def test_a_key_has_the_documents_form(kind: Kind, mode: Mode, randomness: bytes) -> None:
    key = make_key(kind, mode, randomness)
    prefix = {"secret": "sk", "publishable": "pk"}[kind]
    assert re.fullmatch(f"{prefix}_{mode}_[0-9A-Za-z]{{36}}", key)
    assert key[-6:] == base62(zlib.crc32(key[:-6].encode())).rjust(6, "0")
    assert keys.is_well_formed(key)


@given(random_bytes, random_bytes)
def test_other_randomness_is_another_key(one: bytes, other: bytes) -> None:
    same = int.from_bytes(one) % 62**30 == int.from_bytes(other) % 62**30
    assert (make_key("secret", "live", one) == make_key("secret", "live", other)) is same


@pytest.mark.parametrize("place", range(len(KEY)))
def test_any_single_wrong_character_is_noticed(place: int) -> None:
    others = [c for c in ALPHABET + "_-é\n" if c != KEY[place]]
    assert not any(keys.is_well_formed(KEY[:place] + other + KEY[place + 1 :]) for other in others)


@pytest.mark.parametrize(
    "key", ["", "sk_test_", KEY[:-1], KEY + "0", KEY + "\n", " " + KEY, KEY.upper(), "sk_test_" + "٣" * 36]
)
def test_what_has_not_the_form_of_a_key_is_none(key: str) -> None:
    assert not keys.is_well_formed(key)


def test_two_swapped_neighbours_are_noticed() -> None:
    swaps = [
        KEY[:i] + KEY[i + 1] + KEY[i] + KEY[i + 2 :] for i in range(len(KEY) - 1) if KEY[i] != KEY[i + 1]
    ]
    assert not any(map(keys.is_well_formed, swaps))


def test_only_a_hash_and_four_characters_are_kept() -> None:
    kept = keys.issue(KEY, kind="secret", scope=Scope("mer_1", livemode=False), now=NOW)
    assert kept.id == keys.key_hash(KEY)
    assert kept.hint == f"sk_test_…{KEY[-4:]}"
    assert KEY[8:-4] not in repr(kept)


def test_a_rotated_key_opens_for_twenty_four_hours_to_the_second() -> None:
    key = keys.issue(KEY, kind="secret", scope=Scope("mer_1", livemode=False), now=NOW)
    rotated = keys.rotate_out(key, at_once=False, now=NOW)
    end = NOW + timedelta(hours=24)
    assert keys.opens(rotated, now=end - MILLISECOND)
    assert not keys.opens(rotated, now=end)
    assert (keys.is_current(key), keys.is_current(rotated)) == (True, False)


def test_a_key_that_ends_at_once_does_not_open_any_more() -> None:
    key = keys.issue(KEY, kind="secret", scope=Scope("mer_1", livemode=False), now=NOW)
    assert keys.opens(key, now=NOW)
    assert not keys.opens(keys.rotate_out(key, at_once=True, now=NOW), now=NOW)
    assert not keys.opens(keys.revoke(key, now=NOW), now=NOW)
    assert not keys.opens(keys.revoke(key, now=NOW + SECOND), now=NOW), "also where a clock is behind"
