"""What a load needs in AWS and what it costs, from measured figures. The formula is in `size`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

LOADS = (1_000, 100_000, 10_000_000)
"""Events a second."""

SHARD_RECORDS = 1_000
SHARD_BYTES = 1_048_576
"""What one shard takes in a second."""
SHARD_USE = 0.7
"""The part of a shard that is used on average: keys are not spread evenly, and a load has peaks."""
CPU_USE = 0.6
MEMORY_USE = 0.8
"""The part of a task's CPU and memory that is used on average."""
SHARDS_PER_TASK = (16, 8, 4, 2, 1)
"""The first that fits into a task is used."""
MEMORY_AT = (1, 4, 16)
"""The numbers of shards of a worker with which the memory of a shard is measured."""

FARGATE: Sequence[tuple[float, Sequence[float]]] = (
    (0.25, (0.5, 1, 2)),
    (0.5, (1, 2, 3, 4)),
    (1, tuple(range(2, 9))),
    (2, tuple(range(4, 17))),
    (4, tuple(range(8, 31))),
    (8, tuple(range(16, 61, 4))),
    (16, tuple(range(32, 121, 8))),
)
"""The sizes of a task: vCPU, and the GB that it may have."""

PRICES_AS_OF = "2026-03"
REGION = "us-east-1"
SHARD_HOUR = 0.015
PUT_UNITS_MILLION = 0.014
"""Kinesis, provisioned. A record of up to 25 KB is one unit."""
WRITE_UNITS_MILLION = 0.625
"""DynamoDB, on demand. An item of up to 1 KB is one unit."""
VCPU_HOUR = 0.04048
GB_HOUR = 0.004445
"""Fargate, Linux on x86."""
HOURS = 730
SECONDS = HOURS * 3_600


@dataclass(frozen=True, slots=True)
class Measured:
    """What the benchmark measured.

    event_bytes       data of a record
    worker_micros     microseconds of CPU an event of the whole worker
    writes_per_event  conditional writes an event; each is one write unit
    shard_mib         memory of a record processor, by the number of shards of its worker; 1 is one of them
    worker_mib        memory of the JVM and the supervisor
    """

    event_bytes: float
    worker_micros: float
    writes_per_event: float
    shard_mib: Mapping[int, float]
    worker_mib: float

    def memory_mib(self, shards: int) -> float:
        """Memory of a worker with so many shards, each as measured with the largest number that is not above it."""
        return self.worker_mib + shards * self.shard_mib[max(number for number in self.shard_mib if number <= shards)]


@dataclass(frozen=True, slots=True)
class Size:
    """What `events` a second need. `dollars`: a month, by service; the producers' puts are part of Kinesis."""

    events: int
    shards: int
    tasks: int
    vcpu: float
    gb: float
    write_units: float
    dollars: Mapping[str, float]


def size(measured: Measured, events: int) -> Size:
    """Raises ValueError if one shard needs more than the largest task has."""
    per_shard = SHARD_USE * min(SHARD_RECORDS, SHARD_BYTES / measured.event_bytes)
    shards = ceil(events / per_shard)
    fitting = filter(None, (_tasks(measured, events, shards, most) for most in SHARDS_PER_TASK))
    found = next(fitting, None)
    if found is None:
        raise ValueError(f"no task has what a shard needs: {measured}")
    tasks, vcpu, gb = found
    units = events * measured.writes_per_event
    dollars = {
        "Kinesis": shards * HOURS * SHARD_HOUR + events * SECONDS / 1e6 * PUT_UNITS_MILLION,
        "DynamoDB": units * SECONDS / 1e6 * WRITE_UNITS_MILLION,
        "Fargate": tasks * HOURS * (vcpu * VCPU_HOUR + gb * GB_HOUR),
    }
    return Size(events, shards, tasks, vcpu, gb, units, dollars)


def _tasks(measured: Measured, events: int, shards: int, most: int) -> tuple[int, float, float] | None:
    """How many tasks of at most `most` shards, and the smallest vCPU and GB of one. None if no task is that large."""
    tasks = ceil(shards / most)
    cpu = events / tasks * measured.worker_micros / 1e6 / CPU_USE
    memory = measured.memory_mib(min(shards, most)) / 1_024 / MEMORY_USE
    for vcpu, sizes in FARGATE:
        fitting = [gb for gb in sizes if gb >= memory]
        if vcpu >= cpu and fitting:
            return tasks, vcpu, fitting[0]
    return None
