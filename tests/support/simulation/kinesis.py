"""The shards of a stream in memory, behind the part of the Kinesis client with which positions are found.

As in Kinesis, records are read forwards only, and a page may be empty although records follow: each first page is.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

MADE = datetime(2026, 1, 1, tzinfo=UTC)
Arrivals = Sequence[tuple[int, float]]
"""The sequence number of each record, ascending, and the Unix second in which it arrived."""


class Invalid(ClientError):
    """A sequence number of another stream, or a time in the future."""


class Missing(ClientError):
    """The stream does not exist."""


@dataclass(frozen=True)
class Shard:
    """`last`: the highest sequence number of a closed shard. `refused`: numbers that Kinesis does not accept."""

    records: Arrivals = ()
    first: int = 0
    last: int | None = None
    parents: tuple[str, ...] = ()
    refused: tuple[int, ...] = ()


@dataclass
class Kinesis:
    """A client of one stream. `now`: Kinesis' clock in Unix seconds. `reads`: the number of requests for records."""

    shards: Mapping[str, Shard]
    now: float
    retention_hours: int = 24
    reads: int = 0
    exceptions: Any = field(
        default_factory=lambda: SimpleNamespace(InvalidArgumentException=Invalid, ResourceNotFoundException=Missing)
    )

    def describe_stream_summary(self, StreamName: str) -> Any:  # noqa: N803
        summary = {
            "StreamARN": f"arn:aws:kinesis:eu-north-1:000000000000:stream/{StreamName}",
            "StreamCreationTimestamp": MADE,
            "RetentionPeriodHours": self.retention_hours,
        }
        return {"StreamDescriptionSummary": summary}

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_shards"
        return SimpleNamespace(paginate=self._pages)

    def get_shard_iterator(self, ShardId: str, ShardIteratorType: str, **start: Any) -> Any:  # noqa: N803
        return {"ShardIterator": f"{ShardId} {self._index(self.shards[ShardId], ShardIteratorType, start)} empty"}

    def get_records(self, ShardIterator: str, Limit: int) -> Any:  # noqa: N803
        self.reads += 1
        name, at, *empty = ShardIterator.split()
        records = self.shards[name].records
        end = int(at) if empty else int(at) + Limit
        found = [
            {"SequenceNumber": str(number), "ApproximateArrivalTimestamp": datetime.fromtimestamp(arrived, UTC)}
            for number, arrived in records[int(at) : end]
        ]
        return {"Records": found, "NextShardIterator": f"{name} {end}", "MillisBehindLatest": len(records[end:])}

    def _pages(self, **_: str) -> Iterator[Any]:
        for name, shard in self.shards.items():
            yield {"Shards": [_listed(name, shard)]}

    def _index(self, shard: Shard, kind: str, start: Mapping[str, Any]) -> int:
        numbers = [number for number, _ in shard.records]
        if kind == "TRIM_HORIZON":
            return 0
        if kind == "AT_TIMESTAMP":
            moment = start["Timestamp"].timestamp()
            if moment > self.now:
                raise _invalid("a time in the future")
            return bisect_left([arrived for _, arrived in shard.records], moment)
        number = int(start["StartingSequenceNumber"])
        if number in shard.refused:
            raise _invalid("a number of another stream")
        return (bisect_left if kind == "AT_SEQUENCE_NUMBER" else bisect_right)(numbers, number)


def _invalid(why: str) -> Invalid:
    return Invalid({"Error": {"Code": "InvalidArgumentException", "Message": why}}, "GetShardIterator")


def _listed(name: str, shard: Shard) -> dict[str, Any]:
    parents = dict(zip(("ParentShardId", "AdjacentParentShardId"), shard.parents, strict=False))
    last = {} if shard.last is None else {"EndingSequenceNumber": str(shard.last)}
    return {
        "ShardId": name,
        "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "9"},
        "SequenceNumberRange": {"StartingSequenceNumber": str(shard.first), **last},
        **parents,
    }
