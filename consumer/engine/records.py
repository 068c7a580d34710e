"""A record: its bytes and its position in the stream."""

import re
from typing import NamedTuple, Self
from urllib.parse import quote, unquote

from consumer.engine.errors import Rejected
from consumer.engine.wire import from_base64

LATEST_ARRIVAL = 10**14
"""Epoch milliseconds, in the year 5138. A higher number is not a valid arrival time."""


class Position(NamedTuple):
    """A position in a stream: `sequence` is Kinesis' sequence number, `sub_sequence` the index in a KPL aggregate."""

    stream: str
    shard: str
    sequence: str
    sub_sequence: int = 0

    def __str__(self) -> str:
        """`STREAM/SHARD/SEQUENCE[-SUB]`, percent-encoded: a shell reads it as one word, and never as an option."""
        stream, shard, sequence = map(encoded, (self.stream, self.shard, self.sequence))
        sub = f"-{self.sub_sequence}" if self.sub_sequence else ""
        text = f"{stream}/{shard}/{sequence.replace('-', '%2D')}{sub}"
        return re.sub("^-|~", lambda found: f"%{ord(found[0]):02X}", text)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The position from the output of `str`. Raises ValueError."""
        found = _POSITION.fullmatch(text)
        if not found:
            raise ValueError("not of the form STREAM/SHARD/SEQUENCE[-SUB]")
        stream, shard, sequence, sub = found.groups()
        return cls(_decoded(stream), _decoded(shard), _decoded(sequence), int(sub or 0))


_POSITION = re.compile(r"([^/]+)/([^/]+)/([^/]+?)(?:-([0-9]{1,18}))?")


def encoded(part: str) -> str:
    """A part of a position as printable ASCII without `/`. A single `%` stands for an empty part only."""
    return quote(part, safe="", errors="surrogatepass") or "%"


def _decoded(part: str) -> str:
    return "" if part == "%" else unquote(part, errors="surrogatepass")


class Record(NamedTuple):
    """A user record.

    arrived_at  Kinesis' arrival time in epoch milliseconds, 0 if unknown
    fault       an error found before the data was parsed; `data` then holds what was delivered instead
    aggregate   the record that contained this one
    """

    position: Position
    data: bytes
    arrived_at: int = 0
    fault: Rejected | None = None
    aggregate: "Record | None" = None

    @property
    def delivered(self) -> "Record":
        """The record that Kinesis delivered. Checkpoints are made at its position."""
        return self.aggregate or self

    @classmethod
    def from_base64(cls, position: Position, text: object, arrived_at: int) -> Self:
        """The record from the base64 text that the daemon or Lambda delivered."""
        try:
            return cls(position, from_base64(text), arrived_at)
        except Rejected as fault:
            found = text.encode("utf-8", "backslashreplace") if isinstance(text, str) else b""
            return cls(position, found, arrived_at, fault.bare())


def arrival_of(number: object, unit_millis: int = 1) -> int:
    """The arrival time in epoch milliseconds, from a number of `unit_millis`. 0 if it is not a valid time."""
    if isinstance(number, int | float) and 0 <= number * unit_millis < LATEST_ARRIVAL:
        return round(number * unit_millis)
    return 0
