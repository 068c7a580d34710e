"""The line of a worker for CloudWatch: its totals, as increases, in a few series."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry

from consumer.monitoring import metrics
from consumer.monitoring.metrics import Metric
from consumer.monitoring.prometheus import PrometheusSink
from consumer.monitoring.worker_emf import APPLIED, LINE, OLDEST_BATCH, WorkerLines
from tests.support.emulators import emf
from tests.support.emulators.emf import Reading

NOW = 1_700_000_040.0
OF_A_WORKER = (*metrics.CORE, *metrics.SHARD, *metrics.WORKER)


class Worker:
    """What a worker measures, and its lines as CloudWatch reads them."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.measure = PrometheusSink(OF_A_WORKER, registry)
        self.lines = WorkerLines(registry.collect, "limits-consumer")

    def line(self, now: float = NOW) -> Reading:
        return emf.read(json.dumps(self.lines.line(now)))

    def last(self) -> dict[str, Any] | None:
        return self.lines.last(NOW)


def values(reading: Reading, *wanted: Metric) -> list[float]:
    return [value for metric in wanted for value in reading.values[metric.name]]


def counts(reading: Reading) -> list[float]:
    return values(reading, APPLIED, metrics.QUARANTINED, metrics.RETRIES, metrics.RESTARTS)


def test_a_line_has_every_total_of_the_worker_under_its_application_alone() -> None:
    worker = Worker()
    for metric, value in ((metrics.LEASES_OWNED, 3), (metrics.LEASES, 2), (metrics.OPEN_SHARDS, 4)):
        worker.measure(metric, value)
    worker.measure(metrics.RETENTION, 86_400)
    for shard, behind, batch in (("one", 12.5, NOW - 3), ("two", 0.0, NOW - 70)):
        worker.measure(metrics.BEHIND, behind, shard)
        worker.measure(metrics.SHARD_START, NOW - 500, shard)
        worker.measure(metrics.LAST_BATCH, batch, shard)
    line = worker.line()

    assert (line.millis, line.namespace) == (NOW * 1000, "LimitsConsumer")
    assert line.dimensions == {"application": "limits-consumer"}
    assert line.values.keys() == {metric.name for metric in LINE}
    gauges = (metrics.LEASES_OWNED, metrics.LEASES, metrics.OPEN_SHARDS, metrics.RETENTION)
    assert values(line, *gauges, metrics.BEHIND, OLDEST_BATCH) == [3, 2, 4, 86_400, 12.5, 70]
    assert line.units == expected_units(LINE)


def expected_units(wanted: Iterable[Metric]) -> Mapping[str, str]:
    units = {"total": "Count", "seconds": "Seconds"}
    return {metric.name: units.get(metric.name.rpartition("_")[2], "None") for metric in wanted}


def test_counters_are_increases_over_all_of_their_labels() -> None:
    worker = Worker()
    worker.measure(metrics.RECORDS, 5, "USER_LIMIT_CREATED", "applied")
    worker.measure(metrics.RECORDS, 7, "USER_LIMIT_RESET", "applied")
    worker.measure(metrics.RECORDS, 9, "USER_LIMIT_RESET", "stale")
    worker.measure(metrics.QUARANTINED, 1, "JSON")
    worker.measure(metrics.QUARANTINED, 2, "SCHEMA")
    worker.measure(metrics.RETRIES, 4, "store")
    worker.measure(metrics.RESTARTS, 1)
    assert counts(worker.line()) == [12, 3, 4, 1]

    worker.measure(metrics.RECORDS, 1, "USER_LIMIT_RESET", "applied")
    worker.measure(metrics.RETRIES, 1, "load")
    assert counts(worker.line()) == [1, 0, 1, 0]


def test_what_is_not_known_is_left_out_and_a_shard_without_a_batch_waits_since_its_start() -> None:
    worker = Worker()
    idle = worker.line().values
    assert not {metrics.OPEN_SHARDS.name, metrics.RETENTION.name, metrics.BEHIND.name, OLDEST_BATCH.name} & idle.keys()
    assert idle[metrics.LEASES.name] == [0]

    worker.measure(metrics.SHARD_START, NOW - 200, "one")
    assert values(worker.line(), OLDEST_BATCH) == [200]


def test_the_last_line_has_what_was_counted_since_and_nothing_of_shards_that_are_gone() -> None:
    worker = Worker()
    assert worker.last() is None
    worker.measure(metrics.QUARANTINED, 2, "JSON")
    worker.line()
    worker.measure(metrics.LEASES, 2)
    worker.measure(metrics.QUARANTINED, 1, "JSON")
    last = emf.read(json.dumps(worker.last()))

    assert counts(last) == [0, 1, 0, 0]
    assert metrics.LEASES.name not in last.values
    assert worker.last() is None
