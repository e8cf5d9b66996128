"""The machine, run against one target, and what came of it."""

from collections import Counter
from collections.abc import Callable

import msgspec
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.errors import FlakyFailure
from hypothesis.stateful import run_state_machine_as_test

from kpay_adapters.testing.merchant.laws import WORDS, Law, LawBroken
from kpay_adapters.testing.merchant.machine import MerchantMachine
from kpay_adapters.testing.merchant.money import Terms
from kpay_adapters.testing.targets import Target

# What comes of reading an answer that is not of the shape which the API's document says.
MISSHAPEN = (LookupError, TypeError, ValueError, AttributeError)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """
    A law that does not hold, what was seen instead, and the shortest history that shows it.

    `again` is false where the same requests did not show it once more: then it is the first history.
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


class Check:
    """One run of the machine, history by history, and what it has come to so far."""

    def __init__(self, target: Target, on_history: Callable[[int], None]) -> None:
        self.target = target
        self.on_history = on_history
        self.held: Counter[str] = Counter()
        self.passed_over: Counter[str] = Counter()
        self.histories = 0
        self.requests = 0
        self.seconds_passed = 0
        self.terms: Terms | None = None
        self.broken: list[tuple[LawBroken, list[str]]] = []
        self.last: list[str] = []

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

    def finding(self, *, again: bool) -> Finding | None:
        """Return the last history that broke a law, which is the shortest; or the first where none did it again."""
        if not self.broken:
            return None
        broken, history = self.broken[-1 if again else 0]
        return Finding(
            law=broken.law, words=WORDS[broken.law], seen=broken.seen, history=history, again=again
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
            return target

        def close_target(self) -> None:
            run.count(self)

        def learn_terms(self) -> Terms | None:
            run.terms = run.terms or super().learn_terms()
            return run.terms

    again = True
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
    except LawBroken:
        pass
    except FlakyFailure:
        again = False
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
        finding=run.finding(again=again),
    )
