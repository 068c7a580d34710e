"""Finds the first record from a position of a shard on, and the last record before it."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from consumer.stores.kinesis import PAGE_SECONDS

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_kinesis.type_defs import RecordTypeDef

Start: TypeAlias = Mapping[str, Any]
"""Where an iterator starts, as GetShardIterator takes it."""

OLDEST: Start = MappingProxyType({"ShardIteratorType": "TRIM_HORIZON"})


def at(moment: datetime) -> Start:
    return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": moment}


def at_number(number: str) -> Start:
    return {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": number}


def after_number(number: str) -> Start:
    return {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": number}


@dataclass(frozen=True, slots=True)
class ShardRecords:
    """The records of a shard. The methods raise boto3's errors.

    Before each request for records it pauses: Kinesis allows five per second and shard.
    """

    client: "KinesisClient"
    stream: str
    shard: str
    pause: Callable[[float], None] = time.sleep

    def first(self, start: Start) -> "RecordTypeDef | None":
        """The first record from there on. None if there is none, or none yet."""
        return next(self._records(start, limit=1), None)

    def last_before(self, number: str | None, oldest: int, newest: int) -> "RecordTypeDef | None":
        """The last record before that with the sequence number, or the last of all. None if there is none.

        It is searched between two Unix seconds. Kinesis reads only forwards: so the second from which on the fewest
        records must be read is found first, by halves.
        """
        low, high = oldest, newest + 1
        if not self._has_earlier(low, number):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._has_earlier(middle, number) else (low, middle)
        earlier = takewhile(lambda record: _is_before(record, number), self._records(_at_second(low)))
        return next(iter(deque(earlier, maxlen=1)), None)

    def _has_earlier(self, second: int, number: str | None) -> bool:
        """Whether the first record that arrived from this second on is before the one with the number."""
        try:
            found = self.first(_at_second(second))
        except self.client.exceptions.InvalidArgumentException:
            return False  # Kinesis refuses the future, and its clock may be behind ours
        return found is not None and _is_before(found, number)

    def _records(self, start: Start, limit: int = 10_000) -> Iterator["RecordTypeDef"]:
        answer = self.client.get_shard_iterator(StreamName=self.stream, ShardId=self.shard, **start)
        place: str | None = answer["ShardIterator"]
        while place:
            self.pause(PAGE_SECONDS)
            page = self.client.get_records(ShardIterator=place, Limit=limit)
            yield from page["Records"]
            # An empty page is not the end: while MillisBehindLatest is above 0, more records follow.
            place = page.get("NextShardIterator") if page.get("MillisBehindLatest") else None


def _at_second(second: int) -> Start:
    return at(datetime.fromtimestamp(second, UTC))


def _is_before(record: "RecordTypeDef", number: str | None) -> bool:
    return number is None or int(record["SequenceNumber"]) < int(number)
