"""Row 43: what `consumer quarantine replay` cannot apply stays in the quarantine unchanged."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from consumer.engine.errors import Reason
from consumer.engine.quarantine import Quarantined
from consumer.engine.records import Position, Record
from consumer.stores.directory import DirectoryQuarantine
from tests.support.driven.scenario import Stage
from tests.support.driven.service import consumer, environment
from tests.support.emulators.aws import Emulator
from tests.support.generators.events import created, encode, foreign, progress_changed
from tests.support.generators.kpl import aggregate

USER = "u-7Qd2"


@pytest.fixture
def replaying(aws: Emulator, tmp_path: Path, request: pytest.FixtureRequest) -> Stage:
    """A table and a quarantine directory, without a running service."""
    name = request.node.name.removeprefix("test_43_").replace("_", "-")
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
