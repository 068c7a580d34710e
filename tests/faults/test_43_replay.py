"""Row 43: what `consumer quarantine replay` cannot apply stays in the quarantine unchanged."""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from consumer.engine.errors import Reason
from consumer.engine.quarantine import Quarantined
from consumer.engine.records import Position, Record
from consumer.limits.event_types import EVENTS
from consumer.stores.directory import DirectoryQuarantine
from tests.faults.conftest import Note, stage_of_one_shard
from tests.support.driven.scenario import Stage, expected, poison, samples
from tests.support.driven.service import consumer, environment
from tests.support.emulators.aws import ROOT, Emulator
from tests.support.faults.hold_points import HoldPoints, Point
from tests.support.generators.events import created, encode, foreign, progress_changed
from tests.support.generators.kpl import aggregate

USER = "u-7Qd2"


@pytest.fixture
def replaying(aws: Emulator, tmp_path: Path, request: pytest.FixtureRequest) -> Stage:
    """A table and a quarantine directory, without a running service."""
    name = re.sub("[^a-z0-9]+", "-", request.node.name.removeprefix("test_43_")).strip("-")
    variables = environment(name, tmp_path, AWS_ENDPOINT_URL=aws.endpoint)
    consumer(variables, "provision", "--stream", "1")
    return Stage(variables)


def test_43_an_event_of_a_type_that_this_version_does_not_know(replaying: Stage) -> None:
    """A newer version with this type quarantined the event and was rolled back."""
    kept = put(replaying, 1, encode(foreign("LIMIT_USER_NICKNAME_CHANGED")), Reason.SCHEMA)
    run = replay(replaying.variables)
    assert (run.returncode, outcomes(run)) == (1, ["ignored"])
    assert files(replaying) == kept


def test_43_limits_that_are_kept_in_memory(replaying: Stage) -> None:
    kept = put(replaying, 1, encode(created()))
    run = replay({**replaying.variables, "ENABLE_DYNAMO_DB": "false"})
    assert run.returncode == 2
    (line,) = run.stderr.splitlines()
    assert "ENABLE_DYNAMO_DB" in line
    assert files(replaying) == kept


def test_43_an_aggregate_of_which_a_part_is_rejected(replaying: Stage) -> None:
    """The entry of the whole aggregate is not replaced by that of a part."""
    kept = put(replaying, 1, aggregate(b"poison", encode(created()), encode(progress_changed())), Reason.AGGREGATE)
    run = replay(replaying.variables)
    assert (run.returncode, outcomes(run)) == (1, ["quarantined"])
    assert files(replaying) == kept
    assert [limit["progress"] for limit in limits(replaying)] == ["10"]


def test_43_a_store_that_does_not_answer(replaying: Stage) -> None:
    """Nothing is replayed or overwritten, and later entries stay."""
    put(replaying, 1, aggregate(b"poison", encode(created())), Reason.AGGREGATE)
    kept = put(replaying, 2, encode(created(userLimitId="l-2")))
    run = replay({**replaying.variables, "AWS_TABLE_NAME": "not-there"})
    assert (run.returncode, outcomes(run)) == (1, [])
    assert "ResourceNotFound" in run.stderr
    assert "Traceback" not in run.stderr
    assert files(replaying) == kept


def test_43_a_breaker_is_for_delivery(replaying: Stage) -> None:
    put(replaying, 1, b"poison")
    put(replaying, 2, b"poison")
    put(replaying, 3, encode(created()))
    run = replay({**replaying.variables, "CONSUMER_BREAKER": "1"})
    assert (run.returncode, outcomes(run)) == (1, ["quarantined", "quarantined", "applied"])
    assert "Traceback" not in run.stderr
    assert len(files(replaying)) == 2


def test_43_a_duplicate_is_not_said_to_be_applied(replaying: Stage) -> None:
    put(replaying, 1, encode(created()))
    put(replaying, 2, encode(created()))
    run = replay(replaying.variables)
    assert (run.returncode, outcomes(run)) == (0, ["applied", "duplicate"])
    assert files(replaying) == {}


@pytest.mark.parametrize("point", [Point.BEFORE_WRITE, Point.MID_BATCH, Point.AFTER_WRITE, Point.MID_DROP])
def test_43_a_replay_that_is_killed(replaying: Stage, seed: int, tmp_path: Path, note: Note, point: Point) -> None:
    """No entry leaves before its effect is stored, and none takes effect twice: the next replay does the rest."""
    made = [each for each in samples(seed, 300, users=20) if each.event is None or each.event["type"] in EVENTS]
    entries = [entry(number, sample.data) for number, sample in enumerate(made)]
    store = DirectoryQuarantine(root(replaying))
    store.put(entries)

    hold_points = HoldPoints(tmp_path / "holds")
    hold_points.at(point)
    command = [sys.executable, "-m", "tests.support.faults.held_replay", "quarantine", "replay", "--rate", "0"]
    variables = {**replaying.variables, "PYTHONPATH": str(ROOT), "TEST_HOLD_POINTS": str(hold_points.directory)}
    with subprocess.Popen(command, env=variables, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        hold_points.until_held(point)
        process.kill()
    left = list(store.entries())
    gone = [sample for sample, each in zip(made, entries, strict=True) if each not in left]
    assert bool(gone) is (point is Point.MID_DROP)
    assert set(expected(gone)) <= set(replaying.limits()), "what has left is in the table"

    run = replay(replaying.variables)
    assert run.returncode == (1 if poison(made) else 0)
    assert replaying.limits() == expected(made)
    assert replaying.quarantined() == poison(made)
    found = Counter(outcomes(run))
    note(f"{point}: {len(gone)} had left; then {dict(found)}")
    assert found["duplicate"] + found["stale"] > 0 or point is Point.BEFORE_WRITE


@pytest.mark.parametrize("place", ["dir", "s3"])
def test_43_an_entry_that_the_service_replaces_during_a_replay(aws: Emulator, tmp_path: Path, place: str) -> None:
    """The record is quarantined again, for the same reason, after it was read and applied: the new entry stays."""
    stage = stage_of_one_shard(aws, tmp_path, "replaced", place)
    variables = stage.variables
    stage.quarantine().put([entry(1, encode(created()))])

    hold_points = HoldPoints(tmp_path / "holds")
    hold_points.at(Point.AFTER_WRITE)
    command = [sys.executable, "-m", "tests.support.faults.held_replay", "quarantine", "replay"]
    held = {**variables, "PYTHONPATH": str(ROOT), "TEST_HOLD_POINTS": str(hold_points.directory)}
    with subprocess.Popen(command, env=held, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        hold_points.until_held(Point.AFTER_WRITE)
        stage.quarantine().put([entry(1, encode(progress_changed()))])
        hold_points.release(Point.AFTER_WRITE)
        printed, _ = process.communicate()
    assert process.returncode == 1
    assert "another entry has replaced it" in printed
    assert stage.quarantined() == Counter([encode(progress_changed())])
    assert replay(variables).returncode == 0
    assert stage.quarantined() == Counter()


def entry(number: int, data: bytes) -> Quarantined:
    record = Record(Position("s", "shardId-000000000000", f"{number:06}"), data, 1)
    return Quarantined(record, Reason.SCHEMA, "as a test wants it")


def replay(variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "consumer", "quarantine", "replay"]
    return subprocess.run(command, env=variables, check=False, capture_output=True, text=True)


def outcomes(run: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.split("\t")[1] for line in run.stdout.splitlines()]


def put(stage: Stage, number: int, data: bytes, reason: Reason = Reason.JSON) -> dict[str, bytes]:
    """Every file of the quarantine and its content."""
    record = Record(Position("s", "shardId-000000000000", str(number)), data)
    DirectoryQuarantine(root(stage)).put([Quarantined(record, reason, "as a test wants it")])
    return files(stage)


def files(stage: Stage) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root(stage).rglob("*") if path.is_file()}


def root(stage: Stage) -> Path:
    return Path(stage.variables["CONSUMER_QUARANTINE"].removeprefix("dir:"))


def limits(stage: Stage) -> list[Any]:
    shown: list[Any] = json.loads(consumer(stage.variables, "limits", USER, "--json"))
    return shown
