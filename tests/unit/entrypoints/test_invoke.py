"""`consumer lambda-invoke`, run as a user runs it: without DynamoDB, with a quarantine in a directory."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from consumer.engine.quarantine import Quarantined
from consumer.stores.directory import DirectoryQuarantine
from tests.support.events import created, encode, progress_changed, records
from tests.support.invocations import SUCCESS, event

Invoke = Callable[..., subprocess.CompletedProcess[str]]

CONSUMER = (sys.executable, "-m", "consumer")
HURRIED = "from consumer.entrypoints import invoke; invoke.SECONDS = 0.4; from consumer.__main__ import main; main()"
IN_A_HURRY = (sys.executable, "-c", HURRIED)
"""The same, but the invocation has less than half a second."""


@pytest.fixture
def invoke(tmp_path: Path) -> Invoke:
    """Runs the command in a directory of its own."""
    variables = {
        "PATH": os.environ["PATH"],
        "AWS_REGION": "eu-west-1",
        "ENABLE_DYNAMO_DB": "false",
        "CONSUMER_QUARANTINE": f"dir:{tmp_path / 'quarantine'}",
    }

    def run(
        file: str, given: str = "", command: Sequence[str] = CONSUMER, **more: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, "lambda-invoke", file],
            input=given,
            env=variables | more,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def outcomes(run: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """What the metrics on standard error say, by outcome."""
    told: dict[str, int] = {}
    for line in map(json.loads, run.stderr.splitlines()):
        if "consumer_records_total" in line:
            told[line["outcome"]] = told.get(line["outcome"], 0) + line["consumer_records_total"]
    return told


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


def test_a_file_of_lines_is_a_stream_called_after_it(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(
        b"\n".join([encode(created(1)), b"", b"poison", encode(progress_changed(2))])
    )
    run = invoke("events.jsonl")
    (entry,) = kept(tmp_path)

    assert (run.returncode, json.loads(run.stdout)) == (0, SUCCESS)
    assert outcomes(run) == {"applied": 2, "quarantined": 1}
    assert (str(entry.record.position), entry.record.data) == ("events.jsonl/shardId-000000000000/1", b"poison")


def test_an_array_on_standard_input_does_as_well(invoke: Invoke) -> None:
    run = invoke("-", json.dumps([created(1), created(1)]))

    assert (run.returncode, json.loads(run.stdout)) == (0, SUCCESS)
    assert outcomes(run) == {"applied": 1, "duplicate": 1}


def test_nothing_is_a_success(invoke: Invoke) -> None:
    run = invoke("-")

    assert (run.returncode, json.loads(run.stdout)) == (0, SUCCESS)


def test_every_line_it_logs_has_a_request_id(invoke: Invoke) -> None:
    run = invoke("-", json.dumps([created(1)]))
    logged = [line for line in map(json.loads, run.stderr.splitlines()) if "_aws" not in line]

    assert [(line["message"], line["request_id"]) for line in logged] == [("batch", "local")]


def test_what_could_not_be_settled_is_the_answer_and_a_failure(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "quarantine").write_text("where a file is, no directory can be made")
    run = invoke("-", f"{json.dumps(created(1))}\npoison", command=IN_A_HURRY)

    assert run.returncode == 1
    assert json.loads(run.stdout) == {"batchItemFailures": [{"itemIdentifier": "1"}]}


@pytest.mark.parametrize("captured", [{"Records": None}, {"Records": [{"eventSource": "aws:sqs"}]}])
def test_a_malformed_event_is_complained_of_in_one_line(invoke: Invoke, captured: object) -> None:
    run = invoke("-", json.dumps(captured))

    assert (run.returncode, run.stdout) == (2, "")
    (line,) = run.stderr.splitlines()
    assert line.startswith("consumer: -: ")
    assert "Records" in line


def test_missing_settings_are_told(invoke: Invoke) -> None:
    run = invoke("-", "", CONSUMER_QUARANTINE="")

    assert (run.returncode, run.stderr) == (2, "consumer: CONSUMER_QUARANTINE is not set\n")


def test_an_open_breaker_is_told(invoke: Invoke, tmp_path: Path) -> None:
    run = invoke("-", "1\n2\n", CONSUMER_BREAKER="2")

    assert (run.returncode, run.stdout, kept(tmp_path)) == (1, "", [])
    assert run.stderr.splitlines()[-1].startswith("consumer: 2 records in a row were rejected")
