"""`consumer rewind` between two runs of the service: what was right stays as it is, and what was missed is found."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from consumer.access.probes import ABSENT
from tests.faults.conftest import Note, stage_of
from tests.support.driven import older_child
from tests.support.driven.leases import BEGINNING, END, leases, lost, owed
from tests.support.driven.scenario import Stage, endless, expected, poison, until_equal
from tests.support.driven.service import consumer, environment, service
from tests.support.driven.shards import logged_at, shards, split
from tests.support.driven.trial import Trial, started_trial
from tests.support.driven.waiting import until
from tests.support.emulators.aws import Emulator, ministack
from tests.support.emulators.stacks import RECORDING

WRITES = ("BatchExecuteStatement", "ExecuteStatement", "PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem")
TRIAL = ABSENT.strip("\0")
OLDER = ("tests.support.driven.worker", *older_child.EXECUTABLE.split())


@dataclass(frozen=True)
class Recorded:
    """MiniStack, and the file with all requests that it got."""

    emulator: Emulator
    requests: Path

    def writes(self, table: str) -> Counter[str]:
        """The requests that write to the table, by operation, without those that try what the service may do."""
        lines = map(json.loads, self.requests.read_text(encoding="utf-8").splitlines())
        operations = ((line["target"].rpartition(".")[2], line["body"]) for line in lines)
        return Counter(name for name, body in operations if name in WRITES and table in body and TRIAL not in body)


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Recorded]:
    record = tmp_path / "requests"
    with ministack({}, [str(RECORDING), str(record)]) as emulator:
        yield Recorded(emulator, record)


def rewind(variables: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "consumer", "rewind", *arguments]
    return subprocess.run(command, env=dict(variables), check=False, capture_output=True, text=True, timeout=120)


def stored(stage: Stage) -> list[dict[str, Any]]:
    """The stored table, byte for byte."""
    return sorted(stage.items(stage.variables["AWS_TABLE_NAME"]), key=str)


def checkpoints(stage: Stage) -> dict[str, str]:
    return {shard: lease.checkpoint for shard, lease in leases(stage).items()}


def read_again(trial: Trial, count: int) -> None:
    """Waits until everything is read, `count` records of it again, and checks that nothing is lost or invented."""
    until_equal(trial.stage, trial.made)
    until(lambda: trial.running.received() >= count, f"{count} records to be settled")
    until(lambda: owed(trial.stage) == 0, "the last checkpoints")
    assert trial.stage.quarantined() == poison(trial.made)
    assert lost(trial.stage) == []


def test_a_replay_after_a_rewind_writes_nothing(recorded: Recorded, tmp_path: Path, seed: int, note: Note) -> None:
    variables = environment("rewound", tmp_path, AWS_ENDPOINT_URL=recorded.emulator.endpoint)
    consumer(variables, "provision", "--stream", "2")
    stage, table = Stage(variables), variables["AWS_TABLE_NAME"]
    with started_trial(stage, variables, tmp_path, endless(seed)) as trial:
        running = rewind(variables, "--to", "trim-horizon", "--yes")
        assert (running.returncode, running.stdout) == (1, "")
        assert "is running: the lease of shardId-" in running.stderr
        assert "stop every worker and run the command again" in running.stderr
    before, read, writes = stored(stage), checkpoints(stage), recorded.writes(table)
    assert writes.total() > 0

    dry = rewind(variables, "--to", "trim-horizon", "--dry-run", "--json")
    assert dry.returncode == 0
    plan = json.loads(dry.stdout)["shards"]
    assert {each["shard"]: (each["from"], each["to"]) for each in plan} == {
        shard: (number, BEGINNING) for shard, number in read.items()
    }
    assert all(each["effect"] == "reads-again" and each["hours"] >= 0 and not each["set"] for each in plan)
    assert checkpoints(stage) == read
    done = rewind(variables, "--to", "trim-horizon", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 shards to set, up to " in done.stdout
    assert set(checkpoints(stage).values()) == {BEGINNING}

    with service(variables, tmp_path / "again") as again:
        replay = Trial(stage, again, iter(()), list(trial.made))
        read_again(replay, len(trial.made))
        assert replay.metric("consumer_state_writes_total") == 0
        assert again.outcomes()["applied"] == 0
        note(f"{again.received()} records again: {dict(again.outcomes())}, no write")
        assert again.stop() == 0
    assert stored(stage) == before
    assert recorded.writes(table) == writes


def test_a_new_event_type_finds_its_past(stage: Stage, tmp_path: Path, seed: int, note: Note) -> None:
    """An older version ignored the resets since its start. The time of its start is enough to find them."""
    source = endless(seed)
    with started_trial(stage, stage.variables, tmp_path, source) as trial:
        pass
    start = datetime.now(UTC).isoformat()
    made = [*trial.made, *(missed := list(islice(source, 300)))]
    with service(stage.variables, tmp_path / "older", OLDER) as older:
        stage.put(missed)
        until(lambda: older.outcomes()["ignored"] > 0 and owed(stage) == 0, "the older version to read everything")
        assert older.stop() == 0
    assert stage.limits() != expected(made), "a limit was reset"

    done = rewind(stage.variables, "--to", start, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(number.isdecimal() for number in checkpoints(stage).values()), "not all is read again"
    with service(stage.variables, tmp_path / "newer") as newer:
        read_again(Trial(stage, newer, iter(()), made), len(missed))
        note(f"{newer.received()} of {len(made)} records again, {older_child.NOT_KNOWN} among them")
        assert newer.received() == len(missed)
        assert newer.stop() == 0


def test_records_are_skipped_only_when_it_is_said(stage: Stage, tmp_path: Path, seed: int) -> None:
    source = endless(seed)
    with started_trial(stage, stage.variables, tmp_path, source) as trial:
        pass
    before = stage.limits()
    stage.put(unread := list(islice(source, 100)))

    skipping = rewind(stage.variables, "--to", "latest", "--yes")

    assert skipping.returncode == 0
    assert "of unread records of 2 shards would be skipped and never applied." in " ".join(skipping.stdout.split())
    with service(stage.variables, tmp_path / "later") as later:
        stage.put(trial.made[:100])
        until(lambda: later.received() >= 100 and owed(stage) == 0, "the records after the skipped ones")
        assert later.received() == 100
        assert later.stop() == 0
    assert stage.limits() == before
    assert expected([*trial.made, *unread]) != before


# --- Closed shards -------------------------------------------------------------------------------------------------


@pytest.mark.conformance
@pytest.mark.parametrize("deleted", [False, True], ids=["at its end", "its lease is deleted"])
def test_a_closed_shard_is_read_again_before_its_children(
    streams: Emulator, tables: Emulator, tmp_path: Path, seed: int, deleted: bool
) -> None:
    stage = stage_of(1, streams, tables, tmp_path, f"closed-{deleted}".lower())
    [parent] = shards(stage).values()
    with service(stage.variables, tmp_path / "before") as running:
        trial = Trial(stage, running, endless(seed))
        trial.put(200)
        trial.until_settled()
        children = {shard.name for shard in split(stage, parent)}
        trial.put(200)
        trial.until_settled()
        assert running.stop() == 0
    assert leases(stage)[parent.name].checkpoint == END
    before, made = stored(stage), trial.made
    if deleted:  # as the KCL does some minutes later
        key = {"leaseKey": {"S": parent.name}}
        stage.dynamodb().delete_item(TableName=stage.variables["CONSUMER_APPLICATION_NAME"], Key=key)

    done = rewind(stage.variables, "--to", "trim-horizon", "--yes", "--json")

    assert (done.returncode, done.stderr) == (0, "")
    shown = {each["shard"]: each for each in json.loads(done.stdout)["shards"]}
    assert (shown[parent.name]["state"], shown[parent.name]["createsLease"]) == ("closed", deleted)
    assert all(each["set"] and each["effect"] == "reads-again" for each in shown.values())
    assert checkpoints(stage) == dict.fromkeys({parent.name, *children}, BEGINNING)
    with service(stage.variables, tmp_path / "again") as again:
        replay = Trial(stage, again, iter(()), made)
        read_again(replay, len(made))
        until(lambda: leases(stage)[parent.name].checkpoint == END, "the parent to end again")
        assert replay.metric("consumer_state_writes_total") == 0
        assert again.stop() == 0
    assert stored(stage) == before
    ended, started = logged_at([again], "shard ended"), logged_at([again], "shard started")
    assert started.keys() == {parent.name, *children}
    assert all(started[child][0] >= ended[parent.name][0] for child in children)
