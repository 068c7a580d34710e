"""History, index and repair: the real commands on a table and an archive in S3, and the API that serves histories."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from consumer.engine.records import Position, Record
from consumer.stores.places import S3Place
from tests.e2e.test_limits_cli import Place
from tests.e2e.test_serve import get
from tests.support.driven.service import consumer, environment, serving
from tests.support.emulators.aws import Emulator, session
from tests.support.generators.events import LIMIT, START, Event, created, encode, progress_changed, reset
from tests.support.simulation.archive import archived

BUCKET = "history-archive"
PROMPT = b"Replace this limit?"
UNTRUE = "e-untrue"


class ArchivedPlace(Place):
    """Its archive gets what arrives, a second after the other; the table gets what is applied."""

    _numbers: Iterator[int] = count(1)

    def archive(self, *events: Event) -> None:
        numbered = zip(events, self._numbers, strict=False)
        records = [
            Record(Position("events", "shardId-000000000000", f"{number:056}"), encode(event), START + number * 1_000)
            for event, number in numbered
        ]
        with closing(session().client("s3", endpoint_url=self.variables["AWS_ENDPOINT_URL"])) as client:
            archived(S3Place(client, BUCKET, "records"), records)

    def arrive(self, *events: Event) -> None:
        self.archive(*events)
        self.apply(*events)

    def history(self, *arguments: str) -> dict[str, Any]:
        run = self.run("history", *arguments, "--json")
        assert (run.returncode, run.stderr) == (0, "")
        found: dict[str, Any] = json.loads(run.stdout)
        return found


@pytest.fixture(scope="module")
def variables(aws: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    made = environment("history", tmp_path_factory.mktemp("history"), AWS_ENDPOINT_URL=aws.endpoint)
    made |= {"CONSUMER_STREAM_NAME": "events"}
    consumer(made, "provision", "--stream", "1")
    with closing(session().client("s3", endpoint_url=aws.endpoint)) as client:
        client.create_bucket(Bucket=BUCKET)
    return made


@pytest.fixture
def place(variables: Mapping[str, str], tmp_path: Path) -> ArchivedPlace:
    """A user for each test."""
    more = {"CONSUMER_ARCHIVE": f"s3://{BUCKET}/records", "CONSUMER_QUARANTINE": f"dir:{tmp_path / 'quarantine'}"}
    return ArchivedPlace({**variables, **more}, tmp_path)


def ids(history: Mapping[str, Any]) -> Sequence[str]:
    return [step["eventId"] for step in history["steps"]]


def timeless(limit: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in limit.items() if name != "resetOverdue"}


def test_a_history_ends_with_what_the_table_holds(place: ArchivedPlace) -> None:
    user = "u-whole"
    place.arrive(created(1, userId=user), progress_changed(2, userId=user, amount="20"), created(3, userId="u-else"))
    place.arrive(reset(4, userId=user, resetAmount="20"), progress_changed(5, userId=user, amount="no"))
    place.arrive(created(6, userId=user, userLimitId="l-week", period="WEEK"))
    found = place.history(user)
    assert ids(found) == ["e-0001", "e-0002", "e-0004", "e-0005", "e-0006"]
    assert [step["outcome"] for step in found["steps"]] == ["applied"] * 3 + ["quarantined", "applied"]
    assert list(map(timeless, found["states"])) == list(map(timeless, place.shown(user)))
    assert ids(place.history(user, "l-week")) == ["e-0006"]

    second = found["steps"][1]["arrivedAt"]
    then = place.history(user, LIMIT, "--as-of", datetime.fromtimestamp(second / 1_000, UTC).isoformat())
    assert (ids(then), then["states"][0]["progress"]) == (["e-0001", "e-0002"], "20")

    assert place.run("archive", "index").returncode == 0
    assert place.history(user)["steps"] == found["steps"]
    place.arrive(progress_changed(9, userId=user, amount="1"))
    assert ids(place.history(user, LIMIT))[-1] == "e-0009", "an object that is not indexed is read"


def test_an_untrue_event_is_taken_back_and_comes_back_with_a_redelivery(place: ArchivedPlace) -> None:
    user = "u-frozen"
    untrue = progress_changed(900_000_000, UNTRUE, userId=user, amount="999999")
    place.arrive(created(1, userId=user), untrue, progress_changed(2, userId=user, amount="20"))
    assert place.shown(user)[0]["progress"] == "999999"

    done = place.run("repair", user, LIMIT, "--without", UNTRUE, "--yes")
    assert (done.returncode, "999999" in done.stdout, "takes effect again" in done.stdout) == (0, True, True)
    (line,) = map(json.loads, done.stderr.splitlines())
    assert (line["level"], line["message"], line["without_event"]) == ("WARNING", "limit repaired", UNTRUE)
    assert (line["user_id"], line["user_limit_id"], line["table"]) == (user, LIMIT, "history-limits")
    (limit,) = place.shown(user)
    assert (limit["progress"], limit["lastSequenceNumber"]) == ("20", 2)

    place.apply(progress_changed(3, userId=user, previousProgress="20", amount="5"))
    assert place.shown(user)[0]["progress"] == "25"
    place.apply(untrue)
    assert place.shown(user)[0]["progress"] == "999999"


def test_registers_that_only_the_event_wrote_are_gone(place: ArchivedPlace) -> None:
    user = "u-registers"
    place.arrive(created(1, userId=user), reset(2, UNTRUE, userId=user, nextResetTime=START))
    place.archive(created(1, userId="u-twin"))
    place.apply(created(1, userId="u-twin"))
    assert place.run("repair", user, LIMIT, "--without", UNTRUE, "--yes").returncode == 0
    one, other = place.shown(user), place.shown("u-twin")
    assert {**one[0], "userId": ""} == {**other[0], "userId": ""}


def test_a_limit_that_only_the_event_made_is_deleted(place: ArchivedPlace) -> None:
    place.arrive(created(1, UNTRUE, userId="u-only"))
    done = place.run("repair", "u-only", LIMIT, "--without", UNTRUE, "--yes")
    assert (done.returncode, "it is deleted" in done.stdout) == (0, True)
    assert place.shown("u-only") == []


def test_what_is_not_archived_is_never_lost(place: ArchivedPlace) -> None:
    user = "u-unknown"
    place.apply(created(1, userId=user))
    place.arrive(progress_changed(5, UNTRUE, userId=user))
    before = place.shown(user)
    done = place.run("repair", user, LIMIT, "--without", UNTRUE, "--yes")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("consumer: the archive does not explain definition of the limit")
    assert place.shown(user) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("u-here", "l-none", "--without", "e-1"), "this limit is not stored in history-limits"),
        (("u-here", LIMIT, "--without", "e-none"), "no event e-none of this limit is in the archive or in the limit"),
    ],
)
def test_what_does_not_exist_cannot_be_repaired(place: ArchivedPlace, arguments: Sequence[str], said: str) -> None:
    place.arrive(created(1, userId="u-here"))
    done = place.run("repair", *arguments, "--yes")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"consumer: {said}")


def test_an_event_without_an_effect_writes_nothing(place: ArchivedPlace) -> None:
    place.arrive(created(5, userId="u-stale"), created(1, UNTRUE, userId="u-stale"))
    done = place.run("repair", "u-stale", LIMIT, "--without", UNTRUE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "the event has no effect on the limit: nothing is written"


@pytest.mark.parametrize(("answer", "code", "progress"), [(b"n\n", 1, "10"), (b"y\n", 0, "0")])
def test_on_a_terminal_it_asks(place: ArchivedPlace, answer: bytes, code: int, progress: str) -> None:
    user = f"u-asked-{code}"
    place.arrive(created(1, userId=user), progress_changed(2, UNTRUE, userId=user))
    returned, errors = place.at_a_terminal("repair", user, LIMIT, "--without", UNTRUE, answer=answer, prompt=PROMPT)
    assert (returned, b"nothing is written" in errors) == (code, code == 1)
    assert place.shown(user)[0]["progress"] == progress
    done = place.run("repair", user, LIMIT, "--without", "e-0001")
    assert (done.returncode, "use --yes to write without it" in done.stderr) == (2, True)


def test_a_limit_that_changes_before_the_answer_is_not_replaced(place: ArchivedPlace) -> None:
    user = "u-busy"
    place.arrive(created(1, userId=user), progress_changed(2, UNTRUE, userId=user))
    code, errors = place.at_a_terminal(
        "repair",
        user,
        LIMIT,
        "--without",
        UNTRUE,
        answer=b"y\n",
        meanwhile=lambda: place.apply(progress_changed(3, userId=user, amount="33")),
        prompt=PROMPT,
    )
    assert (code, b"has changed since it was shown: nothing is written" in errors) == (1, True)
    assert b"limit repaired" not in errors
    assert place.shown(user)[0]["progress"] == "33"


def test_the_api_and_the_page_show_what_the_command_shows(place: ArchivedPlace, tmp_path: Path) -> None:
    user = "u-served"
    place.arrive(created(1, userId=user), progress_changed(2, userId=user))
    steps = place.history(user, LIMIT)["steps"]
    with serving(place.variables, tmp_path / "log") as running:
        response, found = get(running, f"/user-limits/{user}/{LIMIT}/history")
        assert (response.status, found["steps"]) == (HTTPStatus.OK, steps[::-1])
        missing, problem = get(running, f"/user-limits/{user}/none/history")
        assert (missing.status, problem["status"]) == (HTTPStatus.NOT_FOUND, 404)
        status, page = running.get(f"/limits/history?user={user}&limit={LIMIT}")
        assert (status, "Progress changed" in page) == (HTTPStatus.OK, True)
        assert f"/limits/history?user={user}&amp;limit={LIMIT}" in running.get(f"/?user={user}")[1]
        assert running.stop() == 0
