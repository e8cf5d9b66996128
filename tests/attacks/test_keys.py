"""Guessing keys: a mistyped one costs no question, and what is refused is refused alike, and leaves no trace."""

import itertools
from collections.abc import Iterator
from datetime import timedelta

import pytest

from kpay_core.domain.keys import ALPHABET, key_hash, make_key
from kpay_http import logs
from tests.attacks.target import Asked, Attack, Heard, seen, send
from tests.http.world import World
from tests.servers import logs_as_before

LOOKED_UP = [("get", "ApiKey")]


class Guesser:
    """Somebody without a key, who tries some, and sees what the store was asked for each."""

    def __init__(self, world: World, store: Asked) -> None:
        self.world, self.store = world, store
        self.merchant = world.merchant()

    def guess(self, key: str) -> tuple[Heard, list[tuple[str, str]]]:
        self.store.asked.clear()
        attack = Attack(operation="listCharges", method="GET", path="/v1/charges", headers=())
        heard = self.world.run(send(self.world.app, attack, key=key))
        return heard, list(self.store.asked)


@pytest.fixture
def guesser() -> Iterator[Guesser]:
    store = Asked()
    with World(store=store) as world:
        yield Guesser(world, store)


def mistyped(key: str) -> Iterator[str]:
    """Every key with one character wrong, missing, doubled, or swapped with the next."""
    for place, character in enumerate(key):
        before, after = key[:place], key[place + 1 :]
        yield from (before + other + after for other in ALPHABET + "_-" if other != character)
        yield before + after
        yield before + character * 2 + after
        if after and after[0] != character:
            yield before + after[0] + character + after[1:]


def test_a_mistyped_key_is_refused_without_a_question(guesser: Guesser) -> None:
    for key in mistyped(guesser.merchant.test):
        heard, asked = guesser.guess(key)
        assert (heard.status, asked) == (401, []), key


def refused_keys(guesser: Guesser) -> dict[str, str]:
    """One well-formed key of each kind that opens nothing."""
    world, merchant = guesser.world, guesser.merchant
    rotated = world.merchant("Globex")
    world.run(world.kpay.rotate_key(rotated.id, "test"))
    world.clock.advance(timedelta(hours=24))
    held = world.run(world.kpay.list_keys(merchant.id))
    (live,) = (key.id for key in held if key.kind == "secret" and key.livemode)
    world.run(world.kpay.revoke_key(live))
    return {
        "unknown": make_key("secret", "test", bytes(range(32))),
        "unknown, of the other mode": make_key("secret", "live", bytes(range(32))),
        "revoked": merchant.live,
        "expired": rotated.test,
    }


def test_unknown_revoked_and_expired_keys_are_refused_alike(guesser: Guesser) -> None:
    told = [guesser.guess(key) for key in refused_keys(guesser).values()]
    assert {heard.status for heard, _ in told} == {401}
    assert all(asked == LOOKED_UP for _, asked in told)
    shown = [seen(heard) for heard, _ in told]
    assert all(each == shown[0] for each in shown)
    # One that opens is looked up by the same question; the rest is the request's own.
    heard, asked = guesser.guess(guesser.merchant.test)
    assert (heard.status, asked[:1]) == (200, LOOKED_UP)


def test_a_publishable_key_is_refused_by_its_looks(guesser: Guesser) -> None:
    for pair in (guesser.merchant.keys.test, guesser.merchant.keys.live):
        heard, asked = guesser.guess(pair.publishable)
        assert (heard.status, asked) == (401, [])


def test_no_key_that_was_tried_and_no_hash_of_one_is_in_a_log_or_an_answer(
    guesser: Guesser, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = [
        *refused_keys(guesser).values(),
        guesser.merchant.test,
        *itertools.islice(mistyped(guesser.merchant.test), 0, None, 97),
        guesser.merchant.keys.test.publishable,
    ]
    answers: list[str] = []
    with logs_as_before():
        logs.configure("json")
        for key in tried:
            heard, _ = guesser.guess(key)
            answers.append(f"{heard.body!r} {heard.headers!r}")
    logged = capsys.readouterr().err
    assert logged.count('"event":"request"') == len(tried)
    for key in tried:
        # Of a key that was mistyped, whatever is right.
        for secret in (key, key[8:], key_hash(key)[:12]):
            assert secret not in logged
            assert secret not in "".join(answers)
