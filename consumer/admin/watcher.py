"""`consumer status --serve`: checks the application at intervals, and serves what it saw to Prometheus.

A worker cannot report that no worker runs. This process is not a worker: it reads what `consumer status` reads, with
read permissions only. Requests to AWS run on threads of their own, so a scrape never waits for AWS.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from consumer.admin import status_metrics
from consumer.admin.status import NOT_REQUESTED, Status
from consumer.engine.errors import Unavailable
from consumer.monitoring.metrics import OPEN_SHARDS, QUARANTINE_SIZE, RETENTION, STATUS_AT, WATCHER, Measurement
from consumer.monitoring.process_metrics import family
from consumer.monitoring.responses import MetricsPage, failed, health_response

SERVED = (OPEN_SHARDS, RETENTION, *WATCHER)
STALE_CHECKS = 5
"""Facts older than this many intervals are not served: one failed check leaves no gap, an outage does."""
QUARANTINE_SECONDS = 600.0
"""Time between two counts of the quarantine. A count needs one request per 1,000 records."""
RETRY_SECONDS = 60.0
"""The same after a failed count."""
HANG_SECONDS = 600.0
"""A check that takes longer hangs. While AWS does not answer, one of a hundred shards takes minutes."""

T = TypeVar("T")

log = logging.getLogger("consumer.watcher")


class Complaints:
    """Logs each cause once, until there is none."""

    def __init__(self, failure: str, recovery: str) -> None:
        self._failure = failure
        self._recovery = recovery
        self._known: set[str] = set()

    def report(self, causes: Collection[str]) -> None:
        """`causes`: all current ones."""
        for cause in sorted(set(causes) - self._known):
            log.warning(self._failure, extra={"cause": cause})
        if self._known and not causes:
            log.info(self._recovery)
        self._known = self._known | set(causes) if causes else set()


@dataclass(frozen=True, slots=True)
class _Fact(Generic[T]):
    """`at`: monotonic seconds at which it was read."""

    value: T
    at: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """In seconds: the time until the next call, the same after a failed call, and for how long a result is valid."""

    every: float
    retry: float
    valid: float


class Poll(Generic[T]):
    """Calls `read` repeatedly on one thread and keeps the last result, which other threads get without waiting.

    `clock`: monotonic seconds.
    """

    def __init__(
        self, read: Callable[[], T], schedule: Schedule, complaints: Complaints, clock: Callable[[], float]
    ) -> None:
        self._read = read
        self._schedule = schedule
        self._complaints = complaints
        self._clock = clock
        self._last: _Fact[T] | None = None
        self._beat = clock()
        self._failure = ""

    def start(self, stopped: threading.Event, name: str) -> None:
        threading.Thread(target=self._run, args=(stopped,), name=name, daemon=True).start()

    def poll(self) -> bool:
        """Reads once. Keeps the previous result on failure, and returns False."""
        self._beat = self._clock()
        try:
            self._last = _Fact(self._read(), self._clock())
        except Exception as error:  # noqa: BLE001 - without this thread, old facts would be all there ever is
            self._failure = str(error) if isinstance(error, Unavailable) else f"{type(error).__name__}: {error}"
        else:
            self._failure = ""
        self._complaints.report([self._failure] if self._failure else [])
        self._beat = self._clock()
        return not self._failure

    @property
    def last(self) -> T | None:
        """The last result, however old. None before the first."""
        return self._last.value if self._last else None

    @property
    def valid(self) -> T | None:
        """The last result, None if it is too old."""
        return self._last.value if self._last and self._clock() - self._last.at <= self._schedule.valid else None

    def hangs(self) -> list[str]:
        """The reason if the thread hangs."""
        silence = self._clock() - self._beat
        return [f"the check hangs for {silence:.0f} s"] if silence > self._schedule.every + HANG_SECONDS else []

    def missing(self) -> list[str]:
        """The reason if there is no valid result."""
        if self.valid is not None:
            return []
        age = f"for {self._clock() - self._last.at:.0f} s" if self._last else "yet"
        return [f"no successful check {age}{self._failure and ': '}{self._failure}"]

    def _run(self, stopped: threading.Event) -> None:
        while True:
            succeeded = self.poll()
            if stopped.wait(self._schedule.every if succeeded else self._schedule.retry):
                return


class Watcher:
    """The polls, and the endpoints that serve their results.

    look   reads the status
    count  counts the quarantine; raises Unavailable
    every  seconds between two checks
    """

    def __init__(
        self,
        look: Callable[[], Status],
        count: Callable[[], int],
        every: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._lags = Complaints("lag cannot be read", "lag can be read again")
        self.status = Poll(
            self._checked,
            Schedule(every, every, STALE_CHECKS * every),
            Complaints("status cannot be read", "status can be read again"),
            clock,
        )
        self.quarantine = Poll(
            count,
            Schedule(QUARANTINE_SECONDS, RETRY_SECONDS, 2 * QUARANTINE_SECONDS),
            Complaints("quarantine cannot be counted", "quarantine can be counted again"),
            clock,
        )
        registry = CollectorRegistry()
        registry.register(self)
        self._page = MetricsPage(registry)

    def start(self, stopped: threading.Event) -> None:
        """Starts the threads, which end some time after `stopped` is set."""
        self.status.start(stopped, "status")
        self.quarantine.start(stopped, "quarantine")

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Implements prometheus_client's Collector."""
        values: dict[object, list[tuple[tuple[str, ...], float]]] = defaultdict(list)
        for metric, value, labels in self._measurements():
            values[metric].append((labels, value))
        return (family(metric, values[metric]) for metric in SERVED)

    def app(self) -> Starlette:
        """The ASGI application. Its endpoints never wait, because they run on the thread of the server."""
        routes = {
            "/metrics": self._metrics,
            "/livez": self._livez,
            "/healthz": self._livez,
            "/readyz": self._readyz,
        }
        return Starlette(
            routes=[Route(path, endpoint) for path, endpoint in routes.items()], exception_handlers={Exception: failed}
        )

    def _checked(self) -> Status:
        found = self._look()
        unknown = {shard.lag.unknown for shard in found.shards} - {"", NOT_REQUESTED.unknown}
        self._lags.report(unknown)
        return found

    def _measurements(self) -> Iterator[Measurement]:
        if found := self.status.valid:
            yield from status_metrics.of_status(found)
        elif last := self.status.last:
            # The age of the last check must grow while everything else vanishes.
            yield Measurement(STATUS_AT, last.at)
        size = self.quarantine.valid
        if size is not None:
            yield Measurement(QUARANTINE_SIZE, size)

    async def _metrics(self, request: Request) -> Response:
        return self._page.response(request)

    async def _livez(self, _: Request) -> Response:
        # Counting may take long for a reason: the quarantine is large.
        return health_response(self.status.hangs())

    async def _readyz(self, _: Request) -> Response:
        return health_response(self.status.missing())
