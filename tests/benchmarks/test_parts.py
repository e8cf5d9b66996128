"""What the parts calculate before and after they measure."""

import os
from urllib.parse import parse_qs

import pytest

from benchmarks import copies, peers
from benchmarks.__main__ import PARTS, USUAL, figures_of, read_arguments
from benchmarks.figures import Figure
from benchmarks.goals import GOALS
from benchmarks.load import Result
from benchmarks.parts import Findings
from benchmarks.parts.processes import room_for
from benchmarks.parts.rows import FAR_PAGE, PAGE_SIZE, far_page
from benchmarks.rounds import Measured
from benchmarks.samples import KEY


@pytest.mark.parametrize("rows", [20_000, 50_000])
def test_page_1000_follows_the_charge_that_ends_page_999(rows: int) -> None:
    newest_first = ["the real one", *(copies.charge_id(number) for number in range(rows - 1, 0, -1))]
    path = far_page(rows)
    assert path is not None
    last = path.rpartition("starting_after=")[2]
    assert newest_first.index(last) == PAGE_SIZE * (FAR_PAGE - 1) - 1


def test_there_is_no_page_1000_where_it_would_not_be_full() -> None:
    assert far_page(19_999) is None


def test_a_peers_request_is_a_form_of_the_length_that_it_says() -> None:
    head, _, body = peers.form_request("/v1/charges", peers.FIELDS).partition("\r\n\r\n")
    assert f"Content-Length: {len(body)}" in head
    assert head.count(KEY) == 1
    assert {name: values[0] for name, values in parse_qs(body).items()} == peers.FIELDS


def test_room_is_what_the_cores_could_do_at_the_cost_of_one_process() -> None:
    # A millisecond of all together for each charge: every core is good for a thousand.
    one = Result(
        requests=1,
        rate=500.0,
        p50_ms=1.0,
        p99_ms=1.0,
        mean_ms=1.0,
        server_cpu_us=700.0,
        postgres_cpu_us=250.0,
        load_cpu_us=50.0,
    )
    found = [Measured(name="one", clients=64, round=1, result=one)]
    assert room_for(found, "one") == pytest.approx((os.cpu_count() or 1) * 1_000 / 500)


def test_a_quick_look_proves_nothing() -> None:
    figure = Figure(value=9.0, low=9.0, high=9.0)
    few = Figure(value=9.0, low=9.0, high=9.0, note="measured with few rows")
    found = {"part": Findings(figures={"one": figure, "few": few})}
    assert figures_of(found, quick=False) == {"one": figure, "few": few}
    assert {name: each.note for name, each in figures_of(found, quick=True).items()} == {
        "one": "measured in one short round",
        "few": "measured with few rows",
    }


def test_every_goal_belongs_to_a_part_that_can_be_run() -> None:
    assert {goal.part for goal in GOALS} <= PARTS.keys()


def test_without_names_the_usual_parts_are_run_and_all_are_all() -> None:
    assert read_arguments([]).parts == list(USUAL)
    assert read_arguments(["all"]).parts == list(PARTS)
    assert read_arguments(["rows", "start"]).parts == ["rows", "start"]


def test_a_part_that_does_not_exist_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_arguments(["speed"])
    assert "there is no part speed" in capsys.readouterr().err
