"""
Ratios: a charge, a replay and a read on SQLite and on PostgreSQL, beside the bare handlers, pgbench and a bare loop on
SQLite, in alternating rounds.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import msgspec

from benchmarks import pgbench, servers, sqlite_loop, subjects
from benchmarks.databases import folder
from benchmarks.goals import NAMES
from benchmarks.load import Result
from benchmarks.parts import Findings, Setting, others_of
from benchmarks.programs import bare
from benchmarks.rounds import Line, Measured, alternate, compare, of_line, show_measured, spread
from benchmarks.subjects import WARM_UP_SECONDS, Subject

# What a second sends of cold replays at the very most: half as many again as were ever seen here.
COLD_RATE = 15_000


@contextmanager
def line_up(setting: Setting) -> Iterator[list[Line]]:
    """Start everything, and yield what is to be measured, peers next to each other."""
    cold_keys = int(len(setting.clients) * setting.rounds * (setting.seconds + WARM_UP_SECONDS) * COLD_RATE)
    with ExitStack() as stack:
        ours = {
            name: subjects.prepare(stack.enter_context(servers.kpay(url)), cold_keys=cold_keys)
            for name, url in setting.places()
        }
        model = next(iter(ours.values()))
        answers = stack.enter_context(folder()) / "answers.json"
        write_answers(answers, model)
        key = model.server.secret_key
        handler, asgi = (
            subjects.like(stack.enter_context(servers.bare(how, answers, key)), model)
            for how in ("litestar", "asgi")
        )
        limits = limits_of(stack, setting, ours, model)
        yield [
            *lines("charge", Subject.charge, {**ours, "bare": handler, "bare ASGI": asgi}, setting.seconds),
            *limits,
            *lines("cold replay", Subject.replay_cold, ours, setting.seconds),
            *lines("hot replay", Subject.replay_hot, ours, setting.seconds),
            *lines("replay", Subject.replay_hot, {"bare": handler}, setting.seconds),
            *lines("get", Subject.get, {**ours, "bare": handler, "bare ASGI": asgi}, setting.seconds),
        ]


def lines(
    operation: str, send: Callable[..., Result], by: dict[str, Subject], seconds: float
) -> Iterator[Line]:
    """Name a line for each that does an operation."""

    def measure(subject: Subject, clients: int) -> Result:
        return send(subject, clients=clients, seconds=seconds)

    for name, subject in by.items():
        yield Line(f"{operation} {name}", partial(measure, subject))


def limits_of(stack: ExitStack, setting: Setting, ours: dict[str, Subject], model: Subject) -> list[Line]:
    """Name the lines of those who write the same rows and have no HTTP."""
    found: list[Line] = []
    if "sqlite" in ours:
        loop = stack.enter_context(sqlite_loop.ready())
        found.append(Line("charge bare SQLite loop", lambda _: loop.run(seconds=setting.seconds)))
    if "postgres" not in ours or not setting.postgres:
        return found
    tool = stack.enter_context(pgbench.ready(setting.postgres, answer=model.charges[0]))
    if tool is None:
        setting.tell("without pgbench, which is not to be found")
        return found
    pgbench.check_rows(ours["postgres"].server.database_url)
    time = {"seconds": setting.seconds, "warm_up_seconds": WARM_UP_SECONDS}
    return [*found, Line("charge pgbench", lambda clients: tool.run(clients=clients, **time))]


def write_answers(path: Path, model: Subject) -> None:
    answers = bare.Answers(charge=model.charges[0], charge_with_refunds=model.charges_with_refunds[0])
    path.write_bytes(msgspec.json.encode(answers))


def go(setting: Setting) -> Findings:
    """Measure, and compare."""
    with line_up(setting) as found:
        measured = alternate(found, clients=setting.clients, rounds=setting.rounds, tell=setting.tell)
    findings = Findings(
        results=measured,
        # pgbench has no meter of its own, so the rounds' other results tell.
        others=others_of([each.result for each in measured if each.result.server_cpu_us]),
        tables=[show_measured(measured)],
    )
    for clients in setting.clients:
        for name in setting.databases:
            keep_ratios(findings, measured, name, clients)
    return findings


def keep_ratios(findings: Findings, measured: Sequence[Measured], name: str, clients: int) -> None:
    """Keep the ratios that are aimed at; others are left to whoever reads the figures."""
    peers = [
        *(("charge", peer, f"charge {peer}") for peer in ("pgbench", "bare")),
        *((operation, "bare", "replay bare") for operation in ("cold replay", "hot replay")),
        ("get", "bare", "get bare"),
    ]
    for operation, peer, line in peers:
        goal = f"{operation} {name} / {peer}, {clients} clients"
        if goal in NAMES:
            findings.note(goal, compare(measured, f"{operation} {name}", line, clients))
    goal = f"charge {name}, p99 / p50, {clients} clients"
    if goal in NAMES:
        findings.note(goal, of_line(measured, f"charge {name}", clients, spread))
