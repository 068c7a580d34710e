"""Metrics of the container's memory, read from its control group at each scrape."""

from collections.abc import Iterator

from prometheus_client.metrics_core import GaugeMetricFamily

from consumer.daemon import memory
from consumer.monitoring.metrics import MEMORY, MEMORY_LIMIT
from consumer.monitoring.process_metrics import family


class ContainerMemory:
    """Implements prometheus_client's Collector."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield family(MEMORY, [((), memory.used())])
        yield family(MEMORY_LIMIT, [((), memory.limit())])
