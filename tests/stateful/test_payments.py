"""
Anything at any time: requests that stop between any two calls and go on later or never, sweepers beside them,
keys that are rotated, a clock that runs, jumps and steps back. After every step the books must be right.
"""

from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kpay_core import Scope
from kpay_core.domain import idempotency, keys
from kpay_core.domain.charges import Charge
from kpay_core.domain.errors import KpayError, NotFound, Unauthenticated
from kpay_core.domain.idempotency import Answer, IdempotencyKey, Outcome, State
from tests.flows.world import (
    DECLINED,
    DOWN,
    GOOD,
    LATE,
    LOST,
    REFUND_PENDING,
    Interleaved,
    SharedClock,
    World,
    check_books,
    request,
    run,
)

CARDS = st.sampled_from([GOOD, GOOD, DECLINED, LATE, LOST, DOWN, REFUND_PENDING])
KEYS = st.sampled_from([None, "a", "b"])
# The looks of the sweeper, the lease, the settle window, the life of a key, and what lies between.
SECONDS = st.sampled_from([0.001, 1, 5, 10, 20, 61, 121, 3600, 86_399, 86_400, -0.5, -30, -3600])


class Task(NamedTuple):
    """Something that is under way."""

    work: Coroutine[Any, Any, Any]
    key: str | None


class Known(NamedTuple):
    """What a key was last seen to keep."""

    subject: str
    first_used_at: datetime
    state: State
    answer: str | None


class Payments(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = run(World(clock=SharedClock()).open())
        self.scopes = [self.world.scope]
        self.opening: dict[str, datetime | None] = {self.world.keys.test.secret: None}
        run(self.world.open())
        self.scopes.append(self.world.scope)
        self.world.kpay.store = Interleaved(self.world.store)  # type: ignore[assignment]
        self.world.kpay.processors = {"test": Interleaved(self.world.network)}  # type: ignore[dict-item]
        self.tasks: list[Task] = []
        self.known: dict[str, Known] = {}
        self.kept: dict[str, set[str]] = {}
        self.told: list[tuple[str, str]] = []
        self.stepped_back = timedelta(0)

    @property
    def now(self) -> datetime:
        return self.world.clock.now()

    # What people do.

    @rule(who=st.integers(0, 1), number=CARDS, key=KEYS, amount=st.sampled_from([50, 4999]))
    def charge(self, who: int, number: str, key: str | None, amount: int) -> None:
        scope = self.scopes[who]
        work = self.world.kpay.create_charge(scope, request(number, amount=amount), idempotency_key=key)
        self._begin(work, scope, key)

    @rule(which=st.integers(0, 9), key=KEYS, amount=st.sampled_from([None, 1, 30, 50, 4000]))
    def refund(self, which: int, key: str | None, amount: int | None) -> None:
        charges = run(self.world.all(Charge))
        if charges:
            charge = charges[which % len(charges)]
            body = {"charge": charge.id, "amount": amount}
            work = self.world.kpay.create_refund(charge.scope, body, idempotency_key=key)
            self._begin(work, charge.scope, key)

    @rule()
    def sweep(self) -> None:
        self.tasks.append(Task(self.world.kpay.sweep(), None))

    @rule(seconds=SECONDS)
    def time_moves(self, seconds: float) -> None:
        self.world.advance(seconds=seconds)
        self.stepped_back += max(timedelta(seconds=-seconds), timedelta(0))

    def _begin(self, work: Coroutine[Any, Any, Any], scope: Scope, key: str | None) -> None:
        self.tasks.append(Task(work, idempotency.key_id(scope, key) if key else None))

    # What becomes of it.

    @precondition(lambda self: self.tasks)
    @rule(which=st.integers(0, 9), calls=st.integers(1, 12))
    def goes_on(self, which: int, calls: int) -> None:
        self._step(which % len(self.tasks), calls)

    @precondition(lambda self: self.tasks)
    @rule(which=st.integers(0, 9))
    def comes_to_its_end(self, which: int) -> None:
        self._step(which % len(self.tasks), 100_000)

    @precondition(lambda self: self.tasks)
    @rule(which=st.integers(0, 9))
    def dies(self, which: int) -> None:
        self.tasks.pop(which % len(self.tasks)).work.close()

    def _step(self, which: int, calls: int) -> None:
        task = self.tasks[which]
        for _ in range(calls):
            try:
                wake = task.work.send(None)
            except StopIteration as stop:
                self._done(task, stop.value)
            except KpayError:
                self.tasks.remove(task)
            else:
                if wake is not None:
                    self.world.clock.move_to(wake)
                continue
            return

    def _done(self, task: Task, result: object) -> None:
        self.tasks.remove(task)
        if task.key and isinstance(result, Answer) and result.outcome is not Outcome.ACCEPTED:
            self.told.append((task.key, result.body))

    # Keys.

    @property
    def long_ago(self) -> datetime:
        """An end that no clock which is turned back undoes."""
        return datetime.min.replace(tzinfo=self.now.tzinfo)

    @rule(at_once=st.booleans())
    def rotates(self, at_once: bool) -> None:
        fresh = run(self.world.kpay.rotate_key(self.scopes[0].merchant, "test", at_once=at_once)).key
        end = self.long_ago if at_once else self.now + keys.GRACE
        self.opening = {key: until or end for key, until in self.opening.items()} | {fresh: None}

    @rule(which=st.integers(0, 9))
    def revokes(self, which: int) -> None:
        key = list(self.opening)[which % len(self.opening)]
        run(self.world.kpay.revoke_key(keys.key_hash(key)))
        self.opening[key] = self.long_ago

    @rule()
    def keys_open_what_they_should(self) -> None:
        for key, until in self.opening.items():
            try:
                assert run(self.world.kpay.authenticate(key)) == self.scopes[0]
                assert until is None or self.now < until
            except Unauthenticated:
                assert until is not None
                assert self.now >= until

    # What must be true at every moment.

    @invariant()
    def the_books_are_right(self) -> None:
        run(check_books(self.world, quiet=False))

    @invariant()
    def a_key_has_one_subject_and_one_answer_while_it_lives(self) -> None:
        for key in run(self.world.all(IdempotencyKey)):
            before = self.known.get(key.id)
            if before and before.subject != key.subject:
                expired = key.first_used_at >= before.first_used_at + idempotency.LIFE - self.stepped_back
                assert before.state is not State.ANSWERED or expired
            elif before and before.state is State.ANSWERED:
                assert key.answer == before.answer
            self.known[key.id] = Known(key.subject, key.first_used_at, key.state, key.answer)
            if key.answer is not None:
                self.kept.setdefault(key.id, set()).add(key.answer)

    @invariant()
    def what_was_told_is_what_was_kept(self) -> None:
        for key, body in self.told:
            assert body in self.kept.get(key, ())
        self.told.clear()

    @invariant()
    def nothing_is_captured_twice_for_a_key(self) -> None:
        captured = set(run(self.world.captured()))
        last: dict[str, datetime] = {}
        for charge in sorted(run(self.world.all(Charge)), key=lambda charge: charge.created_at):
            if charge.id in captured and charge.idempotency_key:
                before = last.get(charge.idempotency_key)
                life = idempotency.LIFE - self.stepped_back
                assert before is None or charge.created_at - before >= life
                last[charge.idempotency_key] = charge.created_at

    @rule()
    def nobody_sees_anothers(self) -> None:
        for scope, other in (self.scopes, self.scopes[::-1]):
            page = run(self.world.kpay.list_charges(scope, {"limit": 100}))
            assert all(charge.scope == scope for charge in page.data)
            for charge in page.data:
                with pytest.raises(NotFound):
                    run(self.world.kpay.get_charge(other, charge.id))

    def teardown(self) -> None:
        for task in self.tasks:
            task.work.close()
        run(self.world.settle())
        run(check_books(self.world))


TestPayments = Payments.TestCase
TestPayments.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
