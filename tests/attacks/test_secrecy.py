"""
Whoever names what is not his learns nothing: not by a byte, not by a header, not by what the store is asked.

Every place where a request can name an object is found in the route table: paths, cursors, filters, bodies. A new one
fails here until it is told what it names.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from msgspec import inspect
from msgspec.structs import replace

from kpay_http.operations import Operation
from tests.attacks.objects import OBJECTS, ROUTES, a_charge, an_endpoint
from tests.attacks.target import Asked, Attack, seen, send
from tests.http.world import Client, Merchant, World

# Query parameters that name an object, and those that do not.
NAMING = {"starting_after", "ending_before", "charge"}
OTHERS = {"limit", "status", "type", "created_at[gt]", "created_at[gte]", "created_at[lt]", "created_at[lte]"}

# Fields of bodies that name an object, by operation, with how one gets one.
IN_BODIES: dict[str, tuple[str, Callable[[Client], str]]] = {
    "createRefund": ("charge", a_charge),
    "resendEvent": ("endpoint", an_endpoint),
    # Its 404 is for where there is no clock to turn.
    "advanceTestClock": ("", a_charge),
    "getTestClock": ("", a_charge),
}

MISSHAPEN = ["nonsense", "x" * 300, "01941f29", "' OR 1=1 --", "%", "{id}", "\U0001d11e" * 50]


class Way(NamedTuple):
    """One place where an object is named: how to make one, and how to name it, in requests of a merchant's own."""

    name: str
    make: Callable[[Client], str]
    attack: Callable[[Client, str], Attack]


def a_refunded_charge(client: Client) -> str:
    charge = a_charge(client)
    client.refunded(charge, amount=1)
    return charge


def in_path(method: str, path: str, operation: Operation) -> Way:
    def make(client: Client) -> str:
        id, _ = OBJECTS[operation.id](client)
        assert id is not None
        return id

    def attack(client: Client, id: str) -> Attack:
        _, body = OBJECTS[operation.id](client)
        return attack_of(operation, method, path.replace("{id}", id), body=body)

    return Way(f"{operation.id}: path", make, attack)


def in_query(path: str, operation: Operation, parameter: str) -> Way:
    def own(client: Client) -> str:
        """The list of a client's own that is looked through."""
        id, _ = OBJECTS[operation.id](client)
        return path.replace("{id}", id or "")

    def make(client: Client) -> str:
        return a_refunded_charge(client) if parameter == "charge" else client.data(own(client))[0]["id"]

    def attack(client: Client, id: str) -> Attack:
        return attack_of(operation, "get", own(client), query=f"{parameter}={quote(id)}".encode())

    return Way(f"{operation.id}: {parameter}", make, attack)


def in_body(method: str, path: str, operation: Operation) -> Way:
    field, make = IN_BODIES[operation.id]

    def attack(client: Client, id: str) -> Attack:
        own, body = OBJECTS[operation.id](client)
        return attack_of(operation, method, path.replace("{id}", own or ""), body={**body, field: id})

    return Way(f"{operation.id}: body", make, attack)


def attack_of(
    operation: Operation, method: str, path: str, *, query: bytes = b"", body: Any = None
) -> Attack:
    content = b"" if body is None else json.dumps(body).encode()
    return Attack(operation=operation.id, method=method.upper(), path=path, query=query, body=content)


def ways() -> Iterator[Way]:
    for method, path, operation in ROUTES:
        if "{id}" in path:
            yield in_path(method, path, operation)
        if operation.parameters is not None:
            info = inspect.type_info(operation.parameters)
            assert isinstance(info, inspect.StructType)
            names = {field.encode_name for field in info.fields}
            assert names <= NAMING | OTHERS, f"tell whether these name an object: {names - NAMING - OTHERS}"
            yield from (in_query(path, operation, name) for name in sorted(names & NAMING))
        if operation.names_object:
            assert operation.id in IN_BODIES, f"tell which field of {operation.id} names an object"
            if IN_BODIES[operation.id][0]:
                yield in_body(method, path, operation)


WAYS = list(ways())


class Stage:
    """Two merchants in one world, each in both modes."""

    def __init__(self, world: World, store: Asked) -> None:
        self.world, self.store = world, store
        self.acme: Merchant = world.merchant("Acme")
        self.globex: Merchant = world.merchant("Globex")

    def ask(self, key: str, attack: Attack) -> tuple[Any, list[tuple[str, str]]]:
        """Return everything that is seen of an answer, and what the store was asked for it."""
        self.store.asked.clear()
        heard = self.world.run(send(self.world.app, attack, key=key))
        return seen(heard), list(self.store.asked)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    store = Asked()
    with World(store=store) as world:
        yield Stage(world, store)


def neighbour(id: str) -> str:
    """An id of the same shape that nobody has."""
    return id[:-1] + ("0" if id[-1] != "0" else "1")


@pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
def test_unknown_and_foreign_names_are_one_to_whoever_asks_and_to_the_store(stage: Stage, way: Way) -> None:
    key = stage.globex.test
    own = stage.world.client(key)
    foreign = {
        "another merchant's": way.make(stage.world.client(stage.acme.test)),
        "the other mode's": way.make(stage.world.client(stage.globex.live)),
        "another merchant's in the other mode": way.make(stage.world.client(stage.acme.live)),
    }
    unknown = neighbour(foreign["another merchant's"])
    # Made before, so that nothing moves between the questions.
    attack = way.attack(own, "{name}")

    def naming(name: str) -> Attack:
        return way_with(attack, name)

    expected = stage.ask(key, naming(unknown))
    assert expected[0][0] in (400, 404, 200)
    assert expected[1], "the store is asked"
    for whose, id in foreign.items():
        assert stage.ask(key, naming(id)) == expected, whose
    for name in MISSHAPEN:
        assert stage.ask(key, naming(name))[0] == expected[0], name
    # The cursor of a list is in that list.
    is_cursor = attack.query and b"charge=" not in attack.query
    mine = own.data(attack.path)[0]["id"] if is_cursor else way.make(own)
    assert stage.ask(key, naming(mine))[0] != expected[0], "one's own is another matter"


def way_with(attack: Attack, name: str) -> Attack:
    """Put a name where the attack has room for one."""
    written = json.dumps(name).encode()[1:-1]
    return replace(
        attack,
        path=attack.path.replace("{name}", name),
        query=attack.query.replace(b"%7Bname%7D", quote(name).encode()),
        body=attack.body.replace(b"{name}", written),
    )
