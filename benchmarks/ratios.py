"""Ratios: K-Payments on SQLite and on PostgreSQL beside the bare handler and pgbench, in alternating rounds."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import msgspec

from benchmarks import bare, pgbench, servers, subjects
from benchmarks.databases import folder
from benchmarks.load import Result
from benchmarks.subjects import OPERATIONS, WARM_UP_SECONDS, Operation, Subject


class Measured(msgspec.Struct, kw_only=True):
    """One result of one round."""

    name: str
    operation: Operation
    clients: int
    round: int
    result: Result


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What one server reaches of another's requests a second; `least` is what was promised at 64 clients."""

    operation: Operation
    name: str
    peer: str
    least: float


TARGETS = (
    Target(operation="charge", name="postgres", peer="pgbench", least=2.0),
    Target(operation="charge", name="postgres", peer="bare", least=0.45),
    Target(operation="charge", name="sqlite", peer="bare", least=0.35),
    Target(operation="replay", name="postgres", peer="bare", least=0.5),
    Target(operation="replay", name="sqlite", peer="bare", least=0.5),
    Target(operation="get", name="postgres", peer="bare", least=0.5),
    Target(operation="get", name="sqlite", peer="bare", least=0.5),
)
TARGET_CLIENTS = 64

# What is measured, under its name, and how: by so many clients.
Measure = Callable[[int], Result]
Line = tuple[str, Operation, Measure]


@contextmanager
def line_up(databases: Sequence[str], postgres: str | None, seconds: float) -> Iterator[list[Line]]:
    """Start everything, and yield what is to be measured, peers next to each other."""
    with ExitStack() as stack:
        found: dict[str, Subject] = {}
        for name in databases:
            server = stack.enter_context(servers.kpay(postgres if name == "postgres" else None))
            found[name] = subjects.prepare(server)
        model = next(iter(found.values()))
        answers = stack.enter_context(folder()) / "answers.json"
        write_answers(answers, model)
        peer = stack.enter_context(servers.bare(answers, model.server.secret_key))
        found["bare"] = subjects.like(peer, model)

        lines: list[Line] = []
        for operation in OPERATIONS:
            for name, subject in found.items():
                lines.append((name, operation, partial(measure, subject, operation, seconds)))
            if operation == "charge" and "postgres" in found and postgres:
                tool = stack.enter_context(pgbench.ready(postgres, answer=model.charges[0]))
                if tool:
                    pgbench.check_rows(found["postgres"].server.database_url)
                    lines.append(("pgbench", operation, partial(measure_pgbench, tool, seconds)))
        yield lines


def measure(subject: Subject, operation: Operation, seconds: float, clients: int) -> Result:
    return subject.measure(operation, clients=clients, seconds=seconds)


def measure_pgbench(tool: pgbench.Pgbench, seconds: float, clients: int) -> Result:
    return tool.run(clients=clients, seconds=seconds, warm_up_seconds=WARM_UP_SECONDS)


def write_answers(path: Path, model: Subject) -> None:
    answers = bare.Answers(charge=model.charges[0], charge_with_refunds=model.charges_with_refunds[0])
    path.write_bytes(msgspec.json.encode(answers))


def go(
    lines: Sequence[Line], *, clients: Sequence[int], rounds: int, tell: Callable[[str], None]
) -> list[Measured]:
    """Measure round by round, every other round backwards, so that what drifts hits everyone alike."""
    measured: list[Measured] = []
    for many in clients:
        for number in range(1, rounds + 1):
            for name, operation, take in lines if number % 2 else reversed(lines):
                result = take(many)
                measured.append(
                    Measured(name=name, operation=operation, clients=many, round=number, result=result)
                )
                tell(f"{operation} {name}, {many} clients, round {number}: {result.rate:,.0f}/s")
    return measured


def ratio(
    measured: Sequence[Measured], target: Target, clients: int, take: Callable[[Result], float | None]
) -> float | None:
    """Return the median over the rounds of the ratio within a round; None where something was not measured."""

    def values(name: str) -> list[float]:
        rounds = sorted(measured, key=lambda each: each.round)
        key = (name, target.operation, clients)
        taken = [take(each.result) for each in rounds if (each.name, each.operation, each.clients) == key]
        return [value for value in taken if value is not None]

    ours, theirs = values(target.name), values(target.peer)
    if not ours or not theirs:
        return None
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
