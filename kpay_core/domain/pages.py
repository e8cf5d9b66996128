"""Lists (contract, section 1): newest first, pages by cursor, which stay correct and fast while rows are added."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from kpay_core.commit import Record
from kpay_core.domain.errors import Invalid
from kpay_core.domain.validation import read
from kpay_core.query import Condition, Query, meets

R = TypeVar("R", bound=Record)
P = TypeVar("P", bound="PageParams")

Cursor = Annotated[str, Meta(description="An id of the same list.")]


class PageParams(msgspec.Struct, frozen=True, kw_only=True):
    """What every list takes."""

    limit: Annotated[int, Meta(ge=1, le=100, description="How many to return.")] = 20
    starting_after: Cursor | None = None
    ending_before: Cursor | None = None

    @property
    def cursor(self) -> str | None:
        """The id at the edge of the page, of which only one is given."""
        return self.ending_before if self.starting_after is None else self.starting_after

    @property
    def filters(self) -> tuple[Condition, ...]:
        """What the parameters ask of a record, beside its scope."""
        return ()

    @property
    def lasting(self) -> tuple[Condition, ...]:
        """Those of the filters that a record which met them once meets for ever: they hold for cursors too."""
        return self.filters


class Page(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """Some of a list, newest first, and whether there is more in the direction that was asked for."""

    data: Sequence[R]
    has_more: bool


def read_params(kind: type[P], given: Mapping[str, object]) -> P:
    """Read a query string's parameters, or raise `Invalid` with every error of them."""
    reading = read(kind, dict(given), texts=True)
    if {"starting_after", "ending_before"} <= reading.values.keys():
        reading.blame("ending_before", "not together with starting_after")
    return reading.finish(kind)


def question(kind: type[R], within: tuple[Condition, ...], params: PageParams) -> Query[R]:
    """
    Ask for a page of the records within a list, and one row more, which tells whether there is more.

    After a cursor the page begins with the cursor itself, where it is in the list still: so nothing else need be asked.
    """
    where: tuple[Condition, ...] = (*within, *params.filters)
    limit = params.limit + 1
    if params.cursor is not None:
        where = (*where, ("id", ">=" if params.starting_after is None else "<=", params.cursor))
        limit += 1
    return Query(kind=kind, where=where, descending=params.ending_before is None, limit=limit)


def page(rows: Sequence[R], params: PageParams) -> Page[R]:
    """Make a page of the rows that came back."""
    data = list(rows[: params.limit])
    if params.ending_before is not None:
        data.reverse()
    return Page(data=data, has_more=len(rows) > params.limit)


def check_cursor(params: PageParams, found: Record | None, conditions: tuple[Condition, ...]) -> None:
    """Raise `Invalid` unless the cursor names a record that the same list holds."""
    if found is None or not all(meets(found, condition) for condition in conditions):
        name = "starting_after" if params.starting_after is not None else "ending_before"
        raise Invalid({name: ["no such id in this list"]})
