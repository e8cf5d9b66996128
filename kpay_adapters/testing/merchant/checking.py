"""The machine, run against one target, and what came of it."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test

from kpay_adapters.testing.merchant.laws import WORDS, Law, LawBroken
from kpay_adapters.testing.merchant.machine import MerchantMachine
from kpay_adapters.testing.merchant.money import Terms
from kpay_adapters.testing.targets import Ask, CannotAsk, Reply, Target

T = TypeVar("T")

# How long a history that breaks a law is made shorter; most of what can be left out is left out soon.
SHORTEN_SECONDS = 30

# What comes of reading an answer that is not of the shape which the API's document says.
MISSHAPEN = (LookupError, TypeError, ValueError, AttributeError)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """
    A law that does not hold, what was seen instead, and the shortest history that shows it.

    `again` is false where it was seen once only, and the same requests did not show it once more.
    """

    law: str
    words: str
    seen: str
    history: list[str]
    again: bool


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was asked, the laws and how often each was held against the answers, and what was found.

    Everything is counted up to the first finding; what is asked to make its history shorter is not.
    """

    target: str
    seed: int
    steps: int
    histories: int
    requests: int
    days_passed: float
    laws: dict[str, str]
    held: dict[str, int]
    passed_over: dict[str, int]
    finding: Finding | None


class Enough(BaseException):
    """The history is short enough. Hypothesis would go on for minutes; it takes no notice of what is no `Exception`."""


class Watched:
    """A target of which it is remembered that it could not be asked: Hypothesis may make something else of that."""

    def __init__(self, target: Target) -> None:
        self.name, self.others, self.delivers = target.name, target.others, target.delivers
        self.stopped: CannotAsk | None = None
        self._target = target

    def ask(self, ask: Ask) -> Reply:
        return self._noting(self._target.ask, ask)

    def now(self) -> datetime:
        return self._noting(self._target.now)

    def pass_time(self, seconds: int) -> Reply | None:
        return self._noting(self._target.pass_time, seconds)

    def audit(self) -> Sequence[str] | None:
        return self._target.audit()

    def close(self) -> None:
        """Whoever gave it closes it."""

    def _noting(self, call: Callable[..., T], *args: object) -> T:
        try:
            return call(*args)
        except CannotAsk as reason:
            self.stopped = reason
            raise


class Check:
    """One run of the machine, history by history, and what it has come to so far."""

    def __init__(self, target: Target, on_history: Callable[[int], None]) -> None:
        self.target = Watched(target)
        self.on_history = on_history
        self.held: Counter[str] = Counter()
        self.passed_over: Counter[str] = Counter()
        self.histories = 0
        self.requests = 0
        self.seconds_passed = 0
        self.terms: Terms | None = None
        self.broken: list[tuple[LawBroken, list[str]]] = []
        self.last: list[str] = []
        self.shorten_until: float | None = None

    def count(self, machine: MerchantMachine) -> None:
        """Take a history in that has ended."""
        self.last = machine.notebook.history
        if machine.laws.broken is not None:
            self.broken.append((machine.laws.broken, machine.notebook.history))
        if not self.broken:
            self.histories += 1
            self.requests += machine.notebook.asked
            self.seconds_passed += machine.notebook.seconds_passed
            self.held += machine.laws.held
            self.passed_over += machine.laws.passed_over
            self.on_history(self.histories)

    def begin(self) -> None:
        """Begin a history, unless one that broke a law has been made shorter for long enough."""
        now = time.monotonic()
        if self.broken and self.shorten_until is None:
            self.shorten_until = now + SHORTEN_SECONDS
        if self.shorten_until is not None and now > self.shorten_until:
            raise Enough

    def finding(self) -> Finding | None:
        """Return the shortest history that broke a law."""
        if not self.broken:
            return None
        broken, history = min(self.broken, key=lambda each: len(each[1]))
        return Finding(
            law=broken.law.value,
            words=WORDS[broken.law],
            seen=broken.seen,
            history=history,
            again=len(self.broken) > 1,
        )


def check(
    target: Target,
    *,
    steps: int,
    histories: int,
    seed_number: int,
    on_history: Callable[[int], None] = lambda _: None,
) -> Checked:
    """
    Run so many histories of so many steps against one target, one after the other, and return what was found.

    The same seed asks the same again, of a target that answers the same. `on_history` is told how many are done.
    Raises `CannotAsk` when the target cannot be asked.
    """
    run = Check(target, on_history)

    class Machine(MerchantMachine):
        """A history on the one target, which knows what the ones before it have found out."""

        def open_target(self) -> Target:
            run.begin()
            return run.target

        def close_target(self) -> None:
            run.count(self)

        def learn_terms(self) -> Terms | None:
            run.terms = run.terms or super().learn_terms()
            return run.terms

    try:
        run_state_machine_as_test(
            seed(seed_number)(Machine),
            settings=settings(
                max_examples=histories,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                phases=(Phase.generate, Phase.shrink),
                print_blob=False,
                report_multiple_bugs=False,
                suppress_health_check=[
                    HealthCheck.too_slow,
                    HealthCheck.filter_too_much,
                    HealthCheck.data_too_large,
                ],
                verbosity=Verbosity.quiet,
            ),
        )
    except (LawBroken, Flaky, Enough):
        if run.target.stopped is not None:
            raise run.target.stopped from None
        if not run.broken:
            raise
    except MISSHAPEN as failure:
        seen = f"an answer that is not as the API's document has it: {type(failure).__name__} {failure}"
        run.broken.append((LawBroken(Law.REQUESTS_ARE_ANSWERED, seen), run.last))
    return Checked(
        target=target.name,
        seed=seed_number,
        steps=steps,
        histories=run.histories,
        requests=run.requests,
        days_passed=round(run.seconds_passed / 86_400, 1),
        laws={law.value: words for law, words in WORDS.items()},
        held={law.value: run.held[law] for law in Law},
        passed_over=dict(run.passed_over),
        finding=run.finding(),
    )
