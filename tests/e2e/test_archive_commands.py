"""`consumer verify` and `consumer rebuild` on an archive and a table that the real service has written."""

import gzip
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from consumer.limits.sample import Sample
from consumer.stores.places import DirectoryPlace, S3Place
from tests.support.driven.archives import data_by_position
from tests.support.driven.proving import (
    KEYS,
    Item,
    Key,
    change_by_hand,
    items_of,
    kinds_of,
    new_table,
    numbered,
    ran,
    rebuilt,
    set_back,
    verified,
)
from tests.support.driven.scenario import (
    Stage,
    expected,
    first_difference,
    poison,
    samples,
    until_received,
)
from tests.support.driven.service import alive, children, consumer, environment, service
from tests.support.driven.waiting import until
from tests.support.emulators.aws import Emulator, session
from tests.support.generators.events import created, encode

COUNT = 6_000


@dataclass(frozen=True)
class Archived:
    """What the service has left: its table, its archive, and what was put on the stream."""

    stage: Stage
    folder: Path
    made: list[Sample]
    while_running: dict[str, Any]

    @property
    def items(self) -> dict[Key, Item]:
        return items_of(self.stage)

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return ran(self.stage, self.folder.parent, *arguments, **variables)

    def verified(self, *arguments: str, **variables: str) -> dict[str, Any]:
        return verified(self.stage, self.folder.parent, "--processes", "1", *arguments, **variables)

    def rebuilt(self, *arguments: str, **variables: str) -> dict[str, Any]:
        return rebuilt(self.stage, self.folder.parent, *arguments, **variables)


@pytest.fixture(scope="module")
def archived(aws: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Archived:
    """The service consumes with an archive; it is verified while it writes, and stopped."""
    folder = tmp_path_factory.mktemp("archived")
    variables = environment("archived", folder, AWS_ENDPOINT_URL=aws.endpoint)
    variables |= {"CONSUMER_ARCHIVE": f"dir:{folder / 'archive'}", "CONSUMER_ARCHIVE_SECONDS": "1"}
    consumer(variables, "provision", "--stream", "2")
    stage, made = Stage(variables), samples(seed=31, count=COUNT)
    with service(variables, folder / "log") as running:
        stage.put(made[: COUNT // 2])
        until_received(running, 1)
        stage.put(made[COUNT // 2 :])
        until(lambda: any(DirectoryPlace(folder / "archive").list()), "the first object")
        command = [sys.executable, "-m", "consumer", "verify", "--json", "--processes", "1", "--patience", "90"]
        found = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        until_received(running, len(made))
        assert running.stop() == 0
    return Archived(stage, folder / "archive", made, json.loads(found.stdout))


@pytest.fixture
def untouched(archived: Archived) -> Iterator[Archived]:
    """Afterwards the table is again as it was."""
    table, before = archived.stage.variables["AWS_TABLE_NAME"], archived.items
    yield archived
    client = archived.stage.dynamodb()
    for key, item in archived.items.items():
        if key not in before:
            client.delete_item(TableName=table, Key={name: item[name] for name in KEYS})
    for item in before.values():
        client.put_item(TableName=table, Item=item)


def test_the_archive_has_every_record_once_and_the_table_is_right(archived: Archived) -> None:
    found = data_by_position(DirectoryPlace(archived.folder))
    assert Counter(found.values()) == Counter(sample.data for sample in archived.made)
    assert first_difference(archived.stage.limits(), expected(archived.made)) is None


def test_nothing_is_found_while_the_service_writes(archived: Archived) -> None:
    assert archived.while_running["ok"] is True
    assert archived.while_running["findings"] == []


def test_nothing_is_found_afterwards(archived: Archived) -> None:
    found = archived.verified()
    assert (found["ok"], found["missing"], found["unexplained"]) == (True, 0, 0)
    assert found["records"]["quarantined"] == poison(archived.made).total()
    assert sum(found["records"].values()) == len(archived.made)
    assert found["limits"] == len(archived.items)


def test_ten_rows_that_were_spoiled_are_named_and_no_other(untouched: Archived) -> None:
    wanted = change_by_hand(untouched.stage)
    assert len(wanted) == 10

    found = untouched.verified()
    assert kinds_of(found) == wanted
    assert found["missing"] == sum("missing" in kinds for kinds in wanted.values())
    assert found["unexplained"] == sum("unexplained" in kinds for kinds in wanted.values())

    shown = untouched.run("verify", "--processes", "2", "--patience", "0")
    assert shown.returncode == 1
    assert f"missing: {found['missing']}  unexplained: {found['unexplained']}" in shown.stdout
    assert shown.stdout.count("missing, unexplained") == 4

    user = next(iter(wanted))[0]
    of_user = untouched.verified("--user", user)
    assert {each["userId"] for each in of_user["findings"]} == {user}
    counts = untouched.run("verify", "--processes", "1", "--patience", "0", "--counts", "--json")
    assert "findings" not in json.loads(counts.stdout)
    assert user not in counts.stdout


def test_a_rebuild_adds_what_is_missing_to_the_table_in_use(untouched: Archived) -> None:
    table, client = untouched.stage.variables["AWS_TABLE_NAME"], untouched.stage.dynamodb()
    chosen = [item for item in untouched.items.values() if "progress" in item][:2]
    client.delete_item(TableName=table, Key={name: chosen[0][name] for name in KEYS})
    client.put_item(TableName=table, Item=set_back(chosen[1]))

    assert untouched.verified()["missing"] == 2
    done = untouched.rebuilt("--processes", "2")
    assert done["records"] == len(untouched.made)
    assert untouched.verified()["ok"] is True


def test_a_rebuild_of_a_table_that_is_right_writes_nothing(archived: Archived) -> None:
    before = archived.items
    done = archived.rebuilt("--processes", "1")
    assert (done["writes"], done["outcomes"]["applied"]) == (0, 0)
    assert done["outcomes"]["quarantined"] == poison(archived.made).total()
    assert archived.items == before


def test_an_empty_table_gets_the_same_items(archived: Archived) -> None:
    name = new_table(archived.stage)
    archived.rebuilt("--into", name, "--processes", "2")
    assert numbered(items_of(archived.stage, name)) == numbered(archived.items)
    assert archived.verified(AWS_TABLE_NAME=name)["ok"] is True


def test_files_of_events_of_any_form_lead_to_the_same_items(archived: Archived, tmp_path: Path) -> None:
    """Gzipped, with documents side by side, as Firehose writes them."""
    data = [sample.data for sample in archived.made if not sample.poison_reason]
    half = len(data) // 2
    (tmp_path / "2026" / "01").mkdir(parents=True)
    (tmp_path / "2026" / "01" / "firehose-1").write_bytes(gzip.compress(b"".join(data[:half])))
    (tmp_path / "2026" / "01" / "firehose-2").write_bytes(b"\n".join(data[half:]))
    name = new_table(archived.stage)
    archived.rebuilt("--from", str(tmp_path), "--into", name, "--processes", "2")
    assert numbered(items_of(archived.stage, name)) == numbered(archived.items)


def test_several_processes_keep_the_brand_that_came_first(archived: Archived, tmp_path: Path) -> None:
    """Each limit gets events of three brands in turn. A process that took a later file first would keep another one."""
    users = range(100)
    for number in range(12):
        events = [created(number + 1, userId=f"u-{user}", brandId=f"b-{(number + user) % 3}") for user in users]
        (tmp_path / f"{number:02}.json").write_bytes(b"\n".join(map(encode, events)))
    name = new_table(archived.stage)
    done = archived.rebuilt("--from", str(tmp_path), "--into", name, "--processes", "4")
    found = {item["userId"]["S"]: item["brandId"]["S"] for item in items_of(archived.stage, name).values()}
    assert found == {f"u-{user}": f"b-{user % 3}" for user in users}
    assert done["reasons"] == {"IDENTITY": 8 * len(users)}


def test_an_archive_in_s3_leads_to_the_same(archived: Archived) -> None:
    bucket = f"archive-{uuid4().hex[:8]}"
    s3 = session().client("s3", endpoint_url=archived.stage.variables["AWS_ENDPOINT_URL"])
    s3.create_bucket(Bucket=bucket)
    source, target = DirectoryPlace(archived.folder), S3Place(s3, bucket, "limits")
    for found in source.list():
        target.write(found.path, source.read(found.path))

    place = {"CONSUMER_ARCHIVE": f"s3://{bucket}/limits"}
    assert archived.verified(**place)["ok"] is True
    name = new_table(archived.stage)
    archived.rebuilt("--into", name, "--processes", "2", **place)
    assert numbered(items_of(archived.stage, name)) == numbered(archived.items)


def test_the_metrics_are_written(archived: Archived, tmp_path: Path) -> None:
    file, table = tmp_path / "consumer.prom", archived.stage.variables["AWS_TABLE_NAME"]
    done = archived.run("verify", "--counts", "--json", "--emf", "--metrics", str(file), "--processes", "1")
    assert done.returncode == 0, done.stderr
    result, line = map(json.loads, done.stdout.splitlines())
    assert f'consumer_verify_limits{{table="{table}"}} {float(result["limits"])}' in file.read_text()
    assert (line["consumer_verify_missing_limits"], line["table"]) == (0, table)
    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["table"]]


def test_put_puts_an_archive_on_a_stream(archived: Archived) -> None:
    name = f"again-{uuid4().hex[:8]}"
    kinesis = archived.stage.kinesis()
    kinesis.create_stream(StreamName=name, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    done = archived.run("put", "--from", str(archived.folder), CONSUMER_STREAM_NAME=name)
    assert (done.returncode, done.stdout) == (0, f"put {len(archived.made)} records on {name}\n")

    shard = kinesis.list_shards(StreamName=name)["Shards"][0]["ShardId"]
    at = kinesis.get_shard_iterator(StreamName=name, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    found: Counter[bytes] = Counter()
    while found.total() < len(archived.made):
        page = kinesis.get_records(ShardIterator=at, Limit=10_000)
        assert page["Records"]
        found.update(record["Data"] for record in page["Records"])
        at = page["NextShardIterator"]
    assert found == Counter(sample.data for sample in archived.made)


# Interruption


def many_files(archived: Archived, folder: Path) -> int:
    """The same records, in a file for each hundred of them."""
    data = [sample.data for sample in archived.made if not sample.poison_reason]
    folder.mkdir()
    for start in range(0, len(data), 100):
        (folder / f"{start:06}.json").write_bytes(b"\n".join(data[start : start + 100]))
    return len(range(0, len(data), 100))


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_rebuild_goes_on(archived: Archived, tmp_path: Path, way: signal.Signals) -> None:
    count, progress, name = (
        many_files(archived, tmp_path / "files"),
        tmp_path / "progress.jsonl",
        new_table(archived.stage),
    )
    options = ("--from", str(tmp_path / "files"), "--into", name, "--resume", str(progress), "--processes", "2")
    command = [sys.executable, "-m", "consumer", "rebuild", *options]
    variables: Mapping[str, str] = archived.stage.variables
    with subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        until(lambda: progress.exists() and progress.read_bytes().count(b"\n") > 3, "some files", every=0.01)
        processes = children(running.pid)
        os.kill(running.pid, way)
        running.wait(30)
    assert running.returncode == {signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}[way]
    until(lambda: not any(map(alive, processes)), "its processes to be gone")
    done_before = progress.read_bytes().count(b".json")
    assert 3 <= done_before < count

    done = archived.run("rebuild", "--json", *options)
    assert done.returncode == 0, done.stderr
    assert f"{done_before} files were done before" in done.stderr
    assert json.loads(done.stdout)["files"] == count - done_before
    assert numbered(items_of(archived.stage, name)) == numbered(archived.items)
    assert not progress.exists()


def test_a_table_that_is_not_there_is_named_at_once(archived: Archived) -> None:
    done = archived.run("rebuild", "--into", "absent-table", "--processes", "1")
    assert done.returncode == 1
    assert "absent-table" in done.stderr
    assert len(done.stderr.splitlines()) == 1
