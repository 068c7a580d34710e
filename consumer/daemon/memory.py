"""Sizes the JVM and the fetches from the memory limit and the CPUs of the container.

A worker consists of a supervisor, a JVM, and one record processor per shard. FIXED is what the first two need in any
case. Of the rest, the heap gets a quarter. The record processors get what remains: each needs 60 MiB and the size of
its batch.

These sizes suit ordinary events. Kinesis accepts records of up to 10 MiB and returns up to 10 MiB per fetch; the KCL
then needs HEAP_OF_LARGE for each shard. After the JVM ran out of memory, `after_exhaustion` chooses other sizes.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from consumer.settings import Settings

MIB = 1 << 20
GROUPS = Path("/sys/fs/cgroup")
FIXED = 192
"""MiB for the supervisor and for what the JVM needs beside its heap. At most, they take 73 and 150; the record
processors of four shards still fit into 512 MiB, as tests/image shows."""
SMALL = 1024
"""MiB, below which the JVM runs without its optimising compiler. It uses 45 MiB, nearly as much as a shard."""
FEW_CPUS = 2
"""CPUs, up to which it does as well: there the compiler takes CPU time from the record processors."""
SHARE = 4
"""The heap gets 1/SHARE of the memory beyond FIXED."""
UNLIMITED = 256
"""MiB of heap in a container without a limit: enough for a dozen shards."""
LEAST = 64
"""MiB of heap, the least with which the KCL runs."""
RECORDS_A_MIB = 10
"""Records per fetch for each MiB of heap: the KCL holds several fetches of each shard, in several forms."""
MOST_RECORDS = 10_000
"""The maximum of Kinesis per fetch."""
LARGE = 110
"""MiB used by a record processor with a batch of 10 MiB."""
LARGEST = 155
"""MiB used by a record processor that quarantines a record of 10 MiB."""
HEAP_OF_LARGE = 115
"""MiB of heap used for each shard with fetches of 10 MiB."""
WORTHWHILE = 1.25
"""The factor by which a heap must be able to grow to justify a restart."""
FEWER = 10
"""The factor by which a fetch is reduced."""

_FILES = ("memory.max", "memory/memory.limit_in_bytes")
"""The files with the limit, as a container sees them: cgroup v2, then v1."""
_NO_LIMIT = 1 << 60
_QUOTA = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))
"""The files with the CPU time in a period, and the period. `max` or -1 is no limit."""
_USED = (
    ("memory.current", "memory.stat", "inactive_file "),
    ("memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file "),
)
"""The file with what is used, and the file and line with what of it the kernel can drop at once."""
_KILLS = ("memory.events", "memory/memory.oom_control")


@dataclass(frozen=True, slots=True)
class Share:
    """What the JVM is started with.

    heap     MiB, None when the operator sets it
    records  per fetch, None with enhanced fan-out, where the client cannot choose
    """

    heap: int | None
    records: int | None


def limit(groups: Path = GROUPS) -> int | None:
    """The memory limit of the container in bytes, None without one."""
    for file in _FILES:
        try:
            text = (groups / file).read_text(encoding="ascii").strip()
        except OSError:
            continue
        return int(text) if text.isdecimal() and int(text) < _NO_LIMIT else None
    return None


def cpus(groups: Path = GROUPS) -> int:
    """CPUs that the container may use, rounded up as the JVM does."""
    usable = len(os.sched_getaffinity(0))
    for files in _QUOTA:
        try:
            quota, period = " ".join((groups / file).read_text(encoding="ascii") for file in files).split()
        except OSError:
            continue
        return min(usable, math.ceil(int(quota) / int(period))) if quota.isdecimal() else usable
    return usable


def used(groups: Path = GROUPS) -> int | None:
    """Memory of the container in bytes, without the inactive page cache; None when it is not known.

    Kubernetes and the alert on memory compare the same figure with the limit.
    """
    for total, details, droppable in _USED:
        try:
            lines = (groups / details).read_text(encoding="ascii").splitlines()
            dropped = sum(int(line.split()[1]) for line in lines if line.startswith(droppable))
            return max(0, int((groups / total).read_text(encoding="ascii")) - dropped)
        except OSError:
            continue
    return None


def heap(limited: int | None) -> int:
    """MiB of heap in a container limited to `limited` bytes."""
    return UNLIMITED if limited is None else max(LEAST, (limited // MIB - FIXED) // SHARE)


def records(limited: int | None) -> int:
    """Records per fetch in a container limited to `limited` bytes."""
    return MOST_RECORDS if limited is None else min(MOST_RECORDS, RECORDS_A_MIB * heap(limited))


def fitted(settings: Settings, limited: int | None) -> Settings:
    """The settings, with a fetch size that fits the memory unless the operator has set one."""
    if "max_records" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"max_records": records(limited)})


def options(given: Sequence[str], limited: int | None, cpus: int, mib: int | None = None) -> list[str]:
    """The `given` options of the JVM, after ours, over which they take precedence.

    `mib`: MiB of heap; by default what fits. If the given options set the heap size, ours set neither it nor the
    compiler.
    """
    if sizes_heap(given):
        return [*given]
    small = limited is not None and limited < SMALL * MIB
    compiler = ["-XX:TieredStopAtLevel=1"] if small or cpus <= FEW_CPUS else []
    return [f"-Xmx{mib or heap(limited)}m", *compiler, *given]


def sizes_heap(given: Sequence[str]) -> bool:
    """Whether these options of the JVM set its heap size."""
    return any(option.startswith("-Xmx") or "MaxHeapSize" in option or "RAM" in option for option in given)


def share(settings: Settings, limited: int | None) -> Share:
    """What the first JVM is started with. `settings` come from `fitted`."""
    sized = sizes_heap(settings.java_options.split())
    records = settings.max_records if settings.retrieval_mode == "polling" else None
    return Share(None if sized else heap(limited), records)


def after_exhaustion(last: Share, limited: int | None, shards: int) -> Share | None:
    """What to start with after the heap was too small for `shards` shards; None when nothing is left to try.

    A larger heap comes first if the container has free memory, as it costs no throughput; then smaller fetches.
    """
    larger = free_for_heap(limited, shards)
    if last.heap is not None and larger >= WORTHWHILE * last.heap:
        return replace(last, heap=larger)
    return _fewer(last)


def after_kill(last: Share, limited: int | None) -> Share | None:
    """What to start with after the kernel has killed a process of the container because it was out of memory."""
    fewer = _fewer(last)
    return fewer and replace(fewer, heap=None if last.heap is None else heap(limited))


def _fewer(last: Share) -> Share | None:
    if last.records is None or last.records <= 1:
        return None
    return replace(last, records=max(1, last.records // FEWER))


def free_for_heap(limited: int | None, shards: int) -> int:
    """MiB left for the heap beside `shards` record processors with batches of 10 MiB."""
    if limited is None:
        return UNLIMITED + HEAP_OF_LARGE * shards
    return limited // MIB - FIXED - LARGE * shards


def needed(shards: int) -> int:
    """MiB of a container that is sufficient for fetches of 10 MiB on `shards` shards at once, whatever they contain."""
    return FIXED + (LARGEST + HEAP_OF_LARGE) * max(1, shards)


def kills(groups: Path = GROUPS) -> int:
    """How many processes of the container the kernel has killed because it was out of memory."""
    for file in _KILLS:
        try:
            lines = (groups / file).read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return 0
