"""
A run: so many steps under faults, then everything heals, and whatever was begun must come to rest.

In the first part nothing wrong may happen at any moment; in the second everything right must happen in the end.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import cast

import msgspec

from kpay_adapters.memory import MemoryStore
from kpay_adapters.simulation.actions import ACTIONS, CARDS
from kpay_adapters.simulation.beginnings import WORLDS, Beginnings, MakeStore
from kpay_adapters.simulation.draws import Draws, History, Repeated
from kpay_adapters.simulation.faults import EVERY_FAULT, Fault, Swarm, Usual, draw_swarm
from kpay_adapters.simulation.hooks import register_everywhere
from kpay_adapters.simulation.news import tell_otherwise
from kpay_adapters.simulation.pasts import AGES, PASTS, live_through
from kpay_adapters.simulation.rest import check_at_rest, come_to_rest
from kpay_adapters.simulation.violations import Violation
from kpay_adapters.simulation.world import PROCESSES, World
from kpay_core.commit import Record

STEPS = 60

# The network's moments, a lease, the window of an outcome, an hour, half a day, a day: in milliseconds.
PASSING = (100, 1_000, 5_000, 31_000, 61_000, 121_000, 3_600_000, 43_200_000, 86_400_000)

# As far as a clock may be wrong.
JUMPS = tuple(
    timedelta(seconds=s) for s in (61, -0.5, -61, 3_600, -3_600, 86_400, -86_400, 172_800, -172_800)
)
SKEWS = tuple(timedelta(milliseconds=ms) for ms in (0, 1, -1, 250, -250, 2_000, -2_000))

# One run in so many ends with an audit, which looks at everything once more and takes as long as the run.
AUDITED = 32

# Work that nobody takes further is not begun without end.
MAX_TASKS = 12

GO_ON, BEGIN, PASS, CRASH, TURN, SKEW, NEWS = range(7)

# How likely each kind of step is before a run draws its own, and the fault that it is of.
KINDS: tuple[tuple[float, Fault | None], ...] = (
    (10, None),
    (2, None),
    (1, None),
    (0.4, Fault.CRASH),
    (0.3, Fault.JUMP),
    (0.3, Fault.SKEW),
    (0.3, None),
)


USUAL = Usual(
    kinds=KINDS,
    actions=len(ACTIONS),
    cards=len(CARDS),
    pauses=len(PASSING),
    worlds=WORLDS,
    pasts=len(PASTS),
    ages=len(AGES),
)


class Failure(msgspec.Struct, kw_only=True):
    """A run that broke a law: which, how, and after which choices."""

    seed: int
    law: str
    what: str
    expected: int | str | None
    found: int | str | None
    step: int
    history: History


class Runner:
    """
    Makes runs, one after the other, that all begin alike.

    `make_store` makes an empty store: any that can be driven without an event loop can be simulated. Faults come
    between the flows and the store; those of its own it has to prove by other means.
    """

    def __init__(
        self,
        *,
        steps: int = STEPS,
        faults: Collection[Fault] = EVERY_FAULT,
        make_store: MakeStore = MemoryStore,
    ) -> None:
        self.steps = steps
        self.faults = faults
        # Of the last run.
        self.steps_made = 0
        self._beginnings = Beginnings(make_store)

    def run(self, seed: int, *, story: list[str] | None = None) -> Failure | None:
        """Run a seed, and return what it broke; `story` is told what happens, line by line."""
        draws = Draws(seed)
        return self._run(seed, draws, self._swarm(draws), story=story)

    def repeat(self, seed: int, history: History, *, story: list[str] | None = None) -> Failure | None:
        """Run a history with the faults of a seed, and return what it breaks."""
        return self._run(seed, Repeated(history), self._swarm(Draws(seed)), story=story)

    def _swarm(self, draws: Draws) -> Swarm:
        return draw_swarm(draws.random, self.faults, USUAL)

    def _run(
        self, seed: int, draws: Draws, swarm: Swarm, *, story: list[str] | None = None
    ) -> Failure | None:
        world = World(self._beginnings.next(), draws, swarm)
        world.story = story
        most = max(round(self.steps * swarm.length), 1)
        try:
            if swarm.hooked:
                register_everywhere(world)
            live_through(world)
            while world.step < most and draws.begin_step():
                world.step += 1
                take_step(world)
            come_to_rest(world)
            check_at_rest(world, audited=seed % AUDITED == 0)
            self.steps_made = world.step
        except Violation as violation:
            self.steps_made = world.step
            law, (what, expected, found) = violation.broken
            if story is not None:
                story.append(f"broken: {law}: {what} is {found}, expected {expected}")
            return Failure(
                seed=seed,
                law=law,
                what=what,
                expected=expected,
                found=found,
                step=world.step,
                history=draws.history,
            )
        return None


def take_step(world: World) -> None:
    """Let one thing happen."""
    draws = world.draws
    kind = draws.weigh(world.swarm.steps)
    if kind == GO_ON and not go_on(world):
        kind = BEGIN
    if kind == BEGIN and len(world.tasks) < MAX_TASKS:
        process = draws.below(PROCESSES)
        action = ACTIONS[draws.weigh(world.swarm.actions)]
        if world.story is not None:
            world.say(f"{world.step:3} process {process} begins: {action.__name__}")
        action(world, world.processes[process], process)
    elif kind == PASS:
        milliseconds = PASSING[draws.weigh(world.swarm.pauses)]
        world.say(f"{world.step:3} {milliseconds / 1000} s pass")
        world.pass_time(milliseconds)
    elif kind == CRASH:
        process = draws.below(PROCESSES)
        world.say(f"{world.step:3} process {process} dies")
        world.kill(process)
    elif kind == TURN:
        by = draws.one_of(JUMPS)
        world.say(f"{world.step:3} our clocks are turned by {by.total_seconds()} s")
        world.turn_clocks(by)
    elif kind == SKEW:
        process = draws.below(PROCESSES)
        world.skews[process] = draws.one_of(SKEWS)
        world.say(
            f"{world.step:3} the clock of process {process} is off by {world.skews[process].total_seconds()} s"
        )
        world.turn_clocks(timedelta(0))
    elif kind == NEWS:
        tell_otherwise(world)


def go_on(world: World) -> bool:
    """Let somebody go on, by a call; where all sleep, until the first wakes. False where there is nobody."""
    ready = world.ready()
    if not ready:
        return world.wake_next()
    task = ready[world.draws.below(len(ready))]
    outcome = world.draw_outcome(task)
    if world.story is not None:
        world.say(f"{world.step:3} {task.name} goes on: {task.at.call} {_what(task.at.what)}: {outcome}")
    world.resume(task, outcome)
    return True


def _what(what: object) -> str:
    if isinstance(what, tuple):
        return ", ".join(map(_name, cast(tuple[Record, ...], what)))
    return what.__name__ if isinstance(what, type) else str(what)


def _name(record: Record) -> str:
    status = getattr(record, "status", getattr(record, "state", None))
    return f"{type(record).__name__} {record.id}{f' ({status})' if status else ''}"


class Batch(msgspec.Struct, kw_only=True):
    """What a number of runs came to."""

    runs: int = 0
    steps: int = 0
    seconds: float = 0.0
    failures: list[Failure] = msgspec.field(default_factory=list[Failure])


def run_seeds(runner: Runner, seeds: range, *, stop_at: int = 1) -> Batch:
    """Run seeds one after the other, until so many have failed."""
    batch = Batch()
    for seed in seeds:
        failure = runner.run(seed)
        batch.runs += 1
        batch.steps += runner.steps_made
        if failure is not None:
            batch.failures.append(failure)
            if len(batch.failures) == stop_at:
                break
    return batch
