"""Reading all there is of a kind, page by page, in the order of a field."""

from collections.abc import Awaitable, Callable, Sequence
from operator import attrgetter
from typing import Any, Generic, TypeVar

from kpay_core.commit import Record
from kpay_core.domain.news import Testimony
from kpay_core.ports import Store, Witness
from kpay_core.query import Condition, Query

R = TypeVar("R", bound=Record)
T = TypeVar("T")

OnPage = Callable[[int], None]

# Records read at a time: a page of the widest is about a megabyte.
PAGE = 1_000


class Stream(Generic[T]):
    """
    One after the other in the order of their keys: `head` is the one in front, and `key` is its key; None at the end.

    A page is kept, and no more.
    """

    def __init__(
        self,
        read: Callable[[T | None], Awaitable[Sequence[T]]],
        key: Callable[[T], Any],
        on_page: OnPage,
    ) -> None:
        self._read = read
        self._key = key
        self._on_page = on_page
        self._page: Sequence[T] = ()
        self._at = 0
        self._is_last = False
        self.head: T | None = None
        self.key: Any = None

    def is_behind(self, key: str | None) -> bool:
        """Tell whether the one in front comes before a key; None is the end of all."""
        return self.key is not None and (key is None or self.key < key)

    async def next(self) -> T:
        """Return the one in front, and go on."""
        head = self.head
        assert head is not None, "there is one in front"
        self._at += 1
        if self._at == len(self._page):
            await self.turn()
        else:
            self.head = self._page[self._at]
            self.key = self._key(self.head)
        return head

    async def turn(self) -> None:
        """Turn to the next page; the first time, to the first."""
        if self._is_last:
            self.head = self.key = None
            return
        self._page, self._at = await self._read(self._page[-1] if self._page else None), 0
        self._is_last = len(self._page) < PAGE
        self._on_page(len(self._page))
        self.head = self._page[0] if self._page else None
        self.key = None if self.head is None else self._key(self.head)


async def records(
    store: Store, kind: type[R], *where: Condition, by: str = "id", on_page: OnPage
) -> Stream[R]:
    """Begin to read the records that meet conditions, in the order of a field and then of their ids."""

    async def read(last: R | None) -> Sequence[R]:
        if last is None:
            return await store.find(Query(kind=kind, where=where, order=by, limit=PAGE))
        if by == "id":
            return await store.find(Query(kind=kind, where=(*where, ("id", ">", last.id)), limit=PAGE))
        value = getattr(last, by)
        same: tuple[Condition, ...] = (*where, (by, "=", value), ("id", ">", last.id))
        rest = await store.find(Query(kind=kind, where=same, limit=PAGE))
        if len(rest) == PAGE:
            return rest
        later = Query(kind=kind, where=(*where, (by, ">", value)), order=by, limit=PAGE - len(rest))
        return [*rest, *await store.find(later)]

    stream = Stream(read, attrgetter(by), on_page)
    await stream.turn()
    return stream


async def testimonies(
    witness: Witness, *, after: str, before: str | None, on_page: OnPage
) -> Stream[Testimony]:
    """Begin to read what a witness has on record, of the references between two."""

    async def read(last: Testimony | None) -> Sequence[Testimony]:
        page = await witness.testify(after=last.reference if last else after, limit=PAGE)
        return page if before is None else [each for each in page if each.reference < before]

    stream = Stream(read, attrgetter("reference"), on_page)
    await stream.turn()
    return stream
