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
    # Of our processes and their clocks.
    CRASH = "crash"
    JUMP = "jump"
    SKEW = "skew"
    # Of the network's news: told again, under the same name or another; of what never was.
    REPEAT = "repeat"
    LIE = "lie"
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


class Swarm(msgspec.Struct, frozen=True, kw_only=True):
    """
    How likely everything is in one run.

    Each run leaves faults and actions out by chance and exaggerates others, so that many runs together meet what one
    even mixture never would (Groce and others, "Swarm Testing", 2012).
    """

    ends: Mapping[Call, Weights]
    steps: Weights
    actions: Weights
    faults: frozenset[Fault]


Kinds = Sequence[tuple[float, Fault | None]]


def draw_swarm(chance: random.Random, faults: Collection[Fault], *, kinds: Kinds, actions: int) -> Swarm:
    """Draw how likely everything is; `kinds` are the usual weights of kinds of steps, and the fault that each is of."""
    present = frozenset(fault for fault in EVERY_FAULT if chance.random() < HALF and fault in faults)
    weight = {fault: chance.choice(WEIGHTS) for fault in EVERY_FAULT}
    ends = {
        call: Weights.of(
            [1.0 if fault is None else weight[fault] * (fault in present) for fault in its.values()]
        )
        for call, its in ENDS.items()
    }
    steps = [
        usual * chance.choice(EXAGGERATED) * (fault is None or fault in present) for usual, fault in kinds
    ]
    return Swarm(
        ends=ends,
        steps=Weights.of(steps),
        actions=Weights.of([chance.choice(LEFT_OUT) for _ in range(actions)]),
        faults=present,
    )
