"""The metrics of a worker for CloudWatch: one line per interval with a few totals, because every series is billed.

The only dimension is the application. Each worker writes one value of each metric per interval, all workers at the same
times, so a statistic over an interval is one over the workers: the sum of the leases held, the maximum of the lags, and
as the number of samples the number of workers.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import prometheus_client
from prometheus_client.samples import Sample

from consumer.engine.folding import Outcome
from consumer.monitoring import emf
from consumer.monitoring.metrics import (
    BEHIND,
    LAST_BATCH,
    LEASES,
    LEASES_OWNED,
    OPEN_SHARDS,
    QUARANTINED,
    RECORDS,
    RESTARTS,
    RETENTION,
    RETRIES,
    SHARD_START,
    Kind,
    Metric,
)

APPLIED = Metric("consumer_applied_records_total", "Records applied.")
OLDEST_BATCH = Metric(
    "consumer_oldest_batch_seconds",
    "Since the last batch of the shard that has waited longest for one, or since its start if it has had none.",
    Kind.GAUGE,
)
_GAUGES = (LEASES_OWNED, LEASES, OPEN_SHARDS, RETENTION, BEHIND)
"""The highest value over all labels, at the time of the line."""
_UNKNOWN_WHILE_0 = (OPEN_SHARDS, RETENTION)
_COUNTERS = (QUARANTINED, RETRIES, RESTARTS)
"""The increase over all labels since the previous line."""
LINE = (*_GAUGES, OLDEST_BATCH, APPLIED, *_COUNTERS)
"""The metrics of a line."""

Samples: TypeAlias = Mapping[str, Sequence[Sample]]
"""By the name of the series."""


class WorkerLines:
    """Makes the lines of one worker, on one thread. `collect` returns its metrics as Prometheus gets them."""

    def __init__(self, collect: Callable[[], Iterable[prometheus_client.Metric]], application: str) -> None:
        self._collect = collect
        self._application = application
        self._totals: Mapping[Metric, float] = {}

    def line(self, now: float) -> dict[str, Any]:
        """The line of an interval that ends `now`, in seconds since 1970."""
        samples = _by_name(self._collect())
        return self._document(now, {**dict(_states(samples, now)), **self._increases(samples)})

    def last(self, now: float) -> dict[str, Any] | None:
        """What was counted since the previous line; None if nothing was. The worker has ended: it has no state."""
        increases = self._increases(_by_name(self._collect()))
        return self._document(now, increases) if any(increases.values()) else None

    def _document(self, now: float, values: Mapping[Metric, float]) -> dict[str, Any]:
        listed = [(metric, [value]) for metric, value in values.items()]
        return emf.document(int(now * 1000), {"application": self._application}, listed)

    def _increases(self, samples: Samples) -> dict[Metric, float]:
        before, self._totals = self._totals, dict(_totals(samples))
        return {metric: total - before.get(metric, 0.0) for metric, total in self._totals.items()}


def _by_name(families: Iterable[prometheus_client.Metric]) -> Samples:
    found: dict[str, list[Sample]] = defaultdict(list)
    for family in families:
        for sample in family.samples:
            found[sample.name].append(sample)
    return found


def _states(samples: Samples, now: float) -> Iterator[tuple[Metric, float]]:
    """Without those that are not known, and without those of a shard if the worker has none."""
    for metric in _GAUGES:
        worst = max((each.value for each in samples[metric.name]), default=None)
        if worst is not None and (worst or metric not in _UNKNOWN_WHILE_0):
            yield metric, worst
    since = {**_by_shard(samples[SHARD_START.name]), **_by_shard(samples[LAST_BATCH.name])}
    if since:
        yield OLDEST_BATCH, max(0.0, now - min(since.values()))


def _by_shard(samples: Iterable[Sample]) -> dict[str, float]:
    return {each.labels["shard"]: each.value for each in samples}


def _totals(samples: Samples) -> Iterator[tuple[Metric, float]]:
    yield APPLIED, sum(each.value for each in samples[RECORDS.name] if each.labels["outcome"] == Outcome.APPLIED)
    for metric in _COUNTERS:
        yield metric, sum(each.value for each in samples[metric.name])
