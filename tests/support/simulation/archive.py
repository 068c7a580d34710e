"""An archive with chosen objects, and a place that notes what is read of it."""

import gzip
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count, groupby

from consumer.archive.finding import Finder
from consumer.archive.lines import encode
from consumer.archive.names import Name, hour_of
from consumer.archive.place import Found, Place
from consumer.archive.segment import PlaceArchive
from consumer.engine.errors import Unavailable
from consumer.engine.records import Record
from consumer.limits.claims import users
from consumer.limits.history import History, HistoryReader
from consumer.limits.projection import Limits
from tests.support.generators.events import START, Event, record


@dataclass
class NotedPlace:
    """Implements Place in memory. `reads`: the paths that were read. All requests fail while `is_away`."""

    files: dict[str, bytes] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)
    is_away: bool = False

    def write(self, path: str, content: bytes) -> None:
        self._check()
        self.files[path] = content

    def read(self, path: str) -> bytes:
        self._check()
        self.reads.append(path)
        if path not in self.files:
            raise Unavailable(f"archive {path}: no such file")
        return self.files[path]

    def list(self, prefix: str = "") -> Iterator[Found]:
        self._check()
        for path in sorted(self.files):
            if path.startswith(prefix):
                yield Found(path, len(self.files[path]))

    def _check(self) -> None:
        if self.is_away:
            raise Unavailable("archive: no answer")


@dataclass
class Archived:
    """Implements Histories over an archive in memory, which gets an object for each delivery.

    now    epoch milliseconds
    asked  the users whose histories were read
    """

    now: int = START
    place: NotedPlace = field(default_factory=NotedPlace)
    asked: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def deliver(self, *events: Event | bytes) -> None:
        """They arrive one second after the other."""
        numbers = [next(self._numbers) for _ in events]
        records = [
            record(event, number)._replace(arrived_at=START + number * 1_000)
            for event, number in zip(events, numbers, strict=True)
        ]
        keep(self.place, records)

    def of_user(self, user: str, as_of: int | None = None, most_objects: int | None = None) -> History:
        self.asked.append(user)
        with ThreadPoolExecutor(1) as pool:
            finder = Finder(self.place, "limits", users, pool)
            return HistoryReader(finder, Limits(), 262_144, lambda: self.now).of_user(user, as_of, most_objects)


def archived(place: Place, records: Iterable[Record]) -> None:
    """Writes the records as the service does."""
    segment = PlaceArchive(place, lambda: START).segment()
    segment.add(records)
    while segment.left:
        segment.write()


def keep(place: Place, *deliveries: Sequence[Record]) -> list[str]:
    """Writes each delivery, which is of one shard, as objects by the hour of arrival. Returns their paths."""
    return [path for delivery in deliveries for path in _objects(place, delivery)]


def _objects(place: Place, delivery: Iterable[Record]) -> Iterator[str]:
    for hour, group in groupby(delivery, lambda each: hour_of(each.arrived_at)):
        records = list(group)
        stream, shard, first, _ = records[0].position
        path = Name(stream, hour, shard, first, records[-1].position.sequence).path()
        place.write(path, gzip.compress(b"".join(encode(stream, each) + b"\n" for each in records)))
        yield path
