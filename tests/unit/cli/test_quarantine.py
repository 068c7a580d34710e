"""`consumer quarantine list|show|drop` as processes, with a quarantine in a directory."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from consumer.engine.errors import Reason
from consumer.engine.quarantine import Quarantined, path_of
from consumer.engine.records import Position, Record
from consumer.stores.directory import DirectoryQuarantine

POSITION = Position("limits", "shardId-000000000001", "49" * 28)
ENTRY = Quarantined(Record(POSITION, b"nope", 1_767_225_600_123), Reason.JSON, "Expecting value at character 0")
ODD = replace(
    ENTRY,
    record=Record(Position("-my stream", "a/b\t\x1b[31m", "-1\n", 7), b"odd"),
    reason="NOT\tKNOWN",
    detail="a\ttab, a\nbreak, \x1b[31mred, \ud800",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "quarantine"
    DirectoryQuarantine(made).put([ENTRY, ODD])
    return made


def variables(root: Path) -> Mapping[str, str]:
    return {"AWS_REGION": "eu-west-1", "CONSUMER_QUARANTINE": f"dir:{root}"}


def quarantine(root: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "consumer", "quarantine", *arguments]
    return subprocess.run(command, env={**variables(root), **more}, capture_output=True, text=True, check=False)


def test_in_a_pipe_each_record_is_a_line_of_four_columns(root: Path) -> None:
    run = quarantine(root, "list")
    assert (run.returncode, run.stderr) == (0, "")
    assert [line.split("\t") for line in run.stdout.splitlines()] == [
        [str(ODD.record.position), "-", "NOT\\tKNOWN", "a\\ttab, a\\nbreak, \\x1b[31mred, \\ud800"],
        [str(POSITION), "2026-01-01T00:00:00.123Z", "JSON", "Expecting value at character 0"],
    ]


def test_the_other_commands_accept_the_listed_positions(root: Path) -> None:
    listed = [line.split("\t")[0] for line in quarantine(root, "list").stdout.splitlines()]
    parsed = [json.loads(line) for line in quarantine(root, "list", "--json").stdout.splitlines()]
    assert [line["position"] for line in parsed] == listed
    for position, document in zip(listed, parsed, strict=True):
        assert json.loads(quarantine(root, "show", position).stdout) == document
        assert quarantine(root, "drop", position).returncode == 0
    assert list(DirectoryQuarantine(root).entries()) == []


def test_json_has_every_field_and_the_position(root: Path) -> None:
    (line,) = [line for line in quarantine(root, "list", "--json").stdout.splitlines() if '"limits"' in line]
    assert json.loads(line) == {
        "position": f"limits/shardId-000000000001/{'49' * 28}",
        "reason": "JSON",
        "detail": "Expecting value at character 0",
        "stream": "limits",
        "shard": "shardId-000000000001",
        "sequenceNumber": "49" * 28,
        "subSequenceNumber": 0,
        "arrivedAt": 1_767_225_600_123,
        "data": "bm9wZQ==",
    }


def test_a_position_from_the_log_of_an_earlier_version_is_accepted(root: Path) -> None:
    DirectoryQuarantine(root).put([replace(ENTRY, record=Record(Position("my stream", "a b", "1"), b"x"))])
    assert quarantine(root, "show", "my stream/a b/1").returncode == 0


@pytest.mark.parametrize("width", [40, 80])
def test_on_a_terminal_the_position_is_not_wrapped(root: Path, width: int) -> None:
    shown = on_a_terminal(root, width, "list")
    assert f"{POSITION}\r\n" in shown
    assert "2026-01-01T00:00:00.123Z  JSON  Expecting value at character 0\r\n" in shown


def on_a_terminal(root: Path, width: int, *arguments: str) -> str:
    """The output of the command on a terminal of this width."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "consumer", "quarantine", *arguments]
    environment = {**variables(root), "COLUMNS": str(width), "TERM": "dumb"}
    with subprocess.Popen(command, env=environment, stdout=theirs, stdin=subprocess.DEVNULL) as process:
        os.close(theirs)
        assert process.wait() == 0
    shown = os.read(ours, 1_000_000).decode()
    os.close(ours)
    return shown


@pytest.mark.parametrize("command", ["show", "drop", "replay"])
def test_an_invalid_or_unknown_position_is_one_line_and_exit_code_2(root: Path, command: str) -> None:
    for position, reported in (
        ("4965", "STREAM/SHARD/SEQUENCE"),
        ("limits/shardId-000000000001/1", "not in the quarantine"),
    ):
        run = quarantine(root, command, position)
        assert run.returncode == 2
        (line,) = run.stderr.splitlines()
        assert reported in line


def test_an_entry_is_found_by_its_path(root: Path) -> None:
    """No other file is read: a hundred unreadable ones beside it cause no error."""
    for number in range(100):
        (root / "limits" / "shardId-000000000001" / f"{number}.json").write_text("{")
    run = quarantine(root, "show", str(POSITION))
    assert (run.returncode, run.stderr) == (0, "")


def test_foreign_files_are_reported_and_the_entries_listed(root: Path) -> None:
    (root / "notes.txt").write_text("look at these")
    run = quarantine(root, "list")
    assert (run.returncode, len(run.stdout.splitlines())) == (0, 2), "no record can be in it"
    assert run.stderr.splitlines() == [f"consumer: {root}/notes.txt: not an entry of the quarantine; left as it is"]


def test_a_malformed_entry_fails_the_command(root: Path) -> None:
    spoiled = root / path_of(POSITION)
    spoiled.write_bytes(spoiled.read_bytes()[:20])
    run = quarantine(root, "list", "--json")
    assert (run.returncode, len(run.stdout.splitlines())) == (1, 1)
    assert run.stderr.splitlines() == [f"consumer: {spoiled}: not JSON, or cut off; left as it is"]
    for command in ("show", "drop"):
        run = quarantine(root, command, str(POSITION))
        assert (run.returncode, run.stderr) == (1, f"consumer: {spoiled}: not JSON, or cut off\n")
    assert spoiled.exists()


def test_an_unreadable_quarantine_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "quarantine").write_text("in the way")
    for arguments in (("list",), ("show", str(POSITION)), ("drop", str(POSITION)), ("replay",)):
        run = quarantine(tmp_path / "quarantine", *arguments)
        assert run.returncode == 1
        assert run.stderr.splitlines()[-1] == f"consumer: quarantine {tmp_path}/quarantine: Not a directory"


def test_an_empty_quarantine_prints_nothing(tmp_path: Path) -> None:
    run = quarantine(tmp_path / "not-there", "list")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
