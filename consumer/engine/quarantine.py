"""Where records that can never be applied are kept, whole, until somebody has looked at them."""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, Self
from urllib.parse import quote

from consumer.engine.records import Position, Record

LONGEST = 200
"""Characters of a part of a path: file systems take 255 bytes, S3 1,024 for all parts."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A rejected record, why it was rejected, and where it was.

    reason  a Reason; one that an older version wrote may be a word that is none any more
    """

    record: Record
    reason: str
    detail: str

    def to_json(self) -> dict[str, Any]:
        position = self.record.position
        return {
            "reason": self.reason,
            "detail": self.detail,
            "stream": position.stream,
            "shard": position.shard,
            "sequenceNumber": position.sequence,
            "subSequenceNumber": position.sub_sequence,
            "arrivedAt": self.record.arrived_at,
            "data": base64.b64encode(self.record.data).decode("ascii"),
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """What `to_json` made; ValueError or KeyError when it did not."""
        position = Position(
            document["stream"], document["shard"], document["sequenceNumber"], document["subSequenceNumber"]
        )
        if not isinstance(document["reason"], str):
            raise ValueError("reason: a string is needed")  # noqa: TRY004 - as for whatever else is wrong
        data = base64.b64decode(document["data"], validate=True)
        return cls(Record(position, data, document["arrivedAt"]), document["reason"], document["detail"])


class Quarantine(Protocol):
    """Records by position: putting one again overwrites it. Every method raises Unavailable."""

    def put(self, entries: Iterable[Quarantined]) -> None: ...

    def entries(self) -> Iterator[Quarantined]:
        """Everything kept, in the order of `path_of`."""
        ...

    def drop(self, position: Position) -> None:
        """Forgets one record; no error when it is not there."""
        ...


def path_of(position: Position) -> str:
    """`<stream>/<shard>/<sequence>[-<sub>].json`, safe as a file name and an object key whatever the parts hold."""
    stream, shard, sequence = map(_segment, (position.stream, position.shard, position.sequence))
    sub = f"-{position.sub_sequence}" if position.sub_sequence else ""
    return f"{_short(stream)}/{_short(shard)}/{_short(sequence.replace('-', '%2D'))}{sub}.json"


def _segment(part: str) -> str:
    """Neither empty nor a way up; `%` alone quotes nothing else."""
    return quote(part, safe="", errors="surrogatepass").replace(".", "%2E") or "%"


def _short(segment: str) -> str:
    """No longer than LONGEST; what stands for the rest follows `%~`, which quotes nothing."""
    if len(segment) <= LONGEST:
        return segment
    rest = f"%~{hashlib.blake2b(segment.encode(), digest_size=16).hexdigest()}"
    return segment[: LONGEST - len(rest)] + rest


class Countable(Quarantine, Protocol):
    """A quarantine that knows its size."""

    def size(self) -> int:
        """How many records are kept, without a look into them. Raises Unavailable."""
        ...


class InMemoryQuarantine:
    """Keeps them in the process: for `consumer apply` and tests."""

    def __init__(self) -> None:
        self._kept: dict[Position, Quarantined] = {}

    def put(self, entries: Iterable[Quarantined]) -> None:
        self._kept |= {entry.record.position: entry for entry in entries}

    def entries(self) -> Iterator[Quarantined]:
        yield from sorted(self._kept.values(), key=lambda entry: path_of(entry.record.position))

    def size(self) -> int:
        return len(self._kept)

    def drop(self, position: Position) -> None:
        self._kept.pop(position, None)
