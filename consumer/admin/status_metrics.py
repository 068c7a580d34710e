"""A status as metrics. Pure."""

from collections.abc import Iterator

from consumer.admin.status import FOREIGN, ShardStatus, Status
from consumer.monitoring.metrics import (
    CHECKPOINT_LAG,
    LEASE_OWNER,
    OPEN_SHARDS,
    RETENTION,
    SHARD_PROBLEM,
    STATUS_AT,
    WORKERS_ALIVE,
    Measurement,
)

_SECONDS_PER_HOUR = 3_600


def of_status(found: Status) -> Iterator[Measurement]:
    """The measurements of a status, without those of the quarantine."""
    yield Measurement(STATUS_AT, found.at)
    yield Measurement(OPEN_SHARDS, sum(map(_is_readable, found.shards)))
    yield Measurement(RETENTION, found.stream.retention_hours * _SECONDS_PER_HOUR)
    yield Measurement(WORKERS_ALIVE, sum(worker.alive for worker in found.workers))
    for shard in found.shards:
        yield from _of_shard(shard, found.stream.origin)


def _is_readable(shard: ShardStatus) -> bool:
    return shard.shard is not None and not shard.done and not shard.waits_for


def _of_shard(shard: ShardStatus, origin: str) -> Iterator[Measurement]:
    lease = shard.lease
    if shard.lag.seconds is not None:
        yield Measurement(CHECKPOINT_LAG, shard.lag.seconds, (shard.name,))
    if lease and lease.owner and not lease.ended:
        yield Measurement(LEASE_OWNER, 1, (shard.name, lease.owner))
    problems = [*shard.problems, *([FOREIGN] if lease and lease.origin not in (None, origin) else [])]
    for problem in problems:
        yield Measurement(SHARD_PROBLEM, 1, (shard.name, problem))
