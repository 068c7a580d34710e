"""Reads the state of a stream and its shards, and single records, from Kinesis."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from consumer.engine.records import Position, Record, arrival_of
from consumer.engine.stream import Ending
from consumer.stores.aws import unavailable

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_kinesis.type_defs import RecordTypeDef

NOT_THERE = frozenset({"CREATING", "DELETING"})
"""A stream in CREATING is a new stream with the same name. The one whose shards have ended was deleted."""


def address(client: "KinesisClient", arn: str | None) -> None:
    """Lets all requests of the client that name a stream, or read one, name it by this ARN; None: as they are.

    Requests for a further page of shards then name no stream, as AWS refuses a name or an ARN beside a token.
    """
    handler: Any = partial(_addressed, arn)  # botocore uses what it returns, which the stubs do not know
    client.meta.events.register("provide-client-params.kinesis", handler)


def _addressed(arn: str | None, params: dict[str, Any], model: Any, **_: Any) -> dict[str, Any]:
    by_arn = arn is not None and "StreamARN" in model.input_shape.members
    if "NextToken" not in params and not by_arn:
        return params
    others = {name: value for name, value in params.items() if name != "StreamName"}
    return others if "NextToken" in params else {"StreamARN": arn, **others}


class KinesisStream:
    """Implements engine.stream.Stream."""

    def __init__(self, client: "KinesisClient", name: str) -> None:
        self.name = name
        self._client = client

    def ending(self, shard: str) -> Ending:
        with unavailable(f"stream {self.name}"):
            try:
                return self._ending(shard)
            except self._client.exceptions.ResourceNotFoundException:
                return Ending.STREAM_GONE

    def oldest_from(self, position: Position) -> str | None:
        with unavailable(f"shard {position.shard} of stream {self.name}"):
            found = self._first_from(position)
        return found["SequenceNumber"] if found else None

    def record_at(self, position: Position) -> Record | None:
        with unavailable(f"shard {position.shard} of stream {self.name}"):
            try:
                found = self._first_from(position)
            except self._client.exceptions.ResourceNotFoundException:
                return None
        if found is None or found["SequenceNumber"] != position.sequence:
            return None
        arrived = found.get("ApproximateArrivalTimestamp")
        arrived_at = arrival_of(arrived.timestamp(), 1_000) if arrived else 0
        return Record(position._replace(sub_sequence=0), found["Data"], arrived_at)

    def _first_from(self, position: Position) -> "RecordTypeDef | None":
        """The record at the position or, if it has expired, the oldest one after it. None if there is none."""
        place = self._client.get_shard_iterator(
            StreamName=self.name,
            ShardId=position.shard,
            ShardIteratorType="AT_SEQUENCE_NUMBER",
            StartingSequenceNumber=position.sequence,
        )
        iterator: str | None = place["ShardIterator"]
        while iterator:
            page = self._client.get_records(ShardIterator=iterator, Limit=1)
            if page["Records"]:
                return page["Records"][0]
            # An empty page is not the end: while MillisBehindLatest is above 0, more records follow.
            iterator = page.get("NextShardIterator") if page["MillisBehindLatest"] else None
        return None

    def _ending(self, shard: str) -> Ending:
        summary = self._client.describe_stream_summary(StreamName=self.name)["StreamDescriptionSummary"]
        if summary["StreamStatus"] in NOT_THERE:
            return Ending.STREAM_GONE
        pages = self._client.get_paginator("list_shards").paginate(StreamName=self.name)
        listed = (each for page in pages for each in page["Shards"])
        found = next((each for each in listed if each["ShardId"] == shard), None)
        if found is None:
            return Ending.UNLISTED
        return Ending.CLOSED if "EndingSequenceNumber" in found["SequenceNumberRange"] else Ending.OPEN


PAGE_SECONDS = 0.2
"""Pause between two requests. Kinesis allows five per second and shard, shared by all readers."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A range of a shard, given by the sequence numbers of its first and last record."""

    stream_arn: str
    shard: str
    first: str
    last: str

    def __str__(self) -> str:
        return f"{self.stream_arn}, {self.shard}, {self.first} to {self.last}"


def records_of(
    client: "KinesisClient", stretch: Stretch, pause: Callable[[float], None] = time.sleep
) -> Iterator["RecordTypeDef"]:
    """The records of a stretch that have not expired, for all partition keys. Raises Unavailable."""
    arn, last = stretch.stream_arn, int(stretch.last)
    with unavailable(str(stretch)):
        place: str | None = client.get_shard_iterator(
            StreamARN=arn,
            ShardId=stretch.shard,
            ShardIteratorType="AT_SEQUENCE_NUMBER",
            StartingSequenceNumber=stretch.first,
        )["ShardIterator"]
        while place:
            page = client.get_records(ShardIterator=place, StreamARN=arn)
            numbers = [int(record["SequenceNumber"]) for record in page["Records"]]
            yield from (record for record, number in zip(page["Records"], numbers, strict=True) if number <= last)
            done = max(numbers, default=0) >= last or not page.get("MillisBehindLatest")
            place = None if done else page.get("NextShardIterator")
            if place:
                pause(PAGE_SECONDS)
