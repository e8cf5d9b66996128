"""What Linux tells of processes, and processes of ours that are gone when their block is left."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

PROC = Path("/proc")
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")

# A server finishes its requests first, which here take milliseconds.
STOP_SECONDS = 15

# The repository, from which `python -m benchmarks…` and `python -m kpay_http.cli` are found.
ROOT = Path(__file__).resolve().parent.parent


def cpu_seconds(pid: int) -> float:
    """
    Return the processor time that a process used so far, user and system, all its threads together.

    The scheduler's own count is in nanoseconds. Where the kernel keeps none, utime and stime are in 1/100 s.
    """
    try:
        counts = [(task / "schedstat").read_text() for task in (PROC / str(pid) / "task").iterdir()]
        return sum(int(count.split()[0]) for count in counts) / 1e9
    except FileNotFoundError:
        return sum(_times(pid)[:2])


def family_cpu_seconds(pid: int) -> float:
    """Return the processor time of a process, of its children, and of the children that have ended."""
    return sum(_times(pid)) + sum(sum(_times(child)[:2]) for child in _children(pid))


def machine_cpu_seconds() -> float:
    """Return the processor time that everything on this machine used so far, ours and others'."""
    # user, nice, system, idle, iowait, irq, softirq; what a hypervisor gave to others is not told apart.
    user, nice, system, _, _, irq, softirq = (PROC / "stat").read_text().split(maxsplit=8)[1:8]
    return sum(map(int, (user, nice, system, irq, softirq))) / TICKS_A_SECOND


def memory_mib(pid: int, field: str = "VmRSS") -> float:
    """Return what a process holds in memory now, or with `VmHWM` the most it ever held."""
    for line in (PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc tells no {field}")


def name_of(pid: int) -> str:
    return (PROC / str(pid) / "comm").read_text().strip()


def parent_of(pid: int) -> int:
    return int(_stat(pid)[1])


def _children(pid: int) -> list[int]:
    """Return the children of all threads; a process with threads of its own may have them under any."""
    found: list[int] = []
    for task in (PROC / str(pid) / "task").iterdir():
        found.extend(map(int, (task / "children").read_text().split()))
    return found


def _times(pid: int) -> list[float]:
    """Return utime and stime, and those of children that have ended; nothing for a process that is gone."""
    try:
        return [int(ticks) / TICKS_A_SECOND for ticks in _stat(pid)[11:15]]
    except (FileNotFoundError, ProcessLookupError):
        return [0.0, 0.0, 0.0, 0.0]


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on: the name before it may hold anything, also brackets."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


@contextmanager
def running(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None, talking: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """
    Run a program for as long as one is inside. What it says goes nowhere, unless somebody is `talking` to it.

    It has a session of its own: Ctrl-C reaches us alone, and we stop what we started in order.
    """
    pipe = subprocess.PIPE if talking else subprocess.DEVNULL
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for end in (process.stdin, process.stdout, process.stderr):
            if end:
                end.close()


class Failed(Exception):
    """A program of ours did not do its work; the message tells what it said."""


def finish(
    command: Sequence[str], *, given: bytes = b"", environment: Mapping[str, str] | None = None
) -> bytes:
    """Run a program to its end and return what it wrote; raises `Failed`."""
    with running(command, environment=environment, talking=True) as process:
        written, said = process.communicate(given)
    if process.returncode != 0:
        last = b"\n".join(said.strip().splitlines()[-5:]).decode(errors="replace")
        raise Failed(f"{' '.join(command[:4])} … ended with {process.returncode}: {last}")
    return written
