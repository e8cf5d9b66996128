"""
A world: two processes of ours on one store, merchants and their servers, a network and a bank with journals.

Nothing in it moves by itself. The scheduler resumes whoever it likes, decides how each call ends, and turns the time.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from kpay_adapters.memory import MemoryStore
from kpay_adapters.sandbox import SandboxBank, Witnesses
from kpay_adapters.simulation.beginnings import Beginning, finish
from kpay_adapters.simulation.draws import Draws
from kpay_adapters.simulation.faults import OUTCOMES, Call, Fault, Outcome, Swarm
from kpay_adapters.simulation.gates import (
    GatedBank,
    GatedNetwork,
    GatedStore,
    Network,
    WatchedStore,
    stop,
)
from kpay_adapters.simulation.machines import (
    LATE,
    PassingClock,
    ProcessIds,
    SimulatedClock,
    Task,
    Work,
)
from kpay_adapters.simulation.merchants import Merchants
from kpay_adapters.simulation.violations import Violation, violate
from kpay_adapters.simulation.watch import Unit, Watch
from kpay_adapters.testing import START, ScriptedCourier, accept
from kpay_core import Kpay
from kpay_core.commit import CommitFailed, Conflict, Record, Rejected
from kpay_core.domain.errors import KpayError
from kpay_core.domain.laws import Broken, Difference
from kpay_core.domain.posts import Post, Reply
from kpay_core.ports import NoAnswer, Witness
from kpay_core.query import Query

# Two can race, and one of them can die while the other lives; with more of them both would be rarer.
PROCESSES = 2

# The process that goes on alone when everything has healed: nothing comes between its calls.
HEALTHY = PROCESSES

# The process that the network's own work belongs to. It never dies.
NETWORK = -1

MODES = ("test", "live")

# Calls that any piece of work takes at most, with nothing in its way: far more than the longest.
MAX_CALLS = 20_000

# More than a run can make.
EVERYTHING = 100_000

R = TypeVar("R", bound=Record)


class World:
    """All there is in a run, and the time it lives by."""

    def __init__(self, beginning: Beginning, draws: Draws, swarm: Swarm) -> None:
        self.draws = draws
        self.swarm = swarm
        self.scopes = beginning.scopes
        self.step = 0
        self._calls = 0
        self.healed = False
        self.healed_at = START
        self.elapsed = 0
        self.shift = timedelta(0)
        self.latest = START
        self.tasks: list[Task] = []
        # Kept so that none is closed: what was abandoned runs no further, not even its own tidying up.
        self.abandoned: list[Task] = []
        self.running: Task | None = None
        # News that the network told otherwise than by itself, those of them that are not so, and what these are about.
        self.retold = 0
        self.lies: set[str] = set()
        self.lied_about: set[str] = set()
        # Charges that were captured after all, or are said to be.
        self.strayed: set[str] = set()
        # What happened, in words, where somebody wants to read it.
        self.story: list[str] | None = None
        self.network_clock = SimulatedClock(START)
        self.clocks = [SimulatedClock(START) for _ in range(PROCESSES)]
        self.clocks.append(PassingClock(START, self.pass_time))
        self.skews = [timedelta(0)] * (PROCESSES + 1)
        self.index = beginning.index
        self.watch = Watch(violate, self.index)
        self.merchants = Merchants(violate)
        self.store = beginning.store
        self.journals: dict[str, MemoryStore] = {}
        self.networks: dict[str, Network] = {}
        self.banks: dict[str, SandboxBank] = {}
        for mode in MODES:
            self.journals[mode] = journal = MemoryStore()
            self.networks[mode] = Network(journal=journal, clock=self.network_clock)
            self.banks[mode] = SandboxBank(journal=journal, clock=self.network_clock)
        self.processes = [self._process(number, beginning) for number in range(PROCESSES)]
        self.healthy = Kpay(
            store=WatchedStore(self.store, self.note_commit, self._count_call),
            processors=self.networks,
            rails=self.banks,
            clock=self.clocks[HEALTHY],
            ids=ProcessIds(HEALTHY),
            keyring=beginning.keyring,
        )

    def _process(self, number: int, beginning: Beginning) -> Kpay:
        return Kpay(
            store=GatedStore(self.store, self.note_commit),
            processors={mode: GatedNetwork(each, self.later) for mode, each in self.networks.items()},
            rails={mode: GatedBank(each, self.later) for mode, each in self.banks.items()},
            clock=self.clocks[number],
            ids=ProcessIds(number),
            keyring=beginning.keyring,
        )

    @property
    def witnesses(self) -> Mapping[str, Witness]:
        """Those who know what really happened, by mode."""
        return {mode: Witnesses(self.networks[mode], self.banks[mode]) for mode in self.networks}

    def noted(self, mode: str, kind: type[R]) -> Sequence[R]:
        """Return what the network and the bank of a mode keep of a kind."""
        return finish(self.journals[mode].find(Query(kind=kind, limit=EVERYTHING)))

    def say(self, text: str) -> None:
        """Add to the story, where one is told."""
        if self.story is not None:
            self.story.append(text)

    def note_commit(self, records: Sequence[Record], held: Sequence[Record]) -> None:
        """Hold what has just become durable against the laws."""
        task = self.running
        assert task is not None, "somebody commits"
        self.watch.note(
            Unit(
                written=records,
                held=held,
                now=self.clocks[task.process].moment,
                latest=self.latest,
                step=self.step,
                began=task.began,
                keeps_time=self.keeps_time,
            )
        )

    def begin(self, name: str, process: int, work: Work, then: Callable[[Any], None] | None = None) -> None:
        """Begin something, up to the first call that it makes."""
        task = Task(name, process, work, began=self.step, then=then)
        self.tasks.append(task)
        self.resume(task, None)

    def do(self, name: str, work: Work) -> Any:
        """See something through that nothing comes between, and return what came of it."""
        self.running = Task(name, HEALTHY, work, began=self.step)
        self._calls = 0
        self.say(f"    {name}")
        try:
            return finish(work)
        except Violation:
            raise
        except Exception as error:
            raise Violation(Broken("what_has_healed_works", Difference(name, "done", repr(error)))) from error

    def _count_call(self) -> None:
        self._calls += 1
        if self._calls > MAX_CALLS:
            assert self.running is not None, "somebody calls"
            violate(Broken("everything_ends", Difference(self.running.name, "an end", "none")))

    def courier(self) -> ScriptedCourier:
        """Make a courier to merchants' servers that are all well again."""
        clock = self.clocks[HEALTHY]

        def receive(post: Post) -> Reply:
            self.merchants.receive(post, now=clock.moment if self.keeps_time else None)
            return accept(post)

        return ScriptedCourier(receive, clock=clock)

    def later(self, effect: Callable[[], Work]) -> None:
        """Let the network do something by itself, later."""

        async def work() -> None:
            await stop(LATE)
            await effect()

        task = Task("the network", NETWORK, work(), began=self.step)
        task.at = task.work.send(None)
        self.tasks.append(task)

    def resume(self, task: Task, outcome: Outcome | None) -> None:
        """Let a task go on up to its next call; who is done is heard."""
        self.running = task
        try:
            task.at = task.work.send(outcome)
            return
        except StopIteration as stop:
            result: Any = stop.value
        except (Conflict, Rejected) as error:
            raise Violation(
                Broken("conflicts_are_seen_to", Difference(task.name, "its end", repr(error)))
            ) from error
        except (KpayError, CommitFailed, NoAnswer) as error:
            result = error
        except Violation:
            raise
        except Exception as error:
            raise Violation(
                Broken("nothing_fails_by_a_fault_of_ours", Difference(task.name, "its end", repr(error)))
            ) from error
        finally:
            self.running = None
        self.tasks.remove(task)
        if self.story is not None:
            self.say(f"    {task.name} ends: {_in_words(result)}")
        if task.then is not None:
            task.then(result)

    def ready(self) -> list[Task]:
        """Return who can go on now."""
        elapsed = self.elapsed
        return [task for task in self.tasks if task.at.until <= elapsed]

    def pass_time(self, milliseconds: int) -> None:
        """Let time pass, for everybody."""
        self.elapsed += milliseconds
        self._show_time()

    def wake_next(self) -> bool:
        """Let time pass until somebody can go on; False where there is nobody."""
        wakes_at = min((task.at.until for task in self.tasks), default=None)
        if wakes_at is None:
            return False
        self.pass_time(max(wakes_at - self.elapsed, 0))
        return True

    def turn_clocks(self, by: timedelta) -> None:
        """Turn our clocks, which were wrong or are now. The network's are always right."""
        self.shift += by
        self._show_time()

    def _show_time(self) -> None:
        moment = START + timedelta(milliseconds=self.elapsed)
        self.network_clock.moment, self.network_clock.elapsed = moment, self.elapsed
        ours = moment + self.shift
        for clock, skew in zip(self.clocks, self.skews, strict=True):
            clock.moment, clock.elapsed = ours + skew, self.elapsed
            self.latest = max(self.latest, clock.moment)

    def kill(self, process: int) -> None:
        """Let a process die where it stands. Another takes its place at once, and knows nothing."""
        dead = [task for task in self.tasks if task.process == process]
        self.tasks = [task for task in self.tasks if task.process != process]
        self.abandoned += dead

    def draw_outcome(self, task: Task) -> Outcome:
        """Decide how the call of a task ends."""
        call = task.at.call
        if call is Call.SLEEP:
            return Outcome.DONE
        return OUTCOMES[call][self.draws.weigh(self.swarm.ends[call])]

    def heal(self) -> None:
        """Let nothing go wrong any more. Clocks that are right again are never behind what they have shown."""
        self.healed, self.healed_at = True, self.network_clock.moment
        self.skews = [timedelta(0)] * (PROCESSES + 1)
        self.turn_clocks(self.latest - self.network_clock.moment - self.shift)

    def has(self, fault: Fault) -> bool:
        """Tell whether a fault can happen now."""
        return fault in self.swarm.faults and not self.healed

    @property
    def keeps_time(self) -> bool:
        """Whether our clocks are right all the time, or a little off at most."""
        return Fault.JUMP not in self.swarm.faults


def _in_words(result: Any) -> str:
    if isinstance(result, BaseException):
        return f"{type(result).__name__}: {result}"
    return str(getattr(result, "outcome", type(result).__name__))
