"""`consumer history` and `consumer archive index`, as processes on an archive in a directory."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from consumer.engine.records import Position, Record
from consumer.stores.places import DirectoryPlace
from tests.support.driven import commands
from tests.support.generators.events import LIMIT, START, USER, Event, created, encode, progress_changed
from tests.support.simulation.archive import keep
from tests.unit.cli.test_main import SOUND

MINUTE = 60_000
STREAM = "limits"


def delivery(*events: Event) -> list[Record]:
    """Each event a minute after the one before."""
    return [
        Record(Position(STREAM, "shard-1", str(number)), encode(event), START + number * MINUTE)
        for number, event in enumerate(events, 1)
    ]


def consumer(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {**SOUND, "CONSUMER_STREAM_NAME": STREAM, "CONSUMER_ARCHIVE": f"dir:{folder}", "COLUMNS": "120"}
    return commands.in_text(commands.run(*arguments, environment=variables))


def document(folder: Path, *arguments: str) -> dict[str, Any]:
    run = consumer(folder, "history", *arguments, "--json")
    assert (run.returncode, run.stderr) == (0, "")
    found: dict[str, Any] = json.loads(run.stdout)
    return found


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    events = (
        created(1),
        progress_changed(2, amount="50"),
        created(3, userId="u-other"),
        progress_changed(4, amount="nothing"),
        created(5, userLimitId="l-week", period="WEEK"),
    )
    records = delivery(*events)
    keep(DirectoryPlace(folder), records, records[1:3])
    return folder


def ids(found: dict[str, Any]) -> Sequence[str]:
    return [step["eventId"] for step in found["steps"]]


def test_each_event_of_a_limit(archive: Path) -> None:
    found = document(archive, USER, LIMIT)
    assert ids(found) == ["e-0001", "e-0002", "e-0004"]
    assert [step["outcome"] for step in found["steps"]] == ["applied", "applied", "quarantined"]
    assert found["steps"][1]["changes"][0] == {"field": "progress", "before": "0", "after": "50"}
    (state,) = found["states"]
    assert (state["userLimitId"], state["progress"]) == (LIMIT, "50")
    assert found["unreadable"] == []


def test_each_event_of_a_user(archive: Path) -> None:
    found = document(archive, USER)
    assert ids(found) == ["e-0001", "e-0002", "e-0004", "e-0005"]
    assert [state["userLimitId"] for state in found["states"]] == [LIMIT, "l-week"]


def test_the_state_at_a_time(archive: Path) -> None:
    found = document(archive, USER, "--as-of", "2026-01-01T00:01:00Z")
    assert ids(found) == ["e-0001"]
    assert (found["asOf"], found["states"][0]["progress"]) == (START + MINUTE, "0")
    assert ids(document(archive, USER, "--as-of", "2026-01-01T00:00:59Z")) == []


@pytest.mark.parametrize("time", ["yesterday", "2026-01-01", "2026-01-01T00:00:00", "1767225600000", "", "3w"])
def test_a_time_that_is_not_clear_is_a_usage_error(archive: Path, time: str) -> None:
    for command in (("history", USER, "--as-of", time), ("archive", "index", "--since", time)):
        run = consumer(archive, *command)
        assert (run.returncode, run.stdout) == (2, "")
        assert "use a time such as" in run.stderr


def test_on_a_terminal_it_is_a_table(archive: Path) -> None:
    run = consumer(archive, "history", USER, LIMIT)
    assert run.returncode == 0
    for text in ("e-0002", "progress: 0 -> 50", "50 of 1000 SEK", "SCHEMA: payload", "the limit is new", "2026-01-01"):
        assert text in run.stdout


def test_nobody_has_no_history(archive: Path) -> None:
    assert consumer(archive, "history", "u-nobody").stdout == "the archive has no event of this user's limits\n"
    assert consumer(archive, "history", USER, "l-none").stdout == "the archive has no event of this limit\n"


def test_an_archive_is_indexed_once_and_shows_the_same(tmp_path: Path) -> None:
    place = DirectoryPlace(tmp_path)
    keep(place, delivery(created(1), progress_changed(2)))
    first = document(tmp_path, USER)
    run = consumer(tmp_path, "archive", "index")
    assert (run.returncode, run.stdout) == (0, "2026-01-01T00Z: 1 objects\nindexed 1 objects in 1 hours\n")
    assert consumer(tmp_path, "archive", "index").stdout == "indexed 0 objects in 0 hours\n"
    again = document(tmp_path, USER)
    assert (again["steps"], again["states"]) == (first["steps"], first["states"])


def test_a_damaged_object_is_reported(tmp_path: Path) -> None:
    place = DirectoryPlace(tmp_path)
    keep(place, delivery(created(1)))
    (path,) = keep(place, delivery(created(1), progress_changed(2)))
    place.write(path, b"damaged")
    run = consumer(tmp_path, "history", USER, "--json")
    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    assert line.startswith(f"consumer: the archive cannot be read completely: {path}: ")
    found = json.loads(run.stdout)
    assert (ids(found), len(found["unreadable"])) == (["e-0001"], 1)
    run = consumer(tmp_path, "archive", "index")
    assert run.returncode == 1
    assert run.stdout.splitlines()[-1] == "indexed 1 objects in 1 hours"
    assert path in run.stderr
    assert run.stderr.splitlines()[-1].startswith("consumer: 1 objects cannot be read and are not indexed")


def test_without_an_archive_it_says_what_is_missing() -> None:
    variables = {name: value for name, value in SOUND.items() if name != "CONSUMER_ARCHIVE"}
    run = commands.run("history", "u-1", environment=variables)
    assert (run.returncode, run.stderr) == (2, b"consumer: CONSUMER_ARCHIVE is not set\n")
