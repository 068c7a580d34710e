"""Every metric of the service, with its name, meaning, unit and labels, and the measurements of a batch.

Names and units follow the Prometheus conventions. A Sink decides where the values go: to Prometheus files for the
record processors and the supervisor, to CloudWatch's embedded metric format for Lambda. `make docs` generates
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
"""Seconds of CPU time: one record takes 20 us, 10,000 records take a quarter of a second."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Seconds of requests and of waiting for them: from a millisecond to the length of an outage."""
AGES = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 21_600, 86_400, 604_800)
"""Seconds from an event to its effect: up to a week when a stream is read from its beginning."""
COUNTS = (1, 10, 50, 100, 500, 1_000, 2_500, 5_000, 10_000)


class Kind(StrEnum):
    """A counter adds up, a gauge is set and is removed when its process exits, a histogram observes."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """`labels` have few values each. `buckets` belong to a histogram. `query` is a useful PromQL expression."""

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
    """Receives measurements."""

    def __call__(self, metric: Metric, value: float, *labels: str) -> None: ...


RECORDS = Metric(
    "consumer_records_total",
    "Records settled, by event type and outcome: applied, duplicate, stale, ignored, quarantined. The type is UNKNOWN"
    " for all unknown types, and UNREADABLE for records that cannot be decoded.",
    labels=("type", "outcome"),
    query="sum by (outcome) (rate(consumer_records_total[5m]))",
)
QUARANTINED = Metric("consumer_quarantined_records_total", "Records quarantined, by reason code.", labels=("reason",))
WARNINGS = Metric(
    "consumer_warnings_total",
    "Anomalies in events that were applied nevertheless, by kind: values that differ from the stored state, two events"
    " with the same sequence number, sequence numbers that jump ahead or contradict the time, progress over the limit,"
    " implausible times.",
    labels=("kind",),
)
BATCH_RECORDS = Metric(
    "consumer_batch_records",
    "Records per batch. Each record of an aggregate is counted.",
    Kind.HISTOGRAM,
    buckets=COUNTS,
)
BATCH_SECONDS = Metric(
    "consumer_batch_seconds",
    "From receiving a batch to settling it, including waits for a failing environment.",
    Kind.HISTOGRAM,
    buckets=SECONDS,
    query="histogram_quantile(0.99, sum by (le) (rate(consumer_batch_seconds_bucket[5m])))",
)
DECODE_SECONDS = Metric(
    "consumer_decode_seconds", "Decoding and validating the records of a batch.", Kind.HISTOGRAM, buckets=QUICK
)
FOLD_SECONDS = Metric(
    "consumer_fold_seconds", "Merging the events of a batch into states.", Kind.HISTOGRAM, buckets=QUICK
)
STORE_SECONDS = Metric(
    "consumer_store_seconds",
    "Reading and writing the states of a batch, including waits.",
    Kind.HISTOGRAM,
    buckets=SECONDS,
)
QUARANTINE_SECONDS = Metric(
    "consumer_quarantine_seconds",
    "Quarantining the rejected records of a batch, including waits.",
    Kind.HISTOGRAM,
    buckets=SECONDS,
)
ARCHIVE_OBJECTS = Metric("consumer_archive_objects_total", "Objects written to the archive.")
ARCHIVE_BYTES = Metric(
    "consumer_archive_bytes_total",
    "Bytes written to the archive, compressed.",
    query="sum(rate(consumer_archive_bytes_total[5m]))",
)
ARCHIVE_SECONDS = Metric(
    "consumer_archive_seconds", "Writing an object to the archive, including waits.", Kind.HISTOGRAM, buckets=SECONDS
)
EVENT_LAG = Metric(
    "consumer_event_lag_seconds",
    "From the oldest event of a batch (its `createdAt`) until the batch is settled. Observed once per batch: all of its"
    " events took effect within that time.",
    Kind.HISTOGRAM,
    buckets=AGES,
    query="histogram_quantile(0.99, sum by (le) (rate(consumer_event_lag_seconds_bucket[5m])))",
)
WRITES = Metric("consumer_state_writes_total", "Conditional writes sent to the store, including repeated writes.")
SAVED = Metric(
    "consumer_writes_saved_total",
    "Writes avoided by folding: records applied minus states written.",
)
CONFLICTS = Metric("consumer_write_conflicts_total", "Conditional writes refused because another writer came first.")
REQUESTS = Metric(
    "consumer_store_requests_total",
    "Requests to DynamoDB, S3 and EventBridge, including retries, by operation and result: ok, throttled, refused,"
    " unanswered.",
    labels=("operation", "result"),
)
THROTTLES = Metric(
    "consumer_store_throttles_total",
    "Throttled requests, and throttled statements, keys and entries within requests, by operation.",
    labels=("operation",),
)
RETRIES = Metric(
    "consumer_environment_retries_total",
    "Waits for a failing environment, by part: load, store, quarantine, archive, bus.",
    labels=("part",),
)
CHECKPOINTS = Metric(
    "consumer_checkpoints_total",
    "Checkpoint attempts, by result: made, or the class of KCL's exception.",
    labels=("result",),
)
CHECKPOINT_SECONDS = Metric(
    "consumer_checkpoint_seconds", "From requesting a checkpoint to KCL's response.", Kind.HISTOGRAM, buckets=SECONDS
)
BEHIND = Metric(
    "consumer_shard_behind_latest_seconds",
    "How far the shard's last batch was behind the tip of the stream (KCL's millisBehindLatest). Grows until the batch"
    " is settled.",
    Kind.GAUGE,
    ("shard",),
    query="max(consumer_shard_behind_latest_seconds)",
)
HEARTBEAT = Metric(
    "consumer_shard_heartbeat_timestamp_seconds",
    "Last heartbeat of the shard's record processor. It continues while the record processor waits for a failing"
    " environment, and pauses while the daemon delivers nothing.",
    Kind.GAUGE,
    ("shard",),
    query="time() - consumer_shard_heartbeat_timestamp_seconds",
)
BUSY = Metric(
    "consumer_shard_busy",
    "1 while the shard's record processor works on a message of the daemon, 0 while it waits for the next one. Only"
    " while it is 1 does an old heartbeat mean that the record processor hangs.",
    Kind.GAUGE,
    ("shard",),
    query="(time() - consumer_shard_heartbeat_timestamp_seconds) * consumer_shard_busy",
)
LAST_BATCH = Metric(
    "consumer_shard_last_batch_timestamp_seconds",
    "When the shard last had a batch: delivered by the daemon, or still being processed. The daemon also delivers empty"
    " batches, so the age of an idle shard stays small.",
    Kind.GAUGE,
    ("shard",),
    query="time() - consumer_shard_last_batch_timestamp_seconds",
)
SHARD_START = Metric(
    "consumer_shard_start_timestamp_seconds",
    "When the shard's record processor started: the age of a shard that has not had a batch yet.",
    Kind.GAUGE,
    ("shard",),
    query="time() - (consumer_shard_last_batch_timestamp_seconds or consumer_shard_start_timestamp_seconds)",
)
LAST_CHECKPOINT = Metric(
    "consumer_shard_last_checkpoint_timestamp_seconds",
    "When this worker last checkpointed the shard. The age grows while there is nothing new to checkpoint.",
    Kind.GAUGE,
    ("shard",),
    query="time() - consumer_shard_last_checkpoint_timestamp_seconds",
)
TRIMMED = Metric(
    "consumer_trimmed_starts_total",
    "Starts of a shard at a checkpoint whose record the stream no longer keeps. Later records may have been trimmed"
    " before they were read.",
    query="increase(consumer_trimmed_starts_total[1h]) > 0",
)
LEASES = Metric(
    "consumer_leases_held",
    "Shards that have a record processor in this worker.",
    Kind.GAUGE,
    query="sum by (job) (consumer_leases_held)",
)
LEASES_OWNED = Metric(
    "consumer_leases_owned",
    "Leases of this worker whose shards can be read now. If it exceeds the leases held for a minute, KCL cannot start"
    " reading some shards. Read from the lease table every 15 s.",
    Kind.GAUGE,
    query="consumer_leases_owned - consumer_leases_held",
)
TAKEN = Metric(
    "consumer_leases_taken_total",
    "Leases that this worker took because they had no owner, or because their owner had not renewed them.",
    query="sum by (job) (increase(consumer_leases_taken_total[1h]))",
)
STILL_SECONDS = Metric(
    "consumer_lease_still_seconds",
    "For how long a lease was seen not to be renewed when this worker took it.",
    Kind.HISTOGRAM,
    buckets=(0.5, 1, 2.5, 5, 6, 8, 10, 15, 20, 30, 60),
)
GIVEN_BACK = Metric("consumer_leases_given_back_total", "Leases that this worker gave back at its end.")
LOCKS_REMOVED = Metric("consumer_leader_locks_removed_total", "Locks of silent leaders that this worker removed.")
OPEN_SHARDS = Metric(
    "consumer_stream_open_shards",
    "Shards of the stream that should be read now, by all workers together: open ones, and closed ones that are not"
    " read to their end. Children wait for their parents and are not counted meanwhile. 0 until it is first known.",
    Kind.GAUGE,
    query="max(consumer_stream_open_shards) - sum(consumer_leases_held)",
)
RETENTION = Metric(
    "consumer_stream_retention_seconds",
    "How long the stream keeps a record. Read from the stream every minute, 0 until it is first known.",
    Kind.GAUGE,
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
MEMORY = Metric(
    "consumer_container_memory_bytes",
    "Memory of the container that the kernel cannot reclaim easily: as in Kubernetes, without the inactive page cache.",
    Kind.GAUGE,
    query="consumer_container_memory_bytes / consumer_container_memory_limit_bytes",
)
MEMORY_LIMIT = Metric(
    "consumer_container_memory_limit_bytes", "The container's memory limit. Absent without one.", Kind.GAUGE
)
START = Metric(
    "consumer_start_timestamp_seconds",
    "When the worker started. Its counters count from then on.",
    Kind.GAUGE,
    query="time() - consumer_start_timestamp_seconds",
)
BUILD = Metric(
    "consumer_build_info",
    "Always 1. The labels are the versions of the service, amazon_kclpy and Python.",
    Kind.GAUGE,
    ("version", "kclpy", "python"),
)

CHECKPOINT_LAG = Metric(
    "consumer_checkpoint_lag_seconds",
    "How long the first record after the shard's checkpoint has been in the stream; 0 if there is none. No value if it"
    " is not known, for example while the checkpoint is LATEST or AT_TIMESTAMP.",
    Kind.GAUGE,
    ("shard",),
    query="max(consumer_checkpoint_lag_seconds)",
)
LEASE_OWNER = Metric(
    "consumer_lease_owner_info",
    "Always 1. The worker that owns the lease of the shard. No value for a shard without an owner, or read to its end.",
    Kind.GAUGE,
    ("shard", "owner"),
    query="count by (owner) (consumer_lease_owner_info)",
)
SHARD_PROBLEM = Metric(
    "consumer_shard_problem_info",
    "Always 1. What is wrong with the shard, in the words of `consumer status --json`.",
    Kind.GAUGE,
    ("shard", "problem"),
    query="count by (problem) (consumer_shard_problem_info)",
)
WORKERS_ALIVE = Metric("consumer_workers_alive", "Workers whose last report is recent.", Kind.GAUGE)
QUARANTINE_SIZE = Metric(
    "consumer_quarantine_records", "Records in the quarantine. Counted every 10 minutes.", Kind.GAUGE
)
STATUS_AT = Metric(
    "consumer_status_timestamp_seconds",
    "When the watcher last read the stream and the leases. Its other values are from then, and are not served when they"
    " are older than five intervals.",
    Kind.GAUGE,
    query="time() - consumer_status_timestamp_seconds",
)

API_REQUESTS = Metric(
    "consumer_api_requests_total",
    "Requests, by route and status. The route is `unmatched` for a path that does not exist, and `refused` for one"
    " beyond the number that is served at the same time (503) or under an unknown host name (421). The status is `none`"
    " for one without a response. /livez, /readyz and /metrics do not count.",
    labels=("route", "status"),
    query="sum by (route, status) (rate(consumer_api_requests_total[5m]))",
)
API_SECONDS = Metric(
    "consumer_api_request_seconds",
    "From the head of a request until its response is sent, by route.",
    Kind.HISTOGRAM,
    ("route",),
    SECONDS,
    "histogram_quantile(0.99, sum by (le) (rate(consumer_api_request_seconds_bucket[5m])))",
)
API_IN_FLIGHT = Metric("consumer_api_requests_in_flight", "Requests that are being served.", Kind.GAUGE)
API_REFUSED_TOKENS = Metric(
    "consumer_api_refused_tokens_total",
    "Requests that were refused because of their token, by reason: missing, or what is wrong with it; forbidden, for a"
    " valid one that does not allow the request; keys_unavailable, if it could not be checked.",
    labels=("reason",),
    query="sum by (reason) (rate(consumer_api_refused_tokens_total[5m]))",
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
    ARCHIVE_OBJECTS,
    ARCHIVE_BYTES,
    ARCHIVE_SECONDS,
    EVENT_LAG,
    WRITES,
    SAVED,
    CONFLICTS,
    REQUESTS,
    THROTTLES,
    RETRIES,
)
"""Metrics of the core. The record processors and the Lambda function report them."""
SHARD = (
    CHECKPOINTS,
    CHECKPOINT_SECONDS,
    BEHIND,
    HEARTBEAT,
    BUSY,
    SHARD_START,
    LAST_BATCH,
    LAST_CHECKPOINT,
    TRIMMED,
)
"""Metrics that only a record processor reports. A gauge of a shard is removed when its record processor exits."""
WORKER = (
    LEASES,
    LEASES_OWNED,
    OPEN_SHARDS,
    RETENTION,
    TAKEN,
    STILL_SECONDS,
    GIVEN_BACK,
    LOCKS_REMOVED,
    RESTARTS,
    DAEMON_UP,
    DAEMON_MEMORY,
    SHARD_MEMORY,
    MEMORY,
    MEMORY_LIMIT,
    START,
    BUILD,
)
"""Metrics that the supervisor reports."""
WATCHER = (CHECKPOINT_LAG, LEASE_OWNER, SHARD_PROBLEM, WORKERS_ALIVE, QUARANTINE_SIZE, STATUS_AT)
"""Metrics that only `consumer status --serve` reports. It also reports OPEN_SHARDS and RETENTION."""
API = (API_REQUESTS, API_SECONDS, API_IN_FLIGHT, API_REFUSED_TOKENS)
"""Metrics that only the HTTP API reports. Their labels are closed lists: no metric has the id of a user in it."""
_TABLE = ("table",)
VERIFIED_AT = Metric(
    "consumer_verify_timestamp_seconds",
    "When the last verification of the table was done.",
    Kind.GAUGE,
    _TABLE,
    query="time() - max by (table) (consumer_verify_timestamp_seconds)",
)
VERIFY_SECONDS = Metric("consumer_verify_duration_seconds", "How long it took.", Kind.GAUGE, _TABLE)
VERIFIED_RECORDS = Metric(
    "consumer_verify_archived_records", "Records that it read from the archive.", Kind.GAUGE, _TABLE
)
VERIFIED_LIMITS = Metric("consumer_verify_limits", "Limits that it compared.", Kind.GAUGE, _TABLE)
MISSING_LIMITS = Metric(
    "consumer_verify_missing_limits", "Limits that lack an effect of an archived event.", Kind.GAUGE, _TABLE
)
UNEXPLAINED_LIMITS = Metric(
    "consumer_verify_unexplained_limits", "Limits with a content that no archived event has.", Kind.GAUGE, _TABLE
)
DAMAGES = Metric("consumer_verify_damages", "Parts of the archive that it could not read.", Kind.GAUGE, _TABLE)
VERIFICATION = (
    VERIFIED_AT,
    VERIFY_SECONDS,
    VERIFIED_RECORDS,
    VERIFIED_LIMITS,
    MISSING_LIMITS,
    UNEXPLAINED_LIMITS,
    DAMAGES,
)

ALL = (*CORE, *SHARD, *WORKER, *WATCHER, *API, *VERIFICATION)

PHASES: Mapping[str, Metric] = {
    "decode": DECODE_SECONDS,
    "fold": FOLD_SECONDS,
    "store": STORE_SECONDS,
    "quarantine": QUARANTINE_SECONDS,
}
"""The keys are the phases of BatchResult.seconds."""
EFFORT = frozenset({WRITES, SAVED, CONFLICTS, *PHASES.values()})
"""Metrics of what an attempt at a batch took. The others of `of_batch` count the batch and its records."""


def report(measure: Sink, measurements: Iterable[Measurement]) -> None:
    for metric, value, labels in measurements:
        measure(metric, value, *labels)


def of_batch(result: BatchResult, seconds: float, now: float) -> Iterator[Measurement]:
    """The measurements of a batch that took `seconds`. `now` is in seconds since 1970."""
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


def of_object(size: int, seconds: float) -> Iterator[Measurement]:
    """The measurements of an object of `size` bytes whose writing to the archive took `seconds`."""
    yield Measurement(ARCHIVE_OBJECTS, 1)
    yield Measurement(ARCHIVE_BYTES, size)
    yield Measurement(ARCHIVE_SECONDS, seconds)


def of_request(operation: str, result: str, throttled: int) -> Iterator[Measurement]:
    """The measurements of a request to a store. `throttled` counts the request, or its throttled parts."""
    yield Measurement(REQUESTS, 1, (operation, result))
    if throttled:
        yield Measurement(THROTTLES, throttled, (operation,))


def nothing_yet(warnings: Iterable[str], answers: Iterable[str]) -> Iterator[Measurement]:
    """Zeros for the labels that are known beforehand. Prometheus sees no increase in a series that starts at 1."""
    for reason in Reason:
        yield Measurement(QUARANTINED, 0, (reason,))
    for kind in warnings:
        yield Measurement(WARNINGS, 0, (kind,))
    for part in ("load", "store", "quarantine", "archive"):
        yield Measurement(RETRIES, 0, (part,))
    for answer in answers:
        yield Measurement(CHECKPOINTS, 0, (answer,))


# --- docs/reference/metrics.md -------------------------------------------------------------------------------------

_OPENING = """\
# Metrics

<!-- Generated from consumer/monitoring/metrics.py by `make docs`. Do not edit. -->

The worker serves its metrics at `/metrics` on `CONSUMER_METRICS_ADDRESS`. There is one record processor, a process, per
shard. The record processors write their values to files, and the supervisor adds them up. A counter never decreases
during the life of a container, even when processes exit. A gauge of a shard exists while this worker has a record
processor for the shard.

With `CONSUMER_EMF_SECONDS`, the worker also logs a few totals for CloudWatch
([Metrics without Prometheus](../how-to/operate.md#metrics-without-prometheus)).

Every label has a bounded set of values: types, outcomes, reasons and results are closed lists, and the shards are those
held now.

Following the Prometheus convention, the worker serves the time of an occurrence, not its age. The age is
`time() - ..._timestamp_seconds`. It keeps growing when the metric is not updated.
"""
_SECTIONS = (
    (
        "The core",
        (
            "Reported by each record processor, and by the Lambda function as CloudWatch metrics "
            "([Running on Lambda](../how-to/run-on-lambda.md))."
        ),
        CORE,
    ),
    ("A shard", "Reported by each record processor.", SHARD),
    ("The worker", "Reported by the supervisor.", WORKER),
    (
        "The watcher",
        (
            "Reported by `consumer status --serve`, a process that is not a worker "
            "([Watch from outside](../how-to/operate.md#watch-from-outside)). It also reports "
            "`consumer_stream_open_shards` and `consumer_stream_retention_seconds`."
        ),
        WATCHER,
    ),
    (
        "The HTTP API",
        (
            "Reported by `consumer serve`, at `/metrics` on `CONSUMER_API_ADDRESS`"
            " ([Serving limits](../how-to/serve-limits.md#deploying-it)), and, except the requests in flight, by its"
            " Lambda function as CloudWatch metrics ([Running on Lambda](../how-to/run-on-lambda.md#start-and-cost))."
        ),
        API,
    ),
    (
        "The verification",
        (
            "Reported by `consumer verify`, to a file for the textfile collector of Prometheus' node exporter, and as "
            "CloudWatch metrics ([Proving that the table is right](../how-to/verify.md))."
        ),
        VERIFICATION,
    ),
)


def document() -> str:
    """The text of docs/reference/metrics.md."""
    return "\n".join([_OPENING, *(_section(*section) for section in _SECTIONS)])


def _section(title: str, reported_by: str, metrics: Iterable[Metric]) -> str:
    rows = ("| metric | type | labels | meaning |", "|---|---|---|---|", *map(_row, metrics))
    return "\n".join([f"## {title}", "", reported_by, "", *rows, ""])


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    meaning = metric.help
    if metric.buckets:
        meaning += f" Buckets up to {', '.join(f'{bound:,g}' for bound in metric.buckets)}."
    if metric.query:
        meaning += f" `{metric.query}`"
    return f"| `{metric.name}` | {metric.kind} | {labels} | {meaning} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the reference page of the metrics.")
    parser.add_argument("file", type=Path, help="the file to write, for example docs/reference/metrics.md")
    parser.parse_args().file.write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    main()
