"""`consumer notices` as a process: what a captured event announces, and what becomes of it without EventBridge."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.driven import commands
from tests.support.driven.invocations import event
from tests.support.driven.processes import LOOPBACK, free_port
from tests.support.generators.events import created, progress_changed, records
from tests.support.generators.failures import notice
from tests.support.generators.table_stream import changes, number, object_of, stream_event

Notices = Callable[..., subprocess.CompletedProcess[str]]

CAPTURED = stream_event(changes([created(1), progress_changed(2, amount="1000")]))
HURRIED = "from consumer.admin import notices; notices.SECONDS = 1.0; from consumer.__main__ import main; main()"
"""The command with an invocation timeout of a second."""


@pytest.fixture
def notices(tmp_path: Path) -> Notices:
    def run(*arguments: str, given: Any = None, **more: str) -> subprocess.CompletedProcess[str]:
        environment, data = {"AWS_REGION": "eu-west-1", **more}, json.dumps(given).encode()
        return commands.in_text(
            commands.run("notices", *arguments, environment=environment, given=data, directory=tmp_path)
        )

    return run


def printed(run: subprocess.CompletedProcess[str]) -> list[Any]:
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_a_dry_run_prints_the_notices_and_needs_no_aws(notices: Notices) -> None:
    run = notices("--once", "-", "--dry-run", given=CAPTURED)

    assert run.returncode == 0
    assert [(each["threshold"], each["progress"]) for each in printed(run)] == [(80, "1000"), (100, "1000")]
    assert [json.loads(line)["message"] for line in run.stderr.splitlines()] == ["notices"]


def test_thresholds_are_a_setting(notices: Notices) -> None:
    run = notices("--once", "-", "--dry-run", given=CAPTURED, CONSUMER_THRESHOLDS="50,99,101")
    assert [each["threshold"] for each in printed(run)] == [50, 99]


def test_an_object_of_the_failure_bucket_is_read(notices: Notices, tmp_path: Path) -> None:
    (tmp_path / "object.json").write_text(json.dumps(object_of(CAPTURED)))
    assert len(printed(notices("--once", "object.json", "--dry-run"))) == 2


def test_an_event_without_a_crossing_is_a_success_and_prints_nothing(notices: Notices) -> None:
    run = notices("--once", "-", "--dry-run", given=stream_event(changes([created(1)])))
    assert (run.returncode, run.stdout) == (0, "")


def test_a_notice_that_is_not_sent_is_in_the_response_and_a_failure() -> None:
    away = {
        "PATH": os.environ["PATH"],
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL_EVENTBRIDGE": f"http://{LOOPBACK}:{free_port()}",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }
    run = subprocess.run(
        [sys.executable, "-c", HURRIED, "notices", "--once", "-"],
        input=json.dumps(CAPTURED),
        env=away,
        capture_output=True,
        text=True,
        check=False,
    )
    messages = [json.loads(line).get("message") for line in run.stderr.splitlines()]

    assert (run.returncode, printed(run)) == (1, [{"batchItemFailures": [{"itemIdentifier": number(2)}]}])
    assert {"waiting", "giving up", "notices"} <= set(messages)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"Records": [{"eventSource": "aws:sqs"}]}, "Records[0].eventSource is not aws:dynamodb"),
        (event(records(created(1))), "Records[0].eventSource is not aws:dynamodb"),
        (created(1), "not an event of a DynamoDB stream"),
        (notice(records(created(1))), "not an event of a DynamoDB stream"),
        (
            {"requestContext": {}, "DDBStreamBatchInfo": {}},
            "the event has no Records: invoke the function from a mapping of a DynamoDB stream",
        ),
    ],
)
@pytest.mark.parametrize("how", [(), ("--dry-run",)], ids=["sent", "printed"])
def test_anything_else_is_refused_in_one_line(notices: Notices, given: Any, reason: str, how: tuple[str, ...]) -> None:
    run = notices("--once", "-", *how, given=given)
    assert (run.returncode, run.stdout, run.stderr) == (2, "", f"consumer: -: {reason}\n")


def test_without_a_file_it_is_a_usage_error(notices: Notices) -> None:
    run = notices()
    assert run.returncode == 2
    assert "--once" in run.stderr


def test_wrong_settings_are_reported(notices: Notices) -> None:
    run = notices("--once", "-", given=CAPTURED, CONSUMER_THRESHOLDS="0")
    assert run.returncode == 2
    assert run.stderr.startswith("consumer: CONSUMER_THRESHOLDS: use different whole percentages")
