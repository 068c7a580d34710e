"""Metrics as log lines that CloudWatch reads, in AWS's embedded metric format.

See AWS's "Embedded metric format specification". There is one line per set of labels. The labels become dimensions, in
addition to those that every line has.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from consumer.monitoring.metrics import Kind, Metric

NAMESPACE = "LimitsConsumer"
VALUES = 100
"""Maximum number of values of a metric in a line."""
METRICS = 100
"""Maximum number of metrics in a directive. Each line has one directive."""
_UNITS = {"seconds": "Seconds", "bytes": "Bytes", "total": "Count", "records": "Count"}

Labels = tuple[tuple[str, str], ...]
Values = list[tuple[Metric, list[float]]]


class EmfSink:
    """Implements metrics.Sink. Collects the values of each metric and set of labels until `flush` writes them.

    `dimensions` are added to every line. None of them may be blank.
    """

    def __init__(self, write: Callable[[str], object], now_millis: Callable[[], int], **dimensions: str) -> None:
        self._write = write
        self._now_millis = now_millis
        self._dimensions = dimensions
        self._values: dict[Labels, dict[Metric, list[float]]] = defaultdict(dict)

    def __call__(self, metric: Metric, value: float, *labels: str) -> None:
        key = tuple(zip(metric.labels, labels, strict=True))
        values = self._values[key].setdefault(metric, [])
        if metric.kind is Kind.HISTOGRAM:
            values.append(value)
        elif metric.kind is Kind.COUNTER and values:
            values[0] += value
        else:
            values[:] = [value]

    def flush(self) -> None:
        """Writes and clears the values: a line per set of labels, more if the values do not fit into one line."""
        for labels, values in self._values.items():
            for part in _parts(values):
                line = document(self._now_millis(), self._dimensions | dict(labels), part)
                self._write(json.dumps(line))
        self._values.clear()


def document(millis: int, dimensions: Mapping[str, str], values: Values) -> dict[str, Any]:
    """A line before it is encoded. `millis` since 1970; no dimension may be blank; values that fit into one line."""
    metrics = [{"Name": metric.name, "Unit": _unit(metric)} for metric, _ in values]
    directive = {"Namespace": NAMESPACE, "Dimensions": [list(dimensions)], "Metrics": metrics}
    return {
        "_aws": {"Timestamp": millis, "CloudWatchMetrics": [directive]},
        **dimensions,
        **{metric.name: many if len(many) > 1 else many[0] for metric, many in values},
    }


def _parts(values: dict[Metric, list[float]]) -> Iterator[Values]:
    """Parts that fit into one line each. No part contains a metric twice."""
    rest = dict(values)
    while rest:
        part = list(islice(rest.items(), METRICS))
        yield [(metric, many[:VALUES]) for metric, many in part]
        rest |= {metric: many[VALUES:] for metric, many in part}
        rest = {metric: many for metric, many in rest.items() if many}


def _unit(metric: Metric) -> str:
    return _UNITS.get(metric.name.rpartition("_")[2], "None")
