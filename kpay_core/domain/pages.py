"""Lists (contract, section 1): newest first, pages by cursor, which stay correct and fast while rows are added."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from kpay_core.commit import Record
from kpay_core.domain.errors import Invalid
from kpay_core.domain.validation import read
from kpay_core.query import Condition, Query, meets

R = TypeVar("R", bound=Record)
P = TypeVar("P", bound="PageParams")

Conditions = tuple[Condition, ...]

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
    def filters(self) -> Conditions:
        """What the parameters ask of a record, beside its scope."""
        return ()

    @property
    def alternatives(self) -> tuple[Conditions, ...]:
        """
        What the parameters ask, in ways of which one is enough. Each is a question that an index can answer.

        A record that moves from one to another moves to a later one, so that it is not missed by asking them in turn.
        """
        return (self.filters,)

    @property
    def lasting(self) -> Conditions:
        """Those of the filters that a record which met them once meets for ever: they hold for cursors too."""
        return self.filters

    @property
    def order(self) -> Literal["id", "created_at"]:
        """By what the list is sorted before ids, so that an index which finds its records has them in order."""
        return "id"


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


def questions(
    kind: type[R], within: Conditions, params: PageParams, *, cursor_at: datetime | None = None
) -> Sequence[Query[R]]:
    """
    Ask for a page of the records within a list, and one row more, which tells whether there is more.

    After a cursor the page begins with the cursor itself, where it is in the list still: so nothing else need be asked.
    A list that goes by time must be told when its cursor was made.
    """
    starts: tuple[Conditions, ...] = ((),)
    limit = params.limit + 1
    if params.cursor is not None:
        limit += 1
        sign: Literal["<", ">"] = "<" if params.ending_before is None else ">"
        on: Condition = ("id", "<=" if sign == "<" else ">=", params.cursor)
        starts = ((on,),)
        if cursor_at is not None:
            starts = ((("created_at", "=", cursor_at), on), (("created_at", sign, cursor_at),))
    return [
        Query(
            kind=kind,
            where=(*within, *alternative, *start),
            order=params.order,
            descending=params.ending_before is None,
            limit=limit,
        )
        for alternative in params.alternatives
        for start in starts
    ]


def merge(answers: Sequence[Sequence[R]], params: PageParams) -> Sequence[R]:
    """Put the answers to a page's questions in the order of the list. What is in several is there once."""
    if len(answers) == 1:
        return answers[0]
    each = {row.id: row for rows in answers for row in rows}
    return sorted(
        each.values(),
        key=lambda row: (getattr(row, params.order), row.id),
        reverse=params.ending_before is None,
    )


def page(rows: Sequence[R], params: PageParams) -> Page[R]:
    """Make a page of the rows that came back."""
    data = list(rows[: params.limit])
    if params.ending_before is not None:
        data.reverse()
    return Page(data=data, has_more=len(rows) > params.limit)


def check_cursor(params: PageParams, found: R | None, conditions: Conditions) -> R:
    """Return the record that the cursor names, or raise `Invalid` unless the same list holds it."""
    if found is None or not all(meets(found, condition) for condition in conditions):
        name = "starting_after" if params.starting_after is not None else "ending_before"
        raise Invalid({name: ["no such id in this list"]})
    return found
