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
    """`settled` is the last position up to which every record is settled, None if none is since the checkpoint."""

    last: float
    """The time of the last checkpoint: seconds of a monotonic clock."""
    settled: Position | None = None
    records: int = 0

    def advance(self, settled: Position | None, records: int) -> "CheckpointState":
        return replace(self, settled=settled or self.settled, records=self.records + records)

    def due(self, policy: CheckpointPolicy, now: float) -> bool:
        if self.settled is None:
            return False
        return self.records >= policy.records or now - self.last >= policy.seconds

    def done(self, now: float) -> "CheckpointState":
        return CheckpointState(last=now)
