"""
Kicks over Dramatiq: the API's processes tell the workers that something is due, through Redis or RabbitMQ.

A kick names endpoints and nothing else. It is a hint: the database is the schedule, and the workers look there once a
second anyway. So a broker that is away, slow, flushed or full costs a second, and never a delivery; no request ever
waits for it, no message is delayed or retried, and a queue that nobody reads stays short.

Of Dramatiq these are its brokers, messages and consumers. Its `Worker` retries and keeps what failed, waits for its
broker before it stops, and logs a stack trace a second while that is away: a kick wants none of it.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from dramatiq import Broker, Message
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker

QUEUE = "kpay"
ACTOR = "drain"

# A kick that was not taken by then says nothing that looking has not found.
MAX_AGE_SECONDS = 10

# Kicks that come together go out together: twenty a second cost a busy server nothing, and are far below the second
# after which workers look by themselves.
GATHER_SECONDS = 0.05

# Endpoints in one kick.
MAX_ENDPOINTS = 500

# Kicks in the queue beyond which no more are sent: nobody reads them.
MAX_QUEUED = 1000

# Kicks that a worker holds without having looked at them. Passing one on takes microseconds.
PREFETCH = 16

# How long the broker may take to let us in and to answer, and the pause after it did not.
BROKER_SECONDS = 2
PAUSE_SECONDS = 1.0

# How long the worker may wait between two looks at an idle queue (Redis is polled).
IDLE_MILLISECONDS = 50

STOP_SECONDS = 5.0

# Told after each contact with the broker, in a thread: what went wrong, or None.
OnContact = Callable[[Exception | None], None]


def say_nothing(failure: Exception | None) -> None:
    """Tell nobody how it goes with the broker."""


def open_broker(url: str) -> Broker:
    """Make the broker that a URL names. Nothing is connected yet."""
    # What they have to say about a broker that is away, again and again, we say ourselves, once.
    for name in ("dramatiq", "pika"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    # Without Dramatiq's own middleware: it retries and times, and a kick wants neither.
    broker: Any
    if url.startswith("amqp"):
        limits = "&".join(
            f"{name}={BROKER_SECONDS}"
            for name in ("socket_timeout", "stack_timeout", "blocked_connection_timeout")
        )
        broker = RabbitmqBroker(url=_with(url, limits), confirm_delivery=True, middleware=[])
    else:
        limits = f"socket_timeout={BROKER_SECONDS}&socket_connect_timeout={BROKER_SECONDS}"
        broker = RedisBroker(url=_with(url, limits), middleware=[])
    return broker


def _with(url: str, options: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{options}"


class Kicker:
    """Sends kicks from a thread of its own; calling it is the `Wake` port."""

    def __init__(self, broker: Broker, *, on_contact: OnContact = say_nothing, queue: str = QUEUE) -> None:
        self._broker = broker
        self._on_contact = on_contact
        self._queue = queue
        self._waiting: dict[str, None] = {}
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kicks", daemon=True)

    def __call__(self, endpoints: Sequence[str]) -> None:
        with self._lock:
            if len(self._waiting) < MAX_ENDPOINTS:
                self._waiting.update(dict.fromkeys(endpoints))
        self._woken.set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop sending; what is waiting is left to the workers' own looking."""
        self._stopping.set()
        self._woken.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while True:
            self._woken.wait()
            self._stopping.wait(GATHER_SECONDS)
            if self._stopping.is_set():
                break
            self._woken.clear()
            with self._lock:
                endpoints, self._waiting = list(self._waiting), {}
            try:
                self._send(endpoints)
                self._on_contact(None)
            except Exception as failure:  # noqa: BLE001 - whatever a broker has, nothing depends on it
                self._on_contact(failure)
                self._stopping.wait(PAUSE_SECONDS)
        hang_up(self._broker)

    def _send(self, endpoints: list[str]) -> None:
        try:
            self._offer(endpoints)
        except Exception:  # noqa: BLE001 - the second time it is raised
            # Brokers close connections that were idle, and say so when we come to use them.
            hang_up(self._broker)
            try:
                self._offer(endpoints)
            except Exception:
                hang_up(self._broker)
                raise

    def _offer(self, endpoints: list[str]) -> None:
        self._broker.declare_queue(self._queue)
        if queued(self._broker, self._queue) < MAX_QUEUED:
            kick = Message[None](
                queue_name=self._queue, actor_name=ACTOR, args=(endpoints,), kwargs={}, options={}
            )
            cast(Any, self._broker).enqueue(kick)


def queued(broker: Broker, queue: str = QUEUE) -> int:
    """Count the kicks that nobody has taken yet."""
    found = cast(Any, broker)
    if isinstance(broker, RedisBroker):
        return int(found.client.llen(f"{found.namespace}:{queue}"))
    return int(found.get_queue_message_counts(queue)[0])


def hang_up(broker: Broker) -> None:
    """Close this thread's connection; what it asks of the broker next is asked over a new one."""
    if isinstance(broker, RabbitmqBroker):
        # Dramatiq drops one that is broken when it enqueues, but not when it counts.
        del broker.connection
    else:
        cast(Any, broker).client.connection_pool.disconnect()


class Kicked:
    """Takes kicks from the broker in a thread of its own, and passes them on into an event loop."""

    def __init__(
        self,
        broker: Broker,
        wake: Callable[[Sequence[str]], None],
        *,
        loop: asyncio.AbstractEventLoop,
        on_contact: OnContact = say_nothing,
        queue: str = QUEUE,
    ) -> None:
        self._broker = broker
        self._wake = wake
        self._loop = loop
        self._on_contact = on_contact
        self._queue = queue
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kicked", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Pass nothing on any more."""
        self._stopping.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._take()
            except Exception as failure:  # noqa: BLE001 - whatever a broker has, nothing depends on it
                if self._stopping.is_set():
                    break
                self._on_contact(failure)
                self._stopping.wait(PAUSE_SECONDS)
        hang_up(self._broker)

    def _take(self) -> None:
        consumer: Any = cast(Any, self._broker).consume(
            self._queue, prefetch=PREFETCH, timeout=IDLE_MILLISECONDS
        )
        try:
            for kick in consumer:
                if self._stopping.is_set():
                    return
                self._on_contact(None)
                if kick is not None:
                    consumer.ack(kick)
                    self._pass_on(kick)
        finally:
            consumer.close()

    def _pass_on(self, kick: Message[None]) -> None:
        if time.time() - kick.message_timestamp / 1000 < MAX_AGE_SECONDS:
            self._loop.call_soon_threadsafe(self._wake, list[str](kick.args[0]))
