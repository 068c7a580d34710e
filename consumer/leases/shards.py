"""The shards of a stream beside their leases: which are read to their end, and which should be read now. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from consumer.leases.kcl_tables import Lease

if TYPE_CHECKING:
    from mypy_boto3_kinesis.type_defs import ShardTypeDef


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard of the stream. `parents` may have expired already."""

    name: str
    open: bool
    parents: tuple[str, ...] = ()

    @classmethod
    def listed(cls, found: "ShardTypeDef") -> Self:
        """A shard as ListShards describes it."""
        parents = (found.get("ParentShardId"), found.get("AdjacentParentShardId"))
        is_open = "EndingSequenceNumber" not in found["SequenceNumberRange"]
        return cls(found["ShardId"], is_open, tuple(filter(None, parents)))


@dataclass(frozen=True, slots=True)
class Progress:
    """Shards and leases by the name of their shard. Either may be missing: a shard may have left the stream."""

    present: Mapping[str, Shard]
    leases: Mapping[str, Lease]

    @classmethod
    def of(cls, stream: Iterable[Shard], leases: Iterable[Lease]) -> Self:
        return cls({each.name: each for each in stream}, {each.shard: each for each in leases})

    def names(self) -> Collection[str]:
        return sorted({*self.present, *self.leases})

    def started(self, name: str) -> bool:
        """Whether the shard or one of its descendants has a lease."""
        children = (each.name for each in self.present.values() if name in each.parents)
        return name in self.leases or any(map(self.started, children))

    def read(self, name: str) -> bool:
        """Whether the shard was read to its end, or has left the stream. KCL deletes the lease of a shard that was read
        to its end after its children have started."""
        if name in self.leases:
            return self.leases[name].ended
        return name not in self.present or (not self.present[name].open and self.started(name))

    def waits_for(self, name: str) -> tuple[str, ...]:
        """The parents that must be read to their end before the shard is."""
        shard = self.present.get(name)
        return tuple(parent for parent in shard.parents if not self.read(parent)) if shard else ()

    def unfinished(self) -> list[str]:
        """The shards that should be read now: not read to their end, and waiting for no parent."""
        return [name for name in self.names() if not self.read(name) and not self.waits_for(name)]
