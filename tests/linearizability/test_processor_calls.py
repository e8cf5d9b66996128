"""
A hundred requests at once with one key are one call of the network; counted by the network, which is another process.

KPAY_FAULT_KEYS says how many keys there are: 10 is a sample, 1,000 a proof.
"""

import asyncio
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from kpay_adapters.testing import CHARGE
from tests.kills.fleets import Fleet
from tests.servers import rows_of

KEYS = int(os.environ.get("KPAY_FAULT_KEYS", "10"))

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(120 + 3 * KEYS)]

CROWD = 100

# Crowds that are there at the same time.
CROWDS = 3

# The last of a crowd waits for all the others; a loaded machine takes its time.
ANSWER_SECONDS = 60


class Crowds:
    """A merchant's clients, a hundred of whom always want the same."""

    def __init__(self, fleet: Fleet, http: aiohttp.ClientSession, secret: str) -> None:
        self.fleet = fleet
        self.http = http
        self.headers = {"Authorization": f"Bearer {secret}"}
        self.places = asyncio.Semaphore(CROWDS)

    async def ask(self, path: str, body: dict[str, Any], key: str) -> str:
        """Send a request a hundred times at once, spread over the servers; return the id that all were told."""
        async with self.places:
            answers = await asyncio.gather(*(self._one(n, path, body, key) for n in range(CROWD)))
        assert {status for status, _, _ in answers} == {201}
        (content,) = {content for _, content, _ in answers}
        assert sum(not replayed for _, _, replayed in answers) == 1
        return msgspec.json.decode(content)["id"]

    async def _one(self, n: int, path: str, body: dict[str, Any], key: str) -> tuple[int, bytes, bool]:
        url = self.fleet.urls[n % len(self.fleet.urls)] + path
        headers = self.headers | {"Idempotency-Key": key}
        async with self.http.post(url, json=body, headers=headers) as answer:
            return answer.status, await answer.read(), "Idempotent-Replayed" in answer.headers


def test_a_hundred_requests_at_once_for_each_key_are_one_call_of_the_network_for_each(fleet: Fleet) -> None:
    secret = fleet.installation.merchant()["keys"]["test"]["secret"]
    charges, refunds = asyncio.run(crowd_in(fleet, secret))
    assert len(set(charges)) == len(set(refunds)) == KEYS

    asked = calls(fleet.network.log)
    assert {each for each in asked if each[0] == "authorise"} == {("authorise", id) for id in charges}
    assert {each for each in asked if each[0] == "refund"} == {("refund", id) for id in refunds}
    assert set(asked.values()) == {1}
    journal = "SELECT id, outcome FROM sandbox_journal"
    outcomes = dict.fromkeys(charges, "captured") | dict.fromkeys(refunds, "refunded")
    assert dict(rows_of(fleet.journal, journal)) == outcomes


async def crowd_in(fleet: Fleet, secret: str) -> tuple[list[str], list[str]]:
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
        crowds = Crowds(fleet, http, secret)
        charges = await asyncio.gather(
            *(crowds.ask("/v1/charges", CHARGE, f"charge-{number}") for number in range(KEYS))
        )
        refunds = await asyncio.gather(
            *(crowds.ask("/v1/refunds", {"charge": id, "amount": 100}, f"refund-{id}") for id in charges)
        )
    return charges, refunds


def calls(log: Path) -> Counter[tuple[str, str]]:
    """Count what the network says that it was asked: what, and of which reference."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return Counter((line["event"], line["reference"]) for line in lines if "reference" in line)
