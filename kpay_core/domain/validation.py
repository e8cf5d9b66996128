"""
Strict reading of what a caller sent: every field is looked at, and every error is told at once.

The rules are the annotations of a request's Struct, so the OpenAPI schema is made from the same lines. On top of what
`msgspec.Meta` says, `extra` may carry `message` (in place of the general one) and `check` (value to None, to a message,
or to messages by the names within the value).
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any, TypeVar, cast

import msgspec
from msgspec import inspect

from kpay_core.domain.errors import Invalid
from kpay_core.domain.text import is_plain
from kpay_core.domain.times import in_utc

T = TypeVar("T")

Errors = dict[str, list[str]]
# Reads one value found at a dotted path; what is wrong goes into the errors. Returns the value, or WRONG.
Reader = Callable[[Any, str, Errors], Any]

WRONG: Any = object()

# Twice the longest key that we or a merchant's metadata have.
MAX_SHOWN_NAME = 80
# As people write card numbers, too.
MANY_DIGITS = re.compile(r"[0-9](?:[^0-9A-Za-z]{0,2}[0-9]){11}")

AwareTime = Annotated[datetime, msgspec.Meta(tz=True)]


class Reading(msgspec.Struct):
    """What was found so far: the sound values as a tree, and the errors by dotted path."""

    values: dict[str, Any]
    errors: Errors

    def __repr__(self) -> str:
        # The values may be a card's.
        return f"<Reading with {len(self.errors)} errors>"

    def blame(self, path: str, message: str) -> None:
        self.errors.setdefault(path, []).append(message)

    def finish(self, kind: type[T]) -> T:
        """Build the request, or raise `Invalid` with every error."""
        if self.errors:
            raise Invalid(self.errors)
        return msgspec.convert(self.values, kind)


def read(kind: type[msgspec.Struct], body: object, *, texts: bool = False) -> Reading:
    """
    Look at every field of `body` as `kind` wants it.

    `texts` is for query strings: numbers and times come as text, and a list is a parameter that was given twice.
    """
    errors: Errors = {}
    values = reader_of(kind, texts)(body, "", errors)
    return Reading({} if values is WRONG else values, errors)


@cache
def reader_of(kind: type[msgspec.Struct], texts: bool) -> Reader:
    return _reader(inspect.type_info(kind), {}, texts)


def shown_name(name: str) -> str:
    """Name a field as its sender did; not one that may be a card number in the wrong place, or a novel, or no text."""
    is_fit = len(name) <= MAX_SHOWN_NAME and is_plain(name) and not MANY_DIGITS.search(name)
    return name if is_fit else "…"


def _wrong(errors: Errors, path: str, message: str) -> Any:
    errors.setdefault(path, []).append(message)
    return WRONG


def _reader(info: inspect.Type, extra: Mapping[str, Any], texts: bool) -> Reader:
    match info:
        case inspect.Metadata():
            inner = cast(dict[str, Any], info.extra or {})  # pyright: ignore[reportUnknownMemberType]
            return _reader(info.type, {**extra, **inner}, texts)
        case inspect.StructType():
            return _object(info, texts)
        case inspect.UnionType() if info.includes_none:
            return _optional(info, extra, texts)
        case inspect.IntType():
            return _checked(_integer(info, extra, texts), extra)
        case inspect.StrType():
            return _checked(_text(info, extra), extra)
        case inspect.LiteralType():
            return _literal(info)
        case inspect.BoolType():
            return _boolean
        case inspect.DateTimeType():
            return _time
        case inspect.ListType():
            return _checked(_list(info, texts), extra)
        case inspect.DictType():
            return _checked(_mapping, extra)
        case _:
            raise TypeError(f"no reader for {info}")


def _object(info: inspect.StructType, texts: bool) -> Reader:
    fields = [(f.encode_name, f.required, _reader(f.type, {}, texts)) for f in info.fields]
    known = {name for name, _, _ in fields}

    def read_object(value: Any, path: str, errors: Errors) -> Any:
        if not isinstance(value, dict):
            return _wrong(errors, path or "body", "must be an object")
        given = cast(dict[str, Any], value)
        prefix = f"{path}." if path else ""
        values: dict[str, Any] = {}
        for name in sorted(given.keys() - known):
            _wrong(errors, prefix + shown_name(name), "unknown field")
        for name, required, read_field in fields:
            item = given.get(name)
            if item is None:
                if required:
                    _wrong(errors, prefix + name, "required")
            elif texts and isinstance(item, list):
                _wrong(errors, prefix + name, "given more than once")
            elif (found := read_field(item, prefix + name, errors)) is not WRONG:
                values[name] = found
        return values

    return read_object


def _optional(info: inspect.UnionType, extra: Mapping[str, Any], texts: bool) -> Reader:
    (inner,) = (each for each in info.types if not isinstance(each, inspect.NoneType))
    return _reader(inner, extra, texts)


def _integer(info: inspect.IntType, extra: Mapping[str, Any], texts: bool) -> Reader:
    message = extra.get("message")

    def read_integer(value: Any, path: str, errors: Errors) -> Any:
        if texts and isinstance(value, str):
            # 18 digits are more than any limit here, and less than what makes int() slow.
            value = int(value) if re.fullmatch("-?[0-9]{1,18}", value, re.ASCII) else value
        elif isinstance(value, float) and value.is_integer():
            value = int(value)  # JSON Schema: 50.0 is an integer.
        if not isinstance(value, int) or isinstance(value, bool):
            return _wrong(errors, path, "must be an integer")
        if info.ge is not None and value < info.ge:
            return _wrong(errors, path, message or f"min {info.ge}")
        if info.le is not None and value > info.le:
            return _wrong(errors, path, message or f"max {info.le}")
        return value

    return read_integer


def _text(info: inspect.StrType, extra: Mapping[str, Any]) -> Reader:
    message = extra.get("message")
    pattern = re.compile(info.pattern) if info.pattern else None

    def read_text(value: Any, path: str, errors: Errors) -> Any:
        if not isinstance(value, str):
            return _wrong(errors, path, "must be a string")
        if not is_plain(value):
            return _wrong(errors, path, "must be plain Unicode text")
        # "$" also matches before a final newline, which no pattern of ours means.
        if pattern and (value.endswith("\n") or not pattern.search(value)):
            return _wrong(errors, path, message or "malformed")
        if info.min_length is not None and len(value) < info.min_length:
            return _wrong(errors, path, f"at least {info.min_length} characters")
        if info.max_length is not None and len(value) > info.max_length:
            return _wrong(errors, path, f"at most {info.max_length} characters")
        return value

    return read_text


def _literal(info: inspect.LiteralType) -> Reader:
    message = "one of: " + ", ".join(str(value) for value in sorted(info.values, key=str))

    def read_literal(value: Any, path: str, errors: Errors) -> Any:
        return value if isinstance(value, str) and value in info.values else _wrong(errors, path, message)

    return read_literal


def _boolean(value: Any, path: str, errors: Errors) -> Any:
    return value if isinstance(value, bool) else _wrong(errors, path, "must be true or false")


def _time(value: Any, path: str, errors: Errors) -> Any:
    try:
        return in_utc(msgspec.convert(value, AwareTime))
    except msgspec.ValidationError:
        return _wrong(errors, path, "must be an RFC 3339 time with an offset")


def _list(info: inspect.ListType, texts: bool) -> Reader:
    read_item = _reader(info.item_type, {}, texts)

    def read_list(value: Any, path: str, errors: Errors) -> Any:
        if not isinstance(value, list):
            return _wrong(errors, path, "must be an array")
        given = cast(list[Any], value)
        if info.min_length is not None and len(given) < info.min_length:
            return _wrong(errors, path, f"at least {info.min_length} items")
        if info.max_length is not None and len(given) > info.max_length:
            return _wrong(errors, path, f"at most {info.max_length} items")
        items = [read_item(item, f"{path}.{index}", errors) for index, item in enumerate(given)]
        return WRONG if any(item is WRONG for item in items) else items

    return read_list


def _mapping(value: Any, path: str, errors: Errors) -> Any:
    if not isinstance(value, dict):
        return _wrong(errors, path, "must be an object")
    return cast(dict[str, Any], value)


def _checked(reader: Reader, extra: Mapping[str, Any]) -> Reader:
    check = extra.get("check")
    if check is None:
        return reader

    def read_checked(value: Any, path: str, errors: Errors) -> Any:
        found = reader(value, path, errors)
        wrong = None if found is WRONG else check(found)
        if not wrong:
            return found
        if isinstance(wrong, str):
            return _wrong(errors, path, wrong)
        for name, message in wrong.items():
            _wrong(errors, f"{path}.{shown_name(name)}", message)
        return WRONG

    return read_checked
