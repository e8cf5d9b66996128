"""Requests made wrong at one place or several: as values, as bytes, in their headers, in the way they come."""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from msgspec.structs import replace

from kpay_http.body import LIMIT_BYTES
from tests.attacks.shards import (
    BROKEN_STRINGS,
    CONTENT_TYPES,
    HEADERS,
    LONG_NUMBERS,
    NAMES,
    NUMBERS,
    SHARDS,
    TEXTS,
)
from tests.attacks.target import Attack

# Nesting at the limit, on both sides of it, and far past what recursion stands.
DEPTHS = [1, 29, 30, 31, 32, 33, 100, 5000, 30_000]

# The most that is sent: past the limit of a body, and no more than a fuzzer's input.
MAX_BYTES = 2 * LIMIT_BYTES


class Members(list[list[Any]]):
    """An object as pairs of name and value: the same name may stand there twice."""


def parse(raw: bytes) -> Any:
    """Read a body as a tree that can be changed, or None where it is none, or too deep to be walked."""
    if raw.count(b"[") + raw.count(b"{") > 200:
        return None
    try:
        return json.loads(raw, object_pairs_hook=lambda pairs: Members(map(list, pairs)))
    except (ValueError, RecursionError):
        return None


def write(value: Any) -> bytes:
    """Write a tree. Bytes in it stand for themselves."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, Members):
        return b"{" + b",".join(write(name) + b":" + write(inner) for name, inner in value) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(write, value)) + b"]"
    return json.dumps(value).encode()


# A place that holds a value, or a name: a list, and where in it.
Place = tuple[list[Any], int]


def places_in(root: list[Any]) -> list[Place]:
    """Find every place of a value, the outermost first."""
    found: list[Place] = []
    waiting = [root]
    while waiting and len(found) < 200:
        container = waiting.pop(0)
        if isinstance(container, Members):
            found += [(pair, 1) for pair in container]
            waiting += [pair[1] for pair in container if isinstance(pair[1], list)]
        else:
            found += [(container, index) for index in range(len(container))]
            waiting += [item for item in container if isinstance(item, list)]
    return found


class Mutator:
    """Makes attacks out of others, the same ones for the same seed."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def mutate(self, attack: Attack, other: Attack) -> Attack:
        """Change an attack at a few places; something of the other may be put into it."""
        for _ in range(self._random.choice((1, 1, 1, 2, 2, 3, 5))):
            change = self._random.choice(self._CHANGES)
            attack = change(self, attack, other)
        return attack

    # As values.

    def _change_value(self, attack: Attack, other: Attack) -> Attack:
        tree = parse(attack.body) if attack.body else Members()
        if tree is None:
            return self._change_bytes(attack, other)
        root = [tree]
        change = self._random.choice(self._VALUE_CHANGES)
        change(self, places_in(root), other)
        body = write(root[0]) if root else b""
        return replace(attack, body=body[:MAX_BYTES])

    def _replace(self, places: Sequence[Place], _: Attack) -> None:
        container, index = self._random.choice(places)
        container[index] = self._value()

    def _nudge(self, places: Sequence[Place], other: Attack) -> None:
        """Change a value to its neighbour, or to another type that looks the same."""
        container, index = self._random.choice(places)
        value = container[index]
        if isinstance(value, str) and value:
            at = self._random.randrange(len(value))
            looks = [
                value + "\n",
                value[:at] + value[at + 1 :],
                value * 2,
                value.swapcase(),
                value + "\0",
                f" {value}",
            ]
            container[index] = self._random.choice(
                [*looks, value[:at] + self._random.choice(TEXTS) + value[at:]]
            )
        elif isinstance(value, int | float) and abs(value) < 2**63:
            looks = [
                value + 1,
                value - 1,
                -value,
                value * 10,
                str(value),
                [value],
                b"%de0" % value,
                b"%d.0" % value,
            ]
            container[index] = self._random.choice(looks)
        else:
            self._replace(places, other)

    def _drop(self, places: Sequence[Place], _: Attack) -> None:
        container, index = self._random.choice(places)
        if isinstance(container, Members) or len(container) != 2:
            del container[index]
        else:
            container[index] = None

    def _add(self, places: Sequence[Place], _: Attack) -> None:
        """Put one more name into an object, perhaps one that is there already, or one more item into a list."""
        container, index = self._random.choice(places)
        inside = container[index]
        if isinstance(inside, Members):
            names = [pair[0] for pair in inside] or [""]
            name = self._random.choice(
                (self._random.choice(names), self._random.choice(NAMES), self._string())
            )
            inside.insert(self._random.randint(0, len(inside)), [name, self._value()])
        elif isinstance(inside, list):
            inside += [self._value()] * self._random.choice((1, 1, 2, 51, 3000))
        else:
            container[index] = Members([[self._random.choice(NAMES), inside]])

    def _swap(self, places: Sequence[Place], _: Attack) -> None:
        (one, here), (two, there) = self._random.choice(places), self._random.choice(places)
        if not isinstance(one[here], list) and not isinstance(two[there], list):
            one[here], two[there] = two[there], one[here]

    def _crowd(self, places: Sequence[Place], _: Attack) -> None:
        """Fill an object with many names."""
        container, index = self._random.choice(places)
        count = self._random.choice((49, 50, 51, 500))
        container[index] = Members(
            [[f"k{number}", self._random.choice((number, "v"))] for number in range(count)]
        )

    def _nest(self, places: Sequence[Place], _: Attack) -> None:
        container, index = self._random.choice(places)
        depth = self._random.choice(DEPTHS)
        opened, closed = self._random.choice(((b"[", b"]"), (b'{"a":', b"}")))
        container[index] = opened * depth + write(container[index]) + closed * depth

    def _borrow(self, places: Sequence[Place], other: Attack) -> None:
        """Put a part of another request into this one."""
        tree = parse(other.body)
        if isinstance(tree, list) and tree:
            container, index = self._random.choice(places)
            taken, where = self._random.choice(places_in([tree]))
            container[index] = write(taken[where])

    def _value(self) -> Any:
        kind = self._random.random()
        if kind < 0.4:
            return self._random.choice(NUMBERS)
        if kind < 0.8:
            return self._string()
        if kind < 0.85:
            return self._random.choice(LONG_NUMBERS)
        return self._random.choice((None, True, False, Members(), [], [[]], Members([["", None]]), 0.1, {}))

    def _string(self) -> Any:
        if self._random.random() < 0.15:
            return self._random.choice(BROKEN_STRINGS)
        text = self._random.choice(TEXTS)
        if self._random.random() < 0.5:
            return text
        # As UTF-8 instead of escapes, also what has no UTF-8.
        return json.dumps(text, ensure_ascii=False).encode(errors="surrogatepass")

    _VALUE_CHANGES: Sequence[Callable[..., None]] = (
        *[_replace] * 6,
        *[_nudge] * 6,
        *[_drop] * 2,
        *[_add] * 4,
        *[_borrow] * 2,
        _swap,
        _crowd,
        _nest,
    )

    # As bytes.

    def _change_bytes(self, attack: Attack, other: Attack) -> Attack:
        body = attack.body
        at = self._random.randint(0, len(body))
        length = self._random.choice((1, 1, 2, 8, 64))
        match self._random.randrange(9):
            case 0:
                body = body[:at]
            case 1:
                body = body[:at] + self._random.choice(SHARDS) + body[at:]
            case 2:
                body = body[:at] + body[at + length :]
            case 3:
                body = body[:at] + body[at : at + length] * 3 + body[at + length :]
            case 4 if at < len(body):
                body = body[:at] + bytes([body[at] ^ 1 << self._random.randrange(8)]) + body[at + 1 :]
            case 5:
                body = body[:at] + other.body[self._random.randint(0, len(other.body)) :]
            case 6:
                body = self._random.choice(
                    (b"\xef\xbb\xbf" + body, body + body, b"[" + body + b"]", body + b"\0", b"")
                )
            case 7:
                body = self._recoded(body)
            case _:
                body = self._random.randbytes(length)
        return replace(attack, body=body[:MAX_BYTES])

    def _recoded(self, body: bytes) -> bytes:
        text = body.decode(errors="replace")
        return text.encode(
            self._random.choice(("utf-16", "utf-16-be", "utf-32", "utf-7", "cp037")), errors="replace"
        )

    def _pad(self, attack: Attack, _: Attack) -> Attack:
        """Bring the body to about the limit, with white space or as a part of it."""
        wanted = LIMIT_BYTES + self._random.choice((-2, -1, 0, 1, 2, 1000))
        missing = wanted - len(attack.body)
        body = attack.body
        if missing > 0 and self._random.random() < 0.5:
            body += self._random.choice((b" ", b"\n", b"\0", b"x")) * missing
        elif missing > 8 and body.endswith(b"}"):
            body = body[:-1] + b',"x":"' + b"x" * (missing - 7) + b'"}'
        return replace(attack, body=body)

    # Around the body.

    def _change_headers(self, attack: Attack, _: Attack) -> Attack:
        headers = list(attack.headers)
        match self._random.randrange(5):
            case 0:
                headers = [pair for pair in headers if pair[0] != b"content-type"]
            case 1:
                headers.append((b"content-type", self._random.choice(CONTENT_TYPES)))
            case 2:
                others = [pair for pair in headers if pair[0] != b"content-type"]
                headers = [*others, (b"content-type", self._random.choice(CONTENT_TYPES))]
            case 3 if headers:
                headers.pop(self._random.randrange(len(headers)))
            case _:
                headers.append(self._random.choice(HEADERS))
        return replace(attack, headers=tuple(headers[:20]))

    def _change_coming(self, attack: Attack, _: Attack) -> Attack:
        cuts = tuple(self._random.randrange(MAX_BYTES) for _ in range(self._random.choice((0, 1, 2, 30))))
        return replace(attack, cuts=cuts, hangs_up=self._random.random() < 0.2)

    def _change_id(self, attack: Attack, _: Attack) -> Attack:
        if attack.path.count("/") < 3:
            return attack
        parts = attack.path.split("/")
        parts[3] = self._random.choice(TEXTS).replace("/", "") or "x"
        return replace(attack, path="/".join(parts))

    _CHANGES: Sequence[Callable[..., Attack]] = (
        *[_change_value] * 14,
        *[_change_bytes] * 3,
        *[_change_headers] * 2,
        _pad,
        _change_coming,
        _change_id,
    )
