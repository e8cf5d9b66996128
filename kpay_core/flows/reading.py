"""Reading one's own objects: by id, and page by page."""

from typing import TypeVar

from kpay_core.commit import Record
from kpay_core.domain import pages
from kpay_core.domain.errors import NotFound
from kpay_core.domain.pages import Page, PageParams
from kpay_core.domain.scope import Scope
from kpay_core.ports import Ports
from kpay_core.query import Condition

R = TypeVar("R", bound=Record)


async def own(ports: Ports, scope: Scope, kind: type[R], id: str) -> R:
    """Return an object of this scope, or raise `NotFound`: unknown, another merchant's and the other mode's alike."""
    found = await ports.store.get(kind, id)
    if found is None or getattr(found, "scope") != scope:  # noqa: B009 - not every record has a scope
        raise NotFound
    return found


async def list_page(
    ports: Ports, scope: Scope, kind: type[R], params: PageParams, *within: Condition
) -> Page[R]:
    """
    Return a page of a list; raises `Invalid` when its cursor is not of this list.

    `within` is what the list itself asks of a record, beside its scope and the parameters.
    """
    conditions = (*scope.conditions, *within)
    cursor_at = None
    if params.cursor is not None and params.order != "id":
        cursor_at = getattr(await _cursor(ports, kind, params, conditions), params.order)
    questions = pages.questions(kind, conditions, params, cursor_at=cursor_at)
    rows = pages.merge([await ports.store.find(question) for question in questions], params)
    if params.cursor is not None:
        if rows and rows[0].id == params.cursor:
            rows = rows[1:]
        elif cursor_at is None:
            # It is in the list no more, or never was.
            await _cursor(ports, kind, params, conditions)
    return pages.page(rows, params)


async def _cursor(ports: Ports, kind: type[R], params: PageParams, conditions: tuple[Condition, ...]) -> R:
    """Return the record that the cursor names, or raise `Invalid` where it never was in the list."""
    assert params.cursor is not None, "only a page after a cursor begins with one"
    found = await ports.store.get(kind, params.cursor)
    return pages.check_cursor(params, found, (*conditions, *params.lasting))
