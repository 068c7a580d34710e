"""Where records that can never be applied are kept, whole, until an operator replays or drops them."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, Self, TypeVar

from consumer.engine.errors import Unavailable
from consumer.engine.records import Position, Record, encoded

T = TypeVar("T")

LONGEST = 200
"""Characters of a part of a path: file systems take 255 bytes, S3 1,024 for all parts."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A rejected record, why it was rejected, and where it was.

    reason  a Reason; one that another version wrote may be a word that is none in this one
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
    def from_json(cls, document: Any) -> Self:
        """What `to_json` made. Raises NotAnEntry."""
        try:
            texts = [document[name] for name in ("stream", "shard", "sequenceNumber", "reason", "detail", "data")]
            sub_sequence, arrived_at = document["subSequenceNumber"], document["arrivedAt"]
        except (KeyError, TypeError):
            raise NotAnEntry("not an entry of the quarantine") from None
        if not all(type(text) is str for text in texts) or {type(sub_sequence), type(arrived_at)} != {int}:
            raise NotAnEntry("not an entry of the quarantine")
        stream, shard, sequence, reason, detail, data = texts
        record = Record(Position(stream, shard, sequence, sub_sequence), _decoded(data), arrived_at)
        return cls(record, reason, detail)


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except ValueError:
        raise NotAnEntry("an entry of the quarantine whose data is not base64") from None


@dataclass(frozen=True, slots=True)
class Foreign:
    """A file or object in the quarantine's place that is not an entry, or cannot be read.

    lost  whether it could be an entry by its name, so that a record may be in it
    """

    place: str
    why: str
    lost: bool = False

    def __str__(self) -> str:
        return f"{self.place}: {self.why}"


class NotAnEntry(ValueError):
    """What is kept at a position is not what `to_json` made."""


class PartlyKept(Unavailable):
    """Some of the entries could not be kept: `left`, which need to be put again."""

    def __init__(self, left: Sequence[Quarantined], cause: Unavailable) -> None:
        super().__init__(str(cause))
        self.left = left


class Quarantine(Protocol):
    """What the core needs of a quarantine."""

    def put(self, entries: Iterable[Quarantined]) -> None:
        """Keeps each under its position; one that is there already is overwritten.

        Raises Unavailable when none is known to be kept, PartlyKept when some are.
        """
        ...


def refuse(foreign: Foreign) -> NoReturn:
    raise Unavailable(str(foreign))


class QuarantineStore(Quarantine, Protocol):
    """A quarantine that can be read. Every method raises Unavailable."""

    def entries(self, on_foreign: Callable[[Foreign], object] = refuse) -> Iterator[Quarantined]:
        """Everything kept, in the order of `path_of`. What is not an entry is passed to `on_foreign`."""
        ...

    def find(self, position: Position) -> Quarantined | None:
        """The entry of that position. What is in its place but cannot be read is Unavailable."""
        ...

    def drop(self, entry: Quarantined) -> bool:
        """Removes the entry if it is still there as it was read. False: another has been put in its place."""
        ...

    def size(self) -> int:
        """How many entries are kept, judged by their names alone."""
        ...


_PATH = re.compile(r"[\w~%-]+/[\w~%-]+/[\w~%-]+\.json", re.ASCII)


def may_be_entry(path: str) -> bool:
    """Whether the path has the form of `path_of`."""
    return _PATH.fullmatch(path) is not None


def read(path: str, content: bytes) -> Quarantined:
    """The entry in a file or object of that path. Raises NotAnEntry."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise NotAnEntry("not JSON, or cut off") from None
    entry = Quarantined.from_json(document)
    if path_of(entry.record.position) != path:
        raise NotAnEntry(f"the entry of {entry.record.position}, in a place that is not its own")
    return entry


def groups(items: Iterable[T], size: Callable[[T], int], most: int, most_bytes: int) -> Iterator[list[T]]:
    """The items in their order, in groups of at most `most` and, unless it is one alone, `most_bytes`."""
    group: list[T] = []
    total = 0
    for item in items:
        if group and (len(group) == most or total + size(item) > most_bytes):
            yield group
            group, total = [], 0
        group.append(item)
        total += size(item)
    if group:
        yield group


def path_of(position: Position) -> str:
    """`<stream>/<shard>/<sequence>[-<sub>].json`, safe as a file name and an object key whatever the parts hold.

    An aggregate that was refused as a whole has the path of its first record.
    """
    stream, shard, sequence = map(_segment, (position.stream, position.shard, position.sequence))
    sub = f"-{position.sub_sequence}" if position.sub_sequence else ""
    return f"{_short(stream)}/{_short(shard)}/{_short(sequence.replace('-', '%2D'))}{sub}.json"


def _segment(part: str) -> str:
    """Neither empty nor a way up."""
    return encoded(part).replace(".", "%2E")


def _short(segment: str) -> str:
    """No longer than LONGEST; what stands for the rest follows `%~`, which quotes nothing."""
    if len(segment) <= LONGEST:
        return segment
    rest = f"%~{hashlib.blake2b(segment.encode(), digest_size=16).hexdigest()}"
    return segment[: LONGEST - len(rest)] + rest


class InMemoryQuarantine:
    """Keeps them in the process: for `consumer apply` and tests."""

    def __init__(self) -> None:
        self._kept: dict[Position, Quarantined] = {}

    def put(self, entries: Iterable[Quarantined]) -> None:
        self._kept |= {entry.record.position: entry for entry in entries}

    def entries(self, on_foreign: Callable[[Foreign], object] = refuse) -> Iterator[Quarantined]:  # noqa: ARG002
        yield from sorted(self._kept.values(), key=lambda entry: path_of(entry.record.position))

    def find(self, position: Position) -> Quarantined | None:
        return self._kept.get(position)

    def drop(self, entry: Quarantined) -> bool:
        found = self._kept.get(entry.record.position)
        if found == entry:
            del self._kept[entry.record.position]
        return found is None or found == entry

    def size(self) -> int:
        return len(self._kept)
