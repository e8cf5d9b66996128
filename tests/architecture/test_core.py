"""What the core is made of, and how it reads. (import-linter, in `lint`, holds the walls between the packages.)"""

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import kpay_core
from kpay_core import Kpay
from kpay_core.domain.errors import KpayError
from kpay_core.domain.machine import IllegalTransition
from kpay_http.errors import STATUS, refuse

CORE = Path(kpay_core.__file__).parent
ROOT = CORE.parent
PACKAGES = ("kpay_core", "kpay_adapters", "kpay_http")

# An event loop, a clock, chance, threads, files, the network: what a simulator could not drive step by step.
IMPURE = {
    *(
        "asyncio",
        "concurrent",
        "ctypes",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "queue",
        "random",
    ),
    *(
        "sched",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
    ),
    *("tempfile", "threading", "time", "urllib", "uuid"),
}
LONGEST_FUNCTION_LINES = 70


def modules(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def subclasses(kind: type) -> Iterator[type]:
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)


def test_every_error_has_a_status() -> None:
    ours = {error for error in subclasses(KpayError) if error.__module__.startswith(PACKAGES)}
    assert ours == set(STATUS)


def test_a_bug_of_ours_is_not_the_callers_fault() -> None:
    assert refuse(IllegalTransition("a", "b")).status == 500
    assert KpayError not in STATUS


@pytest.mark.parametrize("path", modules("kpay_core"), ids=named)
def test_the_core_imports_the_pure_part_of_the_standard_library_and_msgspec(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imports(parse(path))}
    assert roots <= (set(sys.stdlib_module_names) - IMPURE) | {"kpay_core", "msgspec"}


@pytest.mark.parametrize("path", modules("kpay_core"), ids=named)
def test_the_core_reads_no_clock_and_opens_nothing(path: Path) -> None:
    called = {ast.unparse(node.func) for node in ast.walk(parse(path)) if isinstance(node, ast.Call)}
    assert called.isdisjoint(
        {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "open", "print", "input"}
    )


@pytest.mark.parametrize("path", modules("kpay_core/domain"), ids=named)
def test_the_domain_decides_synchronously(path: Path) -> None:
    tree = parse(path)
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]
    assert not [name for name in imports(tree) if name.startswith(("kpay_core.flows", "kpay_core.ports"))]


@pytest.mark.parametrize("path", modules("kpay_core/flows"), ids=named)
def test_a_flow_awaits_only_ports_and_other_flows(path: Path) -> None:
    """No event loop is needed, so nothing is gathered, shielded or timed out here."""
    assert not [node for node in ast.walk(parse(path)) if isinstance(node, ast.AsyncWith | ast.AsyncFor)]


def test_every_method_of_the_front_door_is_documented() -> None:
    methods = {name: method for name, method in vars(Kpay).items() if inspect.isfunction(method)}
    public = {name: method for name, method in methods.items() if not name.startswith("_")}
    assert len(public) >= 16
    assert [name for name, method in public.items() if not inspect.getdoc(method)] == []


@pytest.mark.parametrize("path", modules("kpay_core/flows"), ids=named)
def test_every_public_flow_has_a_docstring(path: Path) -> None:
    flows = [node for node in parse(path).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    public = [flow for flow in flows if not flow.name.startswith("_")]
    assert [flow.name for flow in public if not ast.get_docstring(flow)] == []


@pytest.mark.parametrize("path", modules(*PACKAGES), ids=named)
def test_a_function_fits_a_screen_and_a_module_says_what_it_is(path: Path) -> None:
    tree = parse(path)
    assert not tree.body or ast.get_docstring(tree)
    # A migration is a list of statements, as long as the schema is.
    if "migrations" not in path.parts:
        long = [f.name for f in functions(tree) if (f.end_lineno or 0) - f.lineno >= LONGEST_FUNCTION_LINES]
        assert long == []


@pytest.mark.parametrize("path", modules(*PACKAGES), ids=named)
def test_nothing_is_left_to_do(path: Path) -> None:
    left = [word for word in ("TODO", "FIXME", "XXX", "HACK") if word in path.read_text()]
    assert left == []
