"""Finds the records of one user in an archive, without reading all of it.

The objects are listed day by day. In an hour that is indexed, only the objects that may have records of the user are
read; in any other, all. So an index that is missing, old or malformed costs time, and hides nothing.
"""

import gzip
import logging
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import NamedTuple

from consumer.archive import index, lines
from consumer.archive.index import FOLDER, Index
from consumer.archive.names import hour_of, parse, prefix
from consumer.archive.place import Found, Place
from consumer.engine.aggregation import MAGIC, RECORDS, deaggregate
from consumer.engine.errors import ConsumerError
from consumer.engine.records import Record

log = logging.getLogger(__name__)

UsersIn = Callable[[bytes], Collection[str]]
"""The users that the data of a record names. The record is no aggregate."""

DAY = timedelta(days=1)
_EVENT = b',"event":'
"""In every line with JSON, and in no line with base64, whose texts have no quotes."""


class TooManyObjects(ConsumerError):
    """More objects would have to be read than the caller allows."""

    def __init__(self, objects: int) -> None:
        super().__init__(f"{objects} objects of the archive would have to be read")
        self.objects = objects


class Object(NamedTuple):
    """A file of the archive, and the hour in which its records arrived."""

    found: Found
    hour: datetime


@dataclass(frozen=True, slots=True)
class Findings:
    """The records of a user in no particular order, perhaps some of them repeatedly.

    objects     how many were read
    listed      how many there are
    unreadable  one line for each object that is damaged, or has lines that are
    """

    records: Sequence[Record]
    objects: int = 0
    listed: int = 0
    unreadable: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Finder:
    """Its methods block, and raise Unavailable. Requests run on `pool`.

    aggregate_cap  user records; an aggregate with more is one record
    """

    place: Place
    stream: str
    users_in: UsersIn
    pool: Executor
    aggregate_cap: int = RECORDS

    def records_of(self, user: str, until: int, most_objects: int | None = None) -> Findings:
        """What arrived until then: epoch milliseconds. Raises TooManyObjects."""
        wanted = partial(self._candidates, user, until)
        parts = list(self.pool.map(wanted, prefixes(self.place, self.stream, hour_of(until))))
        paths = [path for part, _ in parts for path in part]
        if most_objects is not None and len(paths) > most_objects:
            raise TooManyObjects(len(paths))
        read = list(self.pool.map(partial(self._read, user, until), paths))
        return Findings(
            [record for records, _ in read for record in records],
            len(paths),
            sum(count for _, count in parts),
            [wrong for _, wrong in read if wrong],
        )

    def _candidates(self, user: str, until: int, of: str) -> tuple[list[str], int]:
        """The paths of the objects below a prefix that may have records of the user, and the number of all objects."""
        objects = [each for each in listed(self.place, of) if each.hour <= hour_of(until)]
        indexed = {found.path for found in self.place.list(FOLDER + of)}
        user_hash, paths = index.hash_of(user), []
        for hour, group in groupby(objects, lambda each: each.hour):
            path = index.path_of(self.stream, hour)
            known = read_index(self.place, path) if path in indexed else index.NOTHING
            paths += [each.found.path for each in group if known.may_hold(each.found, user_hash)]
        return paths, len(objects)

    def _read(self, user: str, until: int, path: str) -> tuple[list[Record], str]:
        """The records of the user in an object, and what is wrong with the object."""
        records: list[Record] = []
        wrong = ""
        try:
            content = lines_of(self.place, path)
        except ValueError as damaged:
            return [], str(damaged)
        for line in _may_name(user, content):
            try:
                records += self._parts(lines.decode(line))
            except ValueError as malformed:
                wrong = f"{path}: {malformed}"
        return [each for each in records if each.arrived_at <= until and user in self.users_in(each.data)], wrong

    def _parts(self, record: Record) -> list[Record]:
        return deaggregate(record, self.aggregate_cap) if record.data.startswith(MAGIC) else [record]


def _may_name(user: str, content: Iterable[bytes]) -> Iterator[bytes]:
    """The lines that are worth decoding: in all others, the JSON has every text as it is, and none has the id."""
    needle = user.encode("utf-8", "surrogatepass")
    for line in content:
        if line and (needle in line or b"\\" in line or _EVENT not in line):
            yield line


def lines_of(place: Place, path: str) -> list[bytes]:
    """The lines of an object. Raises ValueError if it is damaged, and Unavailable."""
    packed = place.read(path)
    try:
        # An empty file is none that the service writes, although gzip accepts it.
        return gzip.decompress(packed or b"-").split(b"\n")
    except (OSError, EOFError, zlib.error) as damaged:
        raise ValueError(f"{path}: {damaged}") from None


def prefixes(place: Place, stream: str, until: datetime) -> Iterator[str]:
    """Prefixes that have all objects of the stream until that day: one for each day, and one for all before 2000.

    A record without a time of arrival is in the hour of the epoch.
    """
    folder = prefix(stream, until).partition("/")[0]
    yield f"{folder}/date=1"
    first = next(listed(place, f"{folder}/date=2"), None)
    day = until if first is None else first.hour
    while day.date() <= until.date():
        yield prefix(stream, day).partition("/hour=")[0] + "/"
        day += DAY


def listed(place: Place, of: str) -> Iterator[Object]:
    """The objects of the archive below a prefix, by hour. Other files are left out."""
    for found in place.list(of):
        if name := parse(found.path):
            yield Object(found, name.hour)


def read_index(place: Place, path: str) -> Index:
    """The index at this path. A malformed one covers nothing."""
    try:
        return index.decode(place.read(path))
    except (ValueError, LookupError, TypeError) as malformed:
        log.warning("an index of the archive is not used", extra={"path": path, "cause": str(malformed)})
        return index.NOTHING
