"""The pages on the kit are done as they are read: a store is written and proved, what is broken in it is found."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kpay_adapters.testing.merchant import WORDS
from tests.docs.pages import code
from tests.docs.test_pages import rows, section

STORE, INTEGRATION = "docs/how-to/prove-your-own-store.md", "docs/how-to/test-your-integration.md"

# As somebody else's tests run.
ALONE = ("-q", "--color=no", "-p", "no:xdist", "-p", "no:schemathesis", "-p", "no:timeout", "-W", "error")

# What the page says is left out, as it stands in the store and as it is without it.
LEFT_OUT = {
    "the check of versions in `commit`": (
        "version(record) != self._version_of(record) + 1",
        "version(record) < self._version_of(record)",
    ),
    "the check of what is held": ("for record in held:", "for record in ():"),
    "`check_unit`": ("check_unit(records, held)", "None"),
    "`record.id` in `place`": ("value, record.id", 'value, ""'),
    "`is_plain` in `holds`": ("is_plain(wanted)", "True"),
    "copies, so that readers share what is kept": (
        "return msgspec.json.decode(kept, type=kind)",
        "return COPIES.setdefault(kept, msgspec.json.decode(kept, type=kind))",
    ),
}


def write(page: str, folder: Path) -> None:
    """Write each program of a page into the file that its first line names."""
    for block in code(page, "python"):
        (folder / block.splitlines()[0].removeprefix("# ")).write_text(block, encoding="utf-8")


def run(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "pytest", *ALONE, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


def test_the_store_of_the_page_is_proved_by_the_five_lines_of_the_page(tmp_path: Path) -> None:
    write(STORE, tmp_path)
    told = run(tmp_path, "test_file_store.py")
    assert re.search(r"^\d+ passed, 1 skipped in", told, re.MULTILINE), told
    (shown,) = code(STORE, "text")
    dots, counted = shown.splitlines()
    assert dots.split()[0].count("s") == 1
    assert counted == "… passed, 1 skipped"


@pytest.mark.heavy
def test_the_store_of_the_page_lasts_stands_beside_another_and_carries_money(tmp_path: Path) -> None:
    write(STORE, tmp_path)
    tests = ("test_file_store_lasts.py", "test_beside_memory.py", "test_merchant.py")
    told = run(tmp_path, *tests, "-k", "opens_the_store_again or Beside or Merchant")
    assert re.search(r"^3 passed, \d+ deselected in", told, re.MULTILINE), told


def test_whatever_is_left_out_of_the_store_is_found_by_the_test_that_the_page_names(tmp_path: Path) -> None:
    write(STORE, tmp_path)
    table = dict(rows(section(STORE, "What it finds")))
    assert table.keys() == LEFT_OUT.keys()
    sound = (tmp_path / "file_store.py").read_text(encoding="utf-8")
    proof = (tmp_path / "test_file_store.py").read_text(encoding="utf-8")
    wanted: list[str] = []
    for number, (what, (part, without)) in enumerate(LEFT_OUT.items()):
        assert sound.count(part) == 1, what
        broken = sound.replace(part, without).replace("R = TypeVar", "COPIES = {}\n\nR = TypeVar")
        (tmp_path / f"broken_{number}.py").write_text(broken, encoding="utf-8")
        tests = tmp_path / f"test_broken_{number}.py"
        tests.write_text(proof.replace("file_store", f"broken_{number}"), encoding="utf-8")
        (named,) = re.findall(r"`(test_\w+)`", table[what])
        wanted.append(f"{tests.name}::TestFileStore::{named}")
    told = run(tmp_path, "-rf", "--tb=no", *wanted)
    assert set(re.findall(r"^FAILED (\S+?::\w+::\w+)", told, re.MULTILINE)) == set(wanted), told


def test_the_tests_that_the_page_shows_pass(tmp_path: Path) -> None:
    write(INTEGRATION, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "test_shop.py",
        "test_requests.py",
        "test_merchant.py",
    }
    told = run(tmp_path)
    assert re.search(r"^6 passed in", told, re.MULTILINE), told


def test_the_laws_are_those_that_are_held() -> None:
    table = {law.strip("`"): words for law, words in rows(section(INTEGRATION, "The laws"))}
    assert table == {law.value: words for law, words in WORDS.items()}
