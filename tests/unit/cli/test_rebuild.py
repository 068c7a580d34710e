"""Usage errors of `consumer rebuild` and `consumer verify`: one line, and exit code 2, before anything is read."""

from pathlib import Path

import pytest

from tests.support.driven import commands

SOUND = {
    "AWS_REGION": "eu-west-1",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "CONSUMER_STREAM_NAME": "s",
    "CONSUMER_QUARANTINE": "dir:quarantine",
}


def run(folder: Path, *arguments: str, **variables: str) -> tuple[int, list[str]]:
    done = commands.in_text(commands.run(*arguments, environment=SOUND | variables, directory=folder))
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize(
    ("arguments", "variables", "problem"),
    [
        ("rebuild", {}, "CONSUMER_ARCHIVE is not set: there is no archive to read"),
        ("verify", {}, "CONSUMER_ARCHIVE is not set: there is no archive to read"),
        ("rebuild --from nowhere", {}, "nowhere: no such file or folder; an address in S3 begins with s3://"),
        ("rebuild --from .", {"ENABLE_DYNAMO_DB": "false"}, "ENABLE_DYNAMO_DB=false keeps limits in memory: unset it"),
        ("verify", {"ENABLE_DYNAMO_DB": "false"}, "ENABLE_DYNAMO_DB=false: there is no table to verify"),
        ("verify", {"CONSUMER_ARCHIVE": "dir:empty"}, "dir:empty: there are no objects of the stream s of that time"),
    ],
)
def test_a_problem_is_one_line(tmp_path: Path, arguments: str, variables: dict[str, str], problem: str) -> None:
    assert run(tmp_path, *arguments.split(), **variables) == (2, [f"consumer: {problem}"])


@pytest.mark.parametrize(
    "arguments",
    [
        "rebuild --since yesterday",
        "rebuild --user=",
        "rebuild --processes 0",
        "verify --sample 0%",
        "verify --user u-1 --sample 5%",
        "verify --patience -1",
        "put",
        "put events.json --from archive",
        "put --generate 5 --from archive",
    ],
)
def test_a_wrong_option_is_a_usage_error(tmp_path: Path, arguments: str) -> None:
    code, lines = run(tmp_path, *arguments.split(), CONSUMER_ARCHIVE="dir:archive")
    assert code == 2
    assert any("Invalid value" in line for line in lines)


def test_a_table_that_does_not_answer_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "events.json").write_text("{}")
    code, lines = run(tmp_path, "rebuild", "--from", "events.json", AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
    assert (code, len(lines)) == (1, 1)
    assert lines[0].startswith("consumer: query of user-limits: ")
    assert list(tmp_path.glob("consumer-rebuild-*")) == []
