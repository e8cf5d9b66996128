"""
Every route against everybody who must not pass, made of the route table itself.

A new route fails here until `OBJECTS` says how a merchant gets an object that it could show.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from kpay_http.app import create_framework
from kpay_http.operations import Operation
from tests.attacks.objects import OBJECTS, ROUTES
from tests.http.world import Client, Merchant, World

# What makes an object of the sender's own out of nothing: it cannot reach for anybody else's.
REACHES_FOR_NOTHING = {"createCharge", "createWebhookEndpoint"}

# The time is one for the whole sandbox, and live mode has none to turn.
OF_THE_SANDBOX = {"getTestClock", "advanceTestClock"}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as world:
        yield world


@pytest.fixture(scope="module")
def acme(world: World) -> Merchant:
    return world.merchant("Acme")


def ask(client: Client, method: str, path: str, asked: tuple[str | None, Any]) -> httpx.Response:
    id, body = asked
    options = {"json": body} if body is not None else {}
    return client.send(method.upper(), path.replace("{id}", id or ""), **options)


def shown(answer: httpx.Response) -> tuple[Any, ...]:
    headers = sorted((name, value) for name, value in answer.headers.items() if name != "request-id")
    return (answer.status_code, answer.content, *headers)


@pytest.mark.parametrize(("method", "path", "operation"), ROUTES, ids=[o.id for _, _, o in ROUTES])
class TestEveryRoute:
    def asked(self, operation: Operation, client: Client) -> tuple[str | None, Any]:
        assert operation.id in OBJECTS, f"tell in OBJECTS how to ask for {operation.id}"
        return OBJECTS[operation.id](client)

    def test_lets_the_owner_in(
        self, method: str, path: str, operation: Operation, world: World, acme: Merchant
    ) -> None:
        for key in (acme.test, acme.live):
            client = world.client(key)
            answer = ask(client, method, path, self.asked(operation, client))
            if operation.id in OF_THE_SANDBOX and key == acme.live:
                assert shown(answer) == shown(unknown(client))
                continue
            assert answer.status_code in operation.answers
            assert answer.json().get("data") != []

    def test_refuses_whoever_has_no_secret_key(
        self, method: str, path: str, operation: Operation, world: World, acme: Merchant
    ) -> None:
        owner = world.client(acme.test)
        asked = self.asked(operation, owner)
        before = state(owner)
        answers = [
            ask(world.client(key), method, path, asked)
            for key in (
                None,
                "nonsense",
                acme.test[:-1],
                acme.keys.test.publishable,
                acme.keys.live.publishable,
            )
        ]
        assert {answer.status_code for answer in answers} == {401}
        assert all(answer.headers["www-authenticate"] == "Bearer" for answer in answers)
        assert len({answer.content for answer in answers}) == 1
        assert state(owner) == before

    @pytest.mark.parametrize("stranger", ["other merchant", "other mode", "other merchant in the other mode"])
    def test_shows_a_stranger_nothing_and_does_nothing_for_one(
        self,
        method: str,
        path: str,
        operation: Operation,
        stranger: str,
        world: World,
        acme: Merchant,
    ) -> None:
        owner = world.client(acme.test)
        outsider = world.merchant("Initech")
        keys = {"other merchant": outsider.test, "other mode": outsider.live}
        # The other mode of a merchant that holds nothing there yet.
        if stranger == "other mode":
            owner = world.client(outsider.test)
        client = world.client(keys.get(stranger, outsider.live))
        asked = self.asked(operation, owner)
        if operation.id in REACHES_FOR_NOTHING:
            return
        before = state(owner)
        answer = ask(client, method, path, asked)
        if operation.id in OF_THE_SANDBOX and stranger == "other merchant":
            assert answer.status_code == 200
            return
        if operation.id == "getBalance":
            assert client.balance() == (0, 0, 0, 0) != owner.balance()
        elif answer.status_code == 200:
            assert answer.json()["data"] == []
        else:
            assert shown(answer) == shown(unknown(client))
            assert answer.status_code == 404
        assert state(owner) == before
        assert set(map(str, state(client).values())) == {"[]"}


def unknown(client: Client) -> httpx.Response:
    """What a client gets who asks for what does not exist."""
    return client.get("/v1/charges/01941f29-7c00-7000-8000-000000000001")


def state(client: Client) -> dict[str, Any]:
    """Everything that a client's lists show of its world, and what goes to each of its endpoints."""
    lists = [path for _, path, operation in ROUTES if operation.id.startswith("list") and "{id}" not in path]
    shown = {path: client.data(path) for path in lists}
    for endpoint in shown["/v1/webhook_endpoints"]:
        path = f"/v1/webhook_endpoints/{endpoint['id']}/deliveries"
        shown[path] = client.data(path)
    return shown


def test_the_matrix_holds_every_route_and_no_other() -> None:
    assert {operation.id for _, _, operation in ROUTES} == OBJECTS.keys()


def test_every_route_under_v1_is_in_the_table_of_operations() -> None:
    documented = {path for _, path, _ in ROUTES}
    served = {route.path.replace(":str}", "}") for route in create_framework().routes}
    assert {path for path in served if path.startswith("/v1")} == documented
    # Nothing else is served but what is open to all.
    public = {"/healthz", "/readyz", "/metrics", "/docs", "/docs/{name}", "/openapi.json"}
    assert served - documented == public
