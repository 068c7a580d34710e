"""How much memory the container may use, and what that means for the JVM's heap and for a fetch.

A worker is a supervisor, a JVM, and one record processor per shard. What the first two need in any case is FIXED; of
what is left the heap gets a quarter, the record processors the rest: 60 MiB each, and more by the size of a batch.

That is sized for ordinary events. Kinesis takes records of up to 10 MiB, and a fetch brings 10 MiB at most: KCL then
needs HEAP_OF_LARGE for each shard. When memory has run out, `after_exhaustion` says what to start with instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from consumer.settings import Settings

MIB = 1 << 20
GROUPS = Path("/sys/fs/cgroup")
FIXED = 192
"""MiB: 40 of the supervisor, up to 150 of the JVM beside its heap."""
SMALL = 1024
"""MiB, below which the JVM does without its optimising compiler, which takes 45 MiB: the room of a shard."""
SHARE = 4
UNLIMITED = 256
"""MiB of heap where nothing limits the container: a dozen shards."""
LEAST = 64
"""MiB of heap, below which KCL does not get far."""
RECORDS_A_MIB = 10
"""Records a fetch for each MiB of heap: KCL holds some fetches of each shard, in several forms."""
MOST_RECORDS = 10_000
"""Kinesis gives no more."""
LARGE = 110
"""MiB of a record processor whose batch is a fetch of 10 MiB."""
LARGEST = 155
"""MiB of one that quarantines a record of 10 MiB."""
HEAP_OF_LARGE = 115
"""MiB of heap for each shard whose fetches are of 10 MiB."""
WORTHWHILE = 1.25
"""By how much a heap must be able to grow to be worth a restart."""
FEWER = 10
"""By how much a fetch is made smaller."""

_FILES = ("memory.max", "memory/memory.limit_in_bytes")
"""The limit in the second version of control groups, and in the first, as a container sees them."""
_NO_LIMIT = 1 << 60
_KILLS = ("memory.events", "memory/memory.oom_control")


@dataclass(frozen=True, slots=True)
class Share:
    """What the JVM is started with.

    heap     MiB, None when the operator has sized it
    records  a fetch, None when that is not for us to say: with enhanced fan-out
    """

    heap: int | None
    records: int | None


def limit(groups: Path = GROUPS) -> int | None:
    """Bytes that the container may use, None when nothing limits it."""
    for file in _FILES:
        try:
            said = (groups / file).read_text(encoding="ascii").strip()
        except OSError:
            continue
        return int(said) if said.isdecimal() and int(said) < _NO_LIMIT else None
    return None


def heap(limited: int | None) -> int:
    """MiB of heap in a container of so many bytes."""
    return UNLIMITED if limited is None else max(LEAST, (limited // MIB - FIXED) // SHARE)


def records(limited: int | None) -> int:
    """Records a fetch may bring in a container of so many bytes."""
    return MOST_RECORDS if limited is None else min(MOST_RECORDS, RECORDS_A_MIB * heap(limited))


def fitted(settings: Settings, limited: int | None) -> Settings:
    """The settings, with fetches that fit unless the operator has sized them."""
    if "max_records" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"max_records": records(limited)})


def options(given: Sequence[str], limited: int | None, mib: int | None = None) -> list[str]:
    """The JVM's options with what makes it fit, unless those `given` size its heap; `mib` of heap, else what fits."""
    if sizes_heap(given):
        return [*given]
    small = limited is not None and limited < SMALL * MIB
    return [f"-Xmx{mib or heap(limited)}m", *(["-XX:TieredStopAtLevel=1"] if small else []), *given]


def sizes_heap(given: Sequence[str]) -> bool:
    """Whether these options of the JVM size its heap."""
    return any(option.startswith("-Xmx") or "MaxHeapSize" in option or "RAM" in option for option in given)


def share(settings: Settings, limited: int | None) -> Share:
    """What the first JVM is started with; `settings` are `fitted`."""
    sized = sizes_heap(settings.java_options.split())
    records = settings.max_records if settings.retrieval_mode == "polling" else None
    return Share(None if sized else heap(limited), records)


def after_exhaustion(last: Share, limited: int | None, shards: int) -> Share | None:
    """What to start with after the heap of a JVM with so many shards was too small; None when nothing is left to try.

    The container's free memory first, as that costs no throughput; then smaller fetches.
    """
    larger = free_for_heap(limited, shards)
    if last.heap is not None and larger >= WORTHWHILE * last.heap:
        return replace(last, heap=larger)
    return _fewer(last)


def after_kill(last: Share, limited: int | None) -> Share | None:
    """The same after the kernel has killed a process of the container for its memory."""
    fewer = _fewer(last)
    return fewer and replace(fewer, heap=None if last.heap is None else heap(limited))


def _fewer(last: Share) -> Share | None:
    if last.records is None or last.records <= 1:
        return None
    return replace(last, records=max(1, last.records // FEWER))


def free_for_heap(limited: int | None, shards: int) -> int:
    """MiB of heap beside so many record processors with batches of 10 MiB."""
    if limited is None:
        return UNLIMITED + HEAP_OF_LARGE * shards
    return limited // MIB - FIXED - LARGE * shards


def needed(shards: int) -> int:
    """MiB of a container in which so many shards can all have fetches of 10 MiB, whatever is in them."""
    return FIXED + (LARGEST + HEAP_OF_LARGE) * max(1, shards)


def kills(groups: Path = GROUPS) -> int:
    """How many processes of the container the kernel has killed for its memory."""
    for file in _KILLS:
        try:
            lines = (groups / file).read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return 0
