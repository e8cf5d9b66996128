"""Goals are judged by the median, for better and for worse, and none is left out of the table."""

import pytest

from benchmarks.figures import Figure
from benchmarks.goals import GOALS, NAMES, Goal, Verdict, judge, show_goals, verdict

FAST = Goal(part="speed", name="fast", least=2.0)
SMALL = Goal(part="size", name="small", most=150, unit="MiB")


def figure(value: float, *, note: str = "") -> Figure:
    return Figure(value=value, low=value, high=value, note=note)


def test_what_is_just_enough_is_reached():
    assert verdict(FAST, figure(2.0)) is Verdict.REACHED
    assert verdict(SMALL, figure(150)) is Verdict.REACHED


def test_a_hair_less_falls_short():
    assert verdict(FAST, figure(1.999)) is Verdict.FALLS_SHORT
    assert verdict(SMALL, figure(150.1)) is Verdict.FALLS_SHORT


def test_a_lucky_round_makes_no_goal_reached():
    lucky = Figure(value=1.9, low=1.0, high=9.0, by_time=9.0)
    assert verdict(FAST, lucky) is Verdict.FALLS_SHORT


def test_what_was_measured_in_another_way_is_not_judged():
    assert verdict(FAST, figure(3.0, note="measured with few rows")) is Verdict.NOT_PROVED
    assert verdict(FAST, figure(1.0, note="measured with few rows")) is Verdict.NOT_PROVED


def test_every_goal_of_a_part_is_in_the_table_measured_or_not():
    judged = judge({"fast": figure(3.0)}, {"speed", "size"}, (FAST, SMALL))
    assert [(each.goal.name, each.verdict) for each in judged] == [
        ("fast", Verdict.REACHED),
        ("small", Verdict.NOT_MEASURED),
    ]


def test_goals_of_parts_that_were_not_run_are_not_judged():
    assert [each.goal for each in judge({}, {"size"}, (FAST, SMALL))] == [SMALL]


def test_a_figure_without_a_goal_is_not_passed_over():
    with pytest.raises(AssertionError, match="faast"):
        judge({"faast": figure(3.0)}, {"speed"}, (FAST,))


def test_each_goal_has_a_name_of_its_own_and_one_bound():
    assert len(NAMES) == len(GOALS)
    assert all((goal.least is None) != (goal.most is None) for goal in GOALS)


def test_a_goal_is_met_once_over_at_its_bound_and_half_at_twice_the_memory():
    assert FAST.reached_times(2.0) == 1.0
    assert FAST.reached_times(6.0) == 3.0
    assert SMALL.reached_times(150) == 1.0
    assert SMALL.reached_times(300) == 0.5
    assert SMALL.reached_times(0) == float("inf")


def test_the_table_tells_goal_aim_figure_range_and_verdict():
    spread = Figure(value=1.5, low=1.25, high=1.75, by_time=1.6)
    told = show_goals(
        judge({"fast": spread, "small": figure(99, note="few")}, {"speed", "size"}, (FAST, SMALL))
    )
    first, second = told.splitlines()[2:4]
    assert first.split("  ")[0] == "fast"
    assert [word in first for word in ("≥ 2.00", "1.50", "1.25 to 1.75", "1.60", "FALLS SHORT")] == [True] * 5
    assert [word in second for word in ("≤ 150 MiB", "99", "not proved")] == [True] * 3
    assert told.splitlines()[4:] == ["0 of 2 goals are reached.", "1 figure was few."]
