"""
Kicks over Dramatiq: the API's processes tell the workers that something is due, through Redis or RabbitMQ.

A kick names endpoints and nothing else. It is a hint: the database is the schedule, and the workers look there once a
second anyway. So a broker that is away, slow, flushed or full costs a second, and never a delivery; no request ever
waits for it, no message is delayed or retried, and a queue that nobody reads stays short.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import dramatiq
from dramatiq import Broker, Message, Worker
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AgeLimit

QUEUE = "kpay"
ACTOR = "drain"

# A kick that was not taken by then says nothing that looking has not found.
MAX_AGE_MILLISECONDS = 10_000

# Kicks that come together go out together. Far below the second after which workers look by themselves.
GATHER_SECONDS = 0.01

# Endpoints in one kick.
MAX_ENDPOINTS = 500

# Kicks in the queue beyond which no more are sent: nobody reads them.
MAX_QUEUED = 1000

# How long the broker may take to let us in and to answer, and the pause after it did not.
BROKER_SECONDS = 2
PAUSE_SECONDS = 1.0

# How long the worker may wait between two looks at an idle queue (Redis is polled).
IDLE_MILLISECONDS = 50

STOP_SECONDS = 5.0


def open_broker(url: str) -> Broker:
    """Make the broker that a URL names. Nothing is connected yet."""
    broker: Any
    if url.startswith("amqp"):
        limits = f"socket_timeout={BROKER_SECONDS}&blocked_connection_timeout={BROKER_SECONDS}"
        together = f"{url}{'&' if '?' in url else '?'}{limits}"
        broker = RabbitmqBroker(url=together, confirm_delivery=True, middleware=[])
    else:
        limits = f"socket_timeout={BROKER_SECONDS + IDLE_MILLISECONDS / 1000}&socket_connect_timeout={BROKER_SECONDS}"
        together = f"{url}{'&' if '?' in url else '?'}{limits}"
        broker = RedisBroker(url=together, middleware=[])
    # Without Dramatiq's own: they retry and time, and a kick wants neither.
    broker.add_middleware(AgeLimit(max_age=MAX_AGE_MILLISECONDS))
    return broker


class Kicker:
    """
    Sends kicks from a thread of its own; calling it is the `Wake` port.

    `on_failure` is called from that thread when a kick was not sent.
    """

    def __init__(self, broker: Broker, *, on_failure: Callable[[Exception], None]) -> None:
        self._broker = broker
        self._on_failure = on_failure
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
                return
            self._woken.clear()
            with self._lock:
                endpoints, self._waiting = list(self._waiting), {}
            try:
                self._send(endpoints)
            except Exception as failure:  # noqa: BLE001 - whatever a broker has, nothing depends on it
                self._on_failure(failure)
                self._stopping.wait(PAUSE_SECONDS)

    def _send(self, endpoints: list[str]) -> None:
        self._broker.declare_queue(QUEUE)
        if queued(self._broker) < MAX_QUEUED:
            kick = Message[None](queue_name=QUEUE, actor_name=ACTOR, args=(endpoints,), kwargs={}, options={})
            cast(Any, self._broker).enqueue(kick)


def queued(broker: Broker) -> int:
    """Count the kicks that nobody has taken yet."""
    found = cast(Any, broker)
    if isinstance(broker, RedisBroker):
        return int(found.client.llen(f"{found.namespace}:{QUEUE}"))
    return int(found.get_queue_message_counts(QUEUE)[0])


class Kicked:
    """Takes kicks from the broker, and passes them on into an event loop."""

    def __init__(
        self, broker: Broker, wake: Callable[[Sequence[str]], None], *, loop: asyncio.AbstractEventLoop
    ) -> None:
        def drain(endpoints: list[str]) -> None:
            loop.call_soon_threadsafe(wake, endpoints)

        self._broker = broker
        cast(Any, dramatiq.actor)(drain, actor_name=ACTOR, queue_name=QUEUE, broker=broker)
        self._worker = Worker(broker, queues={QUEUE}, worker_threads=1, worker_timeout=IDLE_MILLISECONDS)

    def start(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        self._worker.stop(timeout=int(STOP_SECONDS * 1000))
        self._broker.close()
