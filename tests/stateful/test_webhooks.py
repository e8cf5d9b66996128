"""
Anything at any time: endpoints that come, change and go, servers that answer, fail, hang or swallow, workers that stop
between any two calls and go on later or never. After every step what the contract promises of deliveries must be true.
"""

import os
from collections.abc import Coroutine
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kpay_adapters.testing import accept, answer
from kpay_core.domain import endpoints, signing
from kpay_core.domain.charges import Charge
from kpay_core.domain.deliveries import Delivery
from kpay_core.domain.errors import Invalid
from kpay_core.domain.events import Event
from kpay_core.domain.lanes import LEASE, START_WITHIN, Lane
from kpay_core.domain.posts import Post
from kpay_core.flows.endpoints import NewSecret
from tests.flows.world import DECLINED, GOOD, ExactClock, Stepped, World, check_deliveries

T = TypeVar("T")

# Many times more in the long run.
ROUNDS = int(os.environ.get("KPAY_FAULT_ROUNDS", "0"))

MODES = st.sampled_from(["accept", "accept", "500", "hang", "swallow"])
EVENTS = st.sampled_from([["*"], ["charge.succeeded"], ["charge.failed", "refund.created"], ["payout.paid"]])
# A look, the grace of a change, an attempt, a lease, each retry, and the life of a delivery.
SECONDS = st.sampled_from([0.5, 1, 5, 15, 44, 45, 61, 331, 1981, 3600, 8000, 24_000, 45_000, 90_000, 259_200])


class Hook(NamedTuple):
    """What a merchant knows of an endpoint."""

    id: str
    url: str
    events: list[str]
    status: str
    # Each with the time until which it is in force, once it was rotated.
    secrets: list[tuple[str, datetime | None]]
    old_url: str
    changed_at: datetime


class Webhooks(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World(clock=ExactClock())
        self.run(self.world.open())
        self.sound = self.world.store
        self.world.receiver = self.receive
        self.hooks: dict[str, Hook] = {}
        self.modes: dict[str, str] = {}
        self.workers: list[Coroutine[Any, Any, Any]] = []
        self.owed: set[tuple[str, str]] = set()
        self.resent: set[str] = set()
        self.last_post: dict[str, datetime] = {}

    @property
    def now(self) -> datetime:
        return self.world.clock.now()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something to its end; its sleeps let time pass for all."""
        for _ in range(100_000):
            try:
                wakes = work.send(None)
            except StopIteration as stop:
                return stop.value
            if wakes:
                self.world.clock.move_to(wakes)
        raise AssertionError("it never ends")

    # The merchants' servers.

    def receive(self, post: Post) -> Any:
        delivery = self.run(self.sound.get(Delivery, post.key))
        assert delivery is not None
        hook = self.hooks[delivery.endpoint]
        assert hook.status == "enabled", "sent after the merchant was told that nothing is"
        fresh = self.now - hook.changed_at < START_WITHIN
        assert post.url == hook.url or (fresh and post.url == hook.old_url)
        in_force = [secret for secret, until in hook.secrets if until is None or self.now < until]
        assert any(self.verifies(post, secret) for secret in in_force)
        before = self.last_post.get(post.key)
        assert before is None or self.now - before >= LEASE - START_WITHIN, "sent twice under one lease"
        self.last_post[post.key] = self.now
        match self.modes.get(hook.id, "accept"):
            case "accept":
                return accept(post)
            case "500":
                return answer(post, 500)
            case "hang":
                return timedelta(seconds=15)
            case _:
                return None

    def verifies(self, post: Post, secret: str) -> bool:
        try:
            signed_at = signing.verify(post.body, post.headers[signing.HEADER], secret, now=self.now)
        except signing.NoMatch:
            return False
        assert self.now - signed_at < START_WITHIN + timedelta(seconds=1), "signed anew for each attempt"
        return True

    # What merchants do.

    @initialize(mode=st.sampled_from(["accept", "500", "hang"]))
    def there_is_one_endpoint(self, mode: str) -> None:
        self.registers(["*"])
        self.modes = dict.fromkeys(self.hooks, mode)

    @precondition(lambda self: len(self.hooks) < 4)
    @rule(events=EVENTS)
    def registers(self, events: list[str]) -> None:
        new: NewSecret = self.run(self.world.endpoint(*events))
        secrets: list[tuple[str, datetime | None]] = [(new.secret, None)]
        url = new.endpoint.url
        self.hooks[new.endpoint.id] = Hook(new.endpoint.id, url, events, "enabled", secrets, url, self.now)

    @rule(which=st.integers(0, 3), events=st.none() | EVENTS, host=st.sampled_from([None, "a", "b"]))
    def changes(self, which: int, events: list[str] | None, host: str | None) -> None:
        if hook := self.one_of_them(which):
            url = host and f"https://{host}.example/"
            self.run(self.world.patch(hook.id, enabled_events=events, url=url))
            self.hooks[hook.id] = hook._replace(
                url=url or hook.url, old_url=hook.url, events=events or hook.events, changed_at=self.now
            )

    @rule(which=st.integers(0, 3), status=st.sampled_from(["enabled", "disabled"]))
    def switches(self, which: int, status: str) -> None:
        if hook := self.one_of_them(which):
            self.run(self.world.patch(hook.id, status=status))
            self.hooks[hook.id] = hook._replace(status=status)

    @rule(which=st.integers(0, 3))
    def deletes(self, which: int) -> None:
        if hook := self.one_of_them(which):
            self.run(self.world.kpay.delete_endpoint(self.world.scope, hook.id))
            self.hooks[hook.id] = hook._replace(status="deleted")

    @rule(which=st.integers(0, 3))
    def rotates(self, which: int) -> None:
        if hook := self.one_of_them(which):
            secret = self.run(self.world.kpay.rotate_endpoint_secret(self.world.scope, hook.id)).secret
            until = self.now + endpoints.ROTATION
            kept = [(hook.secrets[-1][0], until)]
            self.hooks[hook.id] = hook._replace(secrets=[*kept, (secret, None)])

    @rule(number=st.sampled_from([GOOD, GOOD, DECLINED]), many=st.sampled_from([1, 1, 1, 4]))
    def charges(self, number: str, many: int) -> None:
        for _ in range(many):
            self.happens(self.world.charge(number))

    @rule(which=st.integers(0, 9))
    def refunds(self, which: int) -> None:
        good = [charge for charge in self.run(self.world.all(Charge)) if charge.status == "succeeded"]
        if good:
            self.happens(self.refund(good[which % len(good)].id))

    async def refund(self, charge: str) -> None:
        # The third of them is too much.
        with suppress(Invalid):
            await self.world.refund(charge, amount=2000)

    def happens(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let something happen, and owe its events to whoever wants them."""
        known = {event.id for event in self.run(self.world.all(Event))}
        self.run(work)
        for event in self.run(self.world.all(Event)):
            if event.id not in known:
                self.owed |= {(event.id, hook.id) for hook in self.wanting(event.type)}

    def wanting(self, type: str) -> list[Hook]:
        return [
            hook
            for hook in self.hooks.values()
            if hook.status == "enabled" and {"*", type} & set(hook.events)
        ]

    @rule(which=st.integers(0, 9))
    def resends(self, which: int) -> None:
        events = self.run(self.world.all(Event))
        if events:
            event = events[which % len(events)]
            made = self.run(self.world.kpay.resend_event(self.world.scope, event.id, {}))
            assert {each.endpoint for each in made} == {hook.id for hook in self.wanting(event.type)}
            self.resent |= {each.id for each in made}

    def one_of_them(self, which: int) -> Hook | None:
        there = [hook for hook in self.hooks.values() if hook.status != "deleted"]
        return there[which % len(there)] if there else None

    # What servers, workers and time do.

    @rule(which=st.integers(0, 3), mode=MODES)
    def a_server_behaves(self, which: int, mode: str) -> None:
        if hook := self.one_of_them(which):
            self.modes[hook.id] = mode

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds=seconds)

    @precondition(lambda self: len(self.workers) < 4)
    @rule()
    def workers_look(self) -> None:
        for endpoint in self.run(self.world.kpay.endpoints_due())[:2]:
            self.begins(endpoint)

    @precondition(lambda self: len(self.workers) < 4)
    @rule(which=st.integers(0, 3))
    def a_worker_is_sent_for_nothing(self, which: int) -> None:
        if self.hooks:
            self.begins(list(self.hooks)[which % len(self.hooks)])

    def begins(self, endpoint: str) -> None:
        stepped: Any = Stepped(self.sound)
        kpay = self.world.kpay
        process = type(kpay)(
            store=stepped,
            processors=kpay.processors,
            clock=kpay.clock,
            ids=kpay.ids,
            keyring=kpay.keyring,
        )
        self.workers.append(process.deliver_to(endpoint, self.world.courier()))

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 9), calls=st.integers(1, 12))
    def a_worker_goes_on(self, which: int, calls: int) -> None:
        work = self.workers[which % len(self.workers)]
        for _ in range(calls):
            try:
                wakes = work.send(None)
            except StopIteration:
                self.workers.remove(work)
                return
            if wakes:
                self.world.clock.move_to(wakes)

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 9))
    def a_worker_dies(self, which: int) -> None:
        self.workers.pop(which % len(self.workers)).close()

    @rule()
    def one_round_of_work(self) -> None:
        self.run(self.world.work())

    # What must be true at every moment.

    @invariant()
    def everything_pending_will_be_found_in_time(self) -> None:
        self.run(check_deliveries(self.world))

    @invariant()
    def each_event_is_on_its_way_to_whoever_wanted_it_when_it_happened(self) -> None:
        sent = [each for each in self.run(self.world.all(Delivery)) if each.id not in self.resent]
        assert {(each.event, each.endpoint) for each in sent} == self.owed
        assert len(sent) == len(self.owed)

    @invariant()
    def what_is_given_up_has_its_reason(self) -> None:
        for each in self.run(self.world.all(Delivery)):
            match each.reason:
                case "endpoint_deleted":
                    assert self.hooks[each.endpoint].status == "deleted"
                case "exhausted":
                    assert each.attempts >= 1
                case "expired":
                    assert self.now >= each.expires_at

    def teardown(self) -> None:
        for work in self.workers:
            work.close()
        # What takes long, nine times over for each delivery, was seen by now.
        self.modes = {id: "500" if mode == "500" else "accept" for id, mode in self.modes.items()}
        self.run(self.world.deliver())
        self.run(check_deliveries(self.world))
        self.each_event_is_on_its_way_to_whoever_wanted_it_when_it_happened()
        assert not [each for each in self.run(self.world.all(Delivery)) if each.status == "pending"]
        assert not [lane for lane in self.run(self.world.all(Lane)) if lane.due_at]


TestWebhooks = Webhooks.TestCase
TestWebhooks.settings = settings(
    max_examples=ROUNDS * 100 or 60,
    stateful_step_count=40,
    deadline=None,
    derandomize=not ROUNDS,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
