"""Lists: whole, newest first, the same in pages of any size, both ways."""

from collections.abc import Mapping
from typing import Any

from kpay_adapters.testing.merchant.laws import Law
from kpay_adapters.testing.merchant.notebook import LISTS, Notebook, Value
from kpay_adapters.testing.targets import Ask, Said

MOST = 100


class Lists:
    """
    The lists of a merchant, as far as they are of its own: down to what was the newest when the notebook was begun.

    Ids sort by the time at which they were made, so a list that has more below than it had is wrong too.
    """

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook
        self._began = {kind: self._newest(kind) for kind in LISTS.values()}

    def walk(
        self, kind: str, *, limit: int = MOST, upwards: bool = False, params: Mapping[str, str] | None = None
    ) -> list[Value]:
        """Read a list page by page, from the newest down or from what was there before up; return it newest first."""
        found: list[Value] = []
        began = self._began[kind]
        asked: dict[str, str] = {**(params or {}), "limit": str(limit)}
        if upwards and began and not params:
            asked["ending_before"] = began
        elif upwards:
            # Where to begin at the foot of a list is known by what is there alone: a cursor is of the same list.
            whole = self.walk(kind, params=params)
            if not whole:
                return []
            asked["ending_before"], found = whole[-1]["id"], whole[-1:]
        while True:
            page = self._page(kind, asked, limit)
            data: list[Value] = page["data"]
            new = [value for value in data if value["id"] > began]
            found = [*new, *found] if upwards else [*found, *new]
            if not page["has_more"] or len(new) < len(data):
                return found
            asked["ending_before" if upwards else "starting_after"] = data[0 if upwards else -1]["id"]

    def check(
        self, object: str, *, limit: int = MOST, upwards: bool = False, words: str = "", **filters: str
    ) -> None:
        """Hold the list of a kind against what is known; under filters by what does not change any more."""
        book, kind = self._notebook, LISTS[object]
        if words:
            book.history.append(words)
        found = self.walk(kind, limit=limit, upwards=upwards, params=filters)
        known = {value["id"] for value in book.own(object)}
        strange = [value for value in found if value["id"] not in known]
        book.laws.hold(
            Law.NOTHING_IS_THERE_UNASKED,
            not strange,
            f"{len(strange)} of the list of {kind} were never asked for",
        )
        for value in found:
            book.see(value)
        wanted = [value["id"] for value in reversed(book.own(object)) if is_in(value, filters)]
        got = [value["id"] for value in found]
        book.laws.hold(
            Law.LISTS_ARE_WHOLE,
            got == wanted,
            f"{kind} {filters or ''} in pages of {limit}{' upwards' if upwards else ''} are "
            f"{named(book, got)}, should be {named(book, wanted)}",
        )

    def check_newest(self, object: str, many: int) -> None:
        """Look at the head of a list."""
        book, kind = self._notebook, LISTS[object]
        data: list[Value] = self._page(kind, {"limit": str(many)}, many)["data"]
        got = [value["id"] for value in data if value["id"] > self._began[kind]]
        wanted = [value["id"] for value in reversed(book.own(object))][:many]
        strange = [id for id in got if id not in book.seen]
        book.laws.hold(
            Law.NOTHING_IS_THERE_UNASKED, not strange, f"a {object} was made that was never asked for"
        )
        book.laws.hold(
            Law.LISTS_ARE_WHOLE,
            got == wanted,
            f"the newest {kind} are {named(book, got)}, should be {named(book, wanted)}",
        )

    def _page(self, kind: str, params: Mapping[str, str], limit: int) -> Value:
        book = self._notebook
        reply = book.ask(Ask(verb="list", kind=kind, params=params))
        shown = reply.said is Said.SHOWN
        book.laws.hold(Law.LISTS_ARE_WHOLE, shown, f"the list of {kind} was {reply.said}: {reply.text}")
        page = reply.value
        ids = [value["id"] for value in page["data"]]
        sound = ids == sorted(ids, reverse=True) and len(ids) == len(set(ids)) <= limit
        full = len(ids) == limit or not page["has_more"]
        book.laws.hold(
            Law.LISTS_ARE_WHOLE, sound and full, f"a page of {kind} is out of order, or of a wrong length"
        )
        return page

    def _newest(self, kind: str) -> str:
        data: list[dict[str, Any]] = self._page(kind, {"limit": "1"}, 1)["data"]
        return data[0]["id"] if data else ""


def is_in(value: Value, filters: Mapping[str, str]) -> bool:
    return all(value[name] == wanted for name, wanted in filters.items())


def named(book: Notebook, ids: list[str]) -> str:
    return ", ".join(book.name(id) for id in ids) or "none"
