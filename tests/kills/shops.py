"""The merchants' servers: they verify what is posted to them, and remember what they were told."""

import hashlib
import hmac
import random
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from tests.faults.receivers import Merchants

# Of a hundred posts so many are answered with an error, and come again when a minute has passed.
MISSED_PER_CENT = 1


class Told(NamedTuple):
    """What an event tells of: its type, and the id of its object."""

    type: str
    object: str


class _Data(msgspec.Struct):
    object: dict[str, Any]


class _Event(msgspec.Struct):
    id: str
    type: str
    data: _Data


class Shops(Merchants):
    """
    A server for many endpoints, each with a path of its own.

    A post to an endpoint whose secret is not known yet, because the answer that tells it is on its way or was lost, is
    kept until it can be verified.
    """

    def __init__(self, chance: random.Random) -> None:
        super().__init__(self._now_and_then_not)
        self._chance = chance
        self.secrets: dict[str, str] = {}
        # By path, what was told of, and in which events.
        self.told: dict[str, dict[Told, set[str]]] = defaultdict(lambda: defaultdict(set))
        self.posts = 0
        self.wrong: list[str] = []
        self._unverified: list[tuple[str, str, bytes]] = []

    async def _now_and_then_not(self, path: str, number: int) -> int:
        return 500 if self._chance.random() * 100 < MISSED_PER_CENT else 200

    def accepted(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        signed = headers["K-Payments-Signature"]
        if path in self.secrets:
            self._verify(path, signed, body)
        else:
            self._unverified.append((path, signed, body))
        event = msgspec.json.decode(body, type=_Event)
        if event.id != headers["K-Payments-Event-Id"]:
            self.wrong.append(f"{event.id} came as another")
        told = Told(event.type, event.data.object["id"])
        self.posts += 1
        self.told[path][told].add(event.id)

    def verify_the_rest(self) -> None:
        """Verify what came before its secret was known. Endpoints whose secret nobody was told have none to verify."""
        for path, signed, body in self._unverified:
            if path in self.secrets:
                self._verify(path, signed, body)

    def _verify(self, path: str, signed: str, body: bytes) -> None:
        """Verify as the public document says, with nothing of ours."""
        parts = dict(part.split("=", 1) for part in signed.split(","))
        payload = parts["t"].encode() + b"." + body
        expected = hmac.new(self.secrets[path].encode(), payload, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, parts["v1"]):
            self.wrong.append(f"a signature at {path} does not fit")
