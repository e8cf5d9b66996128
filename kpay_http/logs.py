"""
Logs: one line an event on standard error, for people or as JSON, from us and from every library.

What is logged is chosen where it is logged, and is never a body, a header's value or a query string. Behind that
stands `mask`, the last line of defence: whatever goes wrong, a card number, an API key or a signing secret does
not reach the log. Tracebacks show code, never the values of variables.
"""

import json
import logging
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, cast

import msgspec
import structlog
from structlog.typing import EventDict, Processor

Format = Literal["auto", "console", "json"]

# Libraries whose INFO is no news, or tells too much: SQLAlchemy writes statements with their values there.
AT_LEAST_WARNING = ("aiohttp", "alembic", "aiosqlite", "asyncio", "asyncpg", "dramatiq.worker", "sqlalchemy")

# A long traceback has a tenth of it. What is longer is cut, after masking.
TEXT_LIMIT = 64 * 1024

# Deeper structures are nothing one logs on purpose.
DEPTH_LIMIT = 6


def configure(format: Format | str = "auto") -> None:
    """
    Send structlog's and the standard library's logs to standard error: as text, or a JSON object a line.

    "auto" is text on a terminal and JSON elsewhere. Call it once at the start: loggers that were used keep the
    settings they have met. uvicorn's access log is switched off; it shows query strings, and each request is
    logged by us.
    """
    as_json = format == "json" or (format == "auto" and not sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.format_exc_info,
            mask,
            _add_logger,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _render_json if as_json else _console(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_Lines,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_ToStructlog()], level=logging.INFO, force=True)
    for name in AT_LEAST_WARNING:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        # uvicorn does not even make the line of a logger that reaches no handler.
        logger.propagate = name != "uvicorn.access"


def mask(_logger: object, _method: str, event: EventDict) -> EventDict:
    """
    Hide in an event all that looks like a card number, an API key or a webhook secret, however deep it stands.

    A card number has 12 to 19 digits that pass the Luhn check, with spaces or dashes between them or not. Our
    own ids can hold as many digits in a row and are left alone. What is neither text, number nor collection is
    made text first, so that nothing reaches the renderer unseen.
    """
    if _PLAIN.issuperset(map(type, event.values())) and _harmless_json(event) is not None:
        return event
    return {key: _masked(value, 0) for key, value in event.items()}


_PLAIN = frozenset((str, int, float, bool, type(None)))
_JSON = msgspec.json.Encoder()
_ZEROS_FOR_DIGITS = bytes(ord("0") if byte in b"0123456789" else ord(".") for byte in range(256))


def _harmless_json(event: object) -> bytes | None:
    """
    Write an event of plain values as JSON, and look at all of it in one go: it seldom holds anything to hide.

    None means that a closer look is due.
    """
    try:
        text = _JSON.encode(event)
    except (UnicodeEncodeError, ValueError):
        return None
    if b"k_" in text or b"whsec_" in text or len(text) > TEXT_LIMIT:
        return None
    if b"000000000000" in text.translate(_ZEROS_FOR_DIGITS, b" -"):
        # One id in thirty has as many digits in a row. Nothing is escaped, so that each value stands there as it is.
        shown = text.decode()
        if "\\" in shown or _ID_OR_DIGITS.sub(_mask_digits, shown) != shown:
            return None
    return text


# The shortest thing that is hidden: twelve digits.
_SHORTEST = 12
_ENOUGH_DIGITS = re.compile(r"[0-9](?:[ -]{0,2}[0-9]){11}")
_ID_OR_DIGITS = re.compile(
    r"(?P<id>(?<![0-9A-Za-z])[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}(?![0-9A-Za-z]))"
    r"|[0-9](?:[ -]{0,2}[0-9]){11,}"
)
_KEY = re.compile(r"(?<![0-9A-Za-z])([sp]k_(?:test_|live_)?|whsec_)[0-9A-Za-z_-]{8,}")

# Four card numbers in a row. What is longer is hidden without a look.
_DIGITS_LOOKED_AT = 80


def _masked(value: object, depth: int) -> object:
    if isinstance(value, str):
        return value if len(value) < _SHORTEST else mask_text(value)
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -(10**11) < value < 10**11 else _mask_integer(value)
    if depth == DEPTH_LIMIT:
        return "…"
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {mask_text(str(key)): _masked(inner, depth + 1) for key, inner in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(inner, depth + 1) for inner in cast("Sequence[object]", value)]
    return mask_text(repr(value))


def mask_text(text: str) -> str:
    """Hide in a text what `mask` hides in an event, and cut what is far too long."""
    if _ENOUGH_DIGITS.search(text):
        text = _ID_OR_DIGITS.sub(_mask_digits, text)
    if "k_" in text or "whsec_" in text:
        text = _KEY.sub(r"\1…", text)
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT] + "…"


def _mask_integer(value: int) -> int | str:
    if abs(value) >= 10**19:
        # Longer than any card number, and perhaps too long to be written at all.
        return "[long number]"
    return "[card number]" if _is_card_number(str(abs(value))) else value


def _mask_digits(found: re.Match[str]) -> str:
    text = found[0]
    if found["id"] and not text.replace("-", "").isdigit():
        return text
    return "[card number]" if _holds_card_number(re.split("[ -]+", text)) else text


def _holds_card_number(groups: list[str]) -> bool:
    """Whether some neighbouring groups of digits make a card number: a date or a code may stand beside it."""
    if sum(map(len, groups)) > _DIGITS_LOOKED_AT or any(len(group) > 19 for group in groups):
        return True
    for start in range(len(groups)):
        number = ""
        for group in groups[start:]:
            number += group
            if _is_card_number(number):
                return True
    return False


def _is_card_number(digits: str) -> bool:
    if not 12 <= len(digits) <= 19:
        return False
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(n - 9 if n > 9 else n for n in doubled)) % 10 == 0


def log_request(**facts: object) -> None:
    """
    Log what became of a request, of which nothing but plain values is told.

    It is the commonest line by far. As JSON it is written directly, in half the time that structlog takes.
    """
    if structlog.get_config()["processors"][-1] is _render_json:
        names = {"event": "request", "logger": _REQUESTS, "level": "info", "timestamp": datetime.now(UTC)}
        line = _harmless_json({**facts, **names})
        if line is not None:
            _DIRECT.msg(line.decode())
            return
    structlog.get_logger(_REQUESTS).info("request", **facts)


_REQUESTS = "kpay.requests"


def _add_logger(logger: Any, _method: str, event: EventDict) -> EventDict:
    event["logger"] = logger.name
    return event


def _render_json(_logger: object, _method: str, event: EventDict) -> str:
    try:
        return _JSON.encode(event).decode()
    except UnicodeEncodeError:
        # Half of a surrogate pair; the standard library writes it as an escape.
        return json.dumps(event)


def _console() -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


class _Lines:
    """
    Writes lines to standard error, whatever that is at the moment.

    A line that cannot be written is dropped: a charge must not fail because a disk is full or a pipe is closed.
    """

    # Reentrant: asyncio logs from destructors, which may run while a line is being written.
    _lock = threading.RLock()

    def __init__(self, name: str = "kpay") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        try:
            with self._lock:
                sys.stderr.write(line + "\n")  # which is flushed at the end of each line
        except (OSError, ValueError):
            pass

    debug = info = warning = error = critical = fatal = exception = log = msg


_DIRECT = _Lines()


class _ToStructlog(logging.Handler):
    """Hands the standard library's records to structlog, so that they pass the same processors."""

    # structlog knows no levels between these.
    _METHODS = ((50, "critical"), (40, "error"), (30, "warning"), (20, "info"), (0, "debug"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event = record.getMessage()
        except (TypeError, ValueError, KeyError):
            # The standard library would print the arguments, unmasked.
            event = f"a log call in {record.module}:{record.lineno} has the wrong arguments"
        method = next(name for level, name in self._METHODS if record.levelno >= level)
        getattr(structlog.get_logger(record.name), method)(event, exc_info=record.exc_info)
