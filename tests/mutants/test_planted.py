"""
Bugs that real systems had, planted one by one: each is found, and by the law that it breaks.

A law that finds none of them is a defect of the law; a bug that no law finds, a gap between them.
"""

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.pages import PAGES
from tests.docs.test_pages import section
from tests.mutants import plant
from tests.mutants.plant import ROOT, Mutant

MUTANTS = plant.read_mutants()

Note = Callable[[str, object], None]

each_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])


@each_mutant
def test_a_patch_fits_the_code_as_it_is_and_says_what_it_is(mutant: Mutant) -> None:
    assert mutant.law
    assert mutant.why.endswith(".")
    assert mutant.finder.split()[0] in ("simulate", "pytest")
    assert mutant.changes
    for name, hunks in mutant.changes.items():
        planted = plant.patched((ROOT / name).read_text(), hunks)
        ast.parse(planted)
        assert planted != (ROOT / name).read_text()


def test_a_patch_that_does_not_fit_to_the_letter_is_refused() -> None:
    (hunk,) = plant.read_changes(["--- a/x\n", "+++ b/x\n", "@@ -1,2 +1,2 @@\n", " one\n", "-two\n", "+2\n"])[
        "x"
    ]
    assert plant.patched("zero\none\ntwo\n", [hunk]) == "zero\none\n2\n"
    for text in ("one\nTwo\n", "one\ntwo\none\ntwo\n"):
        with pytest.raises(plant.Rotted):
            plant.patched(text, [hunk])


def test_there_is_no_law_that_no_planted_bug_breaks() -> None:
    _, _, of_the_audit = PAGES["docs/how-to/audit.md"].partition("\n## The laws\n")
    told = of_the_audit + section("docs/explanation/simulation.md", "Laws")
    firsts = re.findall(r"^\| (`[^|]+) \|", told, re.MULTILINE)
    laws = {law for first in firsts for law in re.findall(r"`(\w+)`", first)}
    assert len(laws) > 70
    assert laws - {mutant.law for mutant in MUTANTS} == set()


@pytest.mark.heavy
@each_mutant
def test_a_planted_bug_is_found_by_the_law_that_it_breaks(mutant: Mutant, record_property: Note) -> None:
    finding = plant.hunt(mutant)
    record_property("found", plant.row(mutant, finding))
    assert finding.law == mutant.law, f"found instead: {finding}"


@pytest.mark.heavy
@pytest.mark.parametrize("finder", sorted({mutant.finder for mutant in MUTANTS}))
def test_where_nothing_is_planted_nothing_is_found(finder: str, tmp_path: Path) -> None:
    plant.plant(None, tmp_path, tests=True)
    finding = plant.look(finder, tmp_path)
    assert (finding.law, finding.what) == (None, "nothing")
