"""
What can be proved about this project, each by one session.

`python3 noxfile.py -s tests` needs nothing but Python 3.11 or newer: it makes an environment of its own with nox in it.
`nox -s tests` does the same where nox is at hand.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

# Before anything that an older Python would stumble over.
if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs this may have one
    sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.")

ROOT = Path(__file__).resolve().parent
ENVIRONMENTS = ROOT / ".nox"
PROGRAMS = "Scripts" if os.name == "nt" else "bin"


def environment(name: str, *, pins: str, project: bool) -> Path:
    """
    Make an environment with the pinned packages, and with the project if asked; return the folder of its programs.

    What is there from the last run stays, as long as it was made from the same files by the same Python.
    """
    home = ENVIRONMENTS / name
    programs = home / PROGRAMS
    pip = [programs / "python", "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]

    pinned = ROOT / "requirements" / pins
    if not is_made_from(home / "pins.stamp", pinned):
        print(f"Making .nox/{name}, which takes a minute.", flush=True)
        shutil.rmtree(home, ignore_errors=True)
        try:
            venv.create(home, with_pip=True)
        except (subprocess.CalledProcessError, ImportError):
            sys.exit(
                "This Python cannot make environments with pip. On Debian or Ubuntu: apt install python3-venv"
            )
        call(*pip, "--require-hashes", "--requirement", pinned)
        make_stamp(home / "pins.stamp", pinned)

    # A step of its own: pip refuses a folder, which has no hash, beside pins that have one.
    about = ROOT / "pyproject.toml"
    if project and not is_made_from(home / "project.stamp", about):
        call(*pip, "--no-deps", "--no-build-isolation", "--editable", ROOT)
        make_stamp(home / "project.stamp", about)
    return programs


def is_made_from(stamp: Path, file: Path) -> bool:
    """Tell whether a finished installation left this stamp, from the file as it is now."""
    return stamp.exists() and stamp.read_text() == fingerprint(file)


def make_stamp(stamp: Path, file: Path) -> None:
    """Note what was installed; done last, so that a broken installation is made again."""
    stamp.write_text(fingerprint(file))


def fingerprint(file: Path) -> str:
    """Digest a file, the Python, and the place, since neither an environment nor its programs can be moved."""
    return hashlib.sha256(f"{sys.version}\0{ROOT}\0{file.read_text()}".encode()).hexdigest()


def call(*command: str | Path) -> None:
    """Run an installation, or give up; what went wrong is on the screen then."""
    if subprocess.call(command) != 0:
        sys.exit(f"This failed: {' '.join(map(str, command))}")


def bootstrap() -> None:
    """Go on as nox, in an environment that has it; does not return."""
    python = environment("nox", pins="nox.txt", project=False) / "python"
    os.execv(python, [str(python), "-m", "nox", "--noxfile", __file__, *sys.argv[1:]])


if __name__ == "__main__":
    bootstrap()

import nox  # noqa: E402 - only the environment made above is sure to have it

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "tests"]
# Not nox's environments, of which each session would have its own: the packages of the checks take a minute to install.
nox.options.default_venv_backend = "none"


def variables(programs: Path) -> dict[str, str]:
    """Make the environment variables under which an environment's programs find each other."""
    path = os.pathsep.join((str(programs), os.environ.get("PATH", os.defpath)))
    return {**os.environ, "PATH": path, "VIRTUAL_ENV": str(programs.parent)}


def check(session: nox.Session, program: str, *arguments: str) -> None:
    """Run a program of the environment that all checks share."""
    programs = environment("checks", pins="dev.txt", project=True)
    session.run(str(programs / program), *arguments, env=variables(programs))


@nox.session
def dev(session: nox.Session) -> None:
    """The service runs on this machine: `kpay dev`, with the arguments after `--`."""
    programs = environment("dev", pins="runtime.txt", project=True)
    # The service takes the place of nox: Ctrl-C and SIGTERM reach it, and it alone, and it may take its time to stop.
    os.execve(programs / "kpay", ["kpay", "dev", *session.posargs], variables(programs))


@nox.session
def tests(session: nox.Session) -> None:
    """The code keeps its promises: every test but the long proofs, within about two minutes on two cores."""
    # One more at once than there are cores, since many tests wait. Those of one file stay together: they share servers.
    workers = str((os.cpu_count() or 1) + 1)
    check(session, "pytest", "-m", "not heavy", "-n", workers, "--dist", "loadfile", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """The code is tidy, its types fit, and the walls between its packages stand."""
    check(session, "ruff", "check")
    check(session, "ruff", "format", "--check")
    check(session, "pyright")
    check(session, "lint-imports")


@nox.session
def faults(session: nox.Session) -> None:
    """Crashes, kills and lost connections lose nothing; KPAY_FAULT_ROUNDS says how often each is tried."""
    # What has a session of its own.
    others = [
        f"--ignore=tests/{name}"
        for name in ("attacks", "kills", "linearizability", "mutants", "schema", "simulation")
    ]
    # Ten minutes for one proof: it starts and kills processes all the while.
    check(session, "pytest", "-m", "heavy", "--timeout=600", *others, "tests", *session.posargs)


@nox.session
def kills(session: nox.Session) -> None:
    """
    Whatever dies, nothing is lost and nothing is doubled; and what clients see could have been one after the other.

    KPAY_FAULT_KILLS says how many die, KPAY_FAULT_ROUNDS and KPAY_FAULT_KEYS how much is asked at once.
    """
    what = session.posargs or ["tests/kills", "tests/linearizability"]
    # Figures are printed; each test has a time limit of its own, by how many die in it.
    check(session, "pytest", "-m", "heavy", "--capture=no", *what)


@nox.session
def simulate(session: nox.Session) -> None:
    """A million runs under every fault break no law; CI makes 20,000 of them."""
    check(session, "kpay", "simulate", *(session.posargs or ["--seeds", "1000000"]))


@nox.session
def interleavings(session: nox.Session) -> None:
    """Small scenes come to the same end in every order in which their calls can come; the longest take an hour."""
    check(session, "pytest", "-m", "heavy", "tests/simulation", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Bugs that real systems had are planted one by one, and each is found by the law that it breaks."""
    # As many at once as there are cores.
    check(session, "pytest", "-n", "auto", "--timeout=600", *(session.posargs or ["tests/mutants"]))


@nox.session
def schema(session: nox.Session) -> None:
    """The service answers as its OpenAPI document says, also to requests nobody would write."""
    # Ten minutes: thousands of generated requests for each operation.
    check(session, "pytest", "-m", "heavy", "--timeout=600", "tests/schema", *session.posargs)


@nox.session
def attacks(session: nox.Session) -> None:
    """
    Whoever attacks gets no answer of 5xx, nobody else's object, no secret, and no more memory than is his.

    KPAY_TEST_BODIES says how many hostile requests are sent: 20,000 where it is not set, 1,000,000 in a long run.
    """
    # -rs: what was not tried is said.
    check(session, "pytest", "-rs", "tests/attacks", *session.posargs)


@nox.session(venv_backend="virtualenv")
def advisories(session: nox.Session) -> None:
    """Nothing is publicly known against the pinned packages, as far as the advisories can be reached."""
    # As with `pins`: what looks at the pins stands outside of them.
    session.install("pip-audit>=2.7,<3")
    options = ("--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json", "--timeout=15")
    for pinned in ("runtime.txt", "dev.txt", "nox.txt"):
        told = session.run(
            *("pip-audit", *options, "--requirement", f"requirements/{pinned}"),
            silent=True,
            success_codes=[0, 1],
        )
        session.log(f"requirements/{pinned}: {verdict_on(str(told))}")


def verdict_on(told: str) -> str:
    """
    Say in words what pip-audit found, or exit with it.

    It succeeds as well where it could look nothing up, and then it says so of each package.
    """
    start = told.find('{"dependencies"')
    if start < 0:
        return "THE ADVISORIES COULD NOT BE REACHED, so nothing is known of any package."
    packages = json.JSONDecoder().raw_decode(told[start:])[0]["dependencies"]
    known = {each["name"]: [found["id"] for found in each["vulns"]] for each in packages if each.get("vulns")}
    if known:
        sys.exit(f"Something is known against {known}.")
    unknown = [each["name"] for each in packages if "skip_reason" in each]
    if len(unknown) == len(packages):
        return "THE ADVISORIES COULD NOT BE REACHED, so nothing is known of any package."
    left_out = f", but of {', '.join(unknown)} nothing could be looked up" if unknown else ""
    return f"nothing is known against {len(packages) - len(unknown)} packages{left_out}."


@nox.session
def bench(session: nox.Session) -> None:
    """The service is as fast as the documents say, on this machine."""
    check(session, "python", "-m", "benchmarks", *session.posargs)


@nox.session(venv_backend="virtualenv")
def pins(session: nox.Session) -> None:
    """The pins fit the ranges of pyproject.toml; `-- --upgrade` moves them to the newest releases."""
    # It makes the pins, so it stands outside of them.
    session.install("uv>=0.9,<1")
    project = ("pyproject.toml", "--group", "build")
    # What is tested is what runs: dev.txt holds the very versions of runtime.txt.
    checks = (*project, "--group", "dev", "--constraint", "requirements/runtime.txt")
    for pinned, sources in {
        "runtime.txt": project,
        "dev.txt": checks,
        "nox.txt": ("--group", "pyproject.toml:nox"),
    }.items():
        session.run(
            *("uv", "pip", "compile", *sources, "--output-file", f"requirements/{pinned}", "--quiet"),
            *("--universal", "--python-version", "3.11", "--generate-hashes"),
            # Nothing in the files tells where they were made, or from which mirror.
            *("--no-emit-index-url", "--no-annotate", "--no-header"),
            *session.posargs,
        )
