"""The headers of a request."""

from collections.abc import Iterable


class Headers:
    """Names are in lower case, as ASGI has them all."""

    __slots__ = ("_all", "_first")

    def __init__(self, given: Iterable[tuple[bytes, bytes]]) -> None:
        self._all = list(given)
        # Of those that were given twice the first stands.
        self._first = dict(reversed(self._all))

    def first(self, name: bytes) -> str | None:
        """Return the first value of a header."""
        value = self._first.get(name)
        return None if value is None else value.decode("latin-1")

    def has_twice(self, name: bytes) -> bool:
        """Tell whether a header was given more than once."""
        return len(self._first) < len(self._all) and [given for given, _ in self._all].count(name) > 1

    def __contains__(self, name: bytes) -> bool:
        return name in self._first
