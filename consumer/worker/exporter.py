"""What the worker tells machines: /metrics for Prometheus, /livez and /readyz for whatever keeps containers.

Every record processor writes its figures to files of the metrics folder, which prometheus_client's multiprocess mode
does when PROMETHEUS_MULTIPROC_DIR is set before its first import. The supervisor itself must not be in that mode: it
sets the variable for its children only, counts its own figures in memory, and serves both from one registry. So
nothing here depends on what was imported first.
"""

import gzip
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from consumer.metrics import HEARTBEAT
from consumer.worker.server import Request, Response, not_found

BEAT_SECONDS = 30.0
"""A supervisor that has not gone round its loop for this long hangs."""
_STALE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Health:
    """How the worker is, as its supervisor last saw it.

    beat: time.monotonic() of that; daemon_up: the JVM runs; initialised: it has said so; stopping: it was told to end.
    """

    beat: float
    daemon_up: bool = False
    initialised: bool = False
    stopping: bool = False


def unlively(
    health: Health, heartbeats: Mapping[str, float], hang_seconds: float, now: float, beat: float
) -> list[str]:
    """Why the container should be replaced; nothing when it lives.

    `heartbeats`: Unix seconds by shard; `now`: the same clock; `beat`: the monotonic clock. A daemon that is being
    restarted is no reason: its budget decides, and the supervisor ends when that is spent.
    """
    silent = {shard: now - last for shard, last in heartbeats.items() if now - last > hang_seconds}
    reasons = [f"the record processor of {shard} has been silent for {age:.0f} s" for shard, age in silent.items()]
    return reasons + (["the supervisor hangs"] if beat - health.beat > BEAT_SECONDS else [])


def unready(health: Health, heartbeats: Mapping[str, float]) -> list[str]:
    """Why the worker does not work yet, or any more; nothing when it does.

    It works when a record processor lives, or, as a worker may be left without a shard, when KCL has said in its log
    that it is initialised: the line comes after every table and permission was used, and the jars that say it are
    pinned by hash.
    """
    if health.stopping:
        return ["the worker is stopping"]
    if not health.daemon_up:
        return ["the daemon is not running"]
    return [] if heartbeats or health.initialised else ["the daemon is not initialised yet"]


class Exporter:
    """Answers from `directory`, the metrics folder, the supervisor's `own` figures and what `health` returns."""

    def __init__(self, directory: Path, own: Collector, health: Callable[[], Health], hang_seconds: float) -> None:
        self._directory = directory
        self._registry = CollectorRegistry()
        self._registry.register(Everything(own, directory))
        self._health = health
        self._hang_seconds = hang_seconds
        self._texts: dict[tuple[str, bool], bytes] = {}
        self._texts_made = 0.0

    def answer(self, request: Request) -> Response:
        match request.path:
            case "/metrics":
                return self._metrics(request.headers)
            case "/livez":
                heartbeats = self._heartbeats()
                now, beat = time.time(), time.monotonic()
                return _verdict(unlively(self._health(), heartbeats, self._hang_seconds, now, beat))
            case "/readyz":
                return _verdict(unready(self._health(), self._heartbeats()))
        return not_found()

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
            bury_dead(self._directory)
            text = encode(self._registry)
            self._texts[key] = gzip.compress(text) if packed else text
        return self._texts[key]

    def _heartbeats(self) -> dict[str, float]:
        bury_dead(self._directory)
        return heartbeats(self._directory.glob("gauge_live*.db"))


class Everything:
    """Collects `own`, and from the metrics folder what `own` has not: a record processor's files name every metric."""

    def __init__(self, own: Collector, directory: Path) -> None:
        self._own = own
        self._shared = MultiProcessCollector(None, path=str(directory))  # type: ignore[no-untyped-call]

    def collect(self) -> Iterator[Metric]:
        own = list(self._own.collect())
        names = {metric.name for metric in own}
        yield from own
        shared: Iterable[Metric] = self._shared.collect()  # type: ignore[no-untyped-call]
        yield from (metric for metric in shared if metric.name not in names)


def _verdict(reasons: list[str]) -> Response:
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    body = json.dumps({"ok": not reasons, "reasons": reasons}) + "\n"
    return Response(status, body.encode(), {"Content-Type": "application/json"})


def heartbeats(files: Iterable[Path]) -> dict[str, float]:
    """The last sign of life by shard, Unix seconds."""
    metrics = MultiProcessCollector.merge([str(file) for file in files])  # type: ignore[no-untyped-call]
    samples = (sample for metric in metrics if metric.name == HEARTBEAT.name for sample in metric.samples)
    return {sample.labels["shard"]: sample.value for sample in samples}


def bury_dead(directory: Path) -> None:
    """Removes what dead processes left that would mislead: their live gauges, and files they died too early to fill.

    Their counters stay: a sum must never go back.
    """
    for file in directory.glob("*.db"):
        process = file.stem.rpartition("_")[2]
        if process.isdecimal() and not _lives(int(process)):
            mark_process_dead(process, str(directory))  # type: ignore[no-untyped-call]
            if file.exists() and not file.stat().st_size:
                file.unlink()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
