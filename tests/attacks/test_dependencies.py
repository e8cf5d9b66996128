"""
What is installed is what was pinned, to the byte: every package by version and hash, and everything that they ask for.

What is known against these versions is looked up by the session `advisories`, where it can be reached.
"""

import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
FILES = ["runtime.txt", "dev.txt", "nox.txt"]

# One pin: a name, a version, perhaps where it is needed, and at least one hash. Nothing else: no address, no option.
PIN = re.compile(
    r"(?P<name>[a-z0-9-]+)(?:\[[a-z,]+\])?==(?P<version>[^ ;\\]+)(?: ; (?P<marker>[^\\]+?))?"
    r"(?P<hashes>(?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n"
)


class Pin(NamedTuple):
    version: Version
    marker: Marker | None
    hashes: frozenset[str]

    @property
    def is_for_here(self) -> bool:
        return self.marker is None or self.marker.evaluate()


def pins(file: str) -> dict[str, list[Pin]]:
    """Read a file of pins. A package may be pinned once for each of several machines."""
    text = (ROOT / "requirements" / file).read_text()
    found: dict[str, list[Pin]] = {}
    place = 0
    while place < len(text):
        pin = PIN.match(text, place)
        assert pin, f"{file} holds something that is no pin: {text[place : place + 200]!r}"
        marker = Marker(pin["marker"]) if pin["marker"] else None
        hashes = frozenset(re.findall("[0-9a-f]{64}", pin["hashes"]))
        found.setdefault(pin["name"], []).append(Pin(Version(pin["version"]), marker, hashes))
        place = pin.end()
    return found


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize("file", FILES)
def test_every_line_is_a_version_with_its_hashes_and_names_no_address(file: str) -> None:
    found = pins(file)
    assert found
    for name, several in found.items():
        assert len([pin for pin in several if pin.is_for_here]) <= 1, (
            f"{name} is pinned twice for this machine"
        )
        # Two files of one release are never the same.
        assert sum(len(pin.hashes) for pin in several) == len(
            frozenset().union(*(pin.hashes for pin in several))
        )


def test_what_is_tested_is_what_runs() -> None:
    tested, runs = pins("dev.txt"), pins("runtime.txt")
    for name, several in runs.items():
        assert tested[name] == several, name


def asked(file: str) -> list[Requirement]:
    about = project()
    wanted = {
        "runtime.txt": about["project"]["dependencies"] + about["dependency-groups"]["build"],
        "dev.txt": about["dependency-groups"]["dev"],
        "nox.txt": about["dependency-groups"]["nox"],
    }
    return [Requirement(line) for line in wanted[file]]


@pytest.mark.parametrize("file", FILES)
def test_what_the_project_asks_for_is_pinned_within_its_ranges(file: str) -> None:
    found = pins(file)
    for wanted in asked(file):
        if wanted.marker is None or wanted.marker.evaluate():
            (pin,) = (pin for pin in found[canonicalize_name(wanted.name)] if pin.is_for_here)
            assert wanted.specifier.contains(pin.version, prereleases=True), wanted


def closure(file: str) -> Iterator[tuple[str, Requirement]]:
    """Everything that is asked for by what is asked for, as the packages that are installed here say it."""
    seen: set[tuple[str, str]] = set()
    waiting = [("the project", each) for each in asked(file)]
    while waiting:
        by, wanted = waiting.pop()
        for extra in ("", *sorted(wanted.extras)):
            if (
                wanted.marker is not None
                and not wanted.marker.evaluate({"extra": ""})
                and by == "the project"
            ):
                continue
            if (wanted.name, extra) in seen:
                continue
            seen.add((wanted.name, extra))
            yield by, wanted
            for line in metadata.requires(wanted.name) or ():
                inner = Requirement(line)
                if inner.marker is None or inner.marker.evaluate({"extra": extra}):
                    waiting.append((wanted.name, inner))


@pytest.mark.parametrize("file", ["runtime.txt", "dev.txt"])
def test_the_pins_are_complete_and_what_is_installed_is_what_is_pinned(file: str) -> None:
    found = pins(file)
    names = {canonicalize_name(wanted.name): (by, wanted) for by, wanted in closure(file)}
    assert len(names) > 20
    for name, (by, wanted) in names.items():
        assert name in found, f"{name}, which {by} asks for, is not pinned"
        (pin,) = (pin for pin in found[name] if pin.is_for_here)
        assert Version(metadata.version(name)) == pin.version, name
        assert wanted.specifier.contains(pin.version, prereleases=True), (by, str(wanted))
