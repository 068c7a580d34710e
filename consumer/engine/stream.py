"""What a record processor needs to know about the stream and does not get from KCL."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from consumer.engine.records import Position, Record


class Ending(StrEnum):
    """The state of a shard according to the stream, after KCL reported its end."""

    CLOSED = "the shard is closed"
    UNLISTED = "the stream no longer lists the shard"
    OPEN = "the shard is open"
    STREAM_GONE = "the stream is gone"


class Stream(Protocol):
    """Every method raises Unavailable when the request fails."""

    @property
    def name(self) -> str: ...

    def ending(self, shard: str) -> Ending:
        """Whether the shard is closed, open or gone, or the stream is deleted."""
        ...

    def oldest_from(self, position: Position) -> str | None:
        """The sequence number of the oldest retained record at or after the position, None if there is none."""
        ...

    def record_at(self, position: Position) -> Record | None:
        """The record with that sequence number as Kinesis delivers it, None if it is no longer retained."""
        ...


@dataclass(frozen=True, slots=True)
class BelievedStream:
    """Implements Stream without requests: every reported shard end is real, and no record was trimmed."""

    name: str

    def ending(self, shard: str) -> Ending:  # noqa: ARG002 - required by the protocol
        return Ending.CLOSED

    def oldest_from(self, position: Position) -> str | None:
        return position.sequence

    def record_at(self, position: Position) -> Record | None:  # noqa: ARG002 - required by the protocol
        return None
