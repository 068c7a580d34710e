"""The commands of a new user, in order: doctor, provision, doctor, put, run, limits."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.driven.scenario import Stage
from tests.support.driven.service import environment, service
from tests.support.driven.waiting import until
from tests.support.emulators.aws import Emulator
from tests.support.generators import oracle
from tests.support.generators.events import created, progress_changed, record
from tests.support.generators.failures import failure

STORY = Path(__file__).parents[2] / "examples" / "events.json"


def run(variables: Mapping[str, str], *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "consumer", *arguments]
    return subprocess.run(command, env=variables, check=False, capture_output=True, text=True, input=given)


def test_from_doctor_to_limits(aws: Emulator, tmp_path: Path) -> None:
    variables = environment("newcomer", tmp_path, AWS_ENDPOINT_URL=aws.endpoint)

    before = run(variables, "doctor", "--json")
    assert before.returncode == 1
    missing = [finding["what"] for finding in json.loads(before.stdout) if finding["advice"]]
    assert missing == ["stream", "table", "table", "table", "table"]

    planned = run(variables, "provision", "--stream", "2", "--dry-run").stdout.splitlines()
    assert len(planned) == 6
    assert all(line.startswith("create ") for line in planned)
    assert run(variables, "doctor").returncode == 1, "a dry run creates nothing"

    assert run(variables, "provision", "--stream", "2").returncode == 0
    again = run(variables, "provision", "--stream", "2").stdout.splitlines()
    assert all(line.startswith("exists ") for line in again)
    assert run(variables, "doctor").returncode == 0

    assert run(variables, "put", str(STORY), "--raw", "--generate", "50", "--seed", "1").returncode == 0
    assert run(variables, "limits", "u-anna", "--json").stdout == "[]\n"
    with service(variables, tmp_path / "log") as running:
        count = len(json.loads(STORY.read_text())) + 50
        until(lambda: running.received() == count, f"{count} records to be settled")
        assert running.stop() == 0

    shown = json.loads(run(variables, "limits", "u-anna", "--json").stdout)
    wanted = oracle.expected([event for event in json.loads(STORY.read_text()) if _is_sound(event)], 2**53)
    assert shown == [wanted[key] for key in sorted(wanted) if key[0] == "u-anna"]
    assert "u-anna" in run(variables, "limits", "u-anna").stdout
    listed = run(variables, "quarantine", "list", "--json").stdout.splitlines()
    assert [json.loads(line)["reason"] for line in listed] == ["SCHEMA"]


def test_an_invalid_properties_file_is_reported_before_java_starts(aws: Emulator, tmp_path: Path) -> None:
    variables = environment("wrong", tmp_path, AWS_ENDPOINT_URL=aws.endpoint)
    shipped = Path(__file__).parents[2] / "properties"
    (tmp_path / "logback.xml").write_bytes((shipped / "logback.xml").read_bytes())
    text = (shipped / "consumer.properties").read_text(encoding="utf-8")
    wrong = text.replace("parentShardPollIntervalMillis = 2000", "parentShardPollIntervalMillis = soon")
    (tmp_path / "consumer.properties").write_text(f"{wrong}\nfailoverTimeMilis = 5000\n", encoding="utf-8")

    ended = run({**variables, "CONSUMER_PROPERTIES": str(tmp_path)}, "run")

    assert ended.returncode == 2
    assert [line for line in ended.stderr.splitlines() if "failoverTimeMilis" in line]
    assert [line for line in ended.stderr.splitlines() if "parentShardPollIntervalMillis" in line]
    assert len(ended.stderr.splitlines()) == 2


def test_a_failed_batch_is_fetched_from_the_stream_and_applied(stage: Stage) -> None:
    """A failure destination in SQS gets only the place of the records."""
    client, stream = stage.kinesis(), stage.variables["CONSUMER_STREAM_NAME"]
    arn = client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"]
    story = [created(1, userId="u-lost"), b"poison", progress_changed(2, userId="u-lost"), created(1, userId="u-kept")]
    put = [client.put_record(StreamName=stream, Data=record(each).data, PartitionKey="one") for each in story]
    shard, numbers = put[0]["ShardId"], [each["SequenceNumber"] for each in put]
    notice = failure(shard, numbers[0], numbers[2], 3, arn)

    applied = run(stage.variables, "lambda-invoke", "-", given=json.dumps({"Messages": [{"Body": json.dumps(notice)}]}))
    assert (applied.returncode, json.loads(applied.stdout)) == (0, {"batchItemFailures": []})
    (limit,) = json.loads(run(stage.variables, "limits", "u-lost", "--json").stdout)
    assert limit["progress"] == "10"
    assert run(stage.variables, "limits", "u-kept", "--json").stdout == "[]\n", "its event is not in the batch"
    (entry,) = map(json.loads, run(stage.variables, "quarantine", "list", "--json").stdout.splitlines())
    assert (entry["stream"], entry["shard"], entry["sequenceNumber"]) == (stream, shard, numbers[1])

    more = failure(shard, numbers[2], str(int(numbers[3]) + 1), 5, arn)
    lacking = run(stage.variables, "lambda-invoke", "-", given=json.dumps(more))
    assert (lacking.returncode, json.loads(lacking.stdout)) == (1, {"batchItemFailures": []})
    assert lacking.stderr.splitlines()[-1].endswith("only 2 of 5 records are still in the stream")
    assert len(json.loads(run(stage.variables, "limits", "u-kept", "--json").stdout)) == 1


def test_a_file_with_poison_is_put_only_with_raw(stage: Stage) -> None:
    file = json.dumps(created(1), indent=2)
    given = json.dumps([created(1), {"type": "USER_LIMIT_CREATED"}])

    refused = run(stage.variables, "put", "-", given=given)
    assert (refused.returncode, on_stream(stage)) == (2, [])
    assert run(stage.variables, "put", "-", "--raw", given=given).returncode == 0
    assert run(stage.variables, "put", "-", given=file).returncode == 0
    assert on_stream(stage) == sorted([record(created(1)).data, b'{"type": "USER_LIMIT_CREATED"}', file.encode()])


def on_stream(stage: Stage) -> list[bytes]:
    """The data of all records, sorted."""
    client, stream = stage.kinesis(), stage.variables["CONSUMER_STREAM_NAME"]
    found: list[bytes] = []
    for shard in client.list_shards(StreamName=stream)["Shards"]:
        place = client.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        found += [each["Data"] for each in client.get_records(ShardIterator=place)["Records"]]
    return sorted(found)


def _is_sound(event: dict[str, object]) -> bool:
    payload = event["payload"]
    return isinstance(payload, dict) and payload.get("status", "ACTIVE") in (
        "ACTIVE",
        "CANCELED",
        "FUTURE",
        "IN_COOLDOWN",
    )
