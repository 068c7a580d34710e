"""The commands that need no AWS, run as processes. The one on a terminal is a new Python."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from consumer.cli import help_pages
from consumer.engine.errors import Reason
from consumer.engine.quarantine import Quarantined
from consumer.engine.records import Position, Record
from consumer.limits.sample import Sample, histories
from consumer.stores.directory import DirectoryQuarantine
from tests.support.driven import commands
from tests.support.generators import oracle
from tests.support.generators.events import created

TIME_DEPENDENT = ("resetOverdue",)
"""The fields that depend on the current time."""


SOUND = {
    "AWS_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "ENABLE_DYNAMO_DB": "false",
    "CONSUMER_STREAM_NAME": "s",
    "CONSUMER_QUARANTINE": "dir:q",
    "CONSUMER_ARCHIVE": "dir:no-archive",
}
"""The settings of every command. Nothing listens at the endpoint."""


def consumer(
    *arguments: str | bytes,
    given: bytes = b"",
    variables: Mapping[str, str] | None = None,
    output: int | None = None,
) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ if variables is None else variables
    return commands.run(*arguments, environment=environment, given=given, output=output)


def applied(file: str, given: bytes = b"") -> dict[str, Any]:
    run = consumer("apply", file, "--json", given=given)
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


@pytest.fixture
def made() -> list[Sample]:
    return list(histories(Random(7), 400, 10, duplicates=0.05, poison=0.05))


def timeless(limit: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in limit.items() if name not in TIME_DEPENDENT}


def test_apply_folds_a_file_of_lines_as_the_oracle_does(made: list[Sample]) -> None:
    # a blank line is not a record
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


def test_an_event_on_many_lines_is_one_record(made: list[Sample]) -> None:
    event = next(sample.event for sample in made if sample.event and "amount" in sample.event["payload"])
    shown = applied("-", json.dumps(event, indent=2).encode())

    assert {name: count for name, count in shown["outcomes"].items() if count} == {"applied": 1}


@pytest.mark.parametrize("nothing", [b"", b"\n\n", b"[]", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("command", ["apply", "put", "lambda-invoke"])
def test_an_empty_file_is_refused(command: str, nothing: bytes) -> None:
    run = consumer(command, "-", given=nothing, variables=SOUND)

    assert (run.returncode, run.stdout, run.stderr) == (2, b"", b"consumer: -: no records\n")


@pytest.mark.parametrize("command", ["apply", "put", "lambda-invoke"])
def test_documents_of_many_lines_one_after_the_other_are_refused(command: str, made: list[Sample]) -> None:
    events = [json.dumps(sample.event, indent=2).encode() for sample in made if sample.event][:2]
    run = consumer(command, "-", given=b"\n".join(events), variables=SOUND)

    assert (run.returncode, run.stdout) == (2, b"")
    (line,) = run.stderr.decode().splitlines()
    assert line.startswith("consumer: -: lines 1 to ")
    assert line.endswith(
        "are one JSON document, but the file has more: put all documents into an array, or each on one line"
    )


def test_a_poison_line_is_quarantined_and_the_other_lines_are_applied(made: list[Sample]) -> None:
    first, second = [sample.data for sample in made if sample.event and "amount" in sample.event["payload"]][:2]
    shown = applied("-", b"\n".join([first, b"\xff\xfe\x00", second]))

    assert shown["outcomes"]["applied"] == 2
    assert [(entry["position"], entry["reason"]) for entry in shown["quarantined"]] == [(1, "ENCODING")]


def test_an_unreadable_file_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    run = consumer("apply", str(tmp_path / "missing"))

    assert run.returncode == 2
    assert run.stderr.decode().splitlines() == [f"consumer: {tmp_path / 'missing'}: No such file or directory"]


def test_all_wrong_settings_are_reported_together() -> None:
    run = consumer("doctor", variables={"CONSUMER_START_AT": "soon", "CONSUMER_BREAKER": "-1"})

    assert run.returncode == 2
    lines = run.stderr.decode().splitlines()
    for name in ("AWS_REGION", "CONSUMER_STREAM_NAME", "CONSUMER_QUARANTINE", "CONSUMER_START_AT", "CONSUMER_BREAKER"):
        assert len([line for line in lines if name in line]) == 1


LOADING = [
    *(("run",), ("provision",), ("properties",), ("doctor",), ("status",), ("put", "events.json"), ("limits", "u-1")),
    *(("limits", "show", "u-1"), ("limits", "forget", "u-1", "l-1"), ("apply", "events.json")),
    *(
        ("lambda-invoke", "events.json"),
        ("notices", "--once", "events.json"),
        ("quarantine", "list"),
        ("quarantine", "show", "s/shardId-0/1"),
    ),
    *(
        ("quarantine", "replay"),
        ("quarantine", "drop", "s/shardId-0/1"),
        ("quarantine", "export"),
        ("process",),
        ("serve",),
        ("rewind", "--to", "latest", "--yes"),
    ),
    *(
        ("rebuild",),
        ("verify",),
        ("show", "u-1"),
        ("history", "u-1"),
        ("repair", "u-1", "l-1", "--without", "e-1"),
        ("archive", "index"),
    ),
]
"""Every command that needs settings."""


@pytest.mark.parametrize("command", LOADING, ids=" ".join)
def test_a_misspelt_setting_is_refused_by_every_command(command: tuple[str, ...]) -> None:
    misspelt = {"CONSUMER_BRAKER": "1", "AWS_ENDPOINT_URL_DYNAMO_DB": "http://a"}
    run = consumer(*command, variables={**SOUND, "ENABLE_DYNAMO_DB": "true", **misspelt})

    assert (run.returncode, run.stdout) == (2, b"")
    assert run.stderr.decode().splitlines() == [
        "consumer: AWS_ENDPOINT_URL_DYNAMO_DB is not a setting: did you mean AWS_ENDPOINT_URL_DYNAMODB?",
        "consumer: CONSUMER_BRAKER is not a setting: did you mean CONSUMER_BREAKER?",
    ]


def test_no_command_that_loads_settings_is_forgotten() -> None:
    pages = {name for name, page in help_pages.PAGES.items() if page.settings}
    assert [name for name in pages if not any(" ".join(command).startswith(name) for command in LOADING)] == []


# Putting


def test_records_that_are_not_events_are_not_put_and_each_problem_is_listed(made: list[Sample], tmp_path: Path) -> None:
    sound = [json.dumps(sample.event).encode() for sample in made if sample.event][:2]
    foreign = b'{"type": "SOMETHING_ELSE"}'
    given = b"\n".join([sound[0], b"poison", foreign, b'{"type": "USER_LIMIT_RESET"}', sound[1]])
    run = consumer("put", "-", given=given, variables=SOUND)

    assert (run.returncode, run.stdout) == (2, b"")
    assert run.stderr.decode().splitlines() == [
        "consumer: -: record 2 of 5: JSON: Expecting value at character 0",
        "consumer: -: record 4 of 5: SCHEMA: aggregateId: Field required",
        "consumer: nothing was put: correct the file, or use --raw to put it unchanged",
    ]
    (tmp_path / "sound").write_bytes(b"\n".join([sound[0], foreign, sound[1]]))
    assert consumer("put", str(tmp_path / "sound"), variables=SOUND).returncode == 1, "it called Kinesis"
    assert consumer("put", "-", "--raw", given=given, variables=SOUND).returncode == 1, "it called Kinesis too"


def test_only_some_of_many_problems_are_listed() -> None:
    run = consumer("put", "-", given=b"poison\n" * 1_000, variables=SOUND)

    assert run.returncode == 2
    lines = run.stderr.decode().splitlines()
    assert len(lines) == 22
    assert lines[20] == "consumer: -: 980 more records like these"


@pytest.mark.parametrize("endpoint", [{}, {"AWS_ENDPOINT_URL_KINESIS": "https://kinesis.eu-west-1.amazonaws.com"}])
def test_generated_events_go_to_aws_only_after_confirmation(endpoint: dict[str, str]) -> None:
    variables = {name: value for name, value in SOUND.items() if name != "AWS_ENDPOINT_URL"} | endpoint
    run = consumer("put", "--generate", "5", variables=variables)

    assert (run.returncode, run.stdout) == (2, b"")
    assert run.stderr.decode() == (
        "consumer: --yes is required to put 5 generated events on the stream s in eu-west-1:"
        " there is no terminal for the confirmation\n"
    )


@pytest.mark.parametrize(
    ("answer", "said", "code"), [("n", b"Aborted", 1), ("y", b"put to stream s: ProxyConnectionError", 1)]
)
def test_on_a_terminal_it_asks_for_confirmation(answer: str, said: bytes, code: int) -> None:
    """The host name is one of AWS. The proxy, which does not exist, keeps the request on this machine."""
    ours, theirs = pty.openpty()
    variables = {**SOUND, "AWS_ENDPOINT_URL": "http://kinesis.eu-west-1.amazonaws.com:1"} | {
        "CONSUMER_ALLOW_INSECURE_ENDPOINTS": "true",
        "http_proxy": "http://127.0.0.1:1",
        "TERM": "dumb",
    }
    command = [sys.executable, "-m", "consumer", "put", "--generate", "5"]
    with subprocess.Popen(command, env=variables, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = read_until(ours, b"?")
        os.write(ours, f"{answer}\n".encode())
        shown += read_to_the_end(ours)
        assert process.wait(60) == code
    os.close(ours)
    assert b"Put 5 generated events on the stream s in eu-west-1?" in shown
    assert (said in shown, b"put to stream" in shown) == (True, answer == "y")


def read_until(terminal: int, wanted: bytes) -> bytes:
    shown = b""
    while wanted not in shown:
        shown += os.read(terminal, 65_536)
    return shown


def read_to_the_end(terminal: int) -> bytes:
    shown = b""
    with suppress(OSError):  # how a terminal reports that the other end is closed
        while part := os.read(terminal, 65_536):
            shown += part
    return shown


# Arguments and output


@pytest.mark.parametrize("user", ["", "u\n1", "u" * 129, b"u-\xff"], ids=["empty", "newline", "long", "not UTF-8"])
def test_an_invalid_user_id_is_a_usage_error(user: str | bytes) -> None:
    run = consumer("limits", user, variables=SOUND)

    assert (run.returncode, run.stdout) == (2, b"")
    assert b"Invalid value for 'USER_ID'" in run.stderr
    assert b"Traceback" not in run.stderr


def test_the_versions_are_printed_without_settings() -> None:
    run = consumer("--version", variables={})

    assert (run.returncode, run.stderr) == (0, b"")
    assert re.fullmatch(rb"consumer \d+\.\d+\.\d+, amazon_kclpy 3\.1\.3, KCL 3\.1\.3\n", run.stdout)


def full(tmp_path: Path, entries: int) -> dict[str, str]:
    """The settings of a quarantine with this number of entries."""
    kept = DirectoryQuarantine(tmp_path)
    kept.put(
        Quarantined(Record(Position("s", "shardId-0", str(n)), b"x" * 100), Reason.JSON, "") for n in range(entries)
    )
    return SOUND | {"CONSUMER_QUARANTINE": f"dir:{tmp_path}"}


@pytest.mark.parametrize("arguments", [("list",), ("list", "--json"), ("show", "s/shardId-0/1")], ids=" ".join)
@pytest.mark.parametrize("entries", [2, 2_000])
def test_a_closed_pipe_causes_no_traceback(arguments: tuple[str, ...], entries: int, tmp_path: Path) -> None:
    variables = full(tmp_path, entries)
    read, write = os.pipe()
    os.close(read)
    run = consumer("quarantine", *arguments, variables=variables, output=write)
    os.close(write)

    assert (run.returncode, run.stderr) == (1, b"")


@pytest.mark.parametrize("arguments", [("list",), ("list", "--json"), ("show", "s/shardId-0/1")], ids=" ".join)
def test_a_full_disk_is_reported_in_one_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    variables = full(tmp_path, 2)
    with Path("/dev/full").open("wb") as disk:
        run = consumer("quarantine", *arguments, variables=variables, output=disk.fileno())

    assert (run.returncode, run.stderr) == (1, b"consumer: [Errno 28] No space left on device\n")


def test_timeouts_out_of_order_are_refused() -> None:
    variables = {
        "AWS_REGION": "eu-west-1",
        "CONSUMER_STREAM_NAME": "s",
        "CONSUMER_QUARANTINE": "dir:q",
        "CONSUMER_SHUTDOWN_GRACE_SECONDS": "40",
    }
    run = consumer("properties", variables=variables)

    assert run.returncode == 2
    assert b"CONSUMER_SHUTDOWN_GRACE_SECONDS must be less than CONSUMER_STOP_TIMEOUT_SECONDS" in run.stderr


def test_an_entry_of_an_older_version_can_be_listed_shown_and_dropped(tmp_path: Path) -> None:
    """Its reason no longer exists."""
    variables = {"AWS_REGION": "eu-west-1", "ENABLE_DYNAMO_DB": "false", "CONSUMER_QUARANTINE": f"dir:{tmp_path}"}
    entry = Quarantined(Record(Position("s", "shardId-0", "17"), b"{}"), "SEQUENCE_JUMP", "sequenceNumber: too far")
    DirectoryQuarantine(tmp_path).put([entry])

    assert json.loads(consumer("quarantine", "list", "--json", variables=variables).stdout)["reason"] == entry.reason
    assert b"SEQUENCE_JUMP" in consumer("quarantine", "show", "s/shardId-0/17", variables=variables).stdout
    assert consumer("quarantine", "drop", "s/shardId-0/17", variables=variables).returncode == 0


@pytest.mark.parametrize(("most", "outcome"), [("5", "applied"), ("4", "quarantined")])
def test_apply_uses_the_settings_of_records(most: str, outcome: str) -> None:
    given = json.dumps(created(5)).encode()
    run = consumer("apply", "--json", "-", given=given, variables={"CONSUMER_MAX_SEQUENCE_NUMBER": most})
    assert json.loads(run.stdout)["outcomes"][outcome] == 1
