"""A stream that is named by its ARN, in another account and another region, read by the real service.

This account has streams of the same name, in both regions. They must not be read.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from consumer.admin.put import outgoing, put
from tests.support.driven.scenario import Stage, samples, until_equal, until_received
from tests.support.driven.service import consumer, environment, service
from tests.support.emulators.aws import EMULATORS, REGION, Emulator, ministack, session

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

OWNER, ELSEWHERE, READER = "222222222222", "eu-west-1", "000000000000"
ROLE = {"CONSUMER_STREAM_ROLE_ARN": f"arn:aws:iam::{OWNER}:role/limits/reader"}
READ = ["DescribeStreamSummary", "ListShards", "GetShardIterator", "GetRecords", "PutRecords"]


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


def share(sharing: Emulator, name: str) -> None:
    reader, actions = {"AWS": f"arn:aws:iam::{READER}:root"}, [f"kinesis:{action}" for action in READ]
    statement = {"Effect": "Allow", "Principal": reader, "Action": actions, "Resource": arn_of(name)}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    kinesis(sharing, OWNER, ELSEWHERE).put_resource_policy(ResourceARN=arn_of(name), Policy=policy)


def run(variables: Mapping[str, str], *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "consumer", *arguments]
    ended = subprocess.run(command, env=dict(variables), capture_output=True, text=True, check=False, timeout=120)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("by-policy", {}),
        ("by-role", ROLE),
        ("fan-out-by-role", {**ROLE, "CONSUMER_RETRIEVAL_MODE": "fanout"}),
    ],
)
def test_all_of_it_is_read(sharing: Emulator, tmp_path: Path, name: str, more: Mapping[str, str]) -> None:
    variables = variables_of(sharing, name, tmp_path, **more)
    if not more:
        share(sharing, name)
    made, stage = samples(17, 150, users=20), Stage(variables)

    consumer(variables, "provision")
    records = [outgoing(each.data) for each in made]
    put(kinesis(sharing, OWNER, ELSEWHERE), name, records, lambda _: None)
    with service(variables, tmp_path / "log") as running:
        until_received(running, 150)
        assert run(variables, "doctor")[0] == 0
        status = json.loads(consumer(variables, "status", "--json"))
        assert (status["stream"]["name"], status["problems"]) == (name, [])
        assert all(shard["owner"] for shard in status["shards"])
        assert running.stop() == 0
    until_equal(stage, made)
    code, lines = run(variables, "rewind", "--to", "trim-horizon", "--dry-run")
    assert code == 0, lines


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
