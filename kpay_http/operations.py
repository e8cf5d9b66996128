"""What a route is documented as, beside its handler: the OpenAPI document and the tests' matrix are made of it."""

from collections.abc import Mapping
from typing import Any

import msgspec

KEY = "operation"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """
    One operation of the API.

    `declines` adds the 402 of a card that was refused, `names_object` the 404 of a body that names an unknown object.
    A body is required, unless `may_be_empty`.
    """

    id: str
    summary: str
    answers: Mapping[int, Any]
    body: type[msgspec.Struct] | None = None
    may_be_empty: bool = False
    parameters: type[msgspec.Struct] | None = None
    idempotent: bool = False
    declines: bool = False
    names_object: bool = False

    @property
    def opt(self) -> dict[str, Any]:
        """How a route carries it."""
        return {KEY: self}
