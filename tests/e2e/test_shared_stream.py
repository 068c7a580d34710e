"""A stream that is named by its ARN, in another account and another region, read by the real service.

This account has streams of the same name, in both regions. They must not be read.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from consumer.admin.put import outgoing, put
from tests.support.driven.scenario import Stage, samples, until_equal, until_received
from tests.support.driven.service import consumer, environment, service
from tests.support.driven.workers import with_properties
from tests.support.emulators.aws import EMULATORS, REGION, Emulator, ministack, session
from tests.support.generators.events import created, encode
from tests.support.generators.failures import failure

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

OWNER, ELSEWHERE, READER = "222222222222", "eu-west-1", "000000000000"
ROLE = {"CONSUMER_STREAM_ROLE_ARN": f"arn:aws:iam::{OWNER}:role/limits/reader"}
READ = ["DescribeStreamSummary", "ListShards", "GetShardIterator", "GetRecords", "PutRecords"]
SUBSCRIBE = ["DescribeStreamConsumer", "SubscribeToShard"]
FAN_OUT = {"CONSUMER_RETRIEVAL_MODE": "fanout"}
SHARD = "shardId-000000000000"


@pytest.fixture(scope="module")
def sharing() -> Iterator[Emulator]:
    with ministack({}, ["-P", str(EMULATORS / "sharing_ministack.py")]) as emulator:
        yield emulator


def kinesis(sharing: Emulator, account: str, region: str) -> "KinesisClient":
    return session().client(
        "kinesis",
        endpoint_url=sharing.endpoint,
        region_name=region,
        aws_access_key_id=account,
        aws_secret_access_key="test",
    )


def variables_of(sharing: Emulator, name: str, directory: Path, **more: str) -> dict[str, str]:
    """The environment of a service that names its stream by ARN. Creates the streams."""
    kinesis(sharing, OWNER, ELSEWHERE).create_stream(StreamName=name, ShardCount=2)
    for region in (REGION, ELSEWHERE):
        kinesis(sharing, READER, region).create_stream(StreamName=name, ShardCount=2)
    variables = environment(name, directory, AWS_ENDPOINT_URL=sharing.endpoint)
    del variables["CONSUMER_STREAM_NAME"]
    return {**variables, "CONSUMER_STREAM_ARN": arn_of(name), **more}


def arn_of(name: str) -> str:
    return f"arn:aws:kinesis:{ELSEWHERE}:{OWNER}:stream/{name}"


def share(sharing: Emulator, arn: str, actions: Sequence[str]) -> None:
    """Attaches a policy to the stream, or to a consumer of it, that allows the actions to the reader."""
    reader = {"AWS": f"arn:aws:iam::{READER}:root"}
    named = [f"kinesis:{action}" for action in actions]
    statement = {"Effect": "Allow", "Principal": reader, "Action": named, "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    kinesis(sharing, OWNER, ELSEWHERE).put_resource_policy(ResourceARN=arn, Policy=policy)


def run(variables: Mapping[str, str], *arguments: str, given: str = "") -> tuple[int, str]:
    command = [sys.executable, "-m", "consumer", *arguments]
    environment = dict(variables)
    ended = subprocess.run(
        command, env=environment, input=given, capture_output=True, text=True, check=False, timeout=120
    )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("by-policy", {}),
        ("by-role", ROLE),
        ("fan-out-by-role", {**ROLE, **FAN_OUT}),
    ],
)
def test_all_of_it_is_read(sharing: Emulator, tmp_path: Path, name: str, more: Mapping[str, str]) -> None:
    variables = variables_of(sharing, name, tmp_path, **more)
    if not more:
        share(sharing, arn_of(name), READ)
    read_all(sharing, tmp_path, name, variables)


def test_all_of_it_is_read_through_a_consumer_of_the_owner(sharing: Emulator, tmp_path: Path) -> None:
    """Enhanced fan-out by policies alone: the owner registers a consumer, and shares it and the stream."""
    name = "fan-out-by-policy"
    variables = variables_of(sharing, name, tmp_path, **FAN_OUT)
    share(sharing, arn_of(name), READ)
    owner, reader = (kinesis(sharing, account, ELSEWHERE) for account in (OWNER, READER))
    registered = owner.register_stream_consumer(StreamARN=arn_of(name), ConsumerName="limits-consumer")
    arn = registered["Consumer"]["ConsumerARN"]
    with pytest.raises(reader.exceptions.AccessDeniedException):
        reader.subscribe_to_shard(ConsumerARN=arn, ShardId=SHARD, StartingPosition={"Type": "LATEST"})

    share(sharing, arn, SUBSCRIBE)
    read_all(sharing, tmp_path, name, variables | with_properties(tmp_path, **{"fanoutConfig.consumerArn": arn}))
    consumers = owner.list_stream_consumers(StreamARN=arn_of(name))["Consumers"]
    assert [each["ConsumerARN"] for each in consumers] == [arn]


def read_all(sharing: Emulator, directory: Path, name: str, variables: Mapping[str, str]) -> None:
    """The service keeps all records of the stream, and the commands find it."""
    made, stage = samples(17, 150, users=20), Stage(variables)
    consumer(variables, "provision")
    records = [outgoing(each.data) for each in made]
    put(kinesis(sharing, OWNER, ELSEWHERE), name, records, lambda _: None)
    with service(variables, directory / "log") as running:
        until_received(running, 150)
        assert run(variables, "doctor")[0] == 0
        status = json.loads(consumer(variables, "status", "--json"))
        assert (status["stream"]["name"], status["problems"]) == (name, [])
        assert all(shard["owner"] for shard in status["shards"])
        assert running.stop() == 0
    until_equal(stage, made)
    code, lines = run(variables, "rewind", "--to", "trim-horizon", "--dry-run")
    assert code == 0, lines


@pytest.mark.parametrize("more", [{}, ROLE], ids=["policy", "role"])
def test_a_failed_batch_of_it_is_fetched(sharing: Emulator, tmp_path: Path, more: Mapping[str, str]) -> None:
    """With a policy, the ARN in the message of the mapping is all that is needed."""
    name = "failed-by-role" if more else "failed-by-policy"
    variables = variables_of(sharing, name, tmp_path, **more)
    if not more:
        share(sharing, arn_of(name), READ)
    consumer(variables, "provision")
    if not more:
        del variables["CONSUMER_STREAM_ARN"]
    data = encode(created(1))
    placed = kinesis(sharing, OWNER, ELSEWHERE).put_record(StreamName=name, Data=data, PartitionKey="one")
    number = placed["SequenceNumber"]
    message = failure(placed["ShardId"], number, number, 1, arn_of(name))

    code, lines = run(variables, "lambda-invoke", "-", given=json.dumps(message))
    assert code == 0, lines
    assert [limit["value"] for limit in Stage(variables).limits().values()] == ["1000"]


def test_an_application_that_changes_from_name_to_arn_keeps_its_checkpoints(sharing: Emulator, tmp_path: Path) -> None:
    made = samples(18, 200, users=20)
    by_name = environment("mine", tmp_path, AWS_ENDPOINT_URL=sharing.endpoint)
    stage = Stage(by_name)
    consumer(by_name, "provision", "--stream", "2")
    stage.put(made[:100])
    with service(by_name, tmp_path / "log") as running:
        until_received(running, 100)
        assert running.stop() == 0

    stage.put(made[100:])
    arn = f"arn:aws:kinesis:{REGION}:{READER}:stream/{by_name['CONSUMER_STREAM_NAME']}"
    with service({**by_name, "CONSUMER_STREAM_ARN": arn}, tmp_path / "log") as running:
        until_received(running, 100)
        until_equal(stage, made)
        assert running.received() == 100
        assert running.stop() == 0


def test_a_stream_that_is_not_shared_is_one_line(sharing: Emulator, tmp_path: Path) -> None:
    variables = variables_of(sharing, "kept", tmp_path)
    code, lines = run(variables, "run")
    assert code == 2
    assert "stream kept: kinesis:DescribeStreamSummary: AccessDeniedException: allow" in lines


def test_a_stream_of_another_account_is_never_created(sharing: Emulator, tmp_path: Path) -> None:
    variables = variables_of(sharing, "gone", tmp_path, **ROLE)
    kinesis(sharing, OWNER, ELSEWHERE).delete_stream(StreamName="gone")
    code, lines = run(variables, "provision", "--stream", "2")
    assert code == 2
    assert f"stream {arn_of('gone')} does not exist: create it in its account, or correct CONSUMER_STREAM_ARN" in lines
    assert "gone" not in kinesis(sharing, OWNER, ELSEWHERE).list_streams()["StreamNames"]
