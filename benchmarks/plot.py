"""
A picture of the goals, as SVG: for each, how many times over it is met, on a logarithmic scale.

Written by hand, because a chart of dots and lines is a screen of code, and a library for charts is fifty packages.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from benchmarks.goals import Judged, Verdict
from benchmarks.tables import short

# Lengths are in pixels of the picture.
ROW = 22
HEAD = 64
FOOT = 56
NAMES_WIDTH = 420
PLOT_WIDTH = 420
FIGURES_WIDTH = 190
WIDTH = NAMES_WIDTH + PLOT_WIDTH + FIGURES_WIDTH

FONT = "ui-sans-serif, system-ui, sans-serif"

# What is further off stands at the edge.
LEAST, MOST = 1 / 8, 8.0
TICKS = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)

# Told apart also by those who see no colours: what falls short is hollow, and left of the line.
COLOURS = {
    Verdict.REACHED: "#1a7f37",
    Verdict.NOT_PROVED: "#57606a",
    Verdict.FALLS_SHORT: "#bc4c00",
}


def draw(judged: Sequence[Judged], about: Mapping[str, str]) -> str:
    """Draw every goal that was measured; the whiskers are the range of the rounds."""
    shown = [each for each in judged if each.figure]
    height = HEAD + ROW * len(shown) + FOOT
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        f' height="{height}" font-family="{FONT}">'
    )
    lines = [
        head,
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        text(16, 24, "How many times over each goal is met", size=15),
        *bands([each.goal.part for each in shown]),
        *scale(len(shown)),
        *(part for place, each in enumerate(shown) for part in row(each, HEAD + ROW * place)),
        *legend(height - 32),
        text(
            16, height - 12, f"{about.get('machine', '')}, Python {about.get('Python', '')}", colour="#57606a"
        ),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def across(times: float) -> float:
    """Return where so many times stand."""
    bounded = min(max(times, LEAST), MOST)
    return NAMES_WIDTH + PLOT_WIDTH * math.log(bounded / LEAST) / math.log(MOST / LEAST)


def bands(parts: Sequence[str]) -> list[str]:
    """Shade every other part, so that the eye finds what belongs together."""
    lines: list[str] = []
    for number, (_, group) in enumerate(itertools.groupby(range(len(parts)), key=lambda place: parts[place])):
        places = list(group)
        if number % 2:
            box = f'y="{HEAD + ROW * places[0]}" width="{WIDTH}" height="{ROW * len(places)}"'
            lines.append(f'<rect x="0" {box} fill="#f6f8fa"/>')
    return lines


def scale(rows: int) -> list[str]:
    """Draw the lines that the dots are read by."""
    bottom = HEAD + ROW * rows
    lines: list[str] = []
    for tick in TICKS:
        x = across(tick)
        name = f"{tick:g}" if tick >= 1 else f"1/{1 / tick:g}"
        colour, width = ("#1f2328", 1.5) if tick == 1 else ("#d0d7de", 1)
        lines.append(
            f'<line x1="{x:.1f}" y1="{HEAD - 8}" x2="{x:.1f}" y2="{bottom}" stroke="{colour}" stroke-width="{width}"/>'
        )
        lines.append(text(x, HEAD - 14, name, anchor="middle", colour="#57606a"))
    return lines


def row(each: Judged, top: float) -> list[str]:
    """Draw a goal: its name, its dot with whiskers, and the figure beside the aim."""
    goal, figure = each.goal, each.figure
    assert figure is not None, "only what was measured is drawn"
    middle, colour = top + ROW / 2, COLOURS[each.verdict]
    ends = [across(goal.reached_times(value)) for value in (figure.low, figure.high)]
    x = across(goal.reached_times(figure.value))
    fill = "#ffffff" if each.verdict is Verdict.FALLS_SHORT else colour
    aim = f"≥ {short(goal.least)}" if goal.least is not None else f"≤ {short(goal.most)}"
    told = f"{short(figure.value)} ({aim} {goal.unit}".strip() + ")"
    left, right = f"{min(ends):.1f}", f"{max(ends):.1f}"
    return [
        text(NAMES_WIDTH - 12, middle + 4, goal.name, anchor="end"),
        f'<line x1="{left}" y1="{middle}" x2="{right}" y2="{middle}" stroke="{colour}" stroke-width="2"/>',
        f'<circle cx="{x:.1f}" cy="{middle}" r="5" fill="{fill}" stroke="{colour}" stroke-width="2"/>',
        text(NAMES_WIDTH + PLOT_WIDTH + 16, middle + 4, told, colour=colour),
    ]


def legend(y: float) -> list[str]:
    """Say what the dots mean."""
    words = {
        Verdict.REACHED: "reached",
        Verdict.FALLS_SHORT: "falls short",
        Verdict.NOT_PROVED: "not measured as the goal asks",
    }
    lines: list[str] = []
    x = 22.0
    for verdict, word in words.items():
        colour = COLOURS[verdict]
        fill = "#ffffff" if verdict is Verdict.FALLS_SHORT else colour
        lines.append(
            f'<circle cx="{x}" cy="{y - 4}" r="5" fill="{fill}" stroke="{colour}" stroke-width="2"/>'
        )
        lines.append(text(x + 12, y, word))
        x += 100
    return [*lines, text(x + 120, y, "whiskers: the range of the rounds", colour="#57606a")]


def text(
    x: float, y: float, words: str, *, anchor: str = "start", colour: str = "#1f2328", size: int = 12
) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{colour}" font-size="{size}">{escape(words)}</text>'
