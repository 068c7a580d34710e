"""Metrics for Prometheus.

The processes of one container share a directory of memory-mapped files. prometheus_client reads its path from
PROMETHEUS_MULTIPROC_DIR when it is first imported. Set the variable before importing this module.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from consumer.monitoring.metrics import Kind, Metric

FILE_BYTES = 131_072
"""Size of each file in bytes, far more than the metrics and their labels need."""
_GAUGES: Final = "livemostrecent"
_FILES = ("counter", f"gauge_{_GAUGES}", "histogram")


def reserve(directory: Path, process: int) -> None:
    """Creates the files of a process in the shared directory and allocates their disk space.

    prometheus_client would create sparse files and write to them through memory maps. On a full disk, SIGBUS would
    kill the process. Raises OSError if there is not enough free space, and then leaves no files.
    """
    with _all_or_none() as made:
        for name in _FILES:
            path = directory / f"{name}_{process}.db"
            if not path.exists():  # an exited process had the same id: its counters continue
                made.append(path)
            with path.open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, FILE_BYTES)


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
    """Implements metrics.Sink on a registry, for the given metrics.

    Gauges are in a `live` mode: they are removed when their process exits.
    """

    def __init__(self, metrics: Iterable[Metric], registry: CollectorRegistry = REGISTRY) -> None:
        self._collectors = {metric.name: _collector(metric, registry) for metric in metrics}
        self._series: dict[tuple[str, ...], Callable[[float], None]] = {}

    def __call__(self, metric: Metric, value: float, *labels: str) -> None:
        series = metric.name, *labels
        # prometheus_client takes a lock to find a series.
        if (measure := self._series.get(series)) is None:
            measure = self._series[series] = self._of(*series)
        measure(value)

    def _of(self, name: str, *labels: str) -> Callable[[float], None]:
        family = self._collectors[name]
        collector = family.labels(*labels) if labels else family
        if isinstance(collector, Counter):
            return collector.inc
        return collector.set if isinstance(collector, Gauge) else collector.observe


def _collector(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    if metric.kind is Kind.COUNTER:
        return Counter(metric.name, metric.help, metric.labels, registry=registry)
    if metric.kind is Kind.GAUGE:
        return Gauge(metric.name, metric.help, metric.labels, registry=registry, multiprocess_mode=_GAUGES)
    return Histogram(metric.name, metric.help, metric.labels, registry=registry, buckets=metric.buckets)
