"""What the Kinesis API returns for a stream, its shards and the retained records."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pytest
from botocore.exceptions import EndpointConnectionError

from consumer.engine.errors import Unavailable
from consumer.engine.records import Position, Record
from consumer.engine.stream import Ending
from consumer.stores.kinesis import KinesisStream, Stretch, records_of
from tests.support.driven.waiting import until
from tests.support.emulators.aws import kinesis_mock, ministack, session

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

    def is_gone(self) -> bool:
        try:
            self.client.describe_stream_summary(StreamName=NAME)
        except self.client.exceptions.ResourceNotFoundException:
            return True
        return False


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
    """A single test: it needs an emulator on which no other test creates streams."""
    first, second = kinesis.put(), kinesis.put()
    assert kinesis.stream.oldest_from(first) == first.sequence
    assert kinesis.stream.oldest_from(second) == second.sequence
    for position in (first, second):
        found = kinesis.stream.record_at(position._replace(sub_sequence=3))
        assert found is not None
        assert (found.position, found.data, found.fault) == (position, b"event", None)
        assert abs(time.time() * 1_000 - found.arrived_at) < 3_600_000
    assert kinesis.stream.record_at(first._replace(shard="shardId-000000000007")) is None

    assert kinesis.stream.ending(SHARD) is Ending.OPEN
    assert kinesis.stream.ending("shardId-000000000007") is Ending.UNLISTED
    kinesis.client.split_shard(StreamName=NAME, ShardToSplit=SHARD, NewStartingHashKey=str(2**127))
    until(lambda: kinesis.stream.ending(SHARD) not in (Ending.OPEN, Ending.STREAM_GONE), "the end of the shard")
    until(kinesis.is_active, "the stream to be active")

    kinesis.client.delete_stream(StreamName=NAME)
    assert kinesis.stream.ending(SHARD) is Ending.STREAM_GONE
    with pytest.raises(Unavailable):
        kinesis.stream.oldest_from(first)
    until(kinesis.is_gone, "the stream to be gone")
    assert kinesis.stream.record_at(first) is None


class Pages:
    """Implements the used part of a Kinesis client: page after page of records, all but the last behind the tip."""

    exceptions = session().client("kinesis", endpoint_url="http://127.0.0.1:1").exceptions

    def __init__(self, *pages: list[str]) -> None:
        self.pages = pages

    def get_shard_iterator(self, **_: object) -> dict[str, str]:
        return {"ShardIterator": "0"}

    def get_records(self, ShardIterator: str, Limit: int) -> dict[str, object]:  # noqa: N803 - as boto3 has it
        assert Limit == 1
        number = int(ShardIterator)
        behind = number + 1 < len(self.pages)
        records = [{"SequenceNumber": sequence, "Data": b"{}"} for sequence in self.pages[number]]
        return {"Records": records, "NextShardIterator": f"{number + 1}", "MillisBehindLatest": 1_000 * behind}


@pytest.mark.parametrize(
    ("pages", "oldest", "found"),
    [
        ([["5"]], "5", True),
        ([[], [], ["5"]], "5", True),
        ([[], ["6"]], "6", False),
        ([[], []], None, False),
    ],
    ids=["at once", "after empty pages", "a later one", "none"],
)
def test_an_empty_answer_does_not_mean_that_no_record_follows(
    pages: list[list[str]], oldest: str | None, found: bool
) -> None:
    position = Position(NAME, SHARD, "5", 2)
    stream = KinesisStream(cast("KinesisClient", Pages(*pages)), NAME)
    assert stream.oldest_from(position) == oldest
    assert stream.record_at(position) == (Record(Position(NAME, SHARD, "5"), b"{}") if found else None)


def test_the_records_of_a_stretch(kinesis: Kinesis) -> None:
    """The records between two records, regardless of Kinesis' pages, and no others."""
    numbers = [kinesis.put().sequence for _ in range(30)]
    arn = kinesis.client.describe_stream_summary(StreamName=NAME)["StreamDescriptionSummary"]["StreamARN"]
    kinesis.client.meta.events.register("provide-client-params.kinesis.GetRecords", seven_records)
    pauses: list[float] = []

    def read(first: int, last: int) -> list[str]:
        stretch = Stretch(arn, SHARD, numbers[first], numbers[last])
        return [record["SequenceNumber"] for record in records_of(kinesis.client, stretch, pauses.append)]

    assert read(3, 20) == numbers[3:21]
    assert 2 <= len(pauses) <= 3
    assert read(0, 29) == numbers
    assert read(29, 29) == numbers[29:]
    beyond = Stretch(arn, SHARD, numbers[28], str(int(numbers[29]) + 10**9))
    assert len(list(records_of(kinesis.client, beyond, pauses.append))) == 2, "it ends where the stream does"

    strange = Stretch(arn, "shardId-000000000007", numbers[0], numbers[1])
    with pytest.raises(Unavailable, match=r"shardId-000000000007, \d+ to \d+: ResourceNotFoundException"):
        list(records_of(kinesis.client, strange))


def seven_records(params: dict[str, object], **_: object) -> None:
    params["Limit"] = 7


def test_a_stream_that_does_not_answer_is_no_stream_that_is_gone() -> None:
    client = session().client("kinesis", endpoint_url="http://127.0.0.1:1")
    client.meta.events.register("before-send.kinesis", refuse)
    stream = KinesisStream(client, NAME)
    with pytest.raises(Unavailable, match="stream limits: EndpointConnectionError"):
        stream.ending(SHARD)
    with pytest.raises(Unavailable, match="shard shardId-000000000000 of stream limits: EndpointConnectionError"):
        stream.oldest_from(Position(NAME, SHARD, "1"))
    with pytest.raises(Unavailable, match="shard shardId-000000000000 of stream limits: EndpointConnectionError"):
        stream.record_at(Position(NAME, SHARD, "1"))


def refuse(**_: object) -> None:
    raise EndpointConnectionError(endpoint_url="there")
