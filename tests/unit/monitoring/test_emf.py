"""The embedded metric format: every line is what AWS's specification asks for, and says what Prometheus says."""

import json
from collections import defaultdict
from typing import Any, TypeAlias

import pytest
from prometheus_client import CollectorRegistry

from consumer.monitoring import metrics
from consumer.monitoring.emf import NAMESPACE, EmfSink
from consumer.monitoring.metrics import Kind, Metric
from consumer.monitoring.prometheus import PrometheusSink
from tests.support.emulators import emf
from tests.support.generators.events import START, created, foreign, progress_changed
from tests.support.simulation.core import Core

Samples: TypeAlias = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""What metrics were given, by name and labels; nothing where that is 0."""

WAITS = Metric("waits_seconds", "Seconds waited, by part.", Kind.HISTOGRAM, ("part",))
LEVEL = Metric("level", "How high it is.", Kind.GAUGE)
DONE = Metric("done_total", "What was done.")


class Lines:
    """What was written, each line checked against the specification."""

    def __init__(self, **dimensions: str) -> None:
        self.texts: list[str] = []
        self.sink = EmfSink(self.texts.append, lambda: START, **dimensions)

    def flushed(self) -> list[dict[str, Any]]:
        self.sink.flush()
        for reading in map(emf.read, self.texts):
            assert (reading.millis, reading.namespace, reading.properties) == (START, NAMESPACE, {})
        return [json.loads(text) for text in self.texts]


def test_a_line_a_set_of_labels_with_the_labels_as_dimensions() -> None:
    lines = Lines(stream="limits")
    lines.sink(metrics.RECORDS, 3, "USER_LIMIT_RESET", "applied")
    lines.sink(metrics.RECORDS, 1, "USER_LIMIT_RESET", "stale")
    applied, stale = lines.flushed()

    assert applied == {
        "_aws": {
            "Timestamp": START,
            "CloudWatchMetrics": [
                {
                    "Namespace": "LimitsConsumer",
                    "Dimensions": [["stream", "type", "outcome"]],
                    "Metrics": [{"Name": "consumer_records_total", "Unit": "Count"}],
                }
            ],
        },
        "stream": "limits",
        "type": "USER_LIMIT_RESET",
        "outcome": "applied",
        "consumer_records_total": 3,
    }
    assert (stale["outcome"], stale["consumer_records_total"]) == ("stale", 1)


def test_metrics_with_the_same_labels_share_a_line() -> None:
    lines = Lines(stream="limits")
    lines.sink(metrics.WRITES, 2)
    lines.sink(metrics.CONFLICTS, 1)
    (line,) = lines.flushed()

    assert (line["consumer_state_writes_total"], line["consumer_write_conflicts_total"]) == (2, 1)


def test_a_counter_adds_up_a_gauge_keeps_the_last_a_histogram_keeps_all() -> None:
    lines = Lines()
    for value in (1.0, 5.0, 2.5):
        lines.sink(DONE, value)
        lines.sink(LEVEL, value)
        lines.sink(WAITS, value, "store")
    plain, labelled = lines.flushed()

    assert (plain["done_total"], plain["level"], labelled["waits_seconds"]) == (8.5, 2.5, [1.0, 5.0, 2.5])


def test_more_than_a_hundred_values_take_more_lines() -> None:
    lines = Lines()
    for value in range(250):
        lines.sink(WAITS, value, "store")
    written = lines.flushed()

    assert [len(line["waits_seconds"]) for line in written] == [100, 100, 50]
    assert [value for line in written for value in line["waits_seconds"]] == list(range(250))


def test_more_than_a_hundred_metrics_take_more_lines() -> None:
    lines = Lines()
    for number in range(130):
        lines.sink(Metric(f"m{number}_total", "One of many."), number)
    first, second = lines.flushed()

    merged = first | second
    assert {name: merged[name] for name in merged if name != "_aws"} == {f"m{n}_total": n for n in range(130)}


def test_what_is_written_is_not_written_again() -> None:
    lines = Lines()
    lines.sink(DONE, 1)
    lines.flushed()
    assert len(lines.flushed()) == 1

    lines.sink(DONE, 2)
    assert [line["done_total"] for line in lines.flushed()] == [1, 2]


@pytest.mark.parametrize("metric", metrics.ALL, ids=lambda metric: metric.name)
def test_every_metric_of_the_service_fits_the_format(metric: Metric) -> None:
    lines = Lines(stream="limits")
    lines.sink(metric, 1.5, *(f"a-{label}" for label in metric.labels))
    (line,) = lines.flushed()

    unit = {"seconds": "Seconds", "bytes": "Bytes"}.get(metric.name.rpartition("_")[2])
    assert line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Unit"] in ([unit] if unit else ["Count", "None"])


def test_a_batch_says_the_same_here_and_in_prometheus() -> None:
    result = Core().deliver(
        created(1), progress_changed(2), progress_changed(2), foreign("LIMIT_USER_CREATED"), b"not JSON", b""
    )
    registry = CollectorRegistry()
    lines, prometheus = Lines(), PrometheusSink(metrics.CORE, registry)
    for metric, value, labels in metrics.of_batch(result, 0.25, now=START / 1000 + 3):
        lines.sink(metric, value, *labels)
        prometheus(metric, value, *labels)

    assert samples_of_lines(lines.flushed()) == samples_of_prometheus(registry)


def samples_of_lines(lines: list[dict[str, Any]]) -> Samples:
    samples: Samples = defaultdict(float)
    for line in lines:
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        labels = frozenset((name, line[name]) for name in directive["Dimensions"][0])
        for metric in directive["Metrics"]:
            values = line[metric["Name"]]
            samples[metric["Name"], labels] += sum(values) if isinstance(values, list) else values
    return {key: value for key, value in samples.items() if value}


def samples_of_prometheus(registry: CollectorRegistry) -> Samples:
    samples: Samples = defaultdict(float)
    for family in registry.collect():
        for sample in family.samples:
            if sample.name.endswith(("_total", "_sum")):
                samples[sample.name.removesuffix("_sum"), frozenset(sample.labels.items())] += sample.value
    return {key: value for key, value in samples.items() if value}
