"""Builds the objects of an archive: lines of JSON, compressed as they are added, so that little memory is taken."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from isal import isal_zlib

from consumer.archive.lines import encode
from consumer.archive.names import Name, hour_of
from consumer.archive.place import Place
from consumer.engine.aggregation import MAGIC, RECORDS, deaggregate
from consumer.engine.records import Record

LEVEL = 1
"""Of isal: the next ones take more CPU time, for hardly less to store."""
GZIP = isal_zlib.MAX_WBITS + 16
"""Makes isal write the header of gzip."""
TOGETHER = 100
"""How many lines are compressed at once. The text of more would not stay in the processor's cache."""
HOUR_MILLIS = 3_600_000

Origin: TypeAlias = tuple[str, str, int]
"""Stream, shard, and hour of arrival: hours since 1970."""


class PlaceArchive:
    """Implements engine.Archive in a place.

    now_millis       epoch milliseconds; stands in for an unknown arrival time in names
    aggregate_cap    user records; an aggregate with more is kept whole
    """

    def __init__(self, place: Place, now_millis: Callable[[], int], aggregate_cap: int = RECORDS) -> None:
        self._place = place
        self._now_millis = now_millis
        self._aggregate_cap = aggregate_cap

    def segment(self) -> "PlaceSegment":
        return PlaceSegment(self._place, self._now_millis, self._aggregate_cap)


class PlaceSegment:
    """Implements engine.Segment: an object for each shard and each hour in which records arrived."""

    def __init__(self, place: Place, now_millis: Callable[[], int], aggregate_cap: int) -> None:
        self._place = place
        self._now_millis = now_millis
        self._aggregate_cap = aggregate_cap
        self._objects: deque[_Object] = deque()

    @property
    def left(self) -> int:
        return len(self._objects)

    @property
    def size(self) -> int:
        return sum(each.size for each in self._objects)

    def add(self, records: Iterable[Record]) -> None:
        # Sorted by origin, because arrival times are not exact: at the turn of an hour, the hours alternate.
        by_origin: defaultdict[Origin, list[Record]] = defaultdict(list)
        for record in records:
            (stream, shard, _, _), data, arrived_at, _, _ = record
            some = by_origin[stream, shard, (arrived_at or self._now_millis()) // HOUR_MILLIS]
            if data.startswith(MAGIC):
                some += parts_of(record, self._aggregate_cap)
            else:
                some.append(record)
        for origin, some in by_origin.items():
            self._of(origin).add(some)

    def write(self) -> int:
        path, content = self._objects[0].finish()
        self._place.write(path, content)
        self._objects.popleft()
        return len(content)

    def _of(self, origin: Origin) -> "_Object":
        last = self._objects[-1] if self._objects else None
        if last and last.takes(origin):
            return last
        if last:
            last.finish()  # frees its compressor: after an outage, there may be an object for each of many hours
        self._objects.append(_Object(origin))
        return self._objects[-1]


def parts_of(record: Record, aggregate_cap: int = RECORDS) -> Sequence[Record]:
    """The records that get a line each: the user records of an aggregate, if all of them are sound.

    Otherwise the record as it came. A reader that unpacks it comes to the same result as the service did.
    """
    parts = deaggregate(record, aggregate_cap)
    return (record,) if any(part.fault for part in parts) else parts


class _Object:
    """An object that grows until it is finished. `size`: of what is compressed so far, in bytes."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._first = self._last = ""
        self._compressor: Any = isal_zlib.compressobj(LEVEL, wbits=GZIP)
        self._chunks: list[bytes] = []
        self.size = 0

    def takes(self, origin: Origin) -> bool:
        return self._compressor is not None and self._origin == origin

    def add(self, records: Sequence[Record]) -> None:
        stream = self._origin[0]
        self._first = self._first or records[0].position.sequence
        self._last = records[-1].position.sequence
        for start in range(0, len(records), TOGETHER):
            lines = [encode(stream, record) for record in records[start : start + TOGETHER]]
            self._keep(self._compressor.compress(b"\n".join((*lines, b""))))

    def finish(self) -> tuple[str, bytes]:
        """The path and the content."""
        if self._compressor:
            self._keep(self._compressor.flush())
            self._chunks, self._compressor = [b"".join(self._chunks)], None
        stream, shard, hour = self._origin
        return Name(stream, hour_of(hour * HOUR_MILLIS), shard, self._first, self._last).path(), self._chunks[0]

    def _keep(self, compressed: bytes) -> None:
        self._chunks.append(compressed)
        self.size += len(compressed)
