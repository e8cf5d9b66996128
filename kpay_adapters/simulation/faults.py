"""What can go wrong, by name, and how likely each of it is in a run."""

import random
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum

import msgspec

from kpay_adapters.simulation.draws import Weights


class Fault(StrEnum):
    """What can be asked of a simulation."""

    # Of our store.
    CONFLICT = "conflict"
    UNKNOWN = "unknown"
    UNAVAILABLE = "unavailable"
    # Of the network and the bank: no answer, and nothing done; no answer, although it was done; done only later.
    SILENT = "silent"
    LOST = "lost"
    LATE = "late"
    # A commit is durable long before its writer hears of it.
    SLOW = "slow"
    # Of our processes and their clocks.
    CRASH = "crash"
    JUMP = "jump"
    SKEW = "skew"
    # Of the network's news: told again, under the same name or another; of what never was; of a capture after all.
    REPEAT = "repeat"
    LIE = "lie"
    STRAY = "stray"
    # Of merchants' servers, and of merchants who do not wait for their answers.
    RECEIVER = "receiver"
    IMPATIENT = "impatient"


EVERY_FAULT = tuple(Fault)


class Call(StrEnum):
    """What a flow awaits."""

    READ = "read"
    COMMIT = "commit"
    ASK = "ask"
    SLEEP = "sleep"


class Outcome(StrEnum):
    """How a call ends: as it should, or by a fault."""

    DONE = "done"
    SLOW = "done, and heard of later"
    CONFLICT = "conflict"
    UNKNOWN_WITHOUT = "unknown, without effect"
    UNKNOWN_WITH = "unknown, with effect"
    UNAVAILABLE = "unavailable"
    SILENT = "no answer, and nothing done"
    LOST = "no answer, although it was done"
    LATE = "no answer, and done only later"


# The ends of each call, the plainest first, and the fault that each is of.
ENDS: Mapping[Call, Mapping[Outcome, Fault | None]] = {
    Call.READ: {Outcome.DONE: None, Outcome.UNAVAILABLE: Fault.UNAVAILABLE},
    Call.COMMIT: {
        Outcome.DONE: None,
        Outcome.SLOW: Fault.SLOW,
        Outcome.CONFLICT: Fault.CONFLICT,
        Outcome.UNKNOWN_WITHOUT: Fault.UNKNOWN,
        Outcome.UNKNOWN_WITH: Fault.UNKNOWN,
        Outcome.UNAVAILABLE: Fault.UNAVAILABLE,
    },
    Call.ASK: {
        Outcome.DONE: None,
        Outcome.SILENT: Fault.SILENT,
        Outcome.LOST: Fault.LOST,
        Outcome.LATE: Fault.LATE,
    },
    Call.SLEEP: {Outcome.DONE: None},
}
OUTCOMES: Mapping[Call, tuple[Outcome, ...]] = {call: tuple(ends) for call, ends in ENDS.items()}

# How much a fault weighs beside the 1 of a good end, in runs that have it: hardly ever, now and then, again and again.
WEIGHTS = (0.01, 0.05, 0.3)

# Every fault is in every other run. Kinds of steps are rarer or more frequent than usual, and some actions left out.
HALF = 0.5
EXAGGERATED = (0.3, 1.0, 1.0, 3.0)
LEFT_OUT = (0.001, 0.3, 1.0, 1.0, 3.0)
FAVOURED = (0.1, 0.1, 0.1, 0.1, 3.0)

# A run with a past takes twice as long as one without.
HAS_PAST = 1 / 8

# Some runs are short and some long; on the whole they are as long as usual.
LENGTHS = (1 / 3, 2 / 3, 1.0, 2.0)


class Usual(msgspec.Struct, frozen=True, kw_only=True):
    """What is usual, of which each run draws its own: kinds of steps with their faults, and how many of the rest."""

    kinds: Sequence[tuple[float, Fault | None]]
    actions: int
    cards: int
    pauses: int
    worlds: int
    pasts: int
    ages: int


class Swarm(msgspec.Struct, frozen=True, kw_only=True):
    """
    How likely everything is in one run.

    Each run leaves faults and actions out by chance and exaggerates others, so that many runs together meet what one
    even mixture never would (Groce and others, "Swarm Testing", 2012). `length` says how much longer than usual it is,
    `hooked` whether merchants have endpoints from the start, `pasts` what came before in each of their worlds, and
    `age` how long ago that is.
    """

    ends: Mapping[Call, Weights]
    steps: Weights
    actions: Weights
    cards: Weights
    pauses: Weights
    faults: frozenset[Fault]
    length: float
    hooked: bool
    pasts: Sequence[int]
    age: int


def draw_swarm(chance: random.Random, faults: Collection[Fault], usual: Usual) -> Swarm:
    """Draw how likely everything is."""
    present = frozenset(fault for fault in EVERY_FAULT if chance.random() < HALF and fault in faults)
    weight = {fault: chance.choice(WEIGHTS) for fault in EVERY_FAULT}
    ends = {
        call: Weights.of(
            [1.0 if fault is None else weight[fault] * (fault in present) for fault in its.values()]
        )
        for call, its in ENDS.items()
    }
    steps = [
        each * chance.choice(EXAGGERATED) * (fault is None or fault in present) for each, fault in usual.kinds
    ]
    has_past = chance.random() < HAS_PAST
    return Swarm(
        ends=ends,
        steps=Weights.of(steps),
        actions=Weights.of([chance.choice(LEFT_OUT) for _ in range(usual.actions)]),
        cards=Weights.of([chance.choice(FAVOURED) for _ in range(usual.cards)]),
        pauses=Weights.of([chance.choice(LEFT_OUT) for _ in range(usual.pauses)]),
        faults=present,
        length=chance.choice(LENGTHS),
        hooked=chance.random() < HALF,
        pasts=[chance.randrange(usual.pasts) if has_past else 0 for _ in range(usual.worlds)],
        age=chance.randrange(usual.ages) if has_past else 0,
    )
