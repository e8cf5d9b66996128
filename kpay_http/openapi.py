"""
The OpenAPI 3.1 document, made of the route table and the very types that requests are read by and answers are made of.
"""

import re
from collections.abc import Iterable
from typing import Any, cast

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from msgspec import inspect

from kpay_core.domain.idempotency import MAX_KEY_LENGTH
from kpay_core.domain.views import ErrorView
from kpay_http.operations import KEY, Operation

REF = "#/components/schemas/{name}"

# Every operation can end in these.
COMMON_REFUSALS = {
    400: "The request cannot stand; `details.fieldErrors` names every field at once.",
    401: "No key that opens this merchant and mode.",
    429: "Too many requests; come back after `Retry-After` seconds.",
    503: "The service cannot be reached now, or takes no charges in this mode. Safe to try again.",
}
BODY_REFUSALS = {
    408: "The body did not arrive in 30 seconds.",
    413: "The body is larger than 64 KiB.",
}
NOT_FOUND = "No such object: unknown, another merchant's or the other mode's."
DECLINED = "The card was declined; the charge exists with status `failed`."
IN_USE = "A request with this idempotency key is still being worked on."

OUTCOMES = {200: "Done.", 201: "Created.", 202: "The outcome is not known yet; the charge is `processing`."}
FOUND = "Found."

ENVELOPE = {"schema": {"$ref": REF.format(name="Error")}}

HEADERS = {"Request-Id": {"description": "Names this request in our logs.", "schema": {"type": "string"}}}


def describe(framework: Litestar, *, version: str) -> dict[str, Any]:
    """Return the whole document."""
    operations = operations_of(framework)
    paths: dict[str, dict[str, Any]] = {}
    for method, path, operation in operations:
        paths.setdefault(path, {})[method] = _operation(operation, method, path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "K-Payments API",
            "version": version,
            "summary": "Charges, refunds, disputes, payouts, events and webhooks.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"secretKey": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(operation for _, _, operation in operations),
            "securitySchemes": {
                "secretKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A secret key: `sk_test_…` or `sk_live_…`.",
                }
            },
        },
    }


def operations_of(framework: Litestar) -> list[tuple[str, str, Operation]]:
    """Return (method, path, operation) of every documented route, sorted by path and method."""
    found: list[tuple[str, str, Operation]] = []
    for route in framework.routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler) and KEY in handler.opt:
                path = re.sub(r":\w+}", "}", route.path)
                found.extend((method.lower(), path, handler.opt[KEY]) for method in handler.http_methods)
    documented = (each for each in found if each[0] != "options")
    return sorted(documented, key=lambda each: (each[1], each[0]))


def _operation(operation: Operation, method: str, path: str) -> dict[str, Any]:
    refusals = dict(COMMON_REFUSALS)
    if operation.body:
        refusals |= BODY_REFUSALS
    if operation.declines:
        refusals[402] = DECLINED
    if operation.names_object or "{id}" in path:
        refusals[404] = NOT_FOUND
    if operation.idempotent:
        refusals[409] = IN_USE
    outcomes = {**OUTCOMES, 200: FOUND} if method == "get" else OUTCOMES
    answers = {
        str(status): _answer(outcomes[status], {"schema": _schema_of(view)}, operation)
        for status, view in operation.answers.items()
    }
    errors = {
        # A decline is an outcome, and replayed like any other.
        str(status): _answer(text, ENVELOPE, operation if status == 402 else None)
        for status, text in sorted(refusals.items())
    }
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [path.split("/")[2].replace("_", " ").capitalize()],
        "parameters": [
            *_path_parameters(path),
            *_header_parameters(operation),
            *_query_parameters(operation),
        ],
        "responses": {**answers, **errors},
    }
    if operation.body:
        body = {"schema": _schema_of(operation.body)}
        described["requestBody"] = {
            "required": not operation.may_be_empty,
            "content": {"application/json": body},
        }
    return described


def _answer(description: str, content: dict[str, Any], operation: Operation | None) -> dict[str, Any]:
    headers: dict[str, Any] = dict(HEADERS)
    if operation and operation.idempotent:
        text = "`true` when this answer was given before."
        headers["Idempotent-Replayed"] = {"description": text, "schema": {"type": "string", "enum": ["true"]}}
    return {"description": description, "headers": headers, "content": {"application/json": content}}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    if "{id}" not in path:
        return []
    return [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]


def _header_parameters(operation: Operation) -> list[dict[str, Any]]:
    if not operation.idempotent:
        return []
    schema = {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": "^[ -~]+$"}
    text = "Unique key (UUID recommended). Replays return the original response."
    return [
        {"name": "Idempotency-Key", "in": "header", "required": False, "description": text, "schema": schema}
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.parameters is None:
        return []
    info = inspect.type_info(operation.parameters)
    assert isinstance(info, inspect.StructType)
    _, parts = msgspec.json.schema_components([operation.parameters], ref_template=REF)
    properties = parts[operation.parameters.__name__]["properties"]
    return [
        {
            "name": field.encode_name,
            "in": "query",
            "required": False,
            "schema": _without_null(properties[field.encode_name]),
        }
        for field in info.fields
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is absent, never null."""
    kept = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    without = {name: value for name, value in schema.items() if name != "anyOf" and value is not None}
    if len(kept) == 1:
        return {**without, **kept[0]}
    if "enum" in without:
        without["enum"] = [value for value in without["enum"] if value is not None]
    return without


def _schema_of(view: Any) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components([view], ref_template=REF)
    return _shown(schema)


def _schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the schemas of everything that is sent and answered."""
    operations = list(operations)
    _, sent = msgspec.json.schema_components([o.body for o in operations if o.body], ref_template=REF)
    views = [view for operation in operations for view in operation.answers.values()]
    _, answered = msgspec.json.schema_components([ErrorView, *views], ref_template=REF)
    parts = {**{name: _complete(part) for name, part in answered.items()}, **sent}
    return {_name(name): _shown(_closed(part, _name(name))) for name, part in sorted(parts.items())}


def _complete(schema: dict[str, Any]) -> dict[str, Any]:
    """
    An answer has all its fields, also those that our own code may leave to a default.

    One that may be unset has no default, and stays optional.
    """
    if "properties" not in schema:
        return schema
    required = [
        name
        for name, field in schema["properties"].items()
        if name in schema["required"] or "default" in field
    ]
    return {**schema, "required": required}


def _closed(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """Requests with unknown fields are refused, and answers have none, so every object says so."""
    closing = {"additionalProperties": False} if "properties" in schema else {}
    return {**schema, "title": name, **closing}


def _name(name: str) -> str:
    """Call `ChargeView` a Charge, as the docs do."""
    return name.replace("View", "").replace("_", "Of").removesuffix("Of")


def _shown(schema: Any) -> Any:
    """Rename references, and leave out defaults of null: an optional field that is absent has no value."""
    if isinstance(schema, list):
        return [_shown(item) for item in cast(list[Any], schema)]
    if not isinstance(schema, dict):
        return schema
    shown = {name: _shown(part) for name, part in cast(dict[str, Any], schema).items()}
    if shown.get("default", ...) is None:
        del shown["default"]
    if "$ref" in shown:
        shown["$ref"] = REF.format(name=_name(shown["$ref"].rpartition("/")[2]))
    if isinstance(shown.get("enum"), list):
        # Some tools want to be told.
        shown.setdefault("type", "boolean" if isinstance(shown["enum"][0], bool) else "string")
    return shown
