"""What Kinesis says of a stream, its shards, and what of them is kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import EndpointConnectionError

from consumer.engine.errors import Unavailable
from consumer.engine.records import Position
from consumer.engine.stream import Ending
from consumer.stores.kinesis import KinesisStream
from tests.support.emulators import kinesis_mock, ministack, session
from tests.support.waiting import until

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

NAME = "limits"
SHARD = "shardId-000000000000"


@dataclass
class Kinesis:
    """A stream of one shard."""

    client: "KinesisClient"

    @property
    def stream(self) -> KinesisStream:
        return KinesisStream(self.client, NAME)

    def put(self) -> Position:
        put = self.client.put_record(StreamName=NAME, Data=b"event", PartitionKey="user")
        return Position(NAME, SHARD, put["SequenceNumber"])

    def is_active(self) -> bool:
        summary = self.client.describe_stream_summary(StreamName=NAME)
        return summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"


@contextmanager
def made(endpoint: str) -> Iterator[Kinesis]:
    client = session().client("kinesis", endpoint_url=endpoint)
    kinesis = Kinesis(client)
    client.create_stream(StreamName=NAME, ShardCount=1)
    until(kinesis.is_active, "the stream to be active")
    yield kinesis
    client.close()


@pytest.fixture(
    params=[ministack, pytest.param(kinesis_mock, marks=pytest.mark.conformance)], ids=lambda it: it.__name__
)
def kinesis(request: pytest.FixtureRequest) -> Iterator[Kinesis]:
    with request.param() as emulator, made(emulator.endpoint) as started:
        yield started


def test_what_a_stream_says_of_itself(kinesis: Kinesis) -> None:
    """One test, as each needs an emulator that nobody else makes streams on."""
    first, second = kinesis.put(), kinesis.put()
    assert kinesis.stream.oldest_from(first) == first.sequence
    assert kinesis.stream.oldest_from(second) == second.sequence

    assert kinesis.stream.ending(SHARD) is Ending.OPEN
    assert kinesis.stream.ending("shardId-000000000007") is Ending.UNLISTED
    kinesis.client.split_shard(StreamName=NAME, ShardToSplit=SHARD, NewStartingHashKey=str(2**127))
    until(lambda: kinesis.stream.ending(SHARD) not in (Ending.OPEN, Ending.STREAM_GONE), "the end of the shard")
    until(kinesis.is_active, "the stream to be active")

    kinesis.client.delete_stream(StreamName=NAME)
    assert kinesis.stream.ending(SHARD) is Ending.STREAM_GONE
    with pytest.raises(Unavailable):
        kinesis.stream.oldest_from(first)


def test_a_stream_that_does_not_answer_is_no_stream_that_is_gone() -> None:
    client = session().client("kinesis", endpoint_url="http://127.0.0.1:1")
    client.meta.events.register("before-send.kinesis", refuse)
    stream = KinesisStream(client, NAME)
    with pytest.raises(Unavailable, match="stream limits: EndpointConnectionError"):
        stream.ending(SHARD)
    with pytest.raises(Unavailable, match="shard shardId-000000000000 of stream limits: EndpointConnectionError"):
        stream.oldest_from(Position(NAME, SHARD, "1"))


def refuse(**_: object) -> None:
    raise EndpointConnectionError(endpoint_url="there")
