"""The quarantine keeps records that can never be applied, complete, until an operator replays or drops them."""

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
"""Maximum of characters in a part of a path. File systems allow 255 bytes per part, S3 allows 1,024 in all."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A rejected record and the reason.

    reason  a Reason; an entry of another version may have a reason that this version does not know
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
        """The entry from the output of `to_json`. Raises NotAnEntry."""
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
    """A file or object in the quarantine that is not an entry or cannot be read.

    lost  whether its name is that of an entry, so that it may contain a record
    """

    place: str
    why: str
    lost: bool = False

    def __str__(self) -> str:
        return f"{self.place}: {self.why}"


class NotAnEntry(ValueError):
    """The content of a file or object is not the output of `to_json`."""


class PartlyKept(Unavailable):
    """Some entries could not be stored. Put those in `left` again."""

    def __init__(self, left: Sequence[Quarantined], cause: Unavailable) -> None:
        super().__init__(str(cause))
        self.left = left


class Quarantine(Protocol):
    """The part of a quarantine that the core uses."""

    def put(self, entries: Iterable[Quarantined]) -> None:
        """Stores each entry under its position and overwrites an existing one.

        Raises PartlyKept if some entries were stored, Unavailable if none is known to be stored.
        """
        ...


def refuse(foreign: Foreign) -> NoReturn:
    raise Unavailable(str(foreign))


class QuarantineStore(Quarantine, Protocol):
    """A quarantine that can be read. Every method raises Unavailable."""

    def entries(self, on_foreign: Callable[[Foreign], object] = refuse) -> Iterator[Quarantined]:
        """All entries, in the order of `path_of`. Everything else found is passed to `on_foreign`."""
        ...

    def find(self, position: Position) -> Quarantined | None:
        """The entry of the position, None if absent. Raises Unavailable if something is there but cannot be read."""
        ...

    def drop(self, entry: Quarantined) -> bool:
        """Removes the entry if it has not changed since it was read. Returns False if it was overwritten."""
        ...

    def size(self) -> int:
        """The number of entries, counted by their names."""
        ...


_PATH = re.compile(r"[\w~%-]+/[\w~%-]+/[\w~%-]+\.json", re.ASCII)


def may_be_entry(path: str) -> bool:
    """Whether the path has the format of `path_of`."""
    return _PATH.fullmatch(path) is not None


def read(path: str, content: bytes) -> Quarantined:
    """The entry from a file or object at that path. Raises NotAnEntry."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise NotAnEntry("not JSON, or cut off") from None
    entry = Quarantined.from_json(document)
    if path_of(entry.record.position) != path:
        raise NotAnEntry(f"the entry of {entry.record.position}, in a place that is not its own")
    return entry


def groups(items: Iterable[T], size: Callable[[T], int], most: int, most_bytes: int) -> Iterator[list[T]]:
    """The items in order, in groups of at most `most` items and `most_bytes` bytes. A larger item is alone."""
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
    """`<stream>/<shard>/<sequence>[-<sub>].json`, safe as a file name and as an object key for any position.

    An aggregate that was quarantined whole has the path of its first record.
    """
    stream, shard, sequence = map(_segment, (position.stream, position.shard, position.sequence))
    sub = f"-{position.sub_sequence}" if position.sub_sequence else ""
    return f"{_short(stream)}/{_short(shard)}/{_short(sequence.replace('-', '%2D'))}{sub}.json"


def _segment(part: str) -> str:
    """The part encoded so that it is never empty, `.` or `..`."""
    return encoded(part).replace(".", "%2E")


def _short(segment: str) -> str:
    """The segment, cut to LONGEST. A hash follows `%~`, which no encoding produces."""
    if len(segment) <= LONGEST:
        return segment
    rest = f"%~{hashlib.blake2b(segment.encode(), digest_size=16).hexdigest()}"
    return segment[: LONGEST - len(rest)] + rest


class InMemoryQuarantine:
    """Stores entries in memory: for `consumer apply` and tests."""

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
