"""Metrics read from the processes at each scrape: leases held, memory, versions, the start."""

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from prometheus_client.metrics_core import GaugeMetricFamily

from consumer.monitoring.metrics import BUILD, DAEMON_MEMORY, LEASES, SHARD_MEMORY, START, Metric
from consumer.monitoring.multiprocess_files import Beat


class ProcessMetrics:
    """Implements prometheus_client's Collector. `daemon` returns the process id of the JVM, or None."""

    def __init__(self, beats: Callable[[], Sequence[Beat]], daemon: Callable[[], int | None]) -> None:
        self._beats = beats
        self._daemon = daemon
        self._start = time.time()
        self._build = (version("limits-consumer"), version("amazon_kclpy"), platform.python_version())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        processes = {beat.shard: beat.process for beat in self._beats()}
        daemon = self._daemon()
        yield family(BUILD, [(self._build, 1)])
        yield family(START, [((), self._start)])
        yield family(LEASES, [((), len(processes))])
        yield family(DAEMON_MEMORY, [((), resident_bytes(daemon))] if daemon else [])
        yield family(SHARD_MEMORY, [((shard,), resident_bytes(process)) for shard, process in processes.items()])


def resident_bytes(process: int) -> int | None:
    """Resident memory of the process. None if it has exited."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return None


def family(metric: Metric, values: Iterable[tuple[tuple[str, ...], float | None]]) -> GaugeMetricFamily:
    """Leaves out values that are None: those of processes that have just exited."""
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in values:
        if value is not None:
            family.add_metric(labels, value)
    return family
