"""The whole service on the emulators closest to AWS: kinesis-mock for the stream, DynamoDB Local for the tables."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.driven.scenario import (
    Stage,
    expected,
    first_difference,
    poison,
    samples,
    until_equal,
    until_received,
)
from tests.support.driven.service import consumer, environment, service
from tests.support.driven.waiting import until
from tests.support.emulators.aws import Emulator, dynamodb_local, kinesis_mock, session

pytestmark = pytest.mark.conformance

COUNT = 2_000
"""kinesis-mock accepts about 400 records per second."""


@pytest.fixture(scope="module")
def stream_place() -> Iterator[Emulator]:
    with kinesis_mock({"SPLIT_SHARD_DURATION": "100ms", "CREATE_STREAM_DURATION": "100ms"}) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def table_place() -> Iterator[Emulator]:
    with dynamodb_local() as emulator:
        yield emulator


@pytest.fixture
def stage(stream_place: Emulator, table_place: Emulator, tmp_path: Path, request: pytest.FixtureRequest) -> Stage:
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name.removeprefix("test_"))[:40]
    variables = environment(
        name,
        tmp_path,
        AWS_ENDPOINT_URL_KINESIS=stream_place.endpoint,
        AWS_ENDPOINT_URL_DYNAMODB=table_place.endpoint,
    )
    consumer(variables, "provision", "--stream", "2")
    return Stage(variables)


@pytest.mark.parametrize("mode", ["polling", "fanout"])
def test_every_event_has_its_effect_once(stage: Stage, tmp_path: Path, mode: str) -> None:
    made = samples(seed=6, count=COUNT, users=100)
    variables = {**stage.variables, "CONSUMER_RETRIEVAL_MODE": mode}
    with service(variables, tmp_path / "log") as running:
        stage.put(made)
        until_received(running, len(made))

        assert first_difference(stage.limits(), expected(made)) is None
        assert running.received() == len(made)
        assert stage.quarantined() == poison(made)
        assert len(_registered(stage)) == (mode == "fanout"), "enhanced fan-out is on only if configured"
        assert running.stop() == 0


def test_a_split_shard_ends_and_its_children_are_consumed(stage: Stage, tmp_path: Path) -> None:
    made = samples(seed=8, count=1_200, users=60)
    kinesis = session().client("kinesis", endpoint_url=stage.variables["AWS_ENDPOINT_URL_KINESIS"])
    stream = stage.variables["CONSUMER_STREAM_NAME"]
    with service(stage.variables, tmp_path / "log") as running:
        stage.put(made[:600])
        until_received(running, 300)
        kinesis.split_shard(StreamName=stream, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**126))
        until(
            lambda: (
                kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["OpenShardCount"] == 3
            ),
            "the split",
        )
        stage.put(made[600:])
        until_equal(stage, made)
        assert stage.quarantined() == poison(made)
        assert running.stop() == 0
        messages = [(line["message"], line.get("shard")) for line in running.lines()]

    assert ("shard ended", "shardId-000000000000") in messages
    assert {("shard started", f"shardId-00000000000{number}") for number in (2, 3)} <= set(messages)


def _registered(stage: Stage) -> list[str]:
    """The names of the stream's enhanced fan-out consumers."""
    kinesis = session().client("kinesis", endpoint_url=stage.variables["AWS_ENDPOINT_URL_KINESIS"])
    stream = kinesis.describe_stream_summary(StreamName=stage.variables["CONSUMER_STREAM_NAME"])
    found = kinesis.list_stream_consumers(StreamARN=stream["StreamDescriptionSummary"]["StreamARN"])
    return [consumer["ConsumerName"] for consumer in found["Consumers"]]
