"""`consumer quarantine list|show|drop|export` as processes, with a quarantine in a directory."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from consumer.admin.files import read_records
from consumer.admin.inspection import APPLICABLE
from consumer.engine.entry_names import named, path_of
from consumer.engine.errors import Reason
from consumer.engine.quarantine import Quarantined
from consumer.engine.records import Position, Record
from consumer.stores.directory import DirectoryQuarantine
from tests.support.driven import commands
from tests.support.generators.events import created, encode, foreign
from tests.support.generators.kpl import aggregate

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
    return commands.in_text(commands.run("quarantine", *arguments, environment={**variables(root), **more}))


def test_in_a_pipe_each_record_is_a_line_of_five_columns(root: Path) -> None:
    run = quarantine(root, "list")
    assert (run.returncode, run.stderr) == (0, "")
    assert [line.split("\t") for line in run.stdout.splitlines()] == [
        [str(ODD.record.position), "-", "NOT\\tKNOWN", "UNREADABLE", "a\\ttab, a\\nbreak, \\x1b[31mred, \\ud800"],
        [str(POSITION), "2026-01-01T00:00:00.123Z", "JSON", "UNREADABLE", "Expecting value at character 0"],
    ]


def test_the_other_commands_accept_the_listed_positions(root: Path) -> None:
    listed = [line.split("\t")[0] for line in quarantine(root, "list").stdout.splitlines()]
    parsed = [json.loads(line) for line in quarantine(root, "list", "--json").stdout.splitlines()]
    assert [line["position"] for line in parsed] == listed
    for position, document in zip(listed, parsed, strict=True):
        shown = json.loads(quarantine(root, "show", position, "--json").stdout)
        assert {**shown, **document} == shown
        assert quarantine(root, "drop", position).returncode == 0
    assert list(DirectoryQuarantine(root).entries()) == []


def test_json_has_every_field_and_the_position(root: Path) -> None:
    (line,) = [line for line in quarantine(root, "list", "--json").stdout.splitlines() if '"limits"' in line]
    listed = {
        "position": f"limits/shardId-000000000001/{'49' * 28}",
        "reason": "JSON",
        "detail": "Expecting value at character 0",
        "type": "UNREADABLE",
        "stream": "limits",
        "shard": "shardId-000000000001",
        "sequenceNumber": "49" * 28,
        "subSequenceNumber": 0,
        "arrivedAt": 1_767_225_600_123,
    }
    assert json.loads(line) == listed, "without the data, which is not read"
    assert json.loads(quarantine(root, "show", str(POSITION), "--json").stdout) == {
        **listed,
        "data": "bm9wZQ==",
        "records": [{"event": None, "wrong": "JSON: Expecting value at character 0"}],
    }


def test_a_position_from_the_log_of_an_earlier_version_is_accepted(root: Path) -> None:
    DirectoryQuarantine(root).put([replace(ENTRY, record=Record(Position("my stream", "a b", "1"), b"x"))])
    assert quarantine(root, "show", "my stream/a b/1").returncode == 0


@pytest.mark.parametrize("width", [40, 80])
def test_on_a_terminal_the_position_is_not_wrapped(root: Path, width: int) -> None:
    shown = on_a_terminal(root, width, "list")
    assert f"{POSITION}\r\n" in shown
    assert "2026-01-01T00:00:00.123Z  JSON  UNREADABLE  Expecting value at character 0\r\n" in shown


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
    spoiled = root / named(ENTRY.summary)
    spoiled.write_bytes(spoiled.read_bytes()[:20])
    wrong = f"consumer: {spoiled}: not JSON, or cut off"
    for command in ("show", "drop"):
        run = quarantine(root, command, str(POSITION))
        assert (run.returncode, run.stderr) == (1, f"{wrong}\n")
    run = quarantine(root, "export")
    assert (run.returncode, len(run.stdout.splitlines())) == (1, 1)
    assert run.stderr.splitlines() == [f"{wrong}; left as it is", "1 record exported"]
    earlier = spoiled.rename(root / path_of(POSITION))
    run = quarantine(root, "list", "--json")
    assert (run.returncode, len(run.stdout.splitlines())) == (1, 1)
    assert run.stderr.splitlines() == [f"consumer: {earlier}: not JSON, or cut off; left as it is"]
    assert earlier.exists()


def test_an_unreadable_quarantine_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "quarantine").write_text("in the way")
    for arguments in (("list",), ("show", str(POSITION)), ("drop", str(POSITION)), ("replay",), ("export",)):
        run = quarantine(tmp_path / "quarantine", *arguments)
        assert run.returncode == 1
        assert run.stderr.splitlines()[-1] == f"consumer: quarantine {tmp_path}/quarantine: Not a directory"


def test_an_empty_quarantine_prints_nothing(tmp_path: Path) -> None:
    run = quarantine(tmp_path / "not-there", "list")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


# what the options select


def shelf(number: int, reason: str, kind: str, shard: str = "shardId-0") -> Quarantined:
    return Quarantined(Record(Position("s", shard, str(number)), b"{}", number * 1_000_000_000_000), reason, "", kind)


SHELVES = [
    shelf(1, Reason.SCHEMA, "USER_LIMIT_CREATED"),
    shelf(2, Reason.JSON, "UNREADABLE", "shardId-1"),
    shelf(3, Reason.SCHEMA, "USER_LIMIT_RESET"),
]


@pytest.fixture
def several(tmp_path: Path) -> Path:
    made = tmp_path / "several"
    DirectoryQuarantine(made).put(SHELVES)
    return made


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ("", "132"),
        ("--reason SCHEMA", "13"),
        ("--reason SCHEMA --reason JSON", "132"),
        ("--type unreadable --reason json", "2"),
        ("--shard shardId-0 --limit 1", "1"),
        ("--since 2033-05-18T03:33:20Z", "32"),
        ("--until 2033-05-18T03:33:20Z", "1"),
        ("--reason TOO_LARGE", ""),
    ],
)
def test_list_drop_and_export_select_the_same(several: Path, options: str, numbers: str) -> None:
    given = options.split()
    positions = [line.split("\t")[0] for line in quarantine(several, "list", *given).stdout.splitlines()]
    assert "".join(position[-1] for position in positions) == numbers
    exported = [json.loads(line) for line in quarantine(several, "export", *given).stdout.splitlines()]
    assert [line["quarantine"]["position"] for line in exported] == positions
    if options:
        assert quarantine(several, "drop", *given, "--yes").stderr == f"{len(positions)} dropped\n"
        assert DirectoryQuarantine(several).size() == len(SHELVES) - len(positions)


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        (("list", "--since", "yesterday"), "2026-01-31T00:00:00Z"),
        (("list", "--limit", "0"), "--limit"),
        (("replay", "--rate", "-1"), "--rate"),
        (("drop", "s/shardId-0/1", "--reason", "SCHEMA"), "not both"),
        (("drop",), "--reason"),
        (("drop", "--yes"), "--reason"),
        (("drop", "--reason", "SCHEMA"), "--yes is required to drop 2 records"),
    ],
    ids=" ".join,
)
def test_a_wrong_use_is_reported_and_changes_nothing(several: Path, arguments: tuple[str, ...], reported: str) -> None:
    run = quarantine(several, *arguments)
    assert (run.returncode, run.stdout) == (2, "")
    assert reported in run.stderr
    assert DirectoryQuarantine(several).size() == len(SHELVES)


def test_a_dry_run_of_drop_prints_what_it_would_drop(several: Path) -> None:
    selected = ("--reason", "SCHEMA")
    assert quarantine(several, "drop", *selected, "--dry-run").stdout == quarantine(several, "list", *selected).stdout
    assert DirectoryQuarantine(several).size() == len(SHELVES)


@pytest.mark.parametrize("selected", [("--reason", "JSON", "--yes"), ("s/shardId-0/1",)], ids=" ".join)
def test_an_aggregate_is_not_dropped_with_its_first_record(tmp_path: Path, selected: tuple[str, ...]) -> None:
    """They have one position, and the record, which was put last, is listed."""
    whole = Quarantined(Record(Position("s", "shardId-0", "1"), b"whole"), Reason.AGGREGATE, "")
    first = Quarantined(Record(Position("s", "shardId-0", "1"), b"first"), Reason.JSON, "")
    for each in (whole, first):
        DirectoryQuarantine(tmp_path).put([each])
    assert quarantine(tmp_path, "drop", *selected).stderr == "1 dropped\n"
    assert list(DirectoryQuarantine(tmp_path).entries()) == [whole]


def test_drop_prints_json(several: Path) -> None:
    run = quarantine(several, "drop", "--type", "UNREADABLE", "--yes", "--json")
    assert (run.returncode, run.stderr, json.loads(run.stdout)) == (0, "", {"dropped": 1, "left": []})


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 1), ("n\n", 1, 3)])
def test_on_a_terminal_a_drop_of_several_is_confirmed(several: Path, answer: str, code: int, left: int) -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "consumer", "quarantine", "drop", "--reason", "SCHEMA"]
    environment = {**variables(several), "TERM": "dumb"}
    with subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.write(ours, answer.encode())
        assert process.wait() == code
    shown = os.read(ours, 1_000_000).decode()
    os.close(ours)
    assert "Drop 2 records from the quarantine permanently? [y/N]" in shown
    assert ("2/2" in shown, DirectoryQuarantine(several).size()) == (code == 0, left), "with a progress bar"


# what is in a record


def test_a_record_is_shown_with_its_event_its_bytes_and_what_is_wrong(root: Path) -> None:
    data = json.dumps({**created(), "type": 7, "text": "\u202e\x1b"}).encode()
    entry = Quarantined(Record(Position("s", "shardId-0", "5"), data, 1_767_225_600_123), "SCHEMA_OF_OLD", "old words")
    DirectoryQuarantine(root).put([entry])
    shown = quarantine(root, "show", "s/shardId-0/5").stdout
    assert shown.splitlines()[:5] == [
        "position  s/shardId-0/5",
        "arrived   2026-01-01T00:00:00.123Z",
        "reason    SCHEMA_OF_OLD",
        "type      UNREADABLE",
        "detail    old words",
    ]
    assert "wrong now: SCHEMA: type: must be a string\n{\n" in shown
    assert '\n  "type": 7,\n' in shown
    assert shown.isprintable() or set(shown) - {"\n"} <= set(filter(str.isprintable, shown))
    assert f"\n{len(data):,} bytes\n00000000  {data[:16].hex(' ')}  |{data[:16].decode()}|\n" in shown


def test_a_record_that_is_no_longer_refused_is_said_to_be_applicable(root: Path) -> None:
    entry = Quarantined(Record(Position("s", "shardId-0", "5"), encode(created())), Reason.SCHEMA, "fixed since")
    DirectoryQuarantine(root).put([entry])
    assert f"wrong now: {APPLICABLE}\n" in quarantine(root, "show", "s/shardId-0/5").stdout


def test_each_record_of_an_aggregate_is_shown(root: Path) -> None:
    data = aggregate(encode(created()), b"poison", encode(foreign("NEW")))
    DirectoryQuarantine(root).put([Quarantined(Record(Position("s", "shardId-0", "5"), data), Reason.AGGREGATE, "")])
    shown = quarantine(root, "show", "s/shardId-0/5").stdout
    assert f"wrong now of record 0 of the aggregate: {APPLICABLE}\n" in shown
    assert "wrong now of record 1 of the aggregate: JSON: " in shown
    assert "wrong now of record 2 of the aggregate: this version does not know the type (UNKNOWN)\n" in shown


def test_large_data_that_is_no_event_is_cut(root: Path) -> None:
    DirectoryQuarantine(root).put([Quarantined(Record(Position("s", "s", "5"), b"\0" * 300_000), Reason.JSON, "")])
    shown = quarantine(root, "show", "s/s/5").stdout
    assert "300,000 bytes, the first 1,024; --json has all" in shown
    assert len(shown) < 20_000


# an export


@pytest.mark.parametrize("to_file", [False, True])
def test_what_is_exported_is_read_with_its_bytes(tmp_path: Path, to_file: bool) -> None:
    datas = [bytes(range(256)), b"", b"a\nb", encode(created()), aggregate(b"x", b"y")]
    put = [
        Quarantined(Record(Position("s", "shardId-0", "5", number), data, 1_000), Reason.ENCODING, "")
        for number, data in enumerate(datas)
    ]
    not_base64 = Quarantined(Record(Position("s", "shardId-0", "6"), b"#text#"), Reason.RECORD_DATA, "")
    store = DirectoryQuarantine(tmp_path / "exported")
    store.put([*put, not_base64])
    file = tmp_path / "export.jsonl"
    run = quarantine(tmp_path / "exported", "export", *(("--to", str(file)) if to_file else ()))
    assert (run.returncode, run.stderr) == (0, "6 records exported\n")
    if to_file:
        assert (run.stdout, file.stat().st_mode & 0o777) == ("", 0o600)
    else:
        file.write_text(run.stdout)
    records = read_records(str(file))
    assert sorted(record.data for record in records) == sorted([*datas, b"#text#"])
    assert [record.data for record in records if record.fault] == [b"#text#"]
    sequences = [json.loads(line)["kinesis"]["sequenceNumber"] for line in file.read_text().splitlines()]
    assert len(set(sequences)) == 6, "records of one aggregate have positions of their own"
    assert store.size() == 6


def test_an_export_overwrites_nothing(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "export.jsonl"
    file.write_text("theirs")
    run = quarantine(root, "export", "--to", str(file))
    assert (run.returncode, run.stderr) == (2, f"consumer: {file}: exists; remove it, or choose another file\n")
    assert file.read_text() == "theirs"


def test_an_export_to_a_folder_that_is_not_there_is_one_line(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "not-there" / "export.jsonl"
    run = quarantine(root, "export", "--to", str(file))
    assert (run.returncode, run.stderr) == (2, f"consumer: {file}.part: No such file or directory\n")
