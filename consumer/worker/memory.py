"""How much memory the container may use, and what that means for the JVM's heap and for a fetch.

A worker is a supervisor, a JVM, and a record processor a shard. What the first two need in any case is FIXED; of what
is left the heap gets a quarter, the record processors the rest: 60 MiB each, and more by the size of a batch.
"""

from collections.abc import Sequence
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

_FILES = ("memory.max", "memory/memory.limit_in_bytes")
"""The limit in the second version of control groups, and in the first, as a container sees them."""
_NO_LIMIT = 1 << 60


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


def options(given: Sequence[str], limited: int | None) -> list[str]:
    """The JVM's options with what makes it fit, unless those `given` size its heap."""
    if any(option.startswith("-Xmx") or "MaxHeapSize" in option or "RAM" in option for option in given):
        return [*given]
    small = limited is not None and limited < SMALL * MIB
    return [f"-Xmx{heap(limited)}m", *(["-XX:TieredStopAtLevel=1"] if small else []), *given]
