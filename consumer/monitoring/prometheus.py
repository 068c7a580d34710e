"""The metrics as Prometheus has them.

The processes of one container share a directory of memory-mapped files. prometheus_client looks for it in
PROMETHEUS_MULTIPROC_DIR when it is first imported: import this module only after the variable is set.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from consumer.monitoring.metrics import Kind, Metric

ROOM = 131_072
"""Bytes of each file; far more than our metrics and their labels ever fill."""
_GAUGES: Final = "livemostrecent"
_FILES = ("counter", f"gauge_{_GAUGES}", "histogram")


def reserve(directory: Path, process: int) -> None:
    """Makes the files of a process in the shared directory, with room on the disk for all they will hold.

    prometheus_client would make them without, and write through memory maps: on a full disk that ends the process,
    by SIGBUS. Raises OSError when there is no room, and leaves nothing.
    """
    with _all_or_none() as made:
        for name in _FILES:
            path = directory / f"{name}_{process}.db"
            if not path.exists():  # else it is that of a dead process of the same id, whose counts go on
                made.append(path)
            with path.open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, ROOM)


@contextmanager
def _all_or_none() -> Iterator[list[Path]]:
    made: list[Path] = []
    try:
        yield made
    except OSError:
        for path in made:
            path.unlink(missing_ok=True)
        raise


class PrometheusSink:
    """Implements metrics.Sink on a registry, for some of the metrics.

    Gauges are of the `live` kind: they vanish with their process.
    """

    def __init__(self, metrics: Iterable[Metric], registry: CollectorRegistry = REGISTRY) -> None:
        self._collectors = {metric: _collector(metric, registry) for metric in metrics}

    def __call__(self, metric: Metric, value: float, *labels: str) -> None:
        family = self._collectors[metric]
        collector = family.labels(*labels) if labels else family
        if isinstance(collector, Counter):
            collector.inc(value)
        elif isinstance(collector, Gauge):
            collector.set(value)
        else:
            collector.observe(value)


def _collector(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    if metric.kind is Kind.COUNTER:
        return Counter(metric.name, metric.help, metric.labels, registry=registry)
    if metric.kind is Kind.GAUGE:
        return Gauge(metric.name, metric.help, metric.labels, registry=registry, multiprocess_mode=_GAUGES)
    return Histogram(metric.name, metric.help, metric.labels, registry=registry, buckets=metric.buckets)
