"""`consumer lambda-invoke` as a process, without DynamoDB and with a quarantine in a directory."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from consumer.admin.invoke import run_number
from consumer.engine.quarantine import Quarantined
from consumer.stores.directory import DirectoryQuarantine
from tests.support.driven import commands
from tests.support.driven.invocations import SUCCESS, event
from tests.support.driven.pipes import piped
from tests.support.generators.events import created, encode, progress_changed, records
from tests.support.generators.failures import ARN, notice, object_of

Invoke = Callable[..., subprocess.CompletedProcess[str]]

HURRIED = "from consumer.admin import invoke; invoke.SECONDS = 0.4; from consumer.__main__ import main; main()"
"""The same command with an invocation timeout of less than half a second."""


@pytest.fixture
def variables(tmp_path: Path) -> Mapping[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "AWS_REGION": "eu-west-1",
        "ENABLE_DYNAMO_DB": "false",
        "CONSUMER_QUARANTINE": f"dir:{tmp_path / 'quarantine'}",
    }


@pytest.fixture
def invoke(variables: Mapping[str, str], tmp_path: Path) -> Invoke:
    """Runs the command in its own directory."""

    def run(file: str, given: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        environment = {**variables, **more}
        return commands.in_text(
            commands.run("lambda-invoke", file, environment=environment, given=given.encode(), directory=tmp_path)
        )

    return run


def outcomes(run: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """The record counts by outcome, from the metrics on stderr."""
    counts: dict[str, int] = {}
    for line in map(json.loads, run.stderr.splitlines()):
        if "consumer_records_total" in line:
            counts[line["outcome"]] = counts.get(line["outcome"], 0) + line["consumer_records_total"]
    return counts


def kept(directory: Path) -> list[Quarantined]:
    return list(DirectoryQuarantine(directory / "quarantine").entries())


def test_a_captured_event_is_handled_as_it_is(invoke: Invoke, tmp_path: Path) -> None:
    captured = event(records(created(1), b"poison", progress_changed(2)))
    (tmp_path / "captured.json").write_text(json.dumps(captured, indent=2))
    run = invoke("captured.json")
    (entry,) = kept(tmp_path)

    assert (run.returncode, json.loads(run.stdout)) == (0, SUCCESS)
    assert outcomes(run) == {"applied": 2, "quarantined": 1}
    assert (str(entry.record.position), entry.record.data) == (f"limits/shardId-000000000000/{2:056}", b"poison")


def test_a_file_of_lines_is_a_stream_with_the_name_of_the_file(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(
        b"\n".join([encode(created(1)), b"", b"poison", encode(progress_changed(2))])
    )
    run = invoke("events.jsonl")
    (entry,) = kept(tmp_path)

    assert (run.returncode, json.loads(run.stdout)) == (0, SUCCESS)
    assert outcomes(run) == {"applied": 2, "quarantined": 1}
    assert (entry.record.position.stream, entry.record.data) == ("events.jsonl", b"poison")


def test_an_event_on_many_lines_is_one_record(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text(json.dumps(created(1), indent=2))
    run = invoke("event.json")

    assert (run.returncode, json.loads(run.stdout)) == (0, SUCCESS)
    assert (outcomes(run), kept(tmp_path)) == ({"applied": 1}, [])


# The quarantine's positions


@pytest.mark.parametrize("file", ["-", "poison.txt"])
def test_records_without_a_position_get_a_unique_one_in_each_run(invoke: Invoke, tmp_path: Path, file: str) -> None:
    for given in ("poison\nmore poison", "other poison", "other poison"):
        (tmp_path / "poison.txt").write_text(given)
        assert invoke(file, given).returncode == 0
    found = [entry.record.data for entry in kept(tmp_path)]

    assert found == [b"poison", b"more poison", b"other poison", b"other poison"], "in the order of their runs"


def test_the_numbers_of_runs_are_ascending_sequence_numbers_that_never_overlap() -> None:
    largest = run_number(1_767_225_600_000, lambda limit: limit - 1)

    assert re.fullmatch("[0-9]{29}", str(largest))
    # ten million numbers per run: more than the records of a file that fits into memory
    assert largest + 10**7 <= run_number(1_767_225_600_001, lambda _: 0)
    assert len(str(run_number(9_999_999_999_999, lambda limit: limit - 1))) == 29


# Failed batches


def test_an_object_of_the_failure_destination_is_applied(invoke: Invoke, tmp_path: Path) -> None:
    captured = event(records(created(1), b"poison", progress_changed(2)))
    (tmp_path / "object").write_text(json.dumps(object_of(captured)))
    run = invoke("object")
    (entry,) = kept(tmp_path)

    assert (run.returncode, json.loads(run.stdout)) == (0, SUCCESS)
    assert outcomes(run) == {"applied": 2, "quarantined": 1}
    assert (str(entry.record.position), entry.record.data) == (f"limits/shardId-000000000000/{2:056}", b"poison")


def test_each_of_several_objects_has_a_response(invoke: Invoke) -> None:
    objects = [object_of(event(records(created(number)))) for number in (1, 2)]
    run = invoke("-", "\n".join(map(json.dumps, objects)))

    assert run.returncode == 0
    assert [json.loads(line) for line in run.stdout.splitlines()] == [SUCCESS, SUCCESS]
    assert outcomes(run) == {"applied": 2}


def test_a_notice_whose_records_cannot_be_fetched_is_a_failure_and_not_a_record(invoke: Invoke, tmp_path: Path) -> None:
    document = notice(records(created(1), progress_changed(2)))
    away = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    run = invoke("-", json.dumps(document), **away)

    assert (run.returncode, run.stdout, kept(tmp_path)) == (1, "", [])
    assert run.stderr.splitlines() == [
        f"consumer: {ARN}, shardId-000000000000, {1:056} to {2:056}: EndpointConnectionError"
    ]


def test_the_batch_of_a_pipe_is_read(invoke: Invoke, tmp_path: Path) -> None:
    run = invoke("-", json.dumps(piped(records(created(1), b"poison", progress_changed(2))), indent=2))
    (entry,) = kept(tmp_path)

    assert (run.returncode, json.loads(run.stdout)) == (0, SUCCESS)
    assert outcomes(run) == {"applied": 2, "quarantined": 1}
    assert str(entry.record.position) == f"limits/shardId-000000000000/{2:056}"


def test_the_state_of_a_window_is_returned(invoke: Invoke) -> None:
    captured = event(records(created(1))) | {"window": {"start": "a", "end": "b"}, "state": {"1": 2}}
    run = invoke("-", json.dumps(captured))

    assert (run.returncode, json.loads(run.stdout)) == (0, SUCCESS | {"state": {"1": 2}})


def test_an_array_on_standard_input_is_read(invoke: Invoke) -> None:
    run = invoke("-", json.dumps([created(1), created(1)]))

    assert (run.returncode, json.loads(run.stdout)) == (0, SUCCESS)
    assert outcomes(run) == {"applied": 1, "duplicate": 1}


def test_an_event_without_records_is_a_success_and_an_empty_file_is_refused(invoke: Invoke) -> None:
    run = invoke("-", json.dumps({"Records": []}))
    empty = invoke("-", "\n")

    assert (run.returncode, json.loads(run.stdout)) == (0, SUCCESS)
    assert (empty.returncode, empty.stdout, empty.stderr) == (2, "", "consumer: -: no records\n")


def test_every_line_it_logs_has_a_request_id(invoke: Invoke) -> None:
    run = invoke("-", json.dumps([created(1)]))
    logged = [line for line in map(json.loads, run.stderr.splitlines()) if "_aws" not in line]

    assert [(line["message"], line["request_id"]) for line in logged] == [("batch", "local")]


def test_an_unsettled_record_is_in_the_response_and_a_failure(variables: Mapping[str, str], tmp_path: Path) -> None:
    (tmp_path / "quarantine").write_text("where a file is, no directory can be made")
    run = subprocess.run(
        [sys.executable, "-c", HURRIED, "lambda-invoke", "-"],
        input=f"{json.dumps(created(1))}\npoison",
        env=variables,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 1
    (failure,) = json.loads(run.stdout)["batchItemFailures"]
    # the second record of the run
    assert re.fullmatch("[0-9]{22}0000001", failure["itemIdentifier"])


@pytest.mark.parametrize(
    "captured",
    [
        *({"Records": None}, {"Records": [{"eventSource": "aws:sqs"}]}, {"Records": [{"eventSource": "aws:sqs"}] * 2}),
        {"Messages": [{"Body": "Records of something else"}]},
        {"requestContext": {}, "DDBStreamBatchInfo": {}},
    ],
)
def test_a_malformed_event_is_reported_in_one_line(invoke: Invoke, captured: object) -> None:
    run = invoke("-", json.dumps(captured))

    assert (run.returncode, run.stdout) == (2, "")
    (line,) = run.stderr.splitlines()
    assert line.startswith("consumer: -: ")
    assert "Records" in line


def test_missing_settings_are_reported(invoke: Invoke) -> None:
    run = invoke("-", "", CONSUMER_QUARANTINE="")

    assert (run.returncode, run.stderr) == (2, "consumer: CONSUMER_QUARANTINE is not set\n")


def test_an_open_breaker_is_reported(invoke: Invoke, tmp_path: Path) -> None:
    run = invoke("-", "1\n2\n", CONSUMER_BREAKER="2")

    assert (run.returncode, run.stdout, kept(tmp_path)) == (1, "", [])
    assert run.stderr.splitlines()[-1].startswith("consumer: 2 records in a row were rejected")
