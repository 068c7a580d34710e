"""Row 37: leases of another stream, or of one that was deleted and created again with the same name; a checkpoint
that Kinesis refuses. Nothing can be read, so no check may succeed.

MiniStack refuses sequence numbers of another stream here, as Kinesis does.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import pytest

from tests.faults.conftest import Note
from tests.support.driven.leases import leases
from tests.support.driven.scenario import Stage, endless
from tests.support.driven.service import consumer, environment, service
from tests.support.driven.trial import Trial, started_trial
from tests.support.driven.waiting import until
from tests.support.emulators.aws import EMULATORS, Emulator, ministack

STRICT = EMULATORS / "strict_ministack.py"
MARK = "consumerStream"
FIRST, SECOND = "shardId-000000000000", "shardId-000000000001"


@pytest.fixture(scope="module")
def strict() -> Iterator[Emulator]:
    with ministack({}, ["-P", str(STRICT)]) as emulator:
        yield emulator


def read_before(strict: Emulator, name: str, directory: Path, seed: int) -> Stage:
    """A stopped application that has read its stream of two shards."""
    directory.mkdir(exist_ok=True)
    stage = Stage(environment(name, directory, AWS_ENDPOINT_URL=strict.endpoint))
    consumer(stage.variables, "provision", "--stream", "2")
    with started_trial(stage, stage.variables, directory, endless(seed)):
        pass
    assert all(lease.checkpoint.isdecimal() for lease in leases(stage).values())
    return stage


def run_command(variables: Mapping[str, str], *arguments: str) -> tuple[int, list[str]]:
    """Runs a command and returns its exit code and its lines."""
    command = [sys.executable, "-m", "consumer", *arguments]
    ended = subprocess.run(command, env=dict(variables), capture_output=True, text=True, check=False, timeout=60)
    return ended.returncode, (ended.stdout + ended.stderr).splitlines()


def refusals(variables: Mapping[str, str]) -> Mapping[str, tuple[int, Sequence[str]]]:
    """The exit code and the lines about leases of each command that should refuse."""
    commands = ("provision", "doctor", "run")
    ended = {command: run_command(variables, command) for command in commands}
    return {
        command: (code, [line for line in lines if "leases of application" in line])
        for command, (code, lines) in ended.items()
    }


def test_37_the_application_of_another_stream(strict: Emulator, tmp_path: Path, seed: int) -> None:
    stage = read_before(strict, "other", tmp_path, seed)
    mine, theirs = stage.variables["CONSUMER_STREAM_NAME"], "not-theirs"
    variables = {**stage.variables, "CONSUMER_STREAM_NAME": theirs}
    stage.kinesis().create_stream(StreamName=theirs, ShardCount=2)

    found = refusals(variables)

    assert {command: code for command, (code, _) in found.items()} == {"provision": 2, "doctor": 1, "run": 2}
    for _, (line,) in found.values():
        assert f"stream/{mine} made at " in line
        assert f"stream/{theirs} made at " in line
        assert "use another CONSUMER_APPLICATION_NAME, or start over with `consumer provision --forget-leases`" in line
    status = json.loads(consumer(variables, "status", "--json"))
    assert status["problems"] == ["leases-of-another-stream"]
    assert [shard["problems"][-1] for shard in status["shards"]] == ["checkpoint-refused"] * 2


def test_37_the_stream_was_made_again(strict: Emulator, tmp_path: Path, seed: int) -> None:
    """With and without the mark of the stream; leases of earlier versions do not have it."""
    stage = read_before(strict, "again", tmp_path, seed)
    name, application = stage.variables["CONSUMER_STREAM_NAME"], stage.variables["CONSUMER_APPLICATION_NAME"]
    kinesis = stage.kinesis()
    made = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamCreationTimestamp"]

    kinesis.delete_stream(StreamName=name)
    assert run_command(stage.variables, "provision", "--stream", "2")[0] == 2, "leases of a stream that is gone"
    until(lambda: made_again(stage, 2) > made, "a stream of a later second")
    marked = refusals(stage.variables)
    for shard in leases(stage):
        stage.dynamodb().update_item(
            TableName=application, Key={"leaseKey": {"S": shard}}, UpdateExpression=f"REMOVE {MARK}"
        )
    unmarked = refusals(stage.variables)

    for found in (marked, unmarked):
        assert {command: code for command, (code, _) in found.items()} == {"provision": 2, "doctor": 1, "run": 2}
        assert all(len(lines) == 1 for _, lines in found.values())
    assert all(f"it refuses the checkpoint of {FIRST}" in line for _, (line,) in unmarked.values())

    assert run_command(stage.variables, "provision", "--forget-leases")[0] == 1, "not confirmed with --yes"
    assert len(leases(stage)) == 2
    assert run_command(stage.variables, "provision", "--forget-leases", "--yes")[0] == 0
    assert "ok   leases: 2 of this stream" in run_command(stage.variables, "doctor")[1]
    elsewhere = {"AWS_TABLE_NAME": "again-fresh", "CONSUMER_QUARANTINE": f"dir:{tmp_path / 'fresh'}"}
    fresh = Stage({**stage.variables, **elsewhere})
    consumer(fresh.variables, "provision")
    with started_trial(fresh, fresh.variables, tmp_path, endless(seed + 1)):
        pass


def made_again(stage: Stage, shards: int) -> datetime:
    """Deletes the stream, creates it again, and returns the time of its creation."""
    name, kinesis = stage.variables["CONSUMER_STREAM_NAME"], stage.kinesis()
    if name in kinesis.list_streams()["StreamNames"]:
        kinesis.delete_stream(StreamName=name)
        until(lambda: name not in kinesis.list_streams()["StreamNames"], "the stream to be gone")
    kinesis.create_stream(StreamName=name, ShardCount=shards)
    return kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamCreationTimestamp"]


def test_37_no_green_while_a_lease_has_no_record_processor(
    strict: Emulator, tmp_path: Path, seed: int, note: Note
) -> None:
    """One of two shards has a checkpoint of another stream: KCL keeps the lease but never reads the shard."""
    stage = read_before(strict, "spoilt", tmp_path, seed)
    stage.dynamodb().update_item(
        TableName=stage.variables["CONSUMER_APPLICATION_NAME"],
        Key={"leaseKey": {"S": SECOND}},
        UpdateExpression="SET checkpoint = :number",
        ExpressionAttributeValues={":number": {"S": "49590338271490256608559692538361571095921575989136588898"}},
    )
    with service(stage.variables, tmp_path / "again") as running:
        trial = Trial(stage, running, iter(()))
        until(lambda: running.get("/readyz")[0] == 200, "the worker to start")
        until(lambda: running.get("/readyz")[0] == 503, "the shard to be missed", seconds=150, every=0.5)
        (reason,) = json.loads(running.get("/readyz")[1])["reasons"]
        note(reason)
        assert reason.startswith(f"{SECOND} is leased, but has had no record processor for ")
        assert running.get("/livez")[0] == 200, "another container could not read it either"
        assert (trial.metric("consumer_leases_owned"), trial.metric("consumer_leases_held")) == (2, 1)
        shards = {
            each["shard"]: each["problems"]
            for each in json.loads(consumer(stage.variables, "status", "--json"))["shards"]
        }
        assert shards == {FIRST: [], SECOND: ["checkpoint-refused"]}
        code, lines = run_command(stage.variables, "provision", "--forget-leases", "--yes")
        assert (code, len(leases(stage))) == (1, 2)
        assert lines[0].endswith(" is running: stop every worker, wait a moment, try again")
        assert running.stop() == 0
