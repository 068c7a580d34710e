"""Every metric of the service: name, meaning, unit and labels, in one place; and what a batch adds to them.

Names and units follow the Prometheus conventions. Where the figures go is the business of a Sink: Prometheus files
for the record processors and the supervisor, CloudWatch's embedded metric format for Lambda.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from consumer.engine.processor import BatchResult

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
COUNTS = (1, 10, 50, 100, 500, 1_000, 2_500, 5_000, 10_000)


class Kind(StrEnum):
    """A counter is added to, a gauge is set and vanishes with its process, a histogram observes."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """`labels` have few values each; `buckets` are a histogram's."""

    name: str
    help: str
    kind: Kind = Kind.COUNTER
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


class Measurement(NamedTuple):
    metric: Metric
    value: float
    labels: tuple[str, ...] = ()


class Sink(Protocol):
    """Where measurements go."""

    def __call__(self, metric: Metric, value: float, *labels: str) -> None: ...


RECORDS = Metric("consumer_records_total", "Records received, by event type and outcome.", labels=("type", "outcome"))
QUARANTINED = Metric("consumer_quarantined_records_total", "Records quarantined, by reason.", labels=("reason",))
WARNINGS = Metric(
    "consumer_warnings_total", "Contradictions between events and what is stored, by kind.", labels=("kind",)
)
BATCH_RECORDS = Metric("consumer_batch_records", "Records a batch.", Kind.HISTOGRAM, buckets=COUNTS)
BATCH_SECONDS = Metric(
    "consumer_batch_seconds", "From receiving a batch to settling it.", Kind.HISTOGRAM, buckets=SECONDS
)
PHASE_SECONDS = Metric(
    "consumer_phase_seconds",
    "Time spent in a phase of a batch: decode, store, quarantine.",
    Kind.HISTOGRAM,
    ("phase",),
    SECONDS,
)
WRITES = Metric("consumer_state_writes_total", "Conditional writes asked of the store.")
CONFLICTS = Metric("consumer_write_conflicts_total", "Conditional writes refused: another writer was first.")
RETRIES = Metric(
    "consumer_environment_retries_total", "Waits for an environment that failed, by part.", labels=("part",)
)
CHECKPOINTS = Metric("consumer_checkpoints_total", "Checkpoints tried, by KCL's answer.", labels=("result",))
BEHIND = Metric(
    "consumer_shard_behind_latest_milliseconds",
    "How far the shard's last batch lay behind the tip of the stream; grows for as long as the batch is not settled.",
    Kind.GAUGE,
    ("shard",),
)
HEARTBEAT = Metric(
    "consumer_shard_heartbeat_timestamp_seconds",
    "When the shard's record processor last showed life; waiting for a failed environment is life.",
    Kind.GAUGE,
    ("shard",),
)
DAEMON_STARTS = Metric("consumer_daemon_starts_total", "Starts of the MultiLangDaemon.")
DAEMON_UP = Metric("consumer_daemon_up", "1 while the JVM runs.", Kind.GAUGE)

ALL = (
    RECORDS,
    QUARANTINED,
    WARNINGS,
    BATCH_RECORDS,
    BATCH_SECONDS,
    PHASE_SECONDS,
    WRITES,
    CONFLICTS,
    RETRIES,
    CHECKPOINTS,
    BEHIND,
    HEARTBEAT,
    DAEMON_STARTS,
    DAEMON_UP,
)


def of_batch(result: BatchResult, seconds: float) -> Iterator[Measurement]:
    """What a batch that took so many seconds adds."""
    yield Measurement(BATCH_RECORDS, len(result.records))
    yield Measurement(BATCH_SECONDS, seconds)
    yield Measurement(WRITES, result.writes)
    yield Measurement(CONFLICTS, result.conflicts)
    for phase, spent in result.seconds.items():
        yield Measurement(PHASE_SECONDS, spent, (phase,))
    for (kind, outcome), count in result.by_type.items():
        yield Measurement(RECORDS, count, (kind, outcome))
    for reason, count in result.reasons.items():
        yield Measurement(QUARANTINED, count, (reason,))
    for warning, count in result.warnings.items():
        yield Measurement(WARNINGS, count, (warning,))
