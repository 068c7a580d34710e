"""The quarantine keeps records that can never be applied, complete, until an operator replays or drops them."""

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, groupby
from typing import Any, NamedTuple, NoReturn, Protocol, Self, TypeVar

from consumer.engine.entry_names import Summary, named, path_of, stem_of
from consumer.engine.errors import Unavailable
from consumer.engine.records import Position, Record

T = TypeVar("T")

UNREADABLE = "UNREADABLE"
"""The event type of a record that could not be decoded."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A rejected record and the reason.

    reason  a Reason; an entry of another version may have a reason that this version does not know
    type    the event's type as far as it is known, otherwise UNREADABLE
    """

    record: Record
    reason: str
    detail: str
    type: str = UNREADABLE

    @property
    def summary(self) -> Summary:
        record = self.record
        return Summary(record.position, record.arrived_at, self.reason, self.type, self.detail)

    def to_json(self) -> dict[str, Any]:
        position = self.record.position
        return {
            "reason": self.reason,
            "detail": self.detail,
            "type": self.type,
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
            # Entries of earlier versions have no type.
            texts.append(document.get("type", UNREADABLE))
            sub_sequence, arrived_at = document["subSequenceNumber"], document["arrivedAt"]
        except (KeyError, TypeError):
            raise NotAnEntry("not an entry of the quarantine") from None
        if not all(type(text) is str for text in texts) or {type(sub_sequence), type(arrived_at)} != {int}:
            raise NotAnEntry("not an entry of the quarantine")
        stream, shard, sequence, reason, detail, data, kind = texts
        record = Record(Position(stream, shard, sequence, sub_sequence), _decoded(data), arrived_at)
        return cls(record, reason, detail, kind)


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


class Copy(NamedTuple):
    """A file or object that holds an entry.

    version   differs after it was replaced
    modified  when it was written, in a unit of the store
    size      in bytes, 0 if unknown
    """

    path: str
    version: str
    modified: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry in a listing: what is known without reading it.

    copies  the newest last, which has the summary. There are others if the record was refused before for another reason
    """

    summary: Summary
    copies: Sequence[Copy]

    @property
    def newest(self) -> Copy:
        return self.copies[-1]


class Quarantine(Protocol):
    """The part of a quarantine that the core uses."""

    def put(self, entries: Iterable[Quarantined]) -> None:
        """Stores each entry under its position and overwrites an existing one.

        Raises PartlyKept if some entries were stored, Unavailable if none is known to be stored.
        """
        ...


def refuse(foreign: Foreign) -> NoReturn:
    raise Unavailable(str(foreign))


OnForeign = Callable[[Foreign], object]


class QuarantineStore(Quarantine, Protocol):
    """A quarantine that can be read. Every method raises Unavailable."""

    def listing(self, on_foreign: OnForeign = refuse) -> Iterator[Listed]:
        """One item per position, in the order of `path_of`. Everything else found is passed to `on_foreign`.

        Only entries whose name has no summary are read for it.
        """
        ...

    def find(self, position: Position) -> Listed | None:
        """The entry of the position, None if absent. Raises Unavailable if something is there but cannot be read."""
        ...

    def read(self, listed: Iterable[Listed], on_foreign: OnForeign = refuse) -> Iterator[tuple[Listed, Quarantined]]:
        """The listed entries, in order, as far as they are still there, read in parallel and a few at a time.

        An item comes without those of its copies that hold another record: an aggregate, and its first record.
        """
        ...

    def entries(self, on_foreign: OnForeign = refuse) -> Iterator[Quarantined]:
        """All entries, in the order of `path_of`. Everything else found is passed to `on_foreign`."""
        ...

    def drop(self, listed: Sequence[Listed]) -> Sequence[bool]:
        """Removes each entry if it is still the one that was listed. False: it was replaced, and stays."""
        ...

    def size(self) -> int:
        """The number of entries, counted by their names."""
        ...


def by_position(copies: Iterable[Copy]) -> Iterator[Sequence[Copy]]:
    """Sorted copies, grouped by the position in their names, the newest last."""
    for _, group in groupby(copies, lambda copy: stem_of(copy.path)):
        yield sorted(group, key=lambda copy: (copy.modified, copy.path))


def positions(paths: Iterable[str]) -> int:
    """The number of positions in sorted names of entries."""
    return sum(1 for _ in groupby(paths, stem_of))


def with_copies(copies: Sequence[tuple[Copy, Quarantined]]) -> tuple[Listed, Quarantined]:
    """The newest of the copies of a position, with the others that hold the same record."""
    newest = copies[-1][1]
    same = [copy for copy, entry in copies if entry.record.data == newest.record.data]
    return Listed(newest.summary, same), newest


def read(path: str, content: bytes) -> Quarantined:
    """The entry from a file or object at that path. Raises NotAnEntry."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise NotAnEntry("not JSON, or cut off") from None
    entry = Quarantined.from_json(document)
    if path not in (named(entry.summary), path_of(entry.record.position)):
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


class InMemoryQuarantine:
    """Stores entries in memory: for `consumer apply` and tests."""

    def __init__(self) -> None:
        self._kept: dict[Position, tuple[Quarantined, str]] = {}
        self._versions = map(str, count())

    def put(self, entries: Iterable[Quarantined]) -> None:
        self._kept |= {entry.record.position: (entry, next(self._versions)) for entry in entries}

    def listing(self, on_foreign: OnForeign = refuse) -> Iterator[Listed]:  # noqa: ARG002
        yield from [self._listed(position) for position in sorted(self._kept, key=path_of)]

    def find(self, position: Position) -> Listed | None:
        return self._listed(position) if position in self._kept else None

    def read(
        self,
        listed: Iterable[Listed],
        on_foreign: OnForeign = refuse,  # noqa: ARG002
    ) -> Iterator[tuple[Listed, Quarantined]]:
        return ((each, found[0]) for each in listed if (found := self._kept.get(each.summary.position)))

    def entries(self, on_foreign: OnForeign = refuse) -> Iterator[Quarantined]:
        return (entry for _, entry in self.read(self.listing(on_foreign)))

    def drop(self, listed: Sequence[Listed]) -> Sequence[bool]:
        return [self._drop(each) for each in listed]

    def size(self) -> int:
        return len(self._kept)

    def _listed(self, position: Position) -> Listed:
        entry, version = self._kept[position]
        return Listed(entry.summary, (Copy(path_of(position), version),))

    def _drop(self, listed: Listed) -> bool:
        position = listed.summary.position
        if position in self._kept and self._kept[position][1] == listed.newest.version:
            del self._kept[position]
        return position not in self._kept
