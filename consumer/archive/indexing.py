"""Indexes hours of an archive: what is new in an hour is read once, and added to the index of the hour.

Two of these may run at the same time. One of them may overwrite what the other has added, which the next run repeats.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from consumer.archive import index, lines
from consumer.archive.finding import Object, UsersIn, lines_of, listed, prefixes, read_index
from consumer.archive.index import Entry, Index
from consumer.archive.names import hour_of
from consumer.archive.place import Found, Place
from consumer.engine.aggregation import deaggregate

log = logging.getLogger(__name__)

ANY = 1_000_000
"""More user records than an aggregate of 1 MiB can have: an aggregate that is refused now may be accepted later."""


@dataclass(frozen=True, slots=True)
class Indexed:
    """An hour with new objects: how many were added to its index, and how many cannot be read."""

    hour: datetime
    added: int
    unreadable: int


@dataclass(frozen=True, slots=True)
class Indexer:
    """Its methods block, and raise Unavailable. Objects of an hour are read on `pool`."""

    place: Place
    stream: str
    users_in: UsersIn
    pool: Executor

    def run(self, until: int, since: int = 0) -> Iterator[Indexed]:
        """Indexes what arrived in the hours between: epoch milliseconds. One result for each hour with new objects."""
        begin, end = hour_of(since), hour_of(until)
        for of in prefixes(self.place, self.stream, end):
            objects = (each for each in listed(self.place, of) if begin <= each.hour <= end)
            for hour, group in groupby(objects, lambda each: each.hour):
                if done := self._index(hour, list(group)):
                    yield done

    def _index(self, hour: datetime, objects: Sequence[Object]) -> Indexed | None:
        path = index.path_of(self.stream, hour)
        known = self._known(path)
        new = [each.found for each in objects if not known.covers(each.found)]
        entries = dict(zip((found.path for found in new), self.pool.map(self._entry, new), strict=True))
        added = {path: entry for path, entry in entries.items() if entry}
        if added:
            there = {each.found.path for each in objects}
            kept = {path: entry for path, entry in known.entries.items() if path in there}
            self.place.write(path, index.encode(Index({**kept, **added})))
        return Indexed(hour, len(added), len(new) - len(added)) if new else None

    def _known(self, path: str) -> Index:
        is_there = any(found.path == path for found in self.place.list(path))
        return read_index(self.place, path) if is_there else index.NOTHING

    def _entry(self, found: Found) -> Entry | None:
        """None for an object that cannot be read as a whole: it must not be covered."""
        try:
            return Entry.of(found.size, self._users(lines_of(self.place, found.path)))
        except ValueError as wrong:
            log.warning("an object of the archive cannot be read", extra={"path": found.path, "cause": str(wrong)})
            return None

    def _users(self, content: Iterable[bytes]) -> Iterator[str]:
        for line in filter(None, content):
            for record in deaggregate(lines.decode(line), ANY):
                yield from self.users_in(record.data)
