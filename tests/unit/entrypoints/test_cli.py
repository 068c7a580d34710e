"""The commands that need no AWS, run as a user runs them."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from consumer.engine.quarantine import Quarantined
from consumer.engine.records import Position, Record
from consumer.limits.sample import Sample, histories
from consumer.stores.directory import DirectoryQuarantine
from tests.support import oracle
from tests.support.events import created

NOW_FREE = ("resetOverdue",)
"""What depends on when one looks."""


def consumer(
    *arguments: str, given: bytes = b"", variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "consumer", *arguments], input=given, capture_output=True, check=False, env=variables
    )


def applied(file: str, given: bytes = b"") -> dict[str, Any]:
    run = consumer("apply", file, "--json", given=given)
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


@pytest.fixture
def made() -> list[Sample]:
    return list(histories(Random(7), 400, 10, duplicates=0.05, poison=0.05))


def timeless(limit: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in limit.items() if name not in NOW_FREE}


def test_apply_folds_a_file_of_lines_as_the_oracle_does(made: list[Sample]) -> None:
    # a blank line is no record
    lines = [line for sample in made if (line := sample.data.replace(b"\n", b" ").strip())]
    shown = applied("-", b"\n".join(lines))
    wanted = oracle.expected([sample.event for sample in made if sample.event], 0)

    assert [timeless(limit) for limit in shown["limits"]] == [timeless(wanted[key]) for key in sorted(wanted)]
    assert sum(shown["outcomes"].values()) == len(lines)
    assert shown["outcomes"]["quarantined"] == len(shown["quarantined"]) > 0


def test_apply_reads_an_array_and_counts_positions_from_zero(tmp_path: Path, made: list[Sample]) -> None:
    events = [sample.event for sample in made if sample.event][:5]
    file = tmp_path / "events.json"
    file.write_text(json.dumps([*events, None, {"type": "USER_LIMIT_RESET"}], indent=2))
    shown = applied(str(file))

    assert [(entry["position"], entry["reason"]) for entry in shown["quarantined"]] == [
        (5, "NOT_OBJECT"),
        (6, "SCHEMA"),
    ]
    assert set(shown["outcomes"]) == {"applied", "duplicate", "stale", "ignored", "quarantined"}


def test_apply_of_nothing_is_nothing() -> None:
    shown = applied("-", b"\n\n")

    assert shown["limits"] == []
    assert sum(shown["outcomes"].values()) == 0


def test_a_line_that_is_no_record_is_quarantined_and_its_neighbours_applied(made: list[Sample]) -> None:
    first, second = [sample.data for sample in made if sample.event and "amount" in sample.event["payload"]][:2]
    shown = applied("-", b"\n".join([first, b"\xff\xfe\x00", second]))

    assert shown["outcomes"]["applied"] == 2
    assert [(entry["position"], entry["reason"]) for entry in shown["quarantined"]] == [(1, "ENCODING")]


def test_a_file_that_cannot_be_read_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    run = consumer("apply", str(tmp_path / "missing"))

    assert run.returncode == 2
    assert run.stderr.decode().splitlines() == [f"consumer: {tmp_path / 'missing'}: No such file or directory"]


def test_all_wrong_settings_are_told_at_once() -> None:
    run = consumer("doctor", variables={"CONSUMER_START_AT": "soon", "CONSUMER_BREAKER": "-1"})

    assert run.returncode == 2
    told = run.stderr.decode().splitlines()
    for name in ("AWS_REGION", "CONSUMER_STREAM_NAME", "CONSUMER_QUARANTINE", "CONSUMER_START_AT", "CONSUMER_BREAKER"):
        assert len([line for line in told if name in line]) == 1


@pytest.mark.parametrize(
    "command",
    [(), ("run",), ("process",), ("provision",), ("put",), ("limits",), ("apply",), ("doctor",), ("properties",)],
    ids=lambda command: " ".join(command) or "consumer",
)
def test_every_command_explains_itself(command: tuple[str, ...]) -> None:
    run = consumer(*command, "--help")

    assert run.returncode == 0
    assert b"Usage:" in run.stdout


def test_time_outs_out_of_order_are_refused() -> None:
    variables = {
        "AWS_REGION": "eu-west-1",
        "CONSUMER_STREAM_NAME": "s",
        "CONSUMER_QUARANTINE": "dir:q",
        "CONSUMER_SHUTDOWN_GRACE_SECONDS": "40",
    }
    run = consumer("properties", variables=variables)

    assert run.returncode == 2
    assert b"CONSUMER_SHUTDOWN_GRACE_SECONDS must be less than CONSUMER_STOP_TIMEOUT_SECONDS" in run.stderr


def test_what_an_older_version_has_quarantined_can_be_listed_shown_and_dropped(tmp_path: Path) -> None:
    """Its reason is none any more."""
    variables = {"AWS_REGION": "eu-west-1", "ENABLE_DYNAMO_DB": "false", "CONSUMER_QUARANTINE": f"dir:{tmp_path}"}
    entry = Quarantined(Record(Position("s", "shardId-0", "17"), b"{}"), "SEQUENCE_JUMP", "sequenceNumber: too far")
    DirectoryQuarantine(tmp_path).put([entry])

    assert json.loads(consumer("quarantine", "list", "--json", variables=variables).stdout)["reason"] == entry.reason
    assert b"SEQUENCE_JUMP" in consumer("quarantine", "show", "s/shardId-0/17", variables=variables).stdout
    assert consumer("quarantine", "drop", "s/shardId-0/17", variables=variables).returncode == 0


@pytest.mark.parametrize(("most", "outcome"), [("5", "applied"), ("4", "quarantined")])
def test_apply_heeds_the_settings_of_records(most: str, outcome: str) -> None:
    given = json.dumps(created(5)).encode()
    run = consumer("apply", "--json", "-", given=given, variables={"CONSUMER_MAX_SEQUENCE_NUMBER": most})
    assert json.loads(run.stdout)["outcomes"][outcome] == 1


def test_quarantined_records_can_be_listed_shown_and_dropped(tmp_path: Path) -> None:
    variables = {
        "AWS_REGION": "eu-west-1",
        "ENABLE_DYNAMO_DB": "false",
        "CONSUMER_QUARANTINE": f"dir:{tmp_path}",
    }
    entry = {
        "reason": "JSON",
        "detail": "Expecting value at character 0",
        "stream": "s",
        "shard": "shardId-0",
        "sequenceNumber": "17",
        "subSequenceNumber": 0,
        "arrivedAt": 1,
        "data": "bm9wZQ==",
    }
    place = tmp_path / "s" / "shardId-0" / "17.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(entry))

    listed = consumer("quarantine", "list", "--json", variables=variables)
    assert [json.loads(line) for line in listed.stdout.splitlines()] == [entry]
    assert json.loads(consumer("quarantine", "show", "s/shardId-0/17", variables=variables).stdout) == entry
    assert consumer("quarantine", "replay", variables=variables).returncode == 1, "it is as broken as before"
    assert place.exists()
    assert consumer("quarantine", "drop", "s/shardId-0/17", variables=variables).returncode == 0
    assert not place.exists()
    assert consumer("quarantine", "show", "s/shardId-0/17", variables=variables).returncode == 2
