"""A record: its bytes and the place in the stream it came from."""

from dataclasses import dataclass
from typing import Self

from consumer.engine.errors import Rejected
from consumer.engine.wire import from_base64


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a stream. `sequence` is Kinesis' own number, `sub_sequence` the place in a KPL aggregate."""

    stream: str
    shard: str
    sequence: str
    sub_sequence: int = 0

    def __str__(self) -> str:
        sub = f"-{self.sub_sequence}" if self.sub_sequence else ""
        return f"{self.stream}/{self.shard}/{self.sequence}{sub}"


@dataclass(frozen=True, slots=True)
class Record:
    """`arrived_at` is Kinesis' arrival time, epoch milliseconds. `fault` is what was wrong before any byte was read;
    `data` then holds what was there instead."""

    position: Position
    data: bytes
    arrived_at: int = 0
    fault: Rejected | None = None

    @classmethod
    def from_base64(cls, position: Position, text: object, arrived_at: int) -> Self:
        """The record whose data the daemon or Lambda delivered as `text`."""
        try:
            return cls(position, from_base64(text), arrived_at)
        except Rejected as fault:
            found = text.encode("utf-8", "backslashreplace") if isinstance(text, str) else b""
            return cls(position, found, arrived_at, fault.bare())
