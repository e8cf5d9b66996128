"""
Delivering: finding the endpoints that something is due for, and sending to one of them.

    look       read ── which endpoints have fresh deliveries, due retries, or a lane whose lease has lapsed
    deliver    take the lane ── commit what is started ── send ── commit what has ended and what is started next ── …

Any number of processes may look and deliver at once: a lane has one holder, and every step of it is one commit that
bumps the lane. A crash costs the attempts that were on their way, which are made again once the lease has lapsed.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from kpay_core.commit import Conflict, Unavailable, Unknown
from kpay_core.domain import endpoints, lanes, shifts
from kpay_core.domain.deliveries import Delivery
from kpay_core.domain.endpoints import Endpoint, Status
from kpay_core.domain.events import Event
from kpay_core.domain.lanes import Claim, Lane
from kpay_core.domain.posts import MAX_IN_FLIGHT, Post, Reply, make_post
from kpay_core.domain.shifts import Plan
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


async def endpoints_due(ports: Ports) -> Sequence[str]:
    """
    Return the endpoints that somebody should deliver to now: those whose lane is due, then those with fresh deliveries.

    One that is delivered to at the moment may be among them: to begin once more does nothing.
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


async def deliver_to(
    ports: Ports, endpoint: str, courier: Courier, *, stop: Callable[[], bool] = lambda: False
) -> int:
    """
    Send what is due to one endpoint, up to 8 at a time, and return how many attempts were made.

    Returns when nothing is due any more, when somebody else holds the endpoint's lane, or after 20 seconds with a
    backlog, so that others get their turn. Starts nothing more once `stop` says so. `courier` must not be shared
    with another call.
    """
    lane = await ports.store.get(Lane, endpoint)
    registered = await ports.store.get(Endpoint, endpoint)
    now = ports.clock.now()
    if lane is None or registered is None or lanes.is_held(lane, now=now):
        return 0
    shift = Shift(ports, courier, registered, lane, stop=stop, now=now)
    await shift.work()
    return shift.attempts


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
        # What they deliver, by event.
        self.bodies: dict[str, str] = {}
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
            plan, again = await self._plan()
            posts = self._posts(plan.starting)
            now, began = self.ports.clock.now(), self.ports.clock.monotonic()
            # Whose lease had lapsed holds it still, by a clock that was turned back meanwhile.
            if not lanes.may_hold(self.lane, holder=self.holder, now=now):
                return False
            claims = [claim for id, (_, claim) in self.under_way.items() if id not in plan.ended]
            claims += [shifts.claim(delivery, lost=self.lost, now=now) for delivery in plan.starting]
            lane = self._next_lane(claims, hold=again, now=now)
            if plan.written or plan.starting or (not claims and lanes.differ(lane, self.lane)):
                await commit(self.ports, lane, *plan.written)
                too_late = self.ports.clock.monotonic() - began >= lanes.START_WITHIN.total_seconds()
                again = self._note(lane, plan, claims, posts, too_late=too_late) or again
            if not self.under_way and not again:
                return False
        except Conflict:
            self.moved = True
            return True
        except Unavailable:
            # What has come back is kept, as long as nobody else can have begun to send it again.
            self.queue, self.more = [], True
            await self.ports.clock.sleep(LISTEN_SECONDS)
            return self.lane.holder == self.holder and not self._lease_is_over()
        return again or await self._listen()

    async def _listen(self) -> bool:
        """Wait for what comes back; a nudge, or a second in which nothing does, is a reason to look for more."""
        came = await self.courier.replies(seconds=LISTEN_SECONDS)
        self.replies.extend(came)
        self.more = self.more or not came
        # A courier that has said nothing for a whole lease never will; whoever is next makes the attempts anew.
        return bool(came) or not self._lease_is_over()

    def _lease_is_over(self) -> bool:
        return lanes.is_due(self.lane, now=self.ports.clock.now())

    async def _plan(self) -> tuple[Plan, bool]:
        """Decide what to write down and what to start; and whether there is more to do at once."""
        plan = Plan()
        now = self.ports.clock.now()
        again = False
        if self.endpoint.status is not Status.ENABLED:
            again = await self._plan_end(plan, now)
        elif now < self.ends_at and not self.stop():
            if not self.queue and self.more:
                await self._read_queue(now)
            room = MAX_IN_FLIGHT - len(self.under_way) + len(self.replies)
            self.queue = plan.start(self.queue, room=room, lost=self.lost, now=now)
        for reply in self.replies:
            delivery, claim = self.under_way[reply.key]
            plan.note(delivery, reply, started_at=claim.since)
        self.next_at = shifts.earlier(self.next_at, plan.next_at)
        return plan, again

    async def _read_queue(self, now: datetime) -> None:
        page = await self._unfinished("next_attempt_at", QUEUE_PAGE)
        due, self.next_at = shifts.due(page, now=now)
        queue = [delivery for delivery in due if delivery.id not in self.under_way]
        # All at once: a question for each would cost as much as its delivery.
        self.bodies = await self._read_bodies(queue)
        self.queue, self.more = queue, len(due) == QUEUE_PAGE

    async def _read_bodies(self, queue: Sequence[Delivery]) -> dict[str, str]:
        if not queue:
            return {}
        ids = tuple(delivery.event for delivery in queue)
        found = await self.ports.store.find(Query(kind=Event, where=(("id", "in", ids),), limit=len(ids)))
        return {event.id: event.body for event in found}

    async def _plan_end(self, plan: Plan, now: datetime) -> bool:
        """Do what is to be done for an endpoint that takes nothing; True where there may be more of it."""
        page = await self._unfinished("expires_at", ABANDON_PAGE)
        unfinished = [delivery for delivery in page if delivery.id not in self.under_way]
        self.next_at = plan.give_up(unfinished, self.endpoint.status, now=now)
        if self.endpoint.status is Status.DISABLED:
            where: tuple[Condition, ...] = (("endpoint", "=", self.endpoint.id), ("fresh_at", "<=", now))
            fresh = await self.ports.store.find(
                Query(kind=Delivery, where=where, order="endpoint", limit=ABANDON_PAGE)
            )
            plan.notice([delivery for delivery in fresh if delivery.id not in self.under_way])
        # What ends now may have to be given up in turn: whoever is next looks at once.
        self.queue, self.more = [], bool(self.replies)
        return bool(plan.written)

    async def _unfinished(self, order: str, limit: int) -> Sequence[Delivery]:
        ever = self.ports.clock.now() + EVER
        # The first says that they are unfinished; the second, that an index in this order can answer.
        bounds: tuple[Condition, ...] = (("next_attempt_at", "<=", ever), (order, "<=", ever))
        where: tuple[Condition, ...] = (("endpoint", "=", self.endpoint.id), *dict.fromkeys(bounds))
        return await self.ports.store.find(Query(kind=Delivery, where=where, order=order, limit=limit))

    def _next_lane(self, claims: Sequence[Claim], *, hold: bool, now: datetime) -> Lane:
        """Say on the lane what is on its way; let go of it where nothing is, unless it is to be held all the same."""
        if claims or hold:
            return lanes.hold(self.lane, claims, holder=self.holder, now=now)
        return lanes.release(self.lane, due_at=now if self.queue or self.more else self.next_at)

    def _note(
        self, lane: Lane, plan: Plan, claims: Sequence[Claim], posts: Sequence[Post], *, too_late: bool
    ) -> bool:
        """Take what is durable now for true, and send what was started. True where it is too late for that."""
        self.lane = lane
        self.attempts += len(self.replies)
        self.replies = []
        for id in plan.ended & self.under_way.keys():
            del self.under_way[id]
        started = claims[len(claims) - len(plan.starting) :]
        if started and too_late:
            # The endpoint may have changed since, and its merchant been told so.
            self.queue = [*plan.starting, *self.queue]
            return True
        for delivery, claim, post in zip(plan.starting, started, posts, strict=True):
            self.under_way[delivery.id] = delivery, claim
            self.courier.send(post)
        return False

    async def _is_still_ours(self) -> bool:
        """
        Find out why a step conflicted: the endpoint has changed, or the lane is another's.

        Where the lane is as we knew it, the conflict is none that going on would solve.
        """
        lane = await self.ports.store.get(Lane, self.lane.id)
        endpoint = await self.ports.store.get(Endpoint, self.endpoint.id)
        assert lane is not None and endpoint is not None, "endpoints and lanes are never removed"
        if lane.holder != self.holder or lane.version == self.lane.version:
            return False
        self.lane, self.endpoint, self.moved = lane, endpoint, False
        self.queue, self.more = [], True
        return True

    def _posts(self, starting: Sequence[Delivery]) -> list[Post]:
        """Make the requests, signed now."""
        if not starting:
            return []
        now = self.ports.clock.now()
        secrets = [self._secret(sealed) for sealed in endpoints.secrets_in_force(self.endpoint, now=now)]
        return [
            make_post(
                key=delivery.id,
                url=self.endpoint.url,
                event=delivery.event,
                body=self.bodies[delivery.event],
                secrets=secrets,
                now=now,
            )
            for delivery in starting
        ]

    def _secret(self, sealed: str) -> str:
        if sealed not in self.secrets:
            self.secrets[sealed] = unseal(self.ports, self.endpoint.id, sealed)
        return self.secrets[sealed]
