"""What a process counts, for Prometheus. Labels are few and known beforehand: routes, never paths or names."""

from collections.abc import Generator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, start_http_server

# From a replay out of the page cache to the processor's 30 s.
BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

METHODS = frozenset({"GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS"})


class Metrics:
    """The counters of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "kpay_request_seconds",
            "How long requests took.",
            ("method", "route", "status"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._series: dict[tuple[str, str, int], Histogram] = {}
        self._swept = Counter(
            "kpay_sweep_finished",
            "Charges, refunds, disputes, payouts and notices that the sweeper finished.",
            registry=self.registry,
        )
        self._overdue = Counter(
            "kpay_sweep_overdue",
            "Looks at what should have its outcome by now: somebody should look, too.",
            registry=self.registry,
        )
        self._news = Counter(
            "kpay_news", "News of the card network that were taken in.", registry=self.registry
        )
        self._matured = Counter(
            "kpay_matured_charges", "Charges whose funds can be paid out since.", registry=self.registry
        )
        self._payouts = Counter("kpay_payouts", "Payouts that were made.", registry=self.registry)
        self._limiter_failures = Counter(
            "kpay_rate_limiter_failures",
            "Requests that passed uncounted because the shared counter was away.",
            registry=self.registry,
        )
        self._attempts = Counter(
            "kpay_delivery_attempts",
            "Attempts to deliver an event, by what came of them.",
            ("outcome",),
            registry=self.registry,
        )
        self._drain_failures = Counter(
            "kpay_drain_failures",
            "Rounds of delivering that ended in an error and were begun anew.",
            registry=self.registry,
        )
        self._kick_failures = Counter(
            "kpay_kick_failures",
            "Hints to the workers that the broker did not take; they look by themselves.",
            registry=self.registry,
        )

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        series = self._series.get((method, route, status))
        if series is None:
            known = method if method in METHODS else "other"
            series = self._requests.labels(known, route, status)
            if known == method:
                # Few, because all three are: finding one by its labels costs more than counting.
                self._series[method, route, status] = series
        series.observe(seconds)

    def count_sweep(self, finished: int, overdue: int) -> None:
        self._swept.inc(finished)
        self._overdue.inc(overdue)

    def count_settling(self, news: int, matured: int, payouts: int) -> None:
        self._news.inc(news)
        self._matured.inc(matured)
        self._payouts.inc(payouts)

    def count_limiter_failure(self) -> None:
        self._limiter_failures.inc()

    def count_attempt(self, outcome: str) -> None:
        self._attempts.labels(outcome).inc()

    def count_drain_failure(self) -> None:
        self._drain_failures.inc()

    def count_kick_failure(self) -> None:
        self._kick_failures.inc()

    @contextmanager
    def served(self, host: str, port: int) -> Generator[int]:
        """Serve them over HTTP from a thread, for a process that serves nothing else; yields the port."""
        server, thread = start_http_server(port, host, registry=self.registry)
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def text(self) -> bytes:
        """Return everything in the Prometheus text format."""
        return generate_latest(self.registry)
