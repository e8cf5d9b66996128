"""
Delivering: finding the endpoints that something is due for, and sending to one of them.

    look     read ── which endpoints have fresh deliveries, due retries, or a lane whose lease has lapsed
    serve    take the lane ── commit what is started ── send ── commit what has ended and what is started next ── …

Any number of processes may look and serve at once: a lane has one holder, and every step of it is one commit that
bumps the lane. A crash costs the attempts that were on their way, which are made again once the lease has lapsed.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from kpay_core.commit import Conflict, Record, Unavailable, Unknown, bump
from kpay_core.domain import deliveries, endpoints, lanes
from kpay_core.domain.deliveries import Delivery, Step
from kpay_core.domain.endpoints import Endpoint, Status
from kpay_core.domain.events import Event
from kpay_core.domain.lanes import Claim, Lane
from kpay_core.domain.posting import make_post
from kpay_core.domain.sending import MAX_IN_FLIGHT, Failure, Post, Reply
from kpay_core.flows.durably import commit
from kpay_core.flows.endpoints import unseal
from kpay_core.ports import Courier, Ports
from kpay_core.query import Condition, Query

# Endpoints found in one look, of either kind. Where more than so many have deliveries that nobody has attempted, those
# registered last wait until others have none, or for a hint.
MANY_LANES = 5_000

# Rows read at a time while looking. The rest of the last endpoint's rows is passed over: a backlog costs one page.
FRESH_PAGE = 200

# Deliveries of an endpoint read at a time: those on their way, and a few rounds of what comes next.
QUEUE_PAGE = 32

# Deliveries given up in one commit.
ABANDON_PAGE = 200

# How long nobody may nudge a lane that waits for replies, before it looks for something new by itself.
LISTEN_SECONDS = 1.0

# Later than anything that is scheduled, and a time that every database can hold.
EVER = timedelta(days=10_000)

INTERRUPTED = Reply(key="", status=None, failure=Failure.INTERRUPTED, answer="", milliseconds=0)


async def endpoints_due(ports: Ports) -> Sequence[str]:
    """
    Return the endpoints that somebody should serve now: those whose lane is due, then those with fresh deliveries.

    An endpoint that is served at the moment may be among them: serving it once more does nothing.
    """
    now = ports.clock.now()
    due: tuple[Condition, ...] = (("due_at", "<=", now),)
    found = await ports.store.find(Query(kind=Lane, where=due, order="due_at", limit=MANY_LANES))
    return tuple(dict.fromkeys([*(lane.id for lane in found), *await _with_fresh(ports, now)]))


async def _with_fresh(ports: Ports, now: datetime) -> list[str]:
    """Return the endpoints that have deliveries which were never attempted, whatever the backlog of any of them."""
    found: list[str] = []
    fresh: tuple[Condition, ...] = (("fresh_at", "<=", now),)
    while len(found) < MANY_LANES:
        after: tuple[Condition, ...] = (("endpoint", ">", found[-1]),) if found else ()
        page = await ports.store.find(
            Query(kind=Delivery, where=(*fresh, *after), order="endpoint", limit=FRESH_PAGE)
        )
        found.extend(dict.fromkeys(delivery.endpoint for delivery in page))
        if len(page) < FRESH_PAGE:
            break
    return found


async def serve_endpoint(
    ports: Ports, endpoint: str, courier: Courier, *, stop: Callable[[], bool] = lambda: False
) -> int:
    """
    Send what is due to one endpoint, up to 8 at a time, and return how many attempts were made.

    Returns when nothing is due any more, when somebody else holds the endpoint's lane, or after 20 seconds with a
    backlog, so that others get their turn. Starts nothing more once `stop` says so. `courier` must not be shared
    with another call.
    """
    lane = await ports.store.get(Lane, endpoint)
    held = await ports.store.get(Endpoint, endpoint)
    now = ports.clock.now()
    if lane is None or held is None or lanes.is_held(lane, now=now):
        return 0
    shift = Shift(ports, courier, held, lane, stop=stop, now=now)
    await shift.work()
    return shift.attempts


class Plan(msgspec.Struct, kw_only=True):
    """What one step writes down and starts. `again` asks for another step at once."""

    written: list[Record] = msgspec.field(default_factory=list[Record])
    ended: set[str] = msgspec.field(default_factory=set[str])
    starting: list[Delivery] = msgspec.field(default_factory=list[Delivery])
    again: bool = False


class Shift:
    """
    One worker's time at one lane.

    Only the holder of a lane writes its deliveries, so what was read of them stays true while the lane is held.
    """

    def __init__(
        self,
        ports: Ports,
        courier: Courier,
        endpoint: Endpoint,
        lane: Lane,
        *,
        stop: Callable[[], bool],
        now: datetime,
    ) -> None:
        self.ports = ports
        self.courier = courier
        self.endpoint = endpoint
        self.lane = lane
        # Whether somebody has written the lane since it was read.
        self.moved = False
        self.stop = stop
        self.holder = ports.ids.random_bytes(8).hex()
        self.ends_at = now + lanes.TURN
        self.attempts = 0
        # What is on its way, by delivery, as it was read and as it is claimed on the lane.
        self.under_way: dict[str, tuple[Delivery, Claim]] = {}
        # What has come back and is not written down yet.
        self.replies: list[Reply] = []
        # Those that are due next, as far as they were read, and whether there may be more.
        self.queue: list[Delivery] = []
        self.more = True
        # When the next of those that are not due yet will be, as far as is known.
        self.next_at: datetime | None = None
        self.lost = lanes.lost(lane)
        self.secrets: dict[str, str] = {}

    async def work(self) -> None:
        """Go step by step until nothing is left to do here, or the lane is another's."""
        try:
            while await self._step():
                pass
        except Unknown:
            # The database was out of reach for longer than it may be; the lease lapses, and others go on.
            return

    async def _step(self) -> bool:
        """Plan, commit, start, and wait for what comes back. False ends the shift."""
        try:
            if self.moved and not await self._is_still_ours():
                return False
            plan = await self._plan()
            posts = await self._posts(plan.starting)
            now = self.ports.clock.now()
            claims = [claim for id, (_, claim) in self.under_way.items() if id not in plan.ended]
            started = [(delivery, self._claim(delivery, now)) for delivery in plan.starting]
            claims += [claim for _, claim in started]
            if plan.written or plan.starting or not claims:
                rests = not claims and not plan.again
                lane = self._released(now) if rests else self._held(claims, now)
                if (
                    rests
                    and not plan.written
                    and (lane.holder, lane.due_at) == (self.lane.holder, self.lane.due_at)
                ):
                    return False
                await commit(self.ports, lane, *plan.written)
                self._note(lane, plan, started, posts)
            if self.lane.holder is None:
                return False
        except Conflict:
            self.moved = True
            return True
        except Unavailable:
            # What has come back is kept, as long as nobody else can have begun to send it again.
            self.queue, self.more = [], True
            await self.ports.clock.sleep(LISTEN_SECONDS)
            return self.lane.holder == self.holder and not lanes.is_due(self.lane, now=self.ports.clock.now())
        if self.under_way and not plan.again:
            came = await self.courier.replies(seconds=LISTEN_SECONDS)
            self.replies.extend(came)
            self.more = self.more or not came
            # A courier that has said nothing for a whole lease never will; whoever is next makes the attempts anew.
            return bool(came) or not lanes.is_due(self.lane, now=self.ports.clock.now())
        return True

    async def _plan(self) -> Plan:
        """Decide what to write down of what has come back, and what to do with those that are next."""
        plan = Plan()
        now = self.ports.clock.now()
        if self.endpoint.status is Status.ENABLED:
            await self._plan_starts(plan, now)
        else:
            await self._plan_end(plan, now)
        for reply in self.replies:
            delivery, claim = self.under_way[reply.key]
            plan.ended.add(reply.key)
            self._write_down(plan, delivery, reply, claim.since)
        return plan

    async def _plan_starts(self, plan: Plan, now: datetime) -> None:
        """Choose those that are due, up to the room there is; one that keeps killing its workers counts as missed."""
        if now >= self.ends_at or self.stop():
            return
        if not self.queue and self.more:
            await self._read_queue(now)
        room = MAX_IN_FLIGHT - len(self.under_way) + len(self.replies)
        while self.queue and len(plan.starting) < room:
            delivery = self.queue.pop(0)
            if delivery.attempts and deliveries.is_expired(delivery, now=now):
                plan.written.append(deliveries.abandon(delivery, Step.EXPIRED))
            elif self.lost.get(delivery.id, 0) >= lanes.MAX_LOST:
                self._write_down(plan, delivery, INTERRUPTED, now)
            else:
                plan.starting.append(delivery)

    async def _read_queue(self, now: datetime) -> None:
        page = await self._unfinished("next_attempt_at", QUEUE_PAGE)
        due = [delivery for delivery in page if delivery.next_attempt_at and delivery.next_attempt_at <= now]
        self.queue = [delivery for delivery in due if delivery.id not in self.under_way]
        self.more = len(due) == QUEUE_PAGE
        self.next_at = page[len(due)].next_attempt_at if len(due) < len(page) else None

    async def _plan_end(self, plan: Plan, now: datetime) -> None:
        """Abandon what a disabled endpoint keeps for too long, and all that a deleted one has."""
        self.queue, self.more = [], bool(self.replies)
        page = [d for d in await self._unfinished("expires_at", ABANDON_PAGE) if d.id not in self.under_way]
        if self.endpoint.status is Status.DELETED:
            ending, reason = page, Step.ENDPOINT_DELETED
        else:
            ending, reason = [d for d in page if deliveries.is_expired(d, now=now)], Step.EXPIRED
        plan.written.extend(deliveries.abandon(delivery, reason) for delivery in ending)
        if self.endpoint.status is Status.DISABLED:
            plan.written.extend(await self._noticed({delivery.id for delivery in ending}, now))
        plan.again = bool(plan.written)
        self.next_at = page[len(ending)].expires_at if len(ending) < len(page) else None

    async def _noticed(self, ending: set[str], now: datetime) -> list[Delivery]:
        """
        Note of fresh ones that they are known: the lane says when somebody must look.

        Else what waits at many disabled endpoints would hide what is fresh at others from those who look.
        """
        where: tuple[Condition, ...] = (("endpoint", "=", self.endpoint.id), ("fresh_at", "<=", now))
        fresh = await self.ports.store.find(
            Query(kind=Delivery, where=where, order="endpoint", limit=ABANDON_PAGE)
        )
        others = [d for d in fresh if d.id not in ending and d.id not in self.under_way]
        return [bump(delivery, fresh_at=None) for delivery in others]

    async def _unfinished(self, order: str, limit: int) -> Sequence[Delivery]:
        ever = self.ports.clock.now() + EVER
        # The first says that they are unfinished; the second, that an index in this order can answer.
        bounds: tuple[Condition, ...] = (("next_attempt_at", "<=", ever), (order, "<=", ever))
        where: tuple[Condition, ...] = (("endpoint", "=", self.endpoint.id), *dict.fromkeys(bounds))
        return await self.ports.store.find(Query(kind=Delivery, where=where, order=order, limit=limit))

    def _write_down(self, plan: Plan, delivery: Delivery, reply: Reply, started_at: datetime) -> None:
        noted, attempt = deliveries.note(delivery, reply, started_at=started_at)
        plan.written += [noted, attempt]
        if noted.next_attempt_at is not None:
            self.next_at = min(noted.next_attempt_at, self.next_at or noted.next_attempt_at)

    def _claim(self, delivery: Delivery, now: datetime) -> Claim:
        return Claim(delivery=delivery.id, since=now, lost=self.lost.get(delivery.id, 0))

    def _held(self, claims: Sequence[Claim], now: datetime) -> Lane:
        return lanes.hold(self.lane, claims, holder=self.holder, now=now)

    def _released(self, now: datetime) -> Lane:
        return lanes.release(self.lane, due_at=now if self.queue or self.more else self.next_at)

    def _note(
        self, lane: Lane, plan: Plan, started: Sequence[tuple[Delivery, Claim]], posts: Sequence[Post]
    ) -> None:
        """Take what is durable now for true, and send what was started."""
        self.lane = lane
        self.attempts += len(plan.ended)
        self.replies = []
        for id in plan.ended:
            del self.under_way[id]
        if started and self.ports.clock.now() - started[0][1].since >= lanes.START:
            # The endpoint may have changed since, and its merchant been told so.
            self.queue = [*plan.starting, *self.queue]
            plan.again = True
            return
        for (delivery, claim), post in zip(started, posts, strict=True):
            self.under_way[delivery.id] = delivery, claim
            self.courier.send(post)

    async def _is_still_ours(self) -> bool:
        """Find out why a step conflicted: the endpoint has changed, or the lane is another's."""
        lane = await self.ports.store.get(Lane, self.lane.id)
        endpoint = await self.ports.store.get(Endpoint, self.endpoint.id)
        assert lane is not None and endpoint is not None, "endpoints and lanes are never removed"
        if lane.holder != self.holder or lane.version == self.lane.version:
            return False
        self.lane, self.endpoint, self.moved = lane, endpoint, False
        self.queue, self.more = [], True
        return True

    async def _posts(self, starting: Sequence[Delivery]) -> list[Post]:
        """Make the requests, signed now."""
        if not starting:
            return []
        ids = tuple(delivery.event for delivery in starting)
        found = await self.ports.store.find(Query(kind=Event, where=(("id", "in", ids),), limit=len(ids)))
        bodies = {event.id: event.body for event in found}
        now = self.ports.clock.now()
        secrets = [self._secret(sealed) for sealed in endpoints.secrets_in_force(self.endpoint, now=now)]
        return [
            make_post(
                key=delivery.id,
                url=self.endpoint.url,
                event=delivery.event,
                body=bodies[delivery.event],
                secrets=secrets,
                now=now,
            )
            for delivery in starting
        ]

    def _secret(self, sealed: str) -> str:
        if sealed not in self.secrets:
            self.secrets[sealed] = unseal(self.ports, self.endpoint.id, sealed)
        return self.secrets[sealed]
