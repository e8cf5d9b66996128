"""
What must be true when all is over, from three sides: what clients were told, what the database has, what happened.

The database and the network's journal are read with plain SQL, by none of our code. Beside this stands `kpay audit`,
which knows more laws and derives all sums again.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tests.kills.clients import CHARGES, REFUNDS, Client, Merchant, Request
from tests.kills.shops import Shops, Told
from tests.servers import rows_of


class Found(NamedTuple):
    """The rows of one kind by id, each by the names of its columns."""

    charges: Mapping[str, Mapping[str, Any]]
    refunds: Mapping[str, Mapping[str, Any]]
    deliveries: Mapping[str, Mapping[str, Any]]
    # Outcomes by reference.
    journal: Mapping[str, str]


COLUMNS = {
    "charges": (
        "status",
        "amount",
        "amount_refunded",
        "amount_refunding",
        "idempotency_key",
        "metadata",
        "told",
    ),
    "refunds": ("status", "amount", "charge", "notes"),
    "webhook_deliveries": ("status", "reason"),
}


def read(database: str, journal: str) -> Found:
    """Read what there is."""

    def rows(table: str) -> dict[str, dict[str, Any]]:
        names = COLUMNS[table]
        found = rows_of(database, f"SELECT id, {', '.join(names)} FROM {table}")
        return {id: dict(zip(names, row, strict=True)) for id, *row in found}

    outcomes = dict(rows_of(journal, "SELECT id, outcome FROM sandbox_journal"))
    return Found(rows("charges"), rows("refunds"), rows("webhook_deliveries"), outcomes)


def check(found: Found, clients: Iterable[Client], shops: Shops) -> None:
    """Hold everything against everything."""
    clients = list(clients)
    check_booked(found)
    check_requests(found, [request for client in clients for request in client.requests])
    check_deliveries(found)
    for merchant in {client.merchant.name: client.merchant for client in clients}.values():
        mine = [client for client in clients if client.merchant is merchant]
        check_told(merchant, [request for client in mine for request in client.requests], shops)
    shops.verify_the_rest()
    assert shops.wrong == []


def check_booked(found: Found) -> None:
    """Captured and booked are one, refunded and booked are one, and nothing is refunded past its charge."""
    captured = {id for id, outcome in found.journal.items() if outcome == "captured"}
    succeeded = {id for id, charge in found.charges.items() if charge["status"] == "succeeded"}
    assert captured == succeeded
    refunded = {id for id, outcome in found.journal.items() if outcome == "refunded"}
    assert refunded == {id for id, refund in found.refunds.items() if refund["status"] == "succeeded"}
    sums = Counter[str]()
    for id in refunded:
        sums[found.refunds[id]["charge"]] += found.refunds[id]["amount"]
    for id, charge in found.charges.items():
        assert charge["amount_refunded"] == sums[id] <= charge["amount"]
        assert charge["amount_refunding"] == 0
    by_key = Counter(found.charges[id]["idempotency_key"] for id in captured)
    by_key.pop(None, None)
    assert max(by_key.values(), default=0) <= 1, "captured twice for one key"


def check_requests(found: Found, requests: Iterable[Request]) -> None:
    """What clients were told is so, and no request has taken effect twice."""
    standing = defaultdict[str, list[str]](list)
    for id, charge in found.charges.items():
        if found.journal.get(id) == "captured":
            standing[as_json(charge["metadata"])["request"]].append(id)
    for id, refund in found.refunds.items():
        if refund["status"] == "succeeded":
            standing[refund["notes"]].append(id)
    for request in requests:
        check_request(found, request, standing[request.tag])


def check_request(found: Found, request: Request, standing: list[str]) -> None:
    assert len(standing) <= 1, ("took effect twice", request, standing)
    made = request.made
    if made is not None:
        assert standing in ([], [made]), (request, standing)
        status = (found.charges if request.path == CHARGES else found.refunds)[made]["status"]
        if request.path == CHARGES:
            assert status == ("succeeded" if request.final and request.final[0] == 201 else "failed"), request
        else:
            assert status in ("succeeded", "failed"), request
    elif request.promised is not None:
        assert standing in ([], [request.promised]), (request, standing)
        assert request.promised in found.charges
    elif request.key is not None:
        assert request.path == REFUNDS, ("never answered", request)
        assert request.statuses[-1:] == [400], ("never answered", request)
        assert standing == [], ("refused, and took effect", request)
    elif request.statuses:
        # An error that is safe to retry has left nothing behind, and a refusal has not either.
        assert standing == [], ("told to try again, and took effect", request, standing)


def check_deliveries(found: Found) -> None:
    """Every delivery has arrived, or was given up for a reason."""
    for id, delivery in found.deliveries.items():
        assert delivery["status"] == "succeeded" or delivery["reason"], (id, delivery)


def check_told(merchant: Merchant, requests: Iterable[Request], shops: Shops) -> None:
    """What a client had acknowledged is told to every endpoint that was registered before, in one event."""
    expected = [(request, told) for request in requests for told in tidings(request)]
    for endpoint in merchant.endpoints:
        came = shops.told[endpoint.path]
        for told, events in came.items():
            # Of a refund there may be an update for each of its steps.
            assert len(events) == 1 or told.type in ("refund.updated", "charge.refunded", "dispute.updated")
        for request, told in expected:
            wanted = "*" in endpoint.types or told.type in endpoint.types
            if wanted and endpoint.known_since < request.sent_at:
                assert told in came, (endpoint, request, told)


def tidings(request: Request) -> list[Told]:
    """List what is told of because of a request, as far as its answer says."""
    made = request.made
    if made is None or request.final is None:
        return []
    if request.path == CHARGES:
        return [Told("charge.succeeded" if request.final[0] == 201 else "charge.failed", made)]
    told = [Told("refund.created", made)]
    if as_json(request.final[1])["status"] == "succeeded":
        told.append(Told("charge.refunded", request.body["charge"]))
    return told


def as_json(value: Any) -> Any:
    """Read a JSON column, which SQLite gives as text."""
    return json.loads(value) if isinstance(value, str | bytes) else value
