"""What attacks are made of: valid requests, and attacks that were answered in a way in which none was before."""

import re
from collections.abc import Mapping
from random import Random
from typing import Any

import msgspec
from msgspec.structs import replace

from kpay_adapters.testing import CHARGE
from kpay_http.app import create_framework
from kpay_http.openapi import operations_of
from tests.attacks.mutation import Mutator
from tests.attacks.target import Attack, Heard, Target, read_envelope
from tests.http.world import AT_ONCE, DECLINES, HOOKS, LOST, REFUND_PENDING

# What is kept is no leak of the service's, and must not look like one: some megabytes at most.
MAX_KEPT = 5000
MAX_KEPT_BYTES = 4096

# Turning the clock makes everything happen that is due, which takes longer than all other requests.
SELDOM = {"advanceTestClock": 0.02}


def bodies_of(target: Target) -> Mapping[str, list[dict[str, Any]]]:
    """Valid bodies of every operation that changes something."""
    cards = ("4242424242424242", DECLINES, LOST, AT_ONCE, REFUND_PENDING)
    amex = {**CHARGE["source"], "number": "378282246310005", "cvc": "1234"}
    return {
        "createCharge": [
            *({**CHARGE, "source": {**CHARGE["source"], "number": number}} for number in cards),
            {
                **CHARGE,
                "source": amex,
                "metadata": {"s": "é", "i": 7, "f": 0.5, "b": True},
                "description": None,
            },
            {
                **CHARGE,
                "billing_address": {
                    **CHARGE["billing_address"],
                    "line2": "Floor 3",
                    "postal_code": "94105-0001",
                },
            },
        ],
        "createRefund": [
            {"charge": target.charge},
            {"charge": target.charge, "amount": 1, "reason": "duplicate", "notes": "n"},
        ],
        "updateDispute": [
            {"evidence": {"uncategorized_text": "winning_evidence"}, "submit": True},
            {"evidence": {"uncategorized_text": "draft"}},
        ],
        "advanceTestClock": [{"advance_seconds": 1}],
        "createWebhookEndpoint": [
            {"url": HOOKS},
            {
                "url": "https://[2606:4700:4700::1111]:8443/x?a=b",
                "enabled_events": ["charge.failed"],
                "description": "d",
            },
        ],
        "updateWebhookEndpoint": [
            {"url": HOOKS, "enabled_events": ["*"], "description": None, "status": "disabled"},
            {"status": "enabled"},
        ],
        "deleteWebhookEndpoint": [{}],
        "rotateWebhookEndpointSecret": [{}],
        "resendEvent": [{}, {"endpoint": target.endpoint}],
    }


def valid_requests(target: Target) -> list[Attack]:
    """Return valid requests of every route that changes something."""
    ids = {"disputes": target.dispute, "webhook_endpoints": target.endpoint, "events": target.event}
    bodies = bodies_of(target)
    changing = [each for each in operations_of(create_framework()) if each[0] != "get"]
    missing = {operation.id for _, _, operation in changing} - bodies.keys()
    assert not missing, f"tell in bodies_of what a valid body is of {missing}"
    made = [
        Attack(
            operation=operation.id,
            method=method.upper(),
            path=path.replace("{id}", ids.get(path.split("/")[2], "")),
            body=msgspec.json.encode(body) if body else b"",
        )
        for method, path, operation in changing
        for body in bodies[operation.id]
    ]
    keyed = ((b"content-type", b"application/json"), (b"idempotency-key", b"order"))
    return [*made, *(replace(each, headers=keyed) for each in made if each.operation.startswith("create"))]


class Corpus:
    """
    Makes one attack after another, the same ones for the same seed and the same answers.

    An attack whose answer is of a kind that was not seen before is kept, and others are made of it: so what is deep
    behind many checks is reached step by step.
    """

    def __init__(self, valid: list[Attack], *, seed: int) -> None:
        self._random = Random(seed)
        self._mutator = Mutator(self._random)
        self._valid = valid
        self._kept = list(valid)
        self._seen: set[tuple[object, ...]] = set()
        self._fields = {name for each in valid for name in re.findall(r'"(\w+)":', each.body.decode())}

    @property
    def kinds(self) -> int:
        """How many kinds of answers were seen."""
        return len(self._seen)

    def next(self) -> Attack:
        chosen = self._random.choice(self._valid if self._random.random() < 0.3 else self._kept)
        if self._random.random() > SELDOM.get(chosen.operation, 1):
            return self.next()
        return self._mutator.mutate(chosen, self._random.choice(self._kept))

    def note(self, attack: Attack, heard: Heard) -> None:
        """Keep an attack that was answered in a new way."""
        kind = self._kind_of(attack, heard)
        if kind in self._seen:
            return
        if len(attack.body) <= MAX_KEPT_BYTES and len(self._kept) < MAX_KEPT:
            self._seen.add(kind)
            self._kept.append(attack)

    def _kind_of(self, attack: Attack, heard: Heard) -> tuple[object, ...]:
        """Tell answers apart by what is said of which field, whatever the merchant's own names are."""
        if heard.status < 400:
            return (attack.operation, heard.status)
        error = read_envelope(heard.body).error
        told = {
            (tuple(part if part in self._fields else "" for part in path.split(".")[:3]), *messages)
            for path, messages in error.details.get("fieldErrors", {}).items()
        }
        return (attack.operation, heard.status, error.message, frozenset(told))
