"""Plain text for the terminal: tables, and numbers in them."""

import math
from collections.abc import Sequence


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Set a table; the first column is text, the others are numbers."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]).rstrip()

    return "\n".join([line(heads), line(["-" * width for width in widths]), *map(line, rows)])


def whole(value: float | None) -> str:
    """Write a number without decimals, or a dash where nothing was measured."""
    return "-" if value is None or math.isnan(value) else f"{value:,.0f}"


def short(value: float | None) -> str:
    """Write a number with as many decimals as say something."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def plural(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"
