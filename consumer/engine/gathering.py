"""When to process delivered records together with later ones. While a shard is behind, that saves most of the writes.

Gathered records are neither stored nor checkpointed: if the process exits, Kinesis delivers them again. The policy is
constant, the time is an argument.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from consumer.engine.aggregation import SLICE_BYTES, SLICE_RECORDS
from consumer.engine.records import Record


@dataclass(frozen=True, slots=True)
class GatheringPolicy:
    """The limits of gathering.

    seconds  how long a record may wait; 0 processes each delivery at once
    behind   seconds: how far behind the end of the stream a shard must be. Readers see no difference then
    records  delivered records that are processed at once
    size     the same in bytes of data
    """

    seconds: float = 5.0
    behind: float = 10.0
    records: int = SLICE_RECORDS
    size: int = SLICE_BYTES


@dataclass(slots=True)
class Gathered:
    """Delivered records that wait to be processed. `since`: when the first one was delivered, in monotonic seconds."""

    records: list[Record] = field(default_factory=list)
    size: int = 0
    since: float = 0.0

    def add(self, delivered: Iterable[Record], now: float) -> None:
        if not self.records:
            self.since = now
        before = len(self.records)
        self.records += delivered
        self.size += sum(len(record.data) for record in self.records[before:])

    def may_wait(self, policy: GatheringPolicy, behind: float, now: float) -> bool:
        """Whether to wait for the next delivery. `behind`: how far the shard is behind, in seconds."""
        return (
            behind >= policy.behind
            and len(self.records) < policy.records
            and self.size < policy.size
            and self.seconds_left(policy, now) > 0
        )

    def seconds_left(self, policy: GatheringPolicy, now: float) -> float:
        """How much longer the records may wait, in seconds."""
        return self.since + policy.seconds - now
