"""Makes a failing attack as small as it gets, so that what is wrong with it can be seen."""

from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import replace

from tests.attacks.mutation import Members, parse, write
from tests.attacks.target import Attack

# Tries of one shrinking; each is a request.
MAX_TRIES = 2000


def minimise(attack: Attack, fails: Callable[[Attack], bool]) -> Attack:
    """
    Return an attack that still fails, and of which no header, value or run of bytes can be left out.

    `fails` must be true of the attack itself, and is asked `MAX_TRIES` times at most.
    """
    tries = 0

    def is_smaller(candidate: Attack) -> bool:
        nonlocal tries
        tries += 1
        return candidate != attack and tries <= MAX_TRIES and fails(candidate)

    for without in (_without_headers, _without_values, _without_bytes):
        while smaller := next(filter(is_smaller, without(attack)), None):
            attack = smaller
    return attack


def _without_headers(attack: Attack) -> Iterator[Attack]:
    yield replace(attack, cuts=(), hangs_up=False)
    for place in range(len(attack.headers)):
        yield replace(attack, headers=attack.headers[:place] + attack.headers[place + 1 :])


def _without_values(attack: Attack) -> Iterator[Attack]:
    """Leave out one value of the body after the other, the outermost first."""
    for smaller in _smaller(parse(attack.body)):
        yield replace(attack, body=write(smaller))


def _smaller(value: Any) -> Iterator[Any]:
    if not isinstance(value, list):
        return
    kind = type(value)
    for place in range(len(value)):
        yield kind([*value[:place], *value[place + 1 :]])
    for place, item in enumerate(value):
        is_pair = kind is Members
        for inside in _smaller(item[1] if is_pair else item):
            yield kind([*value[:place], [item[0], inside] if is_pair else inside, *value[place + 1 :]])


def _without_bytes(attack: Attack) -> Iterator[Attack]:
    """Leave out one run of bytes after the other, the longest first."""
    length = len(attack.body)
    while length:
        for start in range(0, len(attack.body), length):
            yield replace(attack, body=attack.body[:start] + attack.body[start + length :])
        length //= 2
