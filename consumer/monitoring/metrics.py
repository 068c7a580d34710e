"""Every metric of the service: name, meaning, unit and labels, in one place; and what a batch adds to them.

Names and units follow the Prometheus conventions. Where the figures go is the business of a Sink: Prometheus files
for the record processors and the supervisor, CloudWatch's embedded metric format for Lambda. `make docs` writes
docs/reference/metrics.md from this module.
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Protocol

from consumer.engine.errors import Reason
from consumer.engine.processor import BatchResult

QUICK = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
"""Seconds of our own CPU: one record takes 20 us, 10,000 take a quarter of a second."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Seconds of requests and of waiting for them: a millisecond, or as long as an outage lasts."""
AGES = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 21_600, 86_400, 604_800)
"""Seconds from an event to its effect: up to a week, when a stream is read from its beginning."""
COUNTS = (1, 10, 50, 100, 500, 1_000, 2_500, 5_000, 10_000)


class Kind(StrEnum):
    """A counter is added to, a gauge is set and vanishes with its process, a histogram observes."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """`labels` have few values each; `buckets` are a histogram's; `query` is PromQL that is worth knowing."""

    name: str
    help: str
    kind: Kind = Kind.COUNTER
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    query: str = ""


class Measurement(NamedTuple):
    metric: Metric
    value: float
    labels: tuple[str, ...] = ()


class Sink(Protocol):
    """Where measurements go."""

    def __call__(self, metric: Metric, value: float, *labels: str) -> None: ...


RECORDS = Metric(
    "consumer_records_total",
    "Records settled, by event type and outcome: applied, duplicate, stale, ignored, quarantined. Types that are not"
    " known are one, UNKNOWN; records that cannot be read are another, UNREADABLE.",
    labels=("type", "outcome"),
    query="sum by (outcome) (rate(consumer_records_total[5m]))",
)
QUARANTINED = Metric("consumer_quarantined_records_total", "Records quarantined, by reason code.", labels=("reason",))
WARNINGS = Metric(
    "consumer_warnings_total",
    "Oddities in events that were not refused for it, by kind: drift against what is stored, two events with one"
    " sequence number, numbers far ahead or against the time, progress over the limit, times of another age.",
    labels=("kind",),
)
BATCH_RECORDS = Metric(
    "consumer_batch_records", "Records a batch, those of aggregates each.", Kind.HISTOGRAM, buckets=COUNTS
)
BATCH_SECONDS = Metric(
    "consumer_batch_seconds",
    "From receiving a batch to settling it, waits for a failing environment included.",
    Kind.HISTOGRAM,
    buckets=SECONDS,
    query="histogram_quantile(0.99, sum by (le) (rate(consumer_batch_seconds_bucket[5m])))",
)
DECODE_SECONDS = Metric(
    "consumer_decode_seconds", "Decoding and checking a batch's records.", Kind.HISTOGRAM, buckets=QUICK
)
FOLD_SECONDS = Metric("consumer_fold_seconds", "Merging a batch's events into states.", Kind.HISTOGRAM, buckets=QUICK)
STORE_SECONDS = Metric(
    "consumer_store_seconds", "Reading and writing a batch's states, waits included.", Kind.HISTOGRAM, buckets=SECONDS
)
QUARANTINE_SECONDS = Metric(
    "consumer_quarantine_seconds",
    "Putting a batch's rejected records into the quarantine, waits included.",
    Kind.HISTOGRAM,
    buckets=SECONDS,
)
EVENT_LAG = Metric(
    "consumer_event_lag_seconds",
    "From the oldest event of a batch (its `createdAt`) to the batch being settled: once a batch, so all of its events"
    " had their effect within that time.",
    Kind.HISTOGRAM,
    buckets=AGES,
    query="histogram_quantile(0.99, sum by (le) (rate(consumer_event_lag_seconds_bucket[5m])))",
)
WRITES = Metric("consumer_state_writes_total", "Conditional writes asked of the store, repeated ones counted again.")
SAVED = Metric(
    "consumer_writes_saved_total",
    "Writes that folding saved: records applied, less the states they were written in.",
)
CONFLICTS = Metric("consumer_write_conflicts_total", "Conditional writes refused: another writer was first.")
REQUESTS = Metric(
    "consumer_store_requests_total",
    "Requests to DynamoDB and S3, each try counted, by operation and result: ok, throttled, refused, unanswered.",
    labels=("operation", "result"),
)
THROTTLES = Metric(
    "consumer_store_throttles_total",
    "What the stores throttled, by operation: whole requests, and single statements and keys of requests.",
    labels=("operation",),
)
RETRIES = Metric(
    "consumer_environment_retries_total",
    "Waits for an environment that failed, by part: load, store, quarantine.",
    labels=("part",),
)
CHECKPOINTS = Metric(
    "consumer_checkpoints_total",
    "Checkpoints tried, by KCL's answer: made, or the class of its exception.",
    labels=("result",),
)
CHECKPOINT_SECONDS = Metric(
    "consumer_checkpoint_seconds", "From asking for a checkpoint to KCL's answer.", Kind.HISTOGRAM, buckets=SECONDS
)
BEHIND = Metric(
    "consumer_shard_behind_latest_seconds",
    "How far the shard's last batch lay behind the tip of the stream (KCL's millisBehindLatest); grows for as long as"
    " the batch is not settled.",
    Kind.GAUGE,
    ("shard",),
    query="max(consumer_shard_behind_latest_seconds)",
)
HEARTBEAT = Metric(
    "consumer_shard_heartbeat_timestamp_seconds",
    "When the shard's record processor last showed life; waiting for a failed environment is life.",
    Kind.GAUGE,
    ("shard",),
    query="time() - consumer_shard_heartbeat_timestamp_seconds",
)
LAST_BATCH = Metric(
    "consumer_shard_last_batch_timestamp_seconds",
    "When the daemon last handed over a batch of the shard; it also hands over empty ones, so an idle shard does not"
    " grow old.",
    Kind.GAUGE,
    ("shard",),
    query="time() - consumer_shard_last_batch_timestamp_seconds",
)
LAST_CHECKPOINT = Metric(
    "consumer_shard_last_checkpoint_timestamp_seconds",
    "When the shard's last checkpoint was made by this worker; it grows old where nothing new is to be checkpointed.",
    Kind.GAUGE,
    ("shard",),
    query="time() - consumer_shard_last_checkpoint_timestamp_seconds",
)
TRIMMED = Metric(
    "consumer_trimmed_starts_total",
    "Starts of a shard at a checkpoint whose record the stream no longer keeps: records after it may have been dropped"
    " before they were read.",
    query="increase(consumer_trimmed_starts_total[1h]) > 0",
)
LEASES = Metric(
    "consumer_leases_held",
    "Shards that have a record processor at this worker.",
    Kind.GAUGE,
    query="sum by (job) (consumer_leases_held)",
)
LEASES_OWNED = Metric(
    "consumer_leases_owned",
    "Leases of this worker whose shards can be read now: more than are held for a minute means that KCL cannot start to"
    " read some. Read from the lease table every 15 s.",
    Kind.GAUGE,
    query="consumer_leases_owned - consumer_leases_held",
)
RESTARTS = Metric("consumer_daemon_restarts_total", "Starts of the MultiLangDaemon after the first.")
DAEMON_UP = Metric("consumer_daemon_up", "1 while the JVM runs, else 0.", Kind.GAUGE)
DAEMON_MEMORY = Metric("consumer_daemon_resident_memory_bytes", "Resident memory of the JVM.", Kind.GAUGE)
SHARD_MEMORY = Metric(
    "consumer_shard_resident_memory_bytes",
    "Resident memory of the shard's record processor.",
    Kind.GAUGE,
    ("shard",),
    query="sum by (instance) (consumer_shard_resident_memory_bytes)",
)
BUILD = Metric(
    "consumer_build_info",
    "Always 1; the labels tell what runs: the service's version, amazon_kclpy's and Python's.",
    Kind.GAUGE,
    ("version", "kclpy", "python"),
)

CORE = (
    RECORDS,
    QUARANTINED,
    WARNINGS,
    BATCH_RECORDS,
    BATCH_SECONDS,
    DECODE_SECONDS,
    FOLD_SECONDS,
    STORE_SECONDS,
    QUARANTINE_SECONDS,
    EVENT_LAG,
    WRITES,
    SAVED,
    CONFLICTS,
    REQUESTS,
    THROTTLES,
    RETRIES,
)
"""What the core does, whoever drives it: the record processors and the Lambda function tell it."""
SHARD = (CHECKPOINTS, CHECKPOINT_SECONDS, BEHIND, HEARTBEAT, LAST_BATCH, LAST_CHECKPOINT, TRIMMED)
"""What only a record processor knows. A gauge of a shard vanishes with its record processor."""
WORKER = (LEASES, LEASES_OWNED, RESTARTS, DAEMON_UP, DAEMON_MEMORY, SHARD_MEMORY, BUILD)
"""What the supervisor knows."""
ALL = (*CORE, *SHARD, *WORKER)

PHASES: Mapping[str, Metric] = {
    "decode": DECODE_SECONDS,
    "fold": FOLD_SECONDS,
    "store": STORE_SECONDS,
    "quarantine": QUARANTINE_SECONDS,
}
"""By the phases of BatchResult.seconds."""


def tell(measure: Sink, measurements: Iterable[Measurement]) -> None:
    for metric, value, labels in measurements:
        measure(metric, value, *labels)


def of_batch(result: BatchResult, seconds: float, now: float) -> Iterator[Measurement]:
    """What a batch that took so many seconds adds, at `now`, seconds since 1970."""
    yield Measurement(BATCH_RECORDS, len(result.records))
    yield Measurement(BATCH_SECONDS, seconds)
    yield Measurement(WRITES, result.writes)
    yield Measurement(SAVED, result.saved)
    yield Measurement(CONFLICTS, result.conflicts)
    for phase, spent in result.seconds.items():
        yield Measurement(PHASES[phase], spent)
    if result.oldest_event is not None and not result.unsettled:
        yield Measurement(EVENT_LAG, max(0.0, now - result.oldest_event / 1000))
    for (kind, outcome), count in result.by_type.items():
        yield Measurement(RECORDS, count, (kind, outcome))
    for reason, count in result.reasons.items():
        yield Measurement(QUARANTINED, count, (reason,))
    for warning, count in result.warnings.items():
        yield Measurement(WARNINGS, count, (warning,))


def of_request(operation: str, result: str, throttled: int) -> Iterator[Measurement]:
    """What a request to a store adds: `throttled` is how much of it was, the whole or its parts."""
    yield Measurement(REQUESTS, 1, (operation, result))
    if throttled:
        yield Measurement(THROTTLES, throttled, (operation,))


def nothing_yet(warnings: Iterable[str], answers: Iterable[str]) -> Iterator[Measurement]:
    """Zeros for the labels that are known beforehand: what first appears as 1 is no increase to Prometheus."""
    for reason in Reason:
        yield Measurement(QUARANTINED, 0, (reason,))
    for kind in warnings:
        yield Measurement(WARNINGS, 0, (kind,))
    for part in ("load", "store", "quarantine"):
        yield Measurement(RETRIES, 0, (part,))
    for answer in answers:
        yield Measurement(CHECKPOINTS, 0, (answer,))


# --- docs/reference/metrics.md -------------------------------------------------------------------------------------

_OPENING = """\
# Metrics

<!-- made from consumer/monitoring/metrics.py by `make docs`; do not edit -->

The worker serves all of them on one page, `/metrics` at `CONSUMER_METRICS_ADDRESS`. The record processors, one process
a shard, write their figures to files, and the supervisor adds them up. A counter never goes back within the life of a
container, whichever of its processes die. A gauge of a shard is there for as long as this worker has a record
processor for the shard, and vanishes with it.

No label has values without bounds: types, outcomes, reasons and results are closed lists, and the shards are those
held now.

An age is not served but when something happened, as is Prometheus' custom: `time() - ..._timestamp_seconds` is the
age, and keeps growing when nobody updates it.
"""
_SECTIONS = (
    (
        "The core",
        (
            "Told by each record processor; by the Lambda function as CloudWatch metrics "
            "([Running on Lambda](../how-to/run-on-lambda.md))."
        ),
        CORE,
    ),
    ("A shard", "Told by each record processor.", SHARD),
    ("The worker", "Told by the supervisor.", WORKER),
)


def document() -> str:
    """The text of docs/reference/metrics.md."""
    return "\n".join([_OPENING, *(_section(*section) for section in _SECTIONS)])


def _section(title: str, told_by: str, metrics: Iterable[Metric]) -> str:
    rows = ("| metric | type | labels | meaning |", "|---|---|---|---|", *map(_row, metrics))
    return "\n".join([f"## {title}", "", told_by, "", *rows, ""])


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    meaning = metric.help
    if metric.buckets:
        meaning += f" Buckets up to {', '.join(f'{bound:,g}' for bound in metric.buckets)}."
    if metric.query:
        meaning += f" `{metric.query}`"
    return f"| `{metric.name}` | {metric.kind} | {labels} | {meaning} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes what docs/reference/metrics.md says of the metrics.")
    parser.add_argument("file", type=Path, help="where to, for instance docs/reference/metrics.md")
    parser.parse_args().file.write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    main()
