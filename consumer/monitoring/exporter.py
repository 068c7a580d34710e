"""What the worker tells machines: /metrics for Prometheus, /livez and /readyz for whatever keeps containers.

Every record processor writes its figures to files of the metrics folder, which prometheus_client's multiprocess mode
does when PROMETHEUS_MULTIPROC_DIR is set before its first import. The supervisor itself must not be in that mode: it
sets the variable for its children only, counts its own figures in memory, and serves both from one registry. So
nothing here depends on what was imported first.
"""

import gzip
import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.registry import Collector

from consumer.monitoring.multiprocess_files import MultiprocessFiles
from consumer.monitoring.process_metrics import ProcessMetrics
from consumer.monitoring.server import Request, Response, not_found

BEAT_SECONDS = 30.0
"""A supervisor that has not gone round its loop for this long hangs."""
DOWN_SECONDS = 90.0
"""A daemon that has not run for this long does not come back: the longest pause before a restart is half of it."""
_STALE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Health:
    """How the worker is, as its supervisor last saw it.

    beat         time.monotonic() of that
    daemon       the process id of the JVM, None while there is none
    since        time.monotonic() of when that became so
    ended        how the JVM before it ended unasked: an exit code, or 128 and the signal
    initialised  the JVM has said that it is
    stopping     the worker was told to end
    """

    beat: float
    daemon: int | None = None
    since: float = 0.0
    ended: int | None = None
    initialised: bool = False
    stopping: bool = False


def liveness_failures(
    health: Health, heartbeats: Mapping[str, float], hang_seconds: float, now: float, beat: float
) -> list[str]:
    """Why the container should be replaced; nothing when it lives.

    `heartbeats`: Unix seconds by shard; `now`: the same clock; `beat`: the monotonic clock. A daemon that is being
    restarted is no reason: its budget decides, and the supervisor ends when that is spent. Nor is a table that is
    down: who waits for it shows life.
    """
    reasons = []
    if beat - health.beat > BEAT_SECONDS:
        reasons.append("the supervisor hangs")
    if health.daemon is None and not health.stopping and beat - health.since > DOWN_SECONDS:
        reasons.append(f"the daemon has not run for {beat - health.since:.0f} s")
    ages = {shard: now - last for shard, last in heartbeats.items()}
    silent = [f"{shard} has been silent for {age:.0f} s" for shard, age in ages.items() if age > hang_seconds]
    return reasons + [f"the record processor of {each}" for each in silent]


def readiness_failures(health: Health, shards: Collection[str]) -> list[str]:
    """Why the worker does not work yet, or any more; nothing when it does.

    It works when a record processor lives, or, as a worker may be left without a shard, when KCL has said in its log
    that it is initialised: the line comes after every table and permission was used, and the jars that say it are
    pinned by hash.
    """
    if health.stopping:
        return ["the worker is stopping"]
    if health.daemon is None:
        last = "" if health.ended is None else f": the last one ended with {health.ended}"
        return [f"the daemon is not running{last}"]
    return [] if shards or health.initialised else ["the daemon is not initialised yet"]


class Exporter:
    """Answers from `directory`, the metrics folder, the supervisor's `own` figures and what `health` returns.

    `unread` adds reasons for not being ready, given the shards that have a record processor.
    """

    def __init__(
        self,
        directory: Path,
        own: Collector,
        health: Callable[[], Health],
        hang_seconds: float,
        unread: Callable[[Collection[str]], list[str]] = lambda _: [],
    ) -> None:
        self._folder = MultiprocessFiles(directory)
        self._registry = CollectorRegistry()
        for collector in (own, self._folder, ProcessMetrics(self._folder.beats, lambda: health().daemon)):
            self._registry.register(collector)
        self._health = health
        self._hang_seconds = hang_seconds
        self._unread = unread
        self._texts: dict[tuple[str, bool], bytes] = {}
        self._texts_made = 0.0

    def answer(self, request: Request) -> Response:
        match request.path:
            case "/metrics":
                return self._metrics(request.headers)
            case "/livez":
                heartbeats = self._heartbeats()
                now, beat = time.time(), time.monotonic()
                return _verdict(liveness_failures(self._health(), heartbeats, self._hang_seconds, now, beat))
            case "/readyz":
                shards = self.shards()
                return _verdict(readiness_failures(self._health(), shards) or self._unread(shards))
        return not_found()

    def shards(self) -> Collection[str]:
        """Those with a living record processor."""
        return self._heartbeats().keys()

    def _metrics(self, headers: Mapping[str, str]) -> Response:
        encode, content_type = choose_encoder(headers.get("accept", ""))
        packed = gzip_accepted(headers.get("accept-encoding", ""))
        packing = {"Content-Encoding": "gzip"} if packed else {}
        body = self._text(encode, content_type, packed=packed)
        return Response(HTTPStatus.OK, body, {"Content-Type": content_type, **packing})

    def _text(self, encode: Callable[[CollectorRegistry], bytes], content_type: str, *, packed: bool) -> bytes:
        # Scraping costs milliseconds of CPU: who asks fifty times a second is told the same for one.
        if time.monotonic() - self._texts_made > _STALE_SECONDS:
            self._texts, self._texts_made = {}, time.monotonic()
        key = (content_type, packed)
        if key not in self._texts:
            text = encode(self._registry)
            self._texts[key] = gzip.compress(text) if packed else text
        return self._texts[key]

    def _heartbeats(self) -> dict[str, float]:
        return {beat.shard: beat.at for beat in self._folder.beats()}


def _verdict(reasons: list[str]) -> Response:
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    body = json.dumps({"ok": not reasons, "reasons": reasons}) + "\n"
    return Response(status, body.encode(), {"Content-Type": "application/json"})
