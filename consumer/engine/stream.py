"""What a record processor asks the stream itself, as KCL does not tell it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from consumer.engine.records import Position, Record


class Ending(StrEnum):
    """What the stream says of a shard that is told to have ended."""

    CLOSED = "the shard is closed"
    UNLISTED = "the stream lists no such shard any more"
    OPEN = "the shard is open"
    STREAM_GONE = "the stream is gone"


class Stream(Protocol):
    """Every question raises Unavailable when it cannot be answered now."""

    @property
    def name(self) -> str: ...

    def ending(self, shard: str) -> Ending:
        """Whether the shard has ended, or the stream is no more."""
        ...

    def oldest_from(self, position: Position) -> str | None:
        """The sequence number of the oldest record kept from there on, None when none is."""
        ...

    def record_at(self, position: Position) -> Record | None:
        """The record of that sequence number as Kinesis delivers it, None when it is not kept any more."""
        ...


@dataclass(frozen=True, slots=True)
class BelievedStream:
    """Implements Stream without asking anybody: each end that is told is the end, and nothing was trimmed."""

    name: str

    def ending(self, shard: str) -> Ending:  # noqa: ARG002 - as the protocol has it
        return Ending.CLOSED

    def oldest_from(self, position: Position) -> str | None:
        return position.sequence

    def record_at(self, position: Position) -> Record | None:  # noqa: ARG002 - as the protocol has it
        return None
