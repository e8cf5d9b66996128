"""Peers: charges and lists beside what people would use instead, when empty and with many charges in it."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial

from benchmarks import copies, peers, servers
from benchmarks.load import Result
from benchmarks.parts import Findings, Setting, others_of
from benchmarks.peers import NotToBeHad, Peer
from benchmarks.processes import Failed
from benchmarks.rounds import Line, Measured, alternate, compare, show_measured
from benchmarks.subjects import FILLING_CLIENTS, Subject, prepare

# Charges that are there already: the most that localstripe answers within the patience of a client, and the mock.
FEW, MANY = 10_000, 50_000
QUICK_FEW, QUICK_MANY = 500, 2_000

CLIENTS = (16, 64)
QUICK_CLIENTS = (16,)

# A page as the API makes it when nobody says how long.
LIMIT = 20

# What is empty should not be full at the end of it.
EMPTY_SECONDS = 2.0

# Restarting and filling takes most of the time, and these ratios are so large that three rounds say enough.
MOST_ROUNDS = 3


class Sizes:
    """How many charges are there, and with how many clients it is judged."""

    def __init__(self, *, quick: bool) -> None:
        self.few, self.many = (QUICK_FEW, QUICK_MANY) if quick else (FEW, MANY)
        self.clients = QUICK_CLIENTS if quick else CLIENTS
        self.note = (
            f"measured with {self.clients[-1]} clients, {self.few:,} and {self.many:,} charges"
            if quick
            else ""
        )


def ours(stack: ExitStack, setting: Setting, sizes: Sizes) -> Iterator[Line]:
    """Name our own lines: an empty database, and one with as many charges as the fullest peer has."""

    def charge(subject: Subject, clients: int) -> Result:
        return subject.charge(clients=clients, seconds=setting.seconds)

    def page(subject: Subject, clients: int) -> Result:
        return subject.page(f"/v1/charges?limit={LIMIT}", clients=clients, seconds=setting.seconds)

    for name, url in setting.places():
        empty, full = (prepare(stack.enter_context(servers.kpay(url)), kept=1) for _ in range(2))
        copies.charges(full.server.database_url, like=json.loads(full.charges[0])["id"], count=sizes.many)
        yield Line(f"charge {name}, empty", partial(charge, empty))
        yield Line(f"charge {name}, {sizes.many:,} charges", partial(charge, full))
        yield Line(f"list {name}, {sizes.many:,} charges", partial(page, full))


def of_localstripe(setting: Setting, stack: ExitStack, sizes: Sizes) -> Iterator[Line]:
    """Name the lines of localstripe: started anew each time it is to be empty, for it gets slower with every charge."""
    peers.install_localstripe()
    full = stack.enter_context(peers.localstripe(sizes.few))
    seconds = min(EMPTY_SECONDS, setting.seconds)
    yield Line("charge localstripe, empty", partial(charge_empty, peers.localstripe, seconds))
    # One request of each client: at that size it needs a second for each of them, one after the other.
    name = f"charge localstripe, {sizes.few:,} charges"
    yield Line(name, lambda clients: full.charge(clients=clients, count=clients))


def of_stateful_mock(setting: Setting, stack: ExitStack, sizes: Sizes) -> Iterator[Line]:
    """Name the lines of stripe-stateful-mock: everything is in its memory, so it is filled by requests, once."""
    peers.install_stateful_mock()
    full = stack.enter_context(peers.stateful_mock())
    full.charge(clients=FILLING_CLIENTS, count=sizes.many)
    seconds = min(EMPTY_SECONDS, setting.seconds)
    yield Line("charge stripe-stateful-mock, empty", partial(charge_empty, peers.stateful_mock, seconds))
    yield Line(
        f"charge stripe-stateful-mock, {sizes.many:,} charges",
        lambda clients: full.charge(clients=clients, seconds=setting.seconds),
    )
    yield Line(
        f"list stripe-stateful-mock, {sizes.many:,} charges",
        lambda clients: full.page(clients=clients, seconds=setting.seconds, limit=LIMIT),
    )


def charge_empty(start: Callable[[], AbstractContextManager[Peer]], seconds: float, clients: int) -> Result:
    """Start a peer, make charges for a while, and stop it."""
    with start() as peer:
        return peer.charge(clients=clients, seconds=seconds)


def go(setting: Setting) -> Findings:
    """Measure ours and theirs in alternating rounds, whichever of theirs can be had."""
    sizes = Sizes(quick=setting.quick)
    with ExitStack() as stack:
        theirs: list[Line] = []
        for name, lines in (("localstripe", of_localstripe), ("stripe-stateful-mock", of_stateful_mock)):
            try:
                theirs += list(lines(setting, stack, sizes))
            except (NotToBeHad, Failed) as missing:
                setting.tell(f"without {name}: {missing}")
        if not theirs:
            return Findings()
        # Whoever is compared stands next to each other.
        found = sorted([*ours(stack, setting, sizes), *theirs], key=kind_of)
        rounds = min(setting.rounds, MOST_ROUNDS)
        measured = alternate(found, clients=sizes.clients, rounds=rounds, tell=setting.tell)
    findings = Findings(
        results=measured, tables=[show_measured(measured)], others=others_of([it.result for it in measured])
    )
    for name in setting.databases:
        keep_ratios(findings, measured, name, sizes)
    return findings


def kind_of(line: Line) -> tuple[bool, bool]:
    """Put charges first, and those of the empty before the others."""
    return line.name.startswith("list"), not line.name.endswith("empty")


def keep_ratios(findings: Findings, measured: list[Measured], name: str, sizes: Sizes) -> None:
    """Keep what is aimed at; ours is compared full wherever theirs is."""
    few, many = f"{sizes.few:,} charges", f"{sizes.many:,} charges"
    mock = "stripe-stateful-mock"
    for goal, here, there in (
        (f"charge {name} / localstripe, empty", f"charge {name}, empty", "charge localstripe, empty"),
        (
            f"charge {name} / localstripe, {FEW:,} charges",
            f"charge {name}, {many}",
            f"charge localstripe, {few}",
        ),
        (f"charge {name} / {mock}, empty", f"charge {name}, empty", f"charge {mock}, empty"),
        (f"charge {name} / {mock}, {MANY:,} charges", f"charge {name}, {many}", f"charge {mock}, {many}"),
        (f"list {name} / {mock}, {MANY:,} charges", f"list {name}, {many}", f"list {mock}, {many}"),
    ):
        findings.note(goal, compare(measured, here, there, sizes.clients[-1]), note=sizes.note)
