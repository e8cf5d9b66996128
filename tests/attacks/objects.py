"""How a merchant gets one of everything that a route could show, or change, or be told of."""

from collections.abc import Callable
from typing import Any

from kpay_http.app import create_framework
from kpay_http.openapi import operations_of
from tests.http.world import AT_ONCE, HOOKS, Client, charge

ROUTES = operations_of(create_framework())

# How a request is made for an object of the client's own: its path's id, and its body.
Asking = Callable[[Client], tuple[str | None, Any]]


def a_charge(client: Client) -> str:
    return client.charged()["id"]


def a_refund(client: Client) -> str:
    return client.refunded(a_charge(client), amount=1000)["id"]


def an_endpoint(client: Client) -> str:
    return client.registered()["id"]


def a_delivery(client: Client) -> str:
    endpoint = an_endpoint(client)
    a_charge(client)
    return endpoint


def an_event(client: Client) -> str:
    a_delivery(client)
    return client.data("/v1/events")[0]["id"]


def a_dispute(client: Client) -> str:
    return client.disputed()["id"]


def a_payout(client: Client) -> str:
    # Enough to make up for the disputes of the others.
    client.charged(number=AT_ONCE, amount=10_000_000)
    client.world.live_through(days=1)
    return client.data("/v1/payouts")[0]["id"]


OBJECTS: dict[str, Asking] = {
    "createCharge": lambda client: (None, charge()),
    "listCharges": lambda client: (a_charge(client) and None, None),
    "getCharge": lambda client: (a_charge(client), None),
    "createRefund": lambda client: (None, {"charge": a_charge(client)}),
    "listRefunds": lambda client: (a_refund(client) and None, None),
    "getRefund": lambda client: (a_refund(client), None),
    "listDisputes": lambda client: (a_dispute(client) and None, None),
    "getDispute": lambda client: (a_dispute(client), None),
    "updateDispute": lambda client: (a_dispute(client), {"evidence": {"uncategorized_text": "draft"}}),
    "listPayouts": lambda client: (a_payout(client) and None, None),
    "getPayout": lambda client: (a_payout(client), None),
    "getBalance": lambda client: (a_charge(client) and None, None),
    "getTestClock": lambda _: (None, None),
    "advanceTestClock": lambda _: (None, {"advance_seconds": 1}),
    "createWebhookEndpoint": lambda client: (None, {"url": HOOKS}),
    "listWebhookEndpoints": lambda client: (an_endpoint(client) and None, None),
    "getWebhookEndpoint": lambda client: (an_endpoint(client), None),
    "updateWebhookEndpoint": lambda client: (an_endpoint(client), {"status": "disabled"}),
    "deleteWebhookEndpoint": lambda client: (an_endpoint(client), None),
    "rotateWebhookEndpointSecret": lambda client: (an_endpoint(client), {}),
    "listWebhookDeliveries": lambda client: (a_delivery(client), None),
    "listEvents": lambda client: (an_event(client) and None, None),
    "getEvent": lambda client: (an_event(client), None),
    "resendEvent": lambda client: (an_event(client), {}),
}
