"""The archive keeps every delivered record as it came, in objects of many records, before a checkpoint passes it.

A segment collects the records of a shard. It is written when it is large or old: an object for each record would cost
more than everything else. Until then its records are only in memory: if the process exits, Kinesis delivers them again.
The policy is constant, the time is an argument.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from consumer.engine.records import Position, Record
from consumer.engine.retry_policy import RetryPolicy, persist

PART = "archive"
"""The name of the archive in logs and metrics of waits."""


class Segment(Protocol):
    """Delivered records that are to be written."""

    @property
    def left(self) -> int:
        """How many objects are not yet written."""
        ...

    @property
    def size(self) -> int:
        """The bytes of these objects, as far as they are known."""
        ...

    def add(self, records: Iterable[Record]) -> None:
        """Adds records in the order in which they were delivered."""
        ...

    def write(self) -> int:
        """Writes the first of them, and returns its size in bytes.

        Raises Unavailable. The object may have been written then; it is written again under the same name.
        """
        ...


class Archive(Protocol):
    def segment(self) -> Segment:
        """A new one without records."""
        ...


@dataclass(frozen=True, slots=True)
class ArchivePolicy:
    """A segment is written `seconds` after its first record was delivered, or when it has `size` bytes."""

    seconds: float = 60.0
    size: int = 8 * 1024 * 1024


@dataclass(slots=True)
class Archiving:
    """What a shard has delivered since its archive was last written.

    since  when the first of it was delivered, in monotonic seconds
    last   the position of the last record that was delivered
    """

    archive: Archive
    policy: ArchivePolicy
    segment: Segment
    since: float = 0.0
    last: Position | None = None

    @classmethod
    def of(cls, archive: Archive, policy: ArchivePolicy) -> Self:
        return cls(archive, policy, archive.segment())

    def add(self, delivered: Sequence[Record], now: float) -> None:
        if not delivered:
            return
        if not self.segment.left:
            self.since = now
        self.segment.add(delivered)
        self.last = delivered[-1].position

    def is_due(self, now: float) -> bool:
        if not self.segment.left:
            return False
        return self.segment.size >= self.policy.size or now - self.since >= self.policy.seconds

    def drop(self) -> None:
        self.segment = self.archive.segment()


def written(segment: Segment, retry_policy: RetryPolicy, before: Callable[[str], object]) -> Iterator[int]:
    """Writes the objects of a segment and yields the size of each. Calls `before` before each of them.

    Raises GaveUp when the retry policy does.
    """
    while segment.left:
        before(PART)
        yield persist(PART, retry_policy, segment.write)
