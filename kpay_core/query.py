"""The one question a store answers besides `get`: the first records of a kind, in order, that meet all conditions."""

import operator
from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

import msgspec

from kpay_core.commit import Record

R = TypeVar("R", bound=Record)

Value = str | int | bool | datetime
Comparison = tuple[str, Literal["=", "<", "<=", ">", ">="], Value]
Membership = tuple[str, Literal["in"], tuple[str, ...]]
Condition = Comparison | Membership


class Query(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """
    At most `limit` records of `kind` for which every condition holds, sorted by (`order`, `id`).

    A condition is (field, operator, value); "in" takes a tuple of texts. As in SQL, a field that is null meets no
    condition; in the order it comes after everything. Text compares by code point, times by instant. Text that no
    database can hold (NUL, half a surrogate pair) meets no condition.
    """

    kind: type[R]
    where: tuple[Condition, ...] = ()
    order: str = "id"
    descending: bool = False
    limit: int


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda found, wanted: found in wanted,
}


def meets(record: Record, condition: Condition) -> bool:
    """Tell whether a record meets a condition."""
    field, name, wanted = condition
    found = getattr(record, field)
    return found is not None and OPERATORS[name](found, wanted)
