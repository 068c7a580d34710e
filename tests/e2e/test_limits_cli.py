"""`consumer limits`: what it shows, and which answers delete a limit."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer

from consumer.engine.quarantine import Quarantined
from consumer.engine.records import Position, Record
from consumer.stores.directory import DirectoryQuarantine
from tests.support.driven.service import consumer, environment
from tests.support.emulators.aws import Emulator, session
from tests.support.generators.events import Event, created, encode, progress_changed
from tests.support.generators.odd_rows import sound

PROMPT = b"Delete this limit?"


class Place:
    """A table and a quarantine, with commands that use them."""

    def __init__(self, variables: Mapping[str, str], folder: Path) -> None:
        self.variables, self.folder = variables, folder

    def apply(self, *events: Event) -> None:
        file = self.folder / "events.json"
        file.write_text(json.dumps(events))
        consumer(self.variables, "lambda-invoke", str(file))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(arguments),
            env=self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def at_a_terminal(
        self,
        *arguments: str,
        answer: bytes,
        meanwhile: Callable[[], object] = lambda: None,
        prompt: bytes = PROMPT,
    ) -> tuple[int, bytes]:
        """Answers the question. Returns the exit code and the text on stderr after the question."""
        ours, theirs = pty.openpty()
        requested = subprocess.Popen(
            command(arguments), env=self.variables, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert requested.stderr
        seen = b""
        while not seen.endswith(prompt):
            letter = requested.stderr.read(1)
            assert letter, seen
            seen += letter
        meanwhile()
        os.write(ours, answer)
        _, errors = requested.communicate(timeout=120)
        for end in (ours, theirs):
            os.close(end)
        return requested.returncode, errors

    def shown(self, *arguments: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("limits", *arguments, "--json").stdout)
        return found

    def spoil(self, user: str, limit: str) -> None:
        """Writes a row that the service did not write."""
        serialize = TypeSerializer().serialize
        row = {name: value for name, value in sound(user, limit).items() if name != "version"}
        with closing(session().client("dynamodb", endpoint_url=self.variables["AWS_ENDPOINT_URL"])) as client:
            client.put_item(
                TableName=self.variables["AWS_TABLE_NAME"], Item={name: serialize(row[name]) for name in row}
            )


def command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "consumer", *arguments]


@pytest.fixture(scope="module")
def variables(aws: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    made = environment("limits-cli", tmp_path_factory.mktemp("limits"), AWS_ENDPOINT_URL=aws.endpoint)
    consumer(made, "provision", "--stream", "1")
    return made


@pytest.fixture
def place(variables: Mapping[str, str], tmp_path: Path) -> Place:
    """A user for each test."""
    return Place({**variables, "CONSUMER_QUARANTINE": f"dir:{tmp_path / 'quarantine'}"}, tmp_path)


def names(limits: Sequence[Mapping[str, Any]]) -> list[str]:
    return [limit["userLimitId"] for limit in limits]


def test_a_user_id_that_is_the_name_of_a_command(place: Place) -> None:
    place.apply(created(1, userId="forget", userLimitId="l-1"), created(1, userId="u-plain", userLimitId="l-2"))
    assert names(place.shown("u-plain")) == names(place.shown("show", "u-plain")) == ["l-2"]
    assert json.loads(place.run("limits", "--json", "u-plain").stdout) == place.shown("u-plain")
    assert names(place.shown("show", "forget")) == ["l-1"]
    assert place.run("limits", "forget").returncode == 2
    assert place.run("limits", "").returncode == 2
    assert "no limits are stored" in place.run("limits", "u-nobody").stdout


def test_without_a_terminal_nothing_is_deleted(place: Place) -> None:
    place.apply(created(1, userId="u-piped"))
    done = place.run("limits", "forget", "u-piped", "l-day")
    assert (done.returncode, done.stderr) == (
        2,
        "consumer: there is no terminal for the confirmation: use --yes to delete without it\n",
    )
    assert "l-day" in done.stdout
    assert names(place.shown("u-piped")) == ["l-day"]


def test_with_yes_the_limit_is_deleted_and_the_deletion_is_logged(place: Place) -> None:
    place.apply(created(1, userId="u-yes"), created(2, userId="u-yes", userLimitId="l-other"))
    done = place.run("limits", "forget", "u-yes", "l-day", "--yes")
    assert done.returncode == 0
    (line,) = map(json.loads, done.stderr.splitlines())
    assert (line["level"], line["message"]) == ("WARNING", "limit forgotten")
    assert (line["table"], line["user_id"], line["user_limit_id"]) == ("limits-cli-limits", "u-yes", "l-day")
    assert len(line["version"]) == 32
    assert line["user"]
    assert line["host"]
    assert names(place.shown("u-yes")) == ["l-other"]

    again = place.run("limits", "forget", "u-yes", "l-day", "--yes")
    assert (again.returncode, again.stderr) == (
        1,
        "consumer: no limit l-day of the user u-yes is stored in limits-cli-limits\n",
    )


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 1, ["l-day"]), (b"y\n", 0, [])])
def test_on_a_terminal_it_asks_for_confirmation(place: Place, answer: bytes, code: int, left: list[str]) -> None:
    user = f"u-asked-{code}"
    place.apply(created(1, userId=user))
    returned, errors = place.at_a_terminal("limits", "forget", user, "l-day", answer=answer)
    assert returned == code
    assert (b"nothing is deleted" in errors) is (code == 1)
    assert names(place.shown(user)) == left


def test_a_limit_that_changes_before_the_answer_is_not_deleted(place: Place) -> None:
    place.apply(created(1, userId="u-busy"))
    code, errors = place.at_a_terminal(
        "limits",
        "forget",
        "u-busy",
        "l-day",
        answer=b"y\n",
        meanwhile=lambda: place.apply(progress_changed(2, userId="u-busy")),
    )
    assert code == 1
    assert b"has changed since it was shown: nothing is deleted" in errors
    assert b"limit forgotten" not in errors
    (limit,) = place.shown("u-busy")
    assert limit["progress"] == "10"


def test_an_unreadable_row_is_reported_and_can_be_forgotten(place: Place) -> None:
    place.apply(created(1, userId="u-odd", userLimitId="l-good"))
    place.spoil("u-odd", "l-odd")
    for arguments in (("u-odd",), ("u-odd", "--json")):
        shown = place.run("limits", *arguments)
        assert shown.returncode == 1
        assert "l-good" in shown.stdout
        (line,) = shown.stderr.splitlines()
        assert line.startswith('consumer: the limit "l-odd" cannot be read: row ')
        assert line.endswith(" of the table limits-cli-limits: version: a string is needed")

    assert place.run("limits", "forget", "u-odd", "l-odd", "--yes").returncode == 0
    assert place.run("limits", "u-odd").returncode == 0


def test_records_that_an_older_version_quarantined_for_their_number_are_replayed(place: Place) -> None:
    """A number far above the stored one but within the bounds. The current version has no such reason."""
    place.apply(created(1, userId="u-ahead"))
    record = Record(Position("s", "shardId-0", "17"), encode(progress_changed(2_000_000, userId="u-ahead")))
    quarantine = DirectoryQuarantine(place.folder / "quarantine")
    quarantine.put([Quarantined(record, "SEQUENCE_JUMP", "sequenceNumber: more than 1000000 ahead of what is stored")])

    assert place.run("quarantine", "replay").returncode == 0
    (limit,) = place.shown("u-ahead")
    assert (limit["progress"], limit["lastSequenceNumber"]) == ("10", 2_000_000)
    assert list(quarantine.entries()) == []


def test_a_limit_with_the_wrong_currency_is_fixed(place: Place) -> None:
    """As in the runbook: forget the limit, then replay its records."""
    user = "u-shut"
    place.apply(created(1, userId=user, currencyCode="EUR"))
    place.apply(created(2, userId=user), progress_changed(3, userId=user))
    listed = [json.loads(line) for line in place.run("quarantine", "list", "--json").stdout.splitlines()]
    assert [entry["reason"] for entry in listed] == ["IDENTITY"] * 2

    assert place.run("limits", "forget", user, "l-day", "--yes").returncode == 0
    assert place.run("quarantine", "replay").returncode == 0
    (limit,) = place.shown(user)
    assert (limit["currencyCode"], limit["progress"], limit["complete"]) == ("SEK", "10", True)
    assert place.run("quarantine", "list", "--json").stdout == ""
