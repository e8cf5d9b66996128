"""
Every interleaving of a few pieces of work, one after the other, in the world of the simulation.

Each piece of work belongs to a process of its own. What may come next is chosen in every way there is: who goes on, by
a call; whose process dies; which answer of the network comes too late; when time passes. Wherever two ways lead to the
same state they go on alike, so a state is left in every way only once: the state is what is stored here and at the
network, what time it is, what has been answered, and everything that each piece of work has seen so far. Work that has
seen the same does the same, so nothing is left out.
"""

import random
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from kpay_adapters.memory import MemoryStore
from kpay_adapters.simulation.beginnings import Beginnings
from kpay_adapters.simulation.draws import Draws
from kpay_adapters.simulation.faults import Call, Outcome, draw_swarm
from kpay_adapters.simulation.gates import GatedNetwork, GatedStore, stop
from kpay_adapters.simulation.machines import NOT_BEGUN, ProcessIds, SimulatedClock, Task
from kpay_adapters.simulation.merchants import Request
from kpay_adapters.simulation.rest import check_at_rest, come_to_rest
from kpay_adapters.simulation.runs import USUAL
from kpay_adapters.simulation.world import World
from kpay_core import Kpay

encode = msgspec.json.Encoder(enc_hook=repr).encode

# No run of the simulation has so many processes, so that the names which these make are nobody else's.
FIRST_PROCESS = 3

# Nothing is left to chance.
NO_CHOICES = Draws(0)
NO_FAULTS = draw_swarm(random.Random(0), (), USUAL)

# Where all sleep, nothing changes that any of them could see by waking early. Whoever looks four times a second may
# as well do so once.
OVERSLEEP_MILLISECONDS = 1_000

# Whatever a crash or a lost answer has left is resolved after a look at 60 s and one at 120 s, with one to spare.
SWEEPS, SWEEP_MILLISECONDS = 3, 61_000


class Choice(NamedTuple):
    """What comes next, and to whom."""

    what: str
    whom: str = ""


class Limits(NamedTuple):
    """How often a process may die and an answer be late, and by how much time may pass, in milliseconds, in order."""

    crashes: int = 0
    late: int = 0
    pauses: Sequence[int] = ()


class Sums(NamedTuple):
    """How much there was: ways to go from the beginning to the end, states on them, and ends."""

    interleavings: int
    states: int
    ends: int


class Scene:
    """A world with work in it, at some point of one interleaving."""

    def __init__(self, beginnings: Beginnings, limits: Limits) -> None:
        self.world = World(beginnings.next(), NO_CHOICES, NO_FAULTS)
        self.scope = self.world.scopes[0]
        self.limits = limits
        self.crashes, self.late, self.pauses = 0, 0, 0
        # What each piece of work has seen, as a digest of all of it, and what came of it in the end.
        self.seen: dict[str, bytes] = {}
        self.results: dict[str, Any] = {}

    def begin(
        self, name: str, work: Callable[[Kpay], Coroutine[Any, Any, Any]], *, request: Request | None = None
    ) -> None:
        """Have work begin at any moment, in a process of its own, as a part of a request where it is one."""
        world, clock = self.world, self.world.clocks[0]
        store: Any = Seeing(self, GatedStore(world.store, world.note_commit))
        networks: Any = {
            mode: Seeing(self, GatedNetwork(each, world.later)) for mode, each in world.networks.items()
        }
        kpay = Kpay(
            store=store,
            processors=networks,
            clock=SeeingClock(self, clock),
            ids=ProcessIds(FIRST_PROCESS + len(self.seen)),
            keyring=world.healthy.keyring,
        )

        def heard(result: Any) -> None:
            self.results[name] = result
            if request is not None:
                if isinstance(result, Exception):
                    world.merchants.fail(request, result)
                else:
                    world.merchants.hear(request, result, in_time=True, promise_holds=True, now=world.latest)

        async def at_any_moment() -> Any:
            await stop(NOT_BEGUN)
            return await work(kpay)

        self.seen[name] = b""
        world.begin(name, 0, at_any_moment(), heard)

    def see(self, what: object) -> None:
        """Note what the running work has just seen."""
        task = self.world.running
        if task is not None and task.name in self.seen:
            self.seen[task.name] = blake2b(self.seen[task.name] + encode(what), digest_size=16).digest()

    def choices(self) -> list[Choice]:
        """Return all that may come next; nothing, where nobody is left."""
        world = self.world
        ready = world.ready()
        if not world.tasks:
            return []
        choices = [Choice("go on", task.name) for task in ready] or [Choice("wake")]
        if self.late < self.limits.late:
            choices += [Choice("late", task.name) for task in ready if task.at.call is Call.ASK]
        if self.crashes < self.limits.crashes:
            choices += [Choice("die", task.name) for task in world.tasks if task.name in self.seen]
        if self.pauses < len(self.limits.pauses):
            choices.append(Choice("pause"))
        return choices

    def take(self, choice: Choice) -> None:
        """Let something come next."""
        world = self.world
        match choice.what:
            case "go on":
                world.resume(self._task(choice.whom), Outcome.DONE)
            case "late":
                self.late += 1
                world.resume(self._task(choice.whom), Outcome.LATE)
            case "die":
                self.crashes += 1
                dead = self._task(choice.whom)
                world.tasks.remove(dead)
                world.abandoned.append(dead)
                del self.seen[choice.whom]
            case "wake":
                world.pass_time(OVERSLEEP_MILLISECONDS)
                world.wake_next()
            case _:
                world.pass_time(self.limits.pauses[self.pauses])
                self.pauses += 1

    def _task(self, name: str) -> Task:
        return next(task for task in self.world.tasks if task.name == name)

    def state(self) -> bytes:
        """Return a digest of all on which it depends what can still come."""
        world = self.world
        stored = [
            sorted(
                (kind.__name__, id, encode(kept.record))
                for kind, its in store._kept.items()
                for id, kept in its.items()
            )
            for store in (world.store, world.journals["test"])
            if isinstance(store, MemoryStore)
        ]
        tasks = [(task.name, task.at.call, task.at.until, self.seen.get(task.name)) for task in world.tasks]
        told = sorted((name, repr(result)) for name, result in self.results.items())
        budget = (self.crashes, self.late, self.pauses, world.elapsed)
        return blake2b(repr((stored, tasks, told, budget)).encode(), digest_size=16).digest()


class Seeing:
    """A port that notes what its caller sees."""

    def __init__(self, scene: Scene, port: object) -> None:
        self._scene = scene
        self._port = port

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            try:
                result = await method(*args, **kwargs)
            except Exception as error:
                self._scene.see(repr(error))
                raise
            self._scene.see(result)
            return result

        return call


class SeeingClock:
    """A clock that notes who has seen which time."""

    def __init__(self, scene: Scene, clock: SimulatedClock) -> None:
        self._scene = scene
        self._clock = clock
        self.sleep, self.monotonic = clock.sleep, clock.monotonic

    def now(self) -> datetime:
        now = self._clock.now()
        self._scene.see(now)
        return now


Prepare = Callable[[Scene], None]
Check = Callable[[Scene], None]


class Everything:
    """Goes through every interleaving of a scene, and has each looked at in its end."""

    def __init__(self, prepare: Prepare, check: Check, limits: Limits) -> None:
        self._prepare = prepare
        self._check = check
        self._limits = limits
        self._beginnings = Beginnings()
        self._ways: dict[bytes, int] = {}
        self._ends = 0

    def go(self) -> Sums:
        ways = self._ways_from(self._again([]), [])
        return Sums(ways, len(self._ways), self._ends)

    def _again(self, path: Sequence[Choice]) -> Scene:
        """Make the scene anew, and go the same way again."""
        scene = Scene(self._beginnings, self._limits)
        self._prepare(scene)
        for choice in path:
            scene.take(choice)
        return scene

    def _ways_from(self, scene: Scene, path: list[Choice]) -> int:
        """Return in how many ways it can go on from here to an end."""
        state = scene.state()
        if state in self._ways:
            return self._ways[state]
        choices = scene.choices()
        ways = 0
        for number, choice in enumerate(choices):
            here = scene if number == 0 else self._again(path)
            here.take(choice)
            ways += self._ways_from(here, [*path, choice])
        if not choices:
            self._look_at(scene)
            ways = 1
        self._ways[state] = ways
        return ways

    def _look_at(self, scene: Scene) -> None:
        """Hold an end against what must be so within minutes, and then everything that has come to rest."""
        self._ends += 1
        world = scene.world
        for _ in range(SWEEPS):
            world.pass_time(SWEEP_MILLISECONDS)
            world.do("what is unfinished", world.healthy.sweep())
        self._check(scene)
        come_to_rest(world)
        check_at_rest(world, audited=False)
