"""What the pages say of the code is what the code says: drawings, tables, names, links."""

import importlib.util
import re
from collections.abc import Iterator
from types import ModuleType

import click
import pytest

from kpay_adapters import drain, dramatiq_
from kpay_core.domain import deliveries, endpoints, lanes, posts
from kpay_http.cli.main import commands
from kpay_http.metrics import Metrics
from kpay_http.settings import read_settings
from tests.docs.pages import PAGES, ROOT, lines_to_paste

API, SETTINGS, WORKERS = "docs/reference/api.md", "docs/reference/settings.md", "docs/how-to/run-workers.md"
RECEIVE, PROMISES = "docs/how-to/receive-webhooks.md", "docs/explanation/webhooks.md"


def diagrams() -> ModuleType:
    spec = importlib.util.spec_from_file_location("diagrams", ROOT / "docs" / "diagrams.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def section(page: str, title: str) -> str:
    """Return what stands under a heading, up to the next."""
    _, _, rest = PAGES[page].partition(f"# {title}\n")
    assert rest, f"{page} has no part {title!r}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """Return the rows of the one table in a text, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_holds_the_drawings_that_the_code_makes_now(page: str) -> None:
    assert diagrams().redraw(PAGES[page]) == PAGES[page], "run: python docs/diagrams.py"


def test_every_drawing_is_in_some_page() -> None:
    drawn = {name for page in PAGES.values() for name in re.findall(r"<!-- drawn: (\w+) -->", page)}
    assert drawn == set(diagrams().DRAWINGS)


@pytest.mark.parametrize("page", [RECEIVE, PROMISES])
def test_the_retries_are_those_of_the_deliveries(page: str) -> None:
    head = "| attempt | after the first | at the latest |"
    table = rows(head + PAGES[page].partition(head)[2].partition("<!-- end -->")[0])
    seconds = {"h": 3600, "m": 60, "s": 1}

    def read(cell: str) -> int:
        return sum(int(count) * seconds[unit] for count, unit in re.findall(r"(\d+) ([hms])", cell))

    assert [int(number) for number, _, _ in table] == list(range(1, 10))
    for number, after, latest in table:
        offset = deliveries.offset_of(int(number))
        assert read(after) == offset.total_seconds()
        if after:
            delay = deliveries.delay_after(int(number) - 1)
            most = min(delay * deliveries.JITTER_SHARE, deliveries.MAX_JITTER)
            assert read(latest) == (offset + most).total_seconds()
    assert deliveries.offset_of(len(table) + 1) >= deliveries.LIFE


def test_every_failure_of_an_attempt_is_explained() -> None:
    explained = [first.strip("`") for first, _ in rows(section(API, "Why an attempt failed"))]
    assert explained == [failure.value for failure in posts.Failure]


def test_every_code_of_an_error_is_named() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "kpay_core").rglob("*.py"))
    for code in re.findall(r'\bcode="(\w+)"', sources):
        assert f"`{code}`" in section(API, "2. Errors")


class Asked(dict[str, str]):
    """An environment that notes what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def get(self, key: str, default: object = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.names.append(key)


def test_every_setting_is_explained_and_no_other() -> None:
    environment = Asked()
    read_settings(environment)
    table = rows(section(SETTINGS, "Settings and commands").partition("| command")[0])
    explained = [name for first, *_ in table for name in re.findall("KPAY_[A-Z_]+", first)]
    assert sorted(explained) == sorted(environment.names)
    for page, text in PAGES.items():
        named = set(re.findall(r"\bKPAY_(?!TEST_|FAULT_)[A-Z_]+[A-Z]", text))
        assert named <= set(environment.names), page


def test_every_metric_that_is_named_is_counted() -> None:
    counted = Metrics().text().decode()
    for page, text in PAGES.items():
        for name in re.findall(r"\bkpay_\w+_total\b", text):
            assert f"# TYPE {name} " in counted, page


def test_the_limits_of_workers_are_those_of_the_code() -> None:
    limits = {
        "endpoints of a merchant in one mode": endpoints.MAX_ENDPOINTS,
        "posts on their way to one endpoint": posts.MAX_IN_FLIGHT,
        "endpoints served at a time, by one process": drain.MAX_SERVED,
        "an attempt, from the name's look-up to the last byte": posts.DEADLINE_SECONDS,
        "an answer": posts.MAX_READ_BYTES // 1024,
        "a broker's queue": dramatiq_.MAX_QUEUED,
        "a killed worker's endpoints stand still": int(lanes.LEASE.total_seconds()),
    }
    table = rows(section(WORKERS, "Limits"))
    shown = {what: int(limit.split()[0].strip(",").replace(",", "")) for what, limit in table}
    assert shown == limits
    assert f"{posts.MAX_KEPT_BYTES // 1024} KiB kept" in section(WORKERS, "Limits")


COMMAND_LINES = [
    (page, line)
    for page in PAGES
    for line in lines_to_paste(page)
    if re.match(r"([A-Z_]+=\S+ )*(\.nox/dev/bin/)?kpay ", line)
]


@pytest.mark.parametrize(("page", "line"), COMMAND_LINES)
def test_every_kpay_line_is_one_that_kpay_takes(page: str, line: str) -> None:
    name, *words = re.sub(r"^.*?\bkpay ", "kpay ", line).replace('"', "").split()
    command: click.Command = commands
    while isinstance(command, click.Group):
        name, *words = words
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"{page}: there is no `{name}`"
        command = found
    command.make_context(name, words)


def anchors(page: str) -> set[str]:
    """Return what a page's headings may be called in links, as GitHub does it."""
    headings = re.findall(r"^#+ (.*)$", PAGES[page], re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> Iterator[tuple[str, str]]:
    for page, text in PAGES.items():
        prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)]+)\)", prose):
            if "://" not in target:
                yield page, target


@pytest.mark.parametrize(("page", "target"), list(links()))
def test_every_link_leads_somewhere(page: str, target: str) -> None:
    path, _, anchor = target.partition("#")
    found = (ROOT / page).parent / path if path else ROOT / page
    assert found.exists()
    if anchor:
        assert anchor in anchors(str(found.resolve().relative_to(ROOT)))


def test_a_diagram_shows_every_arrow_of_its_table_and_no_other() -> None:
    drawn = diagrams().DRAWINGS["delivery"]()
    arrows = {
        (left, right, given)
        for left, right, inputs in re.findall(r"(\w+) --> (\w+): (.*)", drawn)
        for given in inputs.split(", ")
    }
    assert arrows == {
        (state.value, follows.value, given.value.replace("_", " "))
        for (state, given), follows in deliveries.TRANSITIONS.items()
    }
