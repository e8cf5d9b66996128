"""Cards that nobody else has: how they are sent, and how they are found wherever they should not be."""

import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any

from msgspec.structs import replace

from kpay_adapters.testing import CHARGE
from kpay_core.domain.cards import passes_luhn
from tests.attacks.mutation import Mutator
from tests.attacks.target import Attack
from tests.http.world import merged


def canary(stem: str) -> str:
    """Complete 15 digits to a valid number that nobody else uses."""
    return next(stem + digit for digit in "0123456789" if passes_luhn(stem + digit))


GOOD = [canary("471688502937148"), canary("548712093366159"), canary("60115839274460271")]
AMEX = canary("37449182660351")
# Three digits stand in every file by chance; what may be searched for is the pair, and the cvc of an amex.
AMEX_CVC = "8302"
# Never valid, but digits of a card all the same.
MISTYPED = GOOD[0][:-1] + str((int(GOOD[0][-1]) + 1) % 10)
LATE = "4000000000009805"
DECLINED = "4000000000009995"
LOST = "4000000000009813"
DISPUTED = "4000000000000259"
NUMBERS = [*GOOD, AMEX, MISTYPED, LATE, DECLINED, LOST, DISPUTED]


def written(number: str) -> re.Pattern[bytes]:
    """The digits with anything short between them: spaces, dashes, quotes, commas."""
    return re.compile(rb"[ \-_.,\"'\\]{0,2}".join(digit.encode() for digit in number))


PATTERNS = [written(number) for number in NUMBERS]


def forms_of_cvc(cvc: str) -> list[bytes]:
    """How a cvc would stand beside its name: in JSON, in a repr, in a query string, in a form."""
    names = (b'"cvc":', b"'cvc': ", b'"cvc": ', b"cvc=", b'\\"cvc\\":', b'\\"cvc\\": ')
    values = (b'"%s"', b"'%s'", b"%s", b'\\"%s\\"')
    return [name + value % cvc.encode() for name in names for value in values]


CVCS = ["907", AMEX_CVC]


def body(number: str, cvc: str = "907", **changes: Any) -> dict[str, Any]:
    return merged(merged(CHARGE, {"source": {"number": number, "cvc": cvc}}), changes)


def requests(*, hostile: int = 0) -> Iterator[tuple[bytes, dict[str, str]]]:
    """Every way in which a card is sent: right, wrong, declined, broken, with a key used twice, and some at random."""
    as_json = {"Content-Type": "application/json"}

    def sent(body: Any, **headers: str) -> tuple[bytes, dict[str, str]]:
        return json.dumps(body).encode(), as_json | {n.replace("_", "-"): v for n, v in headers.items()}

    for number in GOOD:
        yield sent(body(number))
        yield sent(body(number), Idempotency_Key=f"order-{GOOD.index(number)}")
        yield sent(body(number, amount=60), Idempotency_Key=f"order-{GOOD.index(number)}")
    yield sent(body(AMEX, AMEX_CVC), Idempotency_Key="amex")
    for number in (DECLINED, LOST, DISPUTED):
        yield sent(body(number), Idempotency_Key=f"magic-{number[-4:]}")
        yield sent(body(number), Idempotency_Key=f"magic-{number[-4:]}")
    for wrong in (
        body(MISTYPED),
        body(GOOD[0], AMEX_CVC),
        body(GOOD[0], amount=1),
        body(" ".join(re.findall("....", GOOD[0]))),
        merged(body(GOOD[0]), {"source": {"exp_year": 2001}}),
        merged(body(GOOD[0]), {"source": {"name": "x"}}),
        merged(body(GOOD[0]), {"source": {"number": int(GOOD[0]), "cvc": 907}}),
        merged(body(GOOD[0]), {"source": {"number": [GOOD[0]], "cvc": {"is": AMEX_CVC}}}),
        {**body(GOOD[0]), "source": f"{GOOD[0]} {AMEX_CVC}"},
        {"amount": GOOD[0], "currency": GOOD[1], "source": None, "billing_address": GOOD[2]},
        {"charge": GOOD[0], "amount": int(GOOD[0])},
    ):
        yield sent(wrong)
        yield sent(wrong, Idempotency_Key="wrong")
    whole = json.dumps(body(GOOD[0], AMEX_CVC)).encode()
    yield whole[:-1], as_json
    yield whole + whole, as_json
    yield whole.replace(b'"cvc"', b'"cvc": 1, "cvc"'), as_json
    yield b"\xff" + whole, as_json
    yield whole, {"Content-Type": "text/plain"}
    yield whole + b" " * 70_000, as_json
    for source in hostile_sources(count=hostile):
        yield whole.replace(json.dumps(body(GOOD[0], AMEX_CVC)["source"]).encode(), source), as_json


def hostile_sources(*, seed: int = 1, count: int) -> Iterator[bytes]:
    """
    The card, changed at a few places. What surrounds it stays: a number that a merchant writes into a description is
    his text, and is kept.
    """
    mutator = Mutator(Random(seed))
    card = json.dumps(body(AMEX, AMEX_CVC)["source"]).encode()
    attack = Attack(operation="createCharge", method="POST", path="/v1/charges", body=card)
    for _ in range(count):
        mutated = mutator.mutate(attack, replace(attack, body=b'{"number":"%s"}' % GOOD[1].encode())).body
        # What closes the object early would put the rest of it elsewhere.
        if mutated.count(b"{") == mutated.count(b"}") == 1 and len(mutated) < 5000:
            yield mutated


def search(what: bytes, where: str) -> None:
    for pattern in PATTERNS:
        assert not pattern.search(what), f"a card number in {where}"
    for cvc in CVCS:
        for form in forms_of_cvc(cvc):
            assert form not in what, f"a cvc in {where}"
