"""Requests that schemathesis makes of the document: the service answers as it says, whatever is sent."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from kpay_http.app import create_framework
from kpay_http.openapi import operations_of
from tests.http.world import World
from tests.servers import Installation


@pytest.fixture(scope="module")
def idle() -> Iterator[World]:
    """A world in which nothing has happened, so that a year passes in no time."""
    with World() as world:
        yield world


@pytest.fixture(scope="module")
def busy() -> Iterator[World]:
    with World(test_clock=False) as world:
        yield world


@pytest.fixture
def world(path: str, idle: World, busy: World) -> World:
    return idle if path == "/v1/test_clock" else busy


@pytest.fixture
def key(world: World) -> str:
    return world.merchant().test


@pytest.fixture
def described(world: World) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_asgi("/openapi.json", world.app)


# Any text is an id, so a request that only names one cannot be wrong.
CASES = [
    (method, path, mode)
    for method, path, operation in operations_of(create_framework())
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or operation.body or operation.parameters
]


# How long and how wasteful generation is says nothing of the service.
ALL: list[HealthCheck] = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]

# What JSON Schema cannot say: that an id is of this list, that a card number passes Luhn and fits its cvc, that a card
# has not expired, that two parameters exclude each other, that a URL leads to a public host, that there are a hundred
# endpoints already. A refusal for these alone is no contradiction.
BEYOND_SCHEMA = {
    "no such id in this list",
    "not together with starting_after",
    "not a card number",
    "3 digits",
    "4 digits",
    "expired",
    # A NUL, which no pattern of JSON Schema keeps away from generators.
    "must be plain Unicode text",
    "must be https",
    "no spaces, control characters or backslashes",
    "no fragment",
    "no host",
    "no user info",
    "no percent sign in the host",
    "malformed host",
    "malformed address",
    "must be ASCII, other characters percent-encoded",
    "the host must be written in punycode",
    "port must be between 1 and 65535",
    "not a public address",
    "not a public name",
    "at most 100 endpoints",
}
# Nor that a key was not used before, or a string without one character: a NUL.
BEYOND_SCHEMA_AS_A_WHOLE = {
    "This idempotency key was used before with another request.",
    "The body must not contain NUL characters.",
}


def is_beyond_schema(answer: schemathesis.Response) -> bool:
    """Whether a request was refused only for what its schema cannot say."""
    if answer.status_code != 400:
        return False
    error = answer.json()["error"]
    errors = error["details"].get("fieldErrors", {})
    messages = {message for each in errors.values() for message in each}
    return (messages <= BEYOND_SCHEMA) if messages else error["message"] in BEYOND_SCHEMA_AS_A_WHOLE


def check_operation(
    described: Any, key: str, method: str, path: str, mode: GenerationMode, count: int
) -> None:
    # Told to the generator too, so that it never counts a missing key as what is wrong with a request.
    headers = {"Authorization": f"Bearer {key}"}

    @settings(max_examples=count, deadline=None, suppress_health_check=ALL)
    @given(case=described[path][method.upper()].as_strategy(generation_mode=mode, headers=headers))
    def check(case: Case) -> None:
        answer = case.call(headers=headers)
        excluded = [positive_data_acceptance] if is_beyond_schema(answer) else []
        case.validate_response(answer, excluded_checks=excluded)

    check()


@pytest.mark.parametrize(("method", "path", "mode"), CASES)
def test_the_service_answers_as_its_document_says(
    described: schemathesis.BaseSchema, key: str, method: str, path: str, mode: GenerationMode
) -> None:
    check_operation(described, key, method, path, mode, 10)


@pytest.mark.heavy
@pytest.mark.parametrize(("method", "path", "mode"), CASES)
def test_the_service_answers_as_its_document_says_a_thousand_times(
    described: schemathesis.BaseSchema, key: str, method: str, path: str, mode: GenerationMode
) -> None:
    # A year takes the clock half a second.
    check_operation(described, key, method, path, mode, 100 if path == "/v1/test_clock" else 1000)


@pytest.mark.heavy
def test_a_server_stands_every_check_of_schemathesis(tmp_path: Path) -> None:
    with Installation(tmp_path, f"sqlite:///{tmp_path}/kpay.db") as installation:
        key = installation.migrate().merchant()["keys"]["test"]["secret"]
        server = installation.serve()
        # Without the check that valid data is accepted: see BEYOND_SCHEMA, which its command line cannot tell apart.
        unfit = ["--exclude-checks", "positive_data_acceptance"]
        options = [
            *unfit,
            "--checks",
            "all",
            "--max-examples",
            "300",
            "--generation-deterministic",
            "--no-color",
        ]
        program = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.url}/openapi.json"]
        done = subprocess.run(
            [*program, *options, "--header", f"Authorization: Bearer {key}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in server.log.read_text()
