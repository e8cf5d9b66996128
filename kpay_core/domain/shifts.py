"""What a worker does next at a lane it holds: which deliveries it starts, writes down, or gives up."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from kpay_core.commit import Record, bump
from kpay_core.domain import deliveries, endpoints, lanes
from kpay_core.domain.deliveries import Delivery, Step
from kpay_core.domain.lanes import Claim
from kpay_core.domain.posts import Failure, Reply

INTERRUPTED = Reply(key="", status=None, failure=Failure.INTERRUPTED, answer="", milliseconds=0)


class Plan(msgspec.Struct, kw_only=True):
    """
    One step at a lane: what is written down with it, and what is started once it is durable.

    `ended` names what is no longer on its way, `next_at` the first retry that the step makes due.
    """

    written: list[Record] = msgspec.field(default_factory=list[Record])
    ended: set[str] = msgspec.field(default_factory=set[str])
    starting: list[Delivery] = msgspec.field(default_factory=list[Delivery])
    next_at: datetime | None = None

    def note(self, delivery: Delivery, reply: Reply, *, started_at: datetime) -> None:
        """Write down what came of an attempt."""
        noted, attempt = deliveries.note(delivery, reply, started_at=started_at)
        self.written += [noted, attempt]
        self.ended.add(delivery.id)
        self.next_at = earlier(self.next_at, noted.next_attempt_at)

    def start(
        self, queue: Sequence[Delivery], *, room: int, lost: Mapping[str, int], now: datetime
    ) -> list[Delivery]:
        """
        Choose of those that are due as many as there is room for, and return the others.

        One whose time is over since its last attempt is given up. One that keeps killing its workers has missed.
        """
        for place, delivery in enumerate(queue):
            if len(self.starting) >= room:
                return list(queue[place:])
            if delivery.attempts and deliveries.is_expired(delivery, now=now):
                self.written.append(deliveries.abandon(delivery, Step.EXPIRED))
            elif lost.get(delivery.id, 0) >= lanes.MAX_LOST:
                self.note(delivery, INTERRUPTED, started_at=now)
            else:
                self.starting.append(delivery)
        return []

    def give_up(
        self, unfinished: Sequence[Delivery], status: endpoints.Status, *, now: datetime
    ) -> datetime | None:
        """
        Give up what an endpoint that takes nothing must not keep; return when the next of it will be.

        A deleted endpoint keeps nothing, a disabled one what has not expired. They come in the order of expiry.
        """
        for delivery in unfinished:
            if status is endpoints.Status.DELETED:
                self.written.append(deliveries.abandon(delivery, Step.ENDPOINT_DELETED))
            elif deliveries.is_expired(delivery, now=now):
                self.written.append(deliveries.abandon(delivery, Step.EXPIRED))
            else:
                return delivery.expires_at
        return None

    def notice(self, fresh: Sequence[Delivery]) -> None:
        """
        Note of deliveries which wait at a disabled endpoint that they are known: the lane says when somebody must look.

        Else they would hide what is fresh at others from those who look.
        """
        known = {record.id for record in self.written}
        self.written += [bump(delivery, fresh_at=None) for delivery in fresh if delivery.id not in known]


def claim(delivery: Delivery, *, lost: Mapping[str, int], now: datetime) -> Claim:
    """Say on the lane that a delivery is being attempted."""
    return Claim(delivery=delivery.id, since=now, lost=lost.get(delivery.id, 0))


def due(page: Sequence[Delivery], *, now: datetime) -> tuple[list[Delivery], datetime | None]:
    """Part those that are due now from the rest, of which the first is due at the time returned."""
    ready = [delivery for delivery in page if delivery.next_attempt_at and delivery.next_attempt_at <= now]
    return ready, page[len(ready)].next_attempt_at if len(ready) < len(page) else None


def earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    """Return the earlier of two times, where None is never."""
    return min((time for time in (one, other) if time is not None), default=None)
