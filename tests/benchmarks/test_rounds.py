"""Rounds alternate, and what is compared is compared within a round."""

import itertools

from benchmarks.load import Result
from benchmarks.rounds import Line, alternate, compare, of_line, show_measured, spread


def result(rate: float, *, server_us: float | None = None, p99_ms: float = 1.0) -> Result:
    return Result(requests=100, rate=rate, p50_ms=1.0, p99_ms=p99_ms, mean_ms=1.0, server_cpu_us=server_us)


def replaying(name: str, *results: Result) -> Line:
    """Make a line that has these results, one after the other."""
    given = itertools.cycle(results)
    return Line(name, lambda _: next(given))


def measured(*lines: Line, rounds: int):
    return alternate(lines, clients=(64,), rounds=rounds, tell=lambda _: None)


def test_every_other_round_goes_backwards():
    order: list[str] = []

    def line(name: str) -> Line:
        return Line(name, lambda _: order.append(name) or result(1))

    alternate([line("a"), line("b")], clients=(1, 64), rounds=2, tell=lambda _: None)
    assert "".join(order) == "abba" * 2


def test_a_ratio_is_the_median_of_the_ratios_within_the_rounds():
    # The third round was three times as slow for both, as when somebody else uses the machine.
    ours = replaying("ours", result(100), result(120), result(40))
    bare = replaying("bare", result(200), result(200), result(60))
    figure = compare(measured(ours, bare, rounds=3), "ours", "bare", 64)
    assert figure is not None
    assert (figure.value, figure.low, figure.high) == (0.6, 0.5, 40 / 60)


def test_by_processor_time_less_is_faster():
    ours, bare = replaying("ours", result(1, server_us=400)), replaying("bare", result(1, server_us=100))
    figure = compare(measured(ours, bare, rounds=1), "ours", "bare", 64)
    assert figure is not None
    assert figure.by_time == 0.25


def test_a_peer_without_a_server_has_no_ratio_by_processor_time():
    ours, loop = replaying("ours", result(300, server_us=400)), replaying("loop", result(100))
    figure = compare(measured(ours, loop, rounds=2), "ours", "loop", 64)
    assert figure is not None
    assert (figure.value, figure.by_time) == (3.0, None)


def test_without_a_peer_there_is_no_ratio():
    found = measured(replaying("ours", result(1)), rounds=1)
    assert compare(found, "ours", "pgbench", 64) is None
    assert compare(found, "ours", "ours", 16) is None


def test_the_slow_answers_are_told_as_times_of_the_median():
    found = measured(replaying("ours", result(1, p99_ms=3.0), result(1, p99_ms=5.0)), rounds=2)
    figure = of_line(found, "ours", 64, spread)
    assert figure is not None
    assert (figure.value, figure.low, figure.high) == (4.0, 3.0, 5.0)


def test_the_table_has_the_medians_and_dashes_where_nothing_was_measured():
    found = measured(replaying("ours", result(1000), result(3000), result(2000)), rounds=3)
    *_, row = show_measured(found).splitlines()
    assert row.split() == ["ours", "64", "2,000", "1.00", "1.00", "-", "-", "0"]
