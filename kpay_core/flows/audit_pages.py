"""Pages of what an audit reads, and what is looked up for all of a page at once: asking for each would cost most."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from kpay_core.commit import Record
from kpay_core.flows.streaming import PAGE, OnPage
from kpay_core.ports import Store
from kpay_core.query import Condition, Query

R = TypeVar("R", bound=Record)

# How often what disagrees is read anew, until it holds still meanwhile.
LOOKS = 5


async def page_after(
    store: Store, kind: type[R], id: str, *where: Condition, on_page: OnPage | None = None
) -> tuple[Sequence[R], str | None]:
    """
    Return the next page of the records that meet conditions, in the order of their ids, and after which id to go on.

    That is None after the last page, the first that is not full: whoever writes meanwhile leads nobody on for ever.
    """
    page = await store.find(Query(kind=kind, where=(*where, ("id", ">", id)), limit=PAGE))
    if on_page is not None:
        on_page(len(page))
    return page, page[-1].id if len(page) == PAGE else None


async def look_up(store: Store, kind: type[R], ids: Iterable[str]) -> Mapping[str, R]:
    """Return records by their ids, those that are there; no more are asked for than a page has."""
    wanted = tuple(dict.fromkeys(ids))
    if not wanted:
        return {}
    assert len(wanted) <= PAGE, "a page at a time"
    found = await store.find(Query(kind=kind, where=(("id", "in", wanted),), limit=PAGE))
    return {record.id: record for record in found}
