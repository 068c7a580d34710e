"""The metrics as Prometheus has them.

The processes of one container share a directory of memory-mapped files. prometheus_client looks for it in
PROMETHEUS_MULTIPROC_DIR when it is first imported: import this module only after the variable is set.
"""

from collections.abc import Iterable

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from consumer.metrics import Kind, Metric


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
        return Gauge(metric.name, metric.help, metric.labels, registry=registry, multiprocess_mode="livemostrecent")
    return Histogram(metric.name, metric.help, metric.labels, registry=registry, buckets=metric.buckets)
