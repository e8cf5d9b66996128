"""The page about the simulation: its faults and laws are those of the code, and its test of a store runs."""

import ast
import re

from kpay_adapters.simulation import Fault
from tests.docs.pages import PAGES, ROOT
from tests.docs.test_pages import rows, section

PAGE = "docs/explanation/simulation.md"


def names_in(folder: str) -> set[str]:
    """Return every function's name and every text that is a name, in the sources of a package."""
    found: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                found.add(node.name)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def test_the_faults_are_those_that_can_be_asked_for() -> None:
    assert [first.strip("`") for first, _ in rows(section(PAGE, "Faults"))] == [
        fault.value for fault in Fault
    ]


def test_every_law_of_the_page_is_one_of_the_code() -> None:
    laws = re.findall(
        r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]+) \|", section(PAGE, "Laws"), re.MULTILINE))
    )
    assert len(laws) > 20
    assert set(laws) <= names_in("kpay_core") | names_in("kpay_adapters/simulation")


def test_every_law_of_the_simulation_is_on_the_page_or_on_that_of_the_audit() -> None:
    told = PAGES[PAGE] + PAGES["docs/how-to/audit.md"]
    broken: set[str] = set()
    for path in (ROOT / "kpay_adapters" / "simulation").glob("*.py"):
        broken |= set(re.findall(r'(?:Broken|_break|_otherwise)\(\s*"(\w+)"', path.read_text()))
    assert len(broken) > 20
    assert {law for law in broken if law not in told} == set()


def test_the_test_of_a_store_passes() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGES[PAGE], re.DOTALL)
    scope: dict[str, object] = {}
    exec(compile(code, PAGE, "exec"), scope)
    test = scope["test_my_store_breaks_no_law"]
    assert callable(test)
    test()
