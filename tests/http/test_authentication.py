"""Keys over HTTP: the public document, and section 3 of the contract."""

import pytest

from kpay_adapters.testing import CHARGE
from kpay_core.domain.keys import ALPHABET, make_key
from tests.http.world import Client, Merchant, World, error_of

ROUTES = [
    ("POST", "/v1/charges"),
    ("GET", "/v1/charges"),
    ("GET", "/v1/charges/x"),
    ("POST", "/v1/refunds"),
    ("POST", "/v1/webhook_endpoints"),
    ("PATCH", "/v1/webhook_endpoints/x"),
    ("DELETE", "/v1/webhook_endpoints/x"),
    ("GET", "/v1/events"),
]


def refused(client: Client, *headers: tuple[str, str] | tuple[bytes, bytes]) -> None:
    """Every route refuses these headers, in the same words."""
    bodies: set[bytes] = set()
    for method, path in ROUTES:
        answer = client.send(method, path, headers=list(headers))
        error_of(answer, 401, "authentication_error")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert not any(name.startswith("ratelimit") for name in answer.headers)
        bodies.add(answer.content)
    assert len(bodies) == 1


def bearer(key: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {key}")


def test_a_request_without_a_key_is_401(stranger: Client) -> None:
    refused(stranger)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic c2s6",
        "Token {key}",
        "{key}",
        "Bearer{key}",
        "Bearer {key} x",
        "Bearer {key},",
    ],
)
def test_a_header_that_is_no_bearer_token_is_401(stranger: Client, acme: Merchant, value: str) -> None:
    refused(stranger, ("Authorization", value.replace("{key}", acme.test)))


def test_a_key_that_is_mistyped_is_401(stranger: Client, acme: Merchant) -> None:
    key = acme.test
    for position in (0, 3, 8, 20, len(key) - 1):
        other = "b" if key[position] == "a" else "a"
        refused(stranger, bearer(key[:position] + other + key[position + 1 :]))
    refused(stranger, bearer(key[:-1]))
    refused(stranger, bearer(key + "0"))


def test_a_well_formed_key_that_nobody_issued_is_401(stranger: Client) -> None:
    refused(stranger, bearer(make_key("secret", "test", bytes(32))))


def test_bytes_that_no_key_has_are_401(stranger: Client, acme: Merchant) -> None:
    for value in (b"Bearer \xff\xfe", b"Bearer " + acme.test.encode() + b"\x85", b"Bearer " + b"a" * 8000):
        refused(stranger, (b"Authorization", value))


def test_a_publishable_key_is_401_on_a_server_endpoint(stranger: Client, acme: Merchant) -> None:
    refused(stranger, bearer(acme.keys.test.publishable))
    refused(stranger, bearer(acme.keys.live.publishable))


def test_two_authorization_headers_are_401(stranger: Client, acme: Merchant, globex: Merchant) -> None:
    refused(stranger, bearer(acme.test), bearer(acme.test))
    refused(stranger, bearer(acme.test), bearer(globex.test))


def test_a_key_in_the_query_or_the_body_opens_nothing(stranger: Client, acme: Merchant) -> None:
    assert (
        stranger.get("/v1/charges", params={"key": acme.test, "access_token": acme.test}).status_code == 401
    )
    assert stranger.post("/v1/charges", {**CHARGE, "key": acme.test}).status_code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_case_insensitive(stranger: Client, acme: Merchant, scheme: str) -> None:
    answer = stranger.get("/v1/charges", headers={"Authorization": f"{scheme} {acme.test}"})
    assert answer.status_code == 200


def test_a_key_opens_its_own_merchant_and_mode(world: World, acme: Merchant, globex: Merchant) -> None:
    for key, livemode in ((acme.test, False), (acme.live, True), (globex.test, False), (globex.live, True)):
        assert world.client(key).charged()["livemode"] is livemode
        assert len(world.client(key).get("/v1/charges").json()["data"]) == 1


def test_old_keys_remain_valid_for_24_hours_after_rotation_to_the_second(
    world: World, acme: Merchant, stranger: Client
) -> None:
    rotated = world.run(world.kpay.rotate_key(acme.id, "test"))
    fresh, old = world.client(rotated.key), world.client(acme.test)
    made = fresh.charged()["id"]
    world.pass_time(hours=23, minutes=59, seconds=59)
    assert old.get(f"/v1/charges/{made}").status_code == 200
    world.pass_time(seconds=1)
    refused(stranger, bearer(acme.test))
    assert fresh.get(f"/v1/charges/{made}").status_code == 200


def test_a_rotation_at_once_ends_the_old_key_at_once(world: World, acme: Merchant, stranger: Client) -> None:
    rotated = world.run(world.kpay.rotate_key(acme.id, "test", at_once=True))
    refused(stranger, bearer(acme.test))
    assert world.client(rotated.key).get("/v1/charges").status_code == 200
    assert world.client(acme.live).get("/v1/charges").status_code == 200


def test_a_revoked_key_is_401_from_the_next_request_on(
    world: World, acme: Merchant, stranger: Client
) -> None:
    assert world.client(acme.test).get("/v1/charges").status_code == 200
    held = world.run(world.kpay.list_keys(acme.id))
    (secret,) = (key for key in held if key.kind == "secret" and not key.livemode)
    world.run(world.kpay.revoke_key(secret.id))
    refused(stranger, bearer(acme.test))


def test_keys_have_the_shape_of_the_public_document(acme: Merchant) -> None:
    keys = acme.keys
    for key, prefix in (
        (keys.test.secret, "sk_test_"),
        (keys.test.publishable, "pk_test_"),
        (keys.live.secret, "sk_live_"),
        (keys.live.publishable, "pk_live_"),
    ):
        assert key.startswith(prefix)
        assert len(key) == len(prefix) + 36
        assert set(key.removeprefix(prefix)) <= set(ALPHABET)


def test_the_answer_never_shows_the_key(stranger: Client, acme: Merchant) -> None:
    for key in (acme.keys.test.publishable, acme.test[:-1] + "!"):
        assert key not in stranger.get("/v1/charges", headers=dict([bearer(key)])).text


def test_an_oversized_body_is_413_before_the_key_is_looked_at(stranger: Client) -> None:
    error_of(stranger.post("/v1/charges", content=b" " * 65_537), 413, "invalid_request_error")


def test_a_body_is_not_looked_at_before_the_key_is(stranger: Client) -> None:
    assert stranger.post("/v1/charges", content=b"{").status_code == 401
