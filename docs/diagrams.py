"""
Draws what the pages show of the code: state diagrams from the transition tables, the postings of the ledger, the times
of the retries.

`python docs/diagrams.py` writes the drawings into the pages, between the comments that name them. A test checks that
the pages hold what would be drawn now.
"""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from kpay_core.domain import charges, deliveries, disputes, endpoints, ledger, payouts, refunds

S = TypeVar("S", bound=Enum)

DOCS = Path(__file__).parent

DRAWING = re.compile(r"(<!-- drawn: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

UNITS = ((3600, "h"), (60, "m"), (1, "s"))


def state_diagram(table: Mapping[tuple[S, Any], S], *, first: S) -> str:
    """Draw a transition table as a Mermaid diagram. Inputs that lead the same way share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, given), follows in table.items():
        arrows.setdefault((state.value, follows.value), []).append(word(given))
    states = dict.fromkeys([state for state, _ in arrows] + [follows for _, follows in arrows])
    ends = [state for state in states if not any(left == state for left, _ in arrows)]
    lines = [f"[*] --> {first.value}"]
    lines += [f"{left} --> {right}: {', '.join(inputs)}" for (left, right), inputs in arrows.items()]
    lines += [f"{state} --> [*]" for state in ends]
    return "\n".join(["```mermaid", "stateDiagram-v2", *(f"    {line}" for line in lines), "```"])


def word(given: object) -> str:
    """Write an input as people say it."""
    return str(given.value if isinstance(given, Enum) else given).replace("_", " ")


def postings_table() -> str:
    """Draw which two accounts each kind of transfer is between, and as what a payout lists it."""
    rows = ["| what happened | debit | credit | line of a payout |", "| --- | --- | --- | --- |"]
    for kind, (debit, credit) in ledger.POSTINGS.items():
        line = ledger.LINES.get(kind, "")
        rows.append(f"| `{kind.value}` | {debit.value} | {credit.value} | {line} |")
    return "\n".join(rows)


def retry_table() -> str:
    """Draw when the attempts of a delivery fall."""
    rows = ["| attempt | after the first | at the latest |", "| --- | --- | --- |", "| 1 | | |"]
    number = 2
    while (offset := deliveries.offset_of(number)) < deliveries.LIFE:
        rows.append(f"| {number} | {duration(offset)} | {duration(offset + most_jitter(number))} |")
        number += 1
    return "\n".join(rows)


def most_jitter(number: int) -> timedelta:
    """Return how much later than its time an attempt may be planned."""
    return min(deliveries.delay_after(number - 1) * deliveries.JITTER_SHARE, deliveries.MAX_JITTER)


def duration(length: timedelta) -> str:
    """Write a duration: 2 h 36 m."""
    seconds = round(length.total_seconds())
    parts: list[str] = []
    for size, unit in UNITS:
        count, seconds = divmod(seconds, size)
        parts += [f"{count} {unit}"] if count else []
    return " ".join(parts)


DRAWINGS: Mapping[str, Callable[[], str]] = {
    "charge": lambda: state_diagram(charges.TRANSITIONS, first=charges.Status.PROCESSING),
    "refund": lambda: state_diagram(refunds.TRANSITIONS, first=refunds.Status.SENDING),
    "endpoint": lambda: state_diagram(endpoints.TRANSITIONS, first=endpoints.Status.ENABLED),
    "delivery": lambda: state_diagram(deliveries.TRANSITIONS, first=deliveries.Status.PENDING),
    "dispute": lambda: state_diagram(disputes.TRANSITIONS, first=disputes.Status.NEEDS_RESPONSE),
    "payout": lambda: state_diagram(payouts.TRANSITIONS, first=payouts.Status.PENDING),
    "postings": postings_table,
    "retries": retry_table,
}


def redraw(page: str) -> str:
    """Return a page with its drawings as they are now."""
    return DRAWING.sub(lambda found: f"{found[1]}\n{DRAWINGS[found[2]]()}\n\n{found[3]}", page)


if __name__ == "__main__":
    for path in sorted(DOCS.rglob("*.md")):
        page = path.read_text(encoding="utf-8")
        if (redrawn := redraw(page)) != page:
            path.write_text(redrawn, encoding="utf-8")
            print(f"{path.relative_to(DOCS)} is drawn anew")
