"""What Kinesis says of a stream and its shards."""

from typing import TYPE_CHECKING

from consumer.engine.records import Position
from consumer.engine.stream import Ending
from consumer.stores.aws import unavailable

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

NOT_THERE = frozenset({"CREATING", "DELETING"})
"""A stream that is being made is another one than that whose shards have ended."""


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
        """AT_SEQUENCE_NUMBER of a record that is not kept any more begins at the oldest that is."""
        with unavailable(f"shard {position.shard} of stream {self.name}"):
            place = self._client.get_shard_iterator(
                StreamName=self.name,
                ShardId=position.shard,
                ShardIteratorType="AT_SEQUENCE_NUMBER",
                StartingSequenceNumber=position.sequence,
            )
            page = self._client.get_records(ShardIterator=place["ShardIterator"], Limit=1)
        return page["Records"][0]["SequenceNumber"] if page["Records"] else None

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
