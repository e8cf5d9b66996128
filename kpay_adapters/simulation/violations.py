"""A law that does not hold, and what ends a run."""

from kpay_core.domain.laws import Broken, Difference, Value

# Characters shown of what was expected or found.
MAX_SHOWN = 300


class Violation(Exception):
    """A law that does not hold, at a step of a run."""

    def __init__(self, broken: Broken) -> None:
        super().__init__(broken.law)
        self.broken = broken


def violate(broken: Broken) -> None:
    """End a run at the first law that is broken."""
    law, (what, expected, found) = broken
    raise Violation(Broken(law, Difference(what, _cut(expected), _cut(found))))


def _cut(value: Value) -> Value:
    """Keep of a long text what a person reads."""
    return value if not isinstance(value, str) or len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}…"
