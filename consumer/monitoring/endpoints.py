"""The HTTP endpoints of the worker: /metrics for Prometheus; /healthz, /livez and /readyz for orchestrators.

Each record processor writes its metrics to files in the metrics directory. This is prometheus_client's multiprocess
mode, which PROMETHEUS_MULTIPROC_DIR enables if it is set before the first import. The supervisor must not be in that
mode. It sets the variable for its children only, keeps its own metrics in memory, and serves both from one registry.
Therefore the order of imports does not matter here.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from consumer.monitoring.multiprocess_files import MultiprocessFiles
from consumer.monitoring.process_metrics import ProcessMetrics
from consumer.monitoring.responses import MetricsPage, failed, health_response

BEAT_SECONDS = 30.0
"""A supervisor whose loop has not run for this long hangs."""
DOWN_SECONDS = 90.0
"""A daemon that has been down for this long will not return: the longest pause before a restart is half of it."""
STILL_SECONDS = 60.0
"""A JVM that has shown no sign of life for this long hangs or is stopped. A live one shows some every few seconds."""


@dataclass(frozen=True, slots=True)
class Health:
    """State of the worker, as the supervisor last saw it.

    beat            time.monotonic() of the last round of the supervisor's loop
    daemon          process id of the JVM, None while it is not running
    since           time.monotonic() when `daemon` last changed
    ended           exit code of the previous JVM if it exited unexpectedly, or 128 plus the signal
    initialised     the JVM has logged that it is initialised
    initialised_at  time.monotonic() when it did
    still           seconds for which the JVM has shown no sign of life
    stopping        the worker is shutting down
    """

    beat: float
    daemon: int | None = None
    since: float = 0.0
    ended: int | None = None
    initialised: bool = False
    initialised_at: float = 0.0
    still: float = 0.0
    stopping: bool = False


class Leases(Protocol):
    """What the exporter needs to know of the leases that this worker owns. Any thread may call it."""

    def reasons(self, living: Collection[str]) -> list[str]:
        """Why the worker is not ready, given the shards that have a record processor."""

    def unread(self, reading: Collection[str]) -> list[str]:
        """Which leases are not read, given the shards that have received a batch."""


class NoLeases:
    """Of a worker whose leases are not looked at."""

    def reasons(self, _living: Collection[str]) -> list[str]:
        return []

    def unread(self, _reading: Collection[str]) -> list[str]:
        return []


def liveness_failures(
    health: Health, heartbeats: Mapping[str, float], hang_seconds: float, now: float, beat: float
) -> list[str]:
    """Reasons to replace the container. Empty if the worker is alive.

    `heartbeats` are Unix seconds of the busy record processors by shard, `now` is Unix seconds, `beat` is from the
    monotonic clock. A daemon that is being restarted is not a reason: the supervisor exits when the restart budget is
    used up. Nor is an outage of AWS: heartbeats continue while a record processor waits for a table, and one that gets
    no records because Kinesis is unavailable is not busy.
    """
    reasons = []
    if beat - health.beat > BEAT_SECONDS:
        reasons.append("the supervisor hangs")
    if health.daemon is None and not health.stopping and beat - health.since > DOWN_SECONDS:
        reasons.append(f"the daemon has not run for {beat - health.since:.0f} s")
    if health.daemon is not None and not health.stopping and health.still > STILL_SECONDS:
        reasons.append(f"the JVM has been still for {health.still:.0f} s")
    ages = {shard: now - last for shard, last in heartbeats.items()}
    silent = [f"{shard} has been silent for {age:.0f} s" for shard, age in ages.items() if age > hang_seconds]
    return reasons + [f"the record processor of {each}" for each in silent]


def readiness_failures(health: Health, shards: Collection[str]) -> list[str]:
    """Reasons why the worker is not ready. Empty if it is ready.

    The worker is ready when a record processor is running. A worker without a shard is ready when KCL has logged that
    it is initialised. KCL logs this after it has used every table and permission, and the jars are pinned by hash.
    """
    if health.stopping:
        return ["the worker is stopping"]
    if health.daemon is None:
        last = "" if health.ended is None else f": the last one ended with {health.ended}"
        return [f"the daemon is not running{last}"]
    return [] if shards or health.initialised else ["the daemon is not initialised yet"]


def start_failures(health: Health, healthy_after: float, beat: float) -> list[str]:
    """Reasons why the start has not succeeded yet. The daemon must have run for a while after it initialised.

    Only then does it start to read. On a slow machine initialising may take longer than `healthy_after`.
    """
    if failures := readiness_failures(health, ()):
        return failures
    lived = beat - health.initialised_at
    return [] if lived >= healthy_after else [f"the daemon has been initialised for {lived:.0f} of {healthy_after:g} s"]


@dataclass(frozen=True, slots=True)
class Seconds:
    """Settings of the checks.

    hang           a busy record processor that is silent for this long hangs
    healthy_after  how long an initialised daemon must run until its worker is healthy
    """

    hang: float
    healthy_after: float


class Exporter:
    """Serves the files in `directory`, the metrics of the supervisor (`own`), and the result of `health`."""

    def __init__(
        self,
        directory: Path,
        own: Collector,
        health: Callable[[], Health],
        seconds: Seconds,
        leases: Leases,
    ) -> None:
        self._files = MultiprocessFiles(directory)
        self._registry = CollectorRegistry()
        for collector in (own, self._files, ProcessMetrics(self._files.beats, lambda: health().daemon)):
            self._registry.register(collector)
        self._health = health
        self._seconds = seconds
        self._leases = leases
        self._start_succeeded = False
        self._page = MetricsPage(self._registry)

    def app(self) -> Starlette:
        """The ASGI application. Its endpoints never wait, because they run on the thread of the server."""
        routes = {
            "/metrics": self._metrics,
            "/healthz": self._healthz,
            "/livez": self._livez,
            "/readyz": self._readyz,
        }
        return Starlette(
            routes=[Route(path, endpoint) for path, endpoint in routes.items()],
            exception_handlers={Exception: failed},
        )

    def collect(self) -> Iterable[Metric]:
        """All metrics of the worker, as /metrics serves them. Any thread may call it."""
        return self._registry.collect()

    def shards(self) -> Collection[str]:
        """The shards that have a running record processor."""
        return {beat.shard for beat in self._files.beats()}

    def shards_read(self) -> Collection[str]:
        """The shards whose record processor has received a batch."""
        return {beat.shard for beat in self._files.beats() if beat.reads}

    def has_settled(self) -> bool:
        """Whether a running record processor has settled a batch and now waits for the next one."""
        return any(beat.reads and not beat.busy for beat in self._files.beats())

    def last_batch(self) -> float | None:
        """When a running record processor last got a batch, in Unix seconds; None if none has."""
        return max((beat.batch for beat in self._files.beats() if beat.reads), default=None)

    async def _metrics(self, request: Request) -> Response:
        return self._page.response(request)

    async def _healthz(self, _: Request) -> Response:
        """Once the start has succeeded, a later outage must not replace the container: as /livez from then on."""
        failures = self._liveness_failures()
        if not self._start_succeeded:
            failures += self._start_failures()
            self._start_succeeded = not failures
        return health_response(failures)

    async def _livez(self, _: Request) -> Response:
        return health_response(self._liveness_failures())

    async def _readyz(self, _: Request) -> Response:
        shards = self.shards()
        return health_response(readiness_failures(self._health(), shards) or self._leases.reasons(shards))

    def _start_failures(self) -> list[str]:
        failures = start_failures(self._health(), self._seconds.healthy_after, time.monotonic())
        return failures or self._leases.unread(self.shards_read())

    def _liveness_failures(self) -> list[str]:
        busy = {beat.shard: beat.at for beat in self._files.beats() if beat.busy}
        return liveness_failures(self._health(), busy, self._seconds.hang, time.time(), time.monotonic())
