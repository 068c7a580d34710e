"""Every metric of the service: name, meaning and labels, in one place.

The processes of one container share a directory of memory-mapped files (PROMETHEUS_MULTIPROC_DIR, which must be
set before prometheus_client is first imported); the supervisor serves their sum. Gauges are `live*`: they vanish
with the process that set them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from consumer.engine.processor import BatchResult

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_RECORDS = (1, 10, 50, 100, 500, 1_000, 2_500, 5_000, 10_000)

HEARTBEAT = "consumer_shard_heartbeat_timestamp_seconds"


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a record processor counts, one set a process."""

    records: Counter
    quarantined: Counter
    warnings: Counter
    batch_records: Histogram
    batch_seconds: Histogram
    phase_seconds: Counter
    writes: Counter
    conflicts: Counter
    retries: Counter
    checkpoints: Counter
    behind_millis: Gauge
    heartbeat: Gauge


@dataclass(frozen=True, slots=True)
class WorkerMetrics:
    """What the supervisor counts."""

    daemon_starts: Counter
    daemon_up: Gauge


def processor_metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(
        records=Counter(
            "consumer_records",
            "Records received, by event type and outcome.",
            ("type", "outcome"),
            registry=registry,
        ),
        quarantined=Counter(
            "consumer_quarantined_records", "Records quarantined, by reason.", ("reason",), registry=registry
        ),
        warnings=Counter(
            "consumer_warnings",
            "Records applied that contradict what is stored, by kind.",
            ("kind",),
            registry=registry,
        ),
        batch_records=Histogram("consumer_batch_records", "Records a batch.", buckets=_RECORDS, registry=registry),
        batch_seconds=Histogram(
            "consumer_batch_seconds",
            "Seconds from receiving a batch to settling it.",
            buckets=_SECONDS,
            registry=registry,
        ),
        phase_seconds=Counter(
            "consumer_phase_seconds", "Seconds spent, by phase of a batch.", ("phase",), registry=registry
        ),
        writes=Counter("consumer_state_writes", "Conditional writes asked of the store.", registry=registry),
        conflicts=Counter(
            "consumer_write_conflicts",
            "Conditional writes refused: another writer was first.",
            registry=registry,
        ),
        retries=Counter(
            "consumer_environment_retries",
            "Waits for an environment that failed.",
            ("part",),
            registry=registry,
        ),
        checkpoints=Counter("consumer_checkpoints", "Checkpoints, by result.", ("result",), registry=registry),
        behind_millis=Gauge(
            "consumer_shard_behind_latest_milliseconds",
            "How far the shard's last batch lay behind the tip of the stream.",
            ("shard",),
            registry=registry,
            multiprocess_mode="livemostrecent",
        ),
        heartbeat=Gauge(
            HEARTBEAT,
            "When the shard's record processor last showed life, waiting for a failed environment included.",
            ("shard",),
            registry=registry,
            multiprocess_mode="livemostrecent",
        ),
    )


def worker_metrics(registry: CollectorRegistry) -> WorkerMetrics:
    return WorkerMetrics(
        daemon_starts=Counter("consumer_daemon_starts", "Starts of the MultiLangDaemon.", registry=registry),
        daemon_up=Gauge(
            "consumer_daemon_up",
            "1 while the JVM runs.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        ),
    )


def observe(metrics: Metrics, result: "BatchResult", seconds: float) -> None:
    """Counts a batch that took so many seconds."""
    metrics.batch_records.observe(len(result.records))
    metrics.batch_seconds.observe(seconds)
    metrics.writes.inc(result.writes)
    metrics.conflicts.inc(result.conflicts)
    for phase, spent in result.seconds.items():
        metrics.phase_seconds.labels(phase).inc(spent)
    for (kind, outcome), count in result.by_type.items():
        metrics.records.labels(kind, outcome).inc(count)
    for entry in result.quarantined:
        metrics.quarantined.labels(entry.reason).inc()
    for warning, count in result.warnings.items():
        metrics.warnings.labels(warning).inc(count)
