"""When to checkpoint. The policy is constant. Its state is passed from batch to batch, the time is an argument."""

from dataclasses import dataclass, replace

from consumer.engine.records import Position


@dataclass(frozen=True, slots=True)
class CheckpointPolicy:
    """A checkpoint is due after `seconds` seconds or `records` records, whichever comes first."""

    seconds: float
    records: int


@dataclass(frozen=True, slots=True)
class CheckpointState:
    """How far a shard may be checkpointed.

    last      the time of the last checkpoint: seconds of a monotonic clock
    settled   the last position up to which every record is settled, None if none is since the checkpoint
    records   how many records were processed since the checkpoint
    archives  whether records must be in an archive as well
    archived  the last position up to which every record is, None if none is since the checkpoint
    """

    last: float
    settled: Position | None = None
    records: int = 0
    archives: bool = False
    archived: Position | None = None

    def advance(self, settled: Position | None, records: int) -> "CheckpointState":
        return replace(self, settled=settled or self.settled, records=self.records + records)

    def archive(self, archived: Position | None) -> "CheckpointState":
        return replace(self, archived=archived)

    @property
    def position(self) -> Position | None:
        """The last position that may be checkpointed, None if there is none since the checkpoint."""
        if not self.archives or self.settled is None or self.archived is None:
            return None if self.archives else self.settled
        return min(self.settled, self.archived, key=_order)

    def due(self, policy: CheckpointPolicy, now: float) -> bool:
        if self.position is None:
            return False
        return self.records >= policy.records or now - self.last >= policy.seconds

    def done(self, now: float) -> "CheckpointState":
        """The state after a checkpoint at `position`."""
        settled, archived = (None if each == self.position else each for each in (self.settled, self.archived))
        return CheckpointState(now, settled, 0, self.archives, archived)


def _order(position: Position) -> tuple[int, str, int]:
    """Orders positions of a shard. Sequence numbers have no leading zeros."""
    return len(position.sequence), position.sequence, position.sub_sequence
