"""Logs: one line an event, from us and from the libraries, and no secret in any of them."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
import structlog
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kpay_http import logs

CARD = "4242424242424242"
SPACED = "4242 4242 4242 4242"
AMEX = "3782-822463-10005"
MAESTRO = "676770000005"  # twelve digits, the shortest
KEY = "sk_live_" + "a1B2" * 9
WEBHOOK_SECRET = "whsec_" + "Zm9v-_" * 7

SECRETS = [CARD, SPACED, AMEX, MAESTRO, "6304 0000 0000 0000", KEY, KEY.replace("sk", "pk"), WEBHOOK_SECRET]

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """Log as JSON; what was logged since the last call."""
    root = logging.root
    handlers, level = root.handlers[:], root.level
    logs.configure("json")
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def mask(**event: object) -> dict[str, Any]:
    return dict(logs.mask(None, "info", dict(event)))


REQUEST: dict[str, Any] = {
    "request_id": "req_1",
    "method": "POST",
    "route": "/v1/charges",
    "status": 201,
    "ms": 12.5,
    "merchant": None,
    "livemode": False,
}


def test_a_request_is_one_line_with_a_time_in_utc(lines: Lines) -> None:
    logs.log_request(**REQUEST)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "request", "level": "info", "logger": "kpay.requests", **REQUEST}


@pytest.mark.parametrize("hidden", ["mer_1", CARD, KEY, "\ud800"])
def test_the_line_of_a_request_is_the_one_that_structlog_would_write(lines: Lines, hidden: str) -> None:
    logs.log_request(**{**REQUEST, "merchant": hidden})
    structlog.get_logger("kpay.requests").info("request", **{**REQUEST, "merchant": hidden})
    direct, usual = lines()
    times = [datetime.fromisoformat(line.pop("timestamp")) for line in (direct, usual)]
    assert times == sorted(times)
    assert direct == usual
    assert list(direct) == list(usual)


def test_libraries_logs_take_the_same_way(lines: Lines) -> None:
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 7)
    logging.getLogger("alembic.runtime").warning("card %s", CARD)
    logging.getLogger("alembic.runtime").log(35, "between two levels")
    logging.getLogger("alembic.runtime").debug("not worth a line")
    first, second, third = lines()
    assert (first["event"], first["logger"], first["level"]) == (
        "Started server process [7]",
        "uvicorn.error",
        "info",
    )
    assert second["event"] == "card [card number]"
    assert third["level"] == "warning"


@pytest.mark.usefixtures("lines")
def test_statements_with_their_values_and_query_strings_are_not_logged() -> None:
    assert not logging.getLogger("sqlalchemy.engine.Engine").isEnabledFor(logging.INFO)
    assert not logging.getLogger("uvicorn.access").propagate


def test_a_log_call_with_wrong_arguments_shows_none_of_them(lines: Lines) -> None:
    # pytest's own handler raises for such a call.
    logging.root.handlers[:] = [each for each in logging.root.handlers if isinstance(each, logs._ToStructlog)]
    logging.getLogger("uvicorn.error").warning("%d and %d", CARD)  # noqa: PLE1206
    (line,) = lines()
    assert "wrong arguments" in line["event"]
    assert "4242" not in json.dumps(line)


def test_an_exception_is_logged_without_variables_and_without_secrets(lines: Lines) -> None:
    def charge(number: str, cvc: str) -> None:
        raise ValueError(f"no charge for {number} with {KEY}")

    for log in (structlog.get_logger("kpay"), logging.getLogger("asyncio")):
        try:
            charge(SPACED, str(7340 + 1))
        except ValueError:
            log.exception("request failed")
    ours, theirs = lines()
    for line in (ours, theirs):
        assert "ValueError: no charge for [card number] with sk_live_…" in line["exception"]
        assert "7341" not in line["exception"]


def test_the_console_shows_no_variables_either(capsys: pytest.CaptureFixture[str], lines: Lines) -> None:
    logs.configure("console")
    try:
        number = SPACED
        raise ValueError(number)
    except ValueError:
        structlog.get_logger("kpay").exception("request failed", tried=[CARD])
    shown = capsys.readouterr().err
    assert "request failed" in shown
    assert "ValueError: [card number]" in shown
    assert "4242" not in shown
    assert "\x1b" not in shown, "colours are for terminals"


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "around", ["{}", "card: {}.", '{{"number":"{}","cvc":"123"}}', "x={}&y=1", "({}, 12/30)"]
)
def test_a_secret_in_a_text_is_hidden_and_the_rest_is_not(secret: str, around: str) -> None:
    masked = mask(event=around.format(secret))["event"]
    assert secret not in masked
    assert masked.startswith(around.partition("{}")[0].replace("{{", "{"))


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_hidden_wherever_it_stands(secret: str) -> None:
    class Card:
        def __repr__(self) -> str:
            return f"<Card {secret}>"

    nested = {
        "list": [1, [secret]],
        "tuple": (secret, {"deep": {"deeper": secret}}),
        "set": {secret},
        secret: "as a key",
        "bytes": secret.encode(),
        "object": Card(),
        "error": ValueError(secret),
        "far": [[[[[[[[[secret]]]]]]]]],
    }
    assert secret not in str(mask(event="x", data=nested))


def test_a_card_number_is_hidden_as_an_integer_and_beside_other_numbers() -> None:
    assert mask(number=int(CARD), other=int(CARD) + 1) == {"number": "[card number]", "other": int(CARD) + 1}
    for beside in (f"{SPACED} 123", f"12 {CARD}", f"{CARD}-12-2030", f"2030 {SPACED} 12 345"):
        assert mask(event=beside) == {"event": "[card number]"}
    assert mask(event="9" * 10_000, n=10**5000) == {"event": "[card number]", "n": "[long number]"}


@pytest.mark.parametrize(
    "harmless",
    [
        "4242424242424241",
        "2026-11-22T18:03:03.123456Z",
        "1763834583123",
        "req_01939f1c4f7a7e2b8a51c0ffee123456",
        "/v1/charges/{charge:str}",
        "sk_test_…",
        "task_scheduler_started",
        "Started server process [123456]",
        "127.0.0.1:54321",
    ],
)
def test_what_is_no_secret_is_left_alone(harmless: str) -> None:
    assert mask(event=harmless) == {"event": harmless}


@given(st.uuids() | st.integers(0, 2**128 - 1).map(lambda n: UUID(int=n)))
def test_our_own_ids_are_left_alone_whatever_digits_they_have(uuid: UUID) -> None:
    if not uuid.hex.isdigit():
        assert mask(a=str(uuid), b=f"re_{uuid.hex}") == {"a": str(uuid), "b": f"re_{uuid.hex}"}


# What card numbers and ids are made of, and what may stand before them in JSON.
Shards = st.sampled_from(
    [*SECRETS, *"0123456789 -af", "\x10", "\n", '"', "\\", "é", "019b796d-d600-7000-8000-000000000123"]
) | st.uuids().map(lambda uuid: uuid.hex)
Plain = st.lists(Shards, max_size=8).map("".join) | st.integers(-(10**20), 10**20) | st.floats() | st.none()


@settings(max_examples=1000)
@given(st.dictionaries(st.sampled_from("abcd"), Plain))
# As JSON these are sixteen digits in a row, that make no card number.
@example({"a": f"\x10{MAESTRO}"})
def test_a_look_at_all_values_at_once_finds_what_a_look_at_each_does(event: dict[str, object]) -> None:
    if logs._harmless_json(event) is not None:
        assert {name: logs._masked(value, 0) for name, value in event.items()} == event


def test_a_text_that_is_far_too_long_is_cut() -> None:
    assert mask(event="x" * (2 * logs.TEXT_LIMIT)) == {"event": "x" * logs.TEXT_LIMIT + "…"}


def test_most_ids_with_many_digits_need_no_closer_look() -> None:
    for id in ("mer_019b796dd60070008000000002a00000", "req_810ae15d20d2652ac1e0708c22631e53"):
        assert logs._harmless_json({"id": id, "status": 200}) is not None
    assert logs._harmless_json({"id": f"mer_{CARD}"}) is None


Anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.frozensets(st.text())
    ),
    max_leaves=10,
)


@given(st.text() | st.just("\ud800"), Anything)
def test_whatever_is_logged_becomes_a_line_and_never_an_exception(event: str, value: object) -> None:
    line = logs._render_json(None, "info", logs.mask(None, "info", {"event": event, "value": value}))
    assert "\n" not in line
    assert set(json.loads(line)) == {"event", "value"}


def test_a_log_that_cannot_be_written_fails_nothing(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, text: str) -> None:
            raise OSError(28, "No space left on device")

        flush = write

    with monkeypatch.context() as broken:
        broken.setattr(sys, "stderr", Full())
        structlog.get_logger("kpay").info("request")
        logging.getLogger("uvicorn.error").info("request")
    assert lines() == []
