"""The check of a server somewhere."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

# It takes its time to import, and needs what a server does not.
if TYPE_CHECKING:
    from kpay_adapters.testing.merchant.checking import Checked


class CannotCheck(Exception):
    """A server cannot be checked: it is away, it does not let us in, or what it takes is not installed."""


@contextmanager
def open_check(
    url: str, key: str, *, other_keys: Sequence[str], may_turn: bool
) -> Generator[Callable[..., "Checked"]]:
    """
    Reach a server somewhere, to be a merchant of it and hold what it answers against what must be true.

    It is the kit for tests that does it, which needs what a server does not. Raises `CannotCheck`, also while it is
    open.
    """
    from kpay_adapters.testing.extras import NotInstalled
    from kpay_adapters.testing.targets import CannotAsk, OverHttp

    try:
        from kpay_adapters.testing.merchant.checking import check

        with closing(OverHttp(url, key, other_keys=other_keys, may_turn=may_turn)) as target:
            yield partial(check, target)
    except (NotInstalled, CannotAsk) as reason:
        raise CannotCheck(str(reason)) from reason
