"""The picture of the goals is a picture: it can be read by a machine, and its dots stand where their figures say."""

from xml.etree import ElementTree

import msgspec
import pytest

from benchmarks.figures import Figure
from benchmarks.goals import Goal, Judged, verdict
from benchmarks.plot import HEAD, LEAST, MOST, NAMES_WIDTH, PLOT_WIDTH, ROW, across, draw

SVG = "{http://www.w3.org/2000/svg}"


def judged(
    value: float, *, name: str = "fast", low: float | None = None, high: float | None = None
) -> Judged:
    goal = Goal(part="speed", name=name, least=2.0)
    figure = Figure(value=value, low=low or value, high=high or value)
    return Judged(goal=goal, figure=figure, verdict=verdict(goal, figure))


def picture(*rows: Judged) -> ElementTree.Element:
    return ElementTree.fromstring(draw(rows, {"machine": "two cores", "Python": "3.11"}))


def dots(root: ElementTree.Element) -> list[ElementTree.Element]:
    """Return the dots of the goals: the legend's come after them."""
    return root.findall(f"{SVG}circle")[:-3]


def test_a_goal_that_is_just_met_stands_on_the_line():
    (dot,) = dots(picture(judged(2.0)))
    assert float(dot.attrib["cx"]) == pytest.approx(across(1.0), abs=0.1)


def test_twice_as_good_is_as_far_from_the_line_as_half_as_good():
    good, bad = (float(dot.attrib["cx"]) for dot in dots(picture(judged(4.0), judged(1.0))))
    assert good - across(1.0) == pytest.approx(across(1.0) - bad, abs=0.2)
    assert good > bad


def test_what_is_further_off_stands_at_the_edge():
    assert across(1e9) == across(MOST) == NAMES_WIDTH + PLOT_WIDTH
    assert across(0.0) == across(LEAST) == NAMES_WIDTH


def test_what_falls_short_is_hollow():
    reached, short = dots(picture(judged(2.0), judged(1.9)))
    assert short.attrib["fill"] == "#ffffff" != reached.attrib["fill"]


def test_whiskers_reach_from_the_worst_round_to_the_best():
    root = picture(judged(2.0, low=1.0, high=4.0))
    whisker = root.findall(f"{SVG}line")[-1].attrib
    ends = (float(whisker["x1"]), float(whisker["x2"]))
    assert ends == pytest.approx((across(0.5), across(2.0)), abs=0.1)


def test_every_goal_that_was_measured_is_named_and_others_are_not():
    missing = Judged(
        goal=Goal(part="speed", name="unknown", least=1.0),
        figure=None,
        verdict=verdict(Goal(part="speed", name="unknown", least=1.0), None),
    )
    words = [each.text for each in picture(judged(1.0, name="a < b & c"), missing).iter(f"{SVG}text")]
    assert "a < b & c" in words
    assert "unknown" not in words


def test_every_other_part_is_shaded_from_its_first_goal_to_its_last():
    parts = [
        judged(1.0),
        judged(1.0),
        *(part(each, "size") for each in (judged(1.0), judged(1.0))),
        judged(1.0),
    ]
    _, band = picture(*parts).findall(f"{SVG}rect")
    assert (float(band.attrib["y"]), float(band.attrib["height"])) == (HEAD + 2 * ROW, 2 * ROW)


def part(each: Judged, name: str) -> Judged:
    """Let a goal be another part's."""
    return msgspec.structs.replace(each, goal=msgspec.structs.replace(each.goal, part=name))
