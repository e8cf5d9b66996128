"""What becomes a figure: percentiles by nearest rank, ratios within a round, the median over the rounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import over_rounds, percentile, ratios

VALUES = st.lists(st.floats(0, 1e6, allow_nan=False), min_size=1, max_size=200).map(sorted)


@given(VALUES, st.floats(0.01, 1.0))
def test_a_percentile_is_the_smallest_value_that_so_great_a_share_does_not_exceed(values, share):
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values) + 1e-9


def test_the_slowest_of_a_hundred_is_beyond_the_99th_percentile_and_that_of_ten_is_it():
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile(range(1, 11), 0.99) == 10
    assert percentile([7], 0.5) == 7


def test_rounds_are_divided_one_by_one():
    assert ratios([10, 40], [20, 10]) == [0.5, 4.0]


def test_what_was_not_measured_of_one_is_no_ratio():
    assert ratios([10, None, 30], [20, 10, None]) == [0.5]


def test_a_missing_round_is_no_matter_of_pairing_others():
    with pytest.raises(ValueError, match="shorter"):
        ratios([1, 2], [1])


def test_a_figure_is_the_median_with_the_range_of_the_rounds():
    figure = over_rounds([3.0, 1.0, 2.0], by_time=[5.0, 9.0, 7.0], note="small")
    assert figure is not None
    assert (figure.value, figure.low, figure.high, figure.by_time, figure.note) == (
        2.0,
        1.0,
        3.0,
        7.0,
        "small",
    )


def test_without_rounds_there_is_no_figure():
    assert over_rounds([]) is None
